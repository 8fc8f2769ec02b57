/** Genuine quotes, event logs and what peers made of them: the expected verdicts, for the expected reasons. */
import { describe, expect, test } from 'vitest';
import { bytes, concat } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { importCollateral, judgeCcel, judgeSgxQuote, judgeTdxQuote } from '../../../attestation/corpus/intel-tdx.ts';
import type { Judge, Vector } from '../../../attestation/corpus/judge.ts';
import { parseTdxQuote } from '../../../attestation/formats/tdx-quote.ts';
import { tdAttributes } from '../../../attestation/hardware/tdx/appraise.ts';
import { verifyTdxQuote } from '../../../attestation/hardware/tdx/verify.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { PRODUCTION_ROOTS } from '../../../attestation/trust/roots.ts';
import { manifest, type ManifestEntry, NO_VECTORS, refused, trustRoot, vector } from '../support.ts';

type Entry = ManifestEntry & { readonly companions: readonly string[]; readonly expected_with_collateral?: 'valid' | 'invalid' };
const JUDGES: Readonly<Record<string, Judge>> = { 'tdx-quote': judgeTdxQuote, 'sgx-quote': judgeSgxQuote, 'event-log': judgeCcel };
/** Of the first verdict, or of the second where the first is valid. */
const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  // Components of the platform below each level of its TCB info
  'intel-tdx/go-tdx-guest/prod-spr-e4-v4.bin': ['TCB_FLOOR'],
  'intel-tdx/openenclave/v5.bin': ['TCB_OUT_OF_DATE'],
  // Whatever its signatures say, it is no TD
  'intel-tdx/dcap-qvl/sgx-v3.bin': ['FMT_VERSION'],
  // No PEM in the place of the PCK chain, besides a root that is Intel's for samples only
  'intel-tdx/teekit/intel-sampleapp/quote.dat': ['FMT_PEM'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.body-bit.bin': ['SIG_INVALID'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.header-bit.bin': ['SIG_INVALID'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.quote-sig.bin': ['SIG_INVALID'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.ak.bin': ['SIG_INVALID', 'QE_BINDING'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.qe-report.bin': ['SIG_INVALID'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.qe-sig.bin': ['SIG_INVALID'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.version-6.bin': ['FMT_VERSION'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.truncated.bin': ['FMT_LENGTH'],
  'intel-tdx/derived/dcap-qvl-tdx-v4.pck-byte.bin': ['CHAIN_SIGNATURE'],
};

const all = manifest() as Entry[];
const entries = all.filter((e) => e.role === 'vector' && Object.hasOwn(JUDGES, e.kind) && (e.platform === 'intel-tdx' || (e.platform === 'azure-cvm' && e.kind === 'tdx-quote')));
const load = (file: string) => {
  const { platform, kind } = all.find((e) => e.file === file) as Entry;
  return { file, platform, kind, bytes: vector(file) };
};
const vectorOf = (e: Entry): Vector => ({ ...load(e.file), companions: e.companions.map(load), at: e.verified_at === null ? null : Date.parse(e.verified_at) / 1000 });
const entry = (file: string): Entry => entries.find((e) => e.file === file) as Entry;
const judge = (e: Entry, change: Partial<Vector> = {}) => (JUDGES[e.kind] as Judge)({ ...vectorOf(e), ...change });

describe.skipIf(NO_VECTORS)('intel-tdx vectors', () => {
  test('all of them are here', () => {
    expect(entries.filter((e) => e.kind === 'tdx-quote').length).toBeGreaterThanOrEqual(31);
    const refusedOnes = entries.filter((e) => e.expected === 'invalid' || e.expected_with_collateral === 'invalid').map((e) => e.file);
    expect(refusedOnes.sort()).toEqual(Object.keys(REASONS).sort());
  });

  test.each(entries)('$file is $expected, with collateral $expected_with_collateral', async (e) => {
    const { verdict, verdictWithCollateral, codes, claims } = await judge(e);
    expect(verdict).toBe(e.expected);
    if (e.expected_with_collateral !== undefined) expect(verdictWithCollateral).toBe(e.expected_with_collateral);
    expect([...codes].sort()).toEqual([...(REASONS[e.file] ?? [])].sort());
    if (verdict === 'invalid' || e.kind !== 'tdx-quote') return;
    const { tee_tcb_svn: svn, mrseam, mrtd, td_attr, xfam, rtmr, report_data, fmspc, version, trailing } = e.facts as Record<string, unknown>;
    const stated = Object.fromEntries(Object.entries({ teeTcbSvn: svn, mrSeam: mrseam, mrTd: mrtd, tdAttributes: td_attr, xfam, rtmrs: rtmr, reportData: report_data, fmspc, quoteVersion: version }).filter(([, v]) => v !== undefined));
    expect(claims).toMatchObject(stated);
    // Nothing signs what is behind a quote: it is no claim
    if (trailing !== undefined) expect(parseTdxQuote(vector(e.file), 'quote', 'any').trailing).toBe(trailing);
    expect(claims).not.toHaveProperty('trailing');
  });

  test('the TCB of each set of collateral is the one that the manifest states', async () => {
    let seen = 0;
    for (const e of entries) {
      const tcb = e.facts?.['tcb'] as { merged_status: string; advisories: string[]; tcb_eval_no: number; module_status: string | null } | undefined;
      if (tcb === undefined || tcb.merged_status === 'NoMatch' || e.kind !== 'tdx-quote') continue;
      const checks = new CheckList();
      const { at } = vectorOf(e);
      const facts = await verifyTdxQuote({ quote: vector(e.file), trailing: 'any' }, { roots: PRODUCTION_ROOTS, revoked: [], now: at as number, collateral: importCollateral(vectorOf(e)) }, at as number, checks);
      checks.refuseIfFailed();
      expect(facts?.tcb).toMatchObject({ status: tcb.merged_status, evaluationNumber: tcb.tcb_eval_no });
      expect(facts?.tcb?.module?.status ?? null).toBe(tcb.module_status);
      expect(facts?.tcb?.advisories).toEqual(expect.arrayContaining(tcb.advisories));
      expect(facts?.revocation.status).toBe('good');
      expect(checks.done.every((c) => c.result === 'pass')).toBe(true);
      seen += 1;
    }
    expect(seen).toBe(3);
  });

  test('debug and other attributes are facts of what verified', () => {
    const attributes = (file: string) => tdAttributes(parseTdxQuote(vector(file), 'q', 'any').body);
    expect(attributes('intel-tdx/trustee/v4-debug.bin')).toMatchObject({ debug: true, septVeDisable: true, migratable: false, reserved: '0' });
    expect(attributes('intel-tdx/openenclave/v5.bin')).toMatchObject({ debug: false, migratable: true, septVeDisable: true });
    expect(attributes('intel-tdx/teekit/moemahhouk-v4.bin')).toMatchObject({ perfmon: true });
    for (const e of entries.filter((x) => x.kind === 'tdx-quote' && x.expected === 'valid')) expect(attributes(e.file).reserved, e.file).toBe('0');
  });

  test('the pinned fingerprints are those of the genuine root', async () => {
    const { certSha256, spkiSha256 } = await trustRoot(vector('intel-tdx/roots/intel-sgx-root-ca.der'));
    expect(PRODUCTION_ROOTS.filter((r) => r.purpose === 'intel-sgx')).toMatchObject([{ certSha256, spkiSha256, anchor: 'production' }]);
  });

  test('at another time, without time, without root', async () => {
    const e = entry('intel-tdx/dcap-qvl/tdx-v4.bin');
    const at = vectorOf(e).at as number;
    expect(await judge(e, { at: at + 86_400 * 30 })).toMatchObject({ verdict: 'invalid', verdictWithCollateral: 'invalid', codes: ['CRL_EXPIRED'] });
    expect(await judge(e, { at: null })).toMatchObject({ verdict: 'invalid', codes: ['FMT_FIELD'] });
    const checks = new CheckList();
    expect(await verifyTdxQuote({ quote: vector(e.file), tcb: 'skip' }, { roots: [], revoked: [], now: at, revocation: 'ifAvailable' }, at, checks)).toBeUndefined();
    await refused(() => checks.refuseIfFailed(), 'CHAIN_ROOT_UNPINNED');
  });

  test('bytes that are not zero behind a quote: only where anything is allowed', async () => {
    const e = entry('intel-tdx/go-tdx-guest/prod-spr-e4-v4.bin');
    await refused(() => parseTdxQuote(vector(e.file), 'quote'), 'FMT_TRAILING');
    expect(parseTdxQuote(vector(e.file), 'quote', 'any').trailing).toBe(39);
    const padded = parseTdxQuote(vector('intel-tdx/go-tdx-guest/gcp-cos113-v4.bin'), 'quote');
    expect([padded.trailing, padded.bytes.length]).toEqual([3065, 4935]);
  });

  test('lengths that do not add up, every signature intact', async () => {
    const data = vector('intel-tdx/dcap-qvl/tdx-v4.bin');
    const end = 636 + 4300;
    const longer = concat(data.subarray(0, 632), bytes([0xcd, 0x10, 0, 0]), data.subarray(636, end), bytes([0]));
    await refused(() => parseTdxQuote(longer, 'quote'), 'FMT_LENGTH');
  });

  test('another nonce than the one that was asked for', async () => {
    const e = entry('intel-tdx/go-tdx-guest/gcp-cos113-v4.bin');
    const companions = vectorOf(e).companions.map((c) => (c.kind === 'nonce' ? { ...c, bytes: new Uint8Array(64).fill(1) } : c));
    expect(await judge(e, { companions })).toMatchObject({ verdict: 'invalid', codes: ['BINDING_MISMATCH'] });
  });

  test('a log of another machine does not lead to the quoted registers', async () => {
    const e = entry('intel-tdx/go-tdx-guest/gcp-cos113.ccel.bin');
    expect(await judge(e)).toMatchObject({ verdict: 'valid', claims: { replayed: true, events: 43 } });
    expect(await judge(e, { bytes: vector('intel-tdx/trustee/ccel-gcp.bin') })).toMatchObject({ verdict: 'invalid', codes: ['EVENTLOG_BINDING'] });
    const quote = vectorOf(e).companions.find((c) => c.kind === 'tdx-quote');
    const forged = bytes(quote?.bytes as Uint8Array);
    forged[48 + 328] = (forged[48 + 328] as number) ^ 1;
    expect(await judge(e, { companions: [{ ...(quote as Vector), bytes: forged }] })).toMatchObject({ verdict: 'invalid', codes: ['SIG_INVALID'] });
  });
});
