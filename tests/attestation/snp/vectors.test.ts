/** Genuine SEV-SNP reports and certificates, and what was made of them: the expected verdict, for the expected reason. */
import { describe, expect, test } from 'vitest';
import { judgeSnpReport, judgeSnpScenario, judgeVek } from '../../../attestation/corpus/amd-sev-snp.ts';
import type { CorpusFile, Judge, Vector } from '../../../attestation/corpus/judge.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { manifest, type ManifestEntry, NO_VECTORS, vector } from '../support.ts';

const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  // Names AMD's ASK as its issuer; the ASK did not sign it
  'amd-sev-snp/trustee/vcek-invalid-legacy.der': ['CHAIN_SIGNATURE'],
  'amd-sev-snp/derived/milan.sig-r-bit.bin': ['SIG_INVALID'],
  'amd-sev-snp/derived/milan.measurement-bit.bin': ['SIG_INVALID'],
  'amd-sev-snp/derived/milan.debug-bit-set.bin': ['SIG_INVALID'],
  'amd-sev-snp/derived/milan.version-9.bin': ['FMT_VERSION'],
  'amd-sev-snp/derived/milan.sigalgo-0.bin': ['FMT_FIELD'],
  'amd-sev-snp/derived/milan.truncated.bin': ['FMT_SIZE'],
  'amd-sev-snp/derived/milan.sig-zero.bin': ['SIG_INVALID'],
  // Issued only months after the time that the scenario is judged at
  'amd-sev-snp/derived/milan-with-foreign-vcek.json': ['CHAIN_NOT_YET_VALID', 'VCEK_TCB_MISMATCH', 'CHIP_ID', 'SIG_INVALID'],
  'amd-sev-snp/derived/genoa-with-milan-chain.json': ['CHAIN_ROOT_UNPINNED'],
};
const JUDGES: Readonly<Record<string, Judge>> = {
  'snp-report': judgeSnpReport, 'vcek-der': judgeVek, 'vlek-der': judgeVek, 'vcek-pem': judgeVek, 'vlek-pem': judgeVek, 'amd-sev-snp/cert-chain-hex-json': judgeVek, 'amd-sev-snp/scenario': judgeSnpScenario,
};
const judgeOf = (e: ManifestEntry): Judge | undefined => JUDGES[e.kind] ?? JUDGES[`${e.platform}/${e.kind}`];

interface Entry extends ManifestEntry { readonly companions: readonly string[]; readonly ext?: unknown }
const all = manifest() as Entry[];
const byFile = new Map(all.map((e) => [e.file, e]));
const file = (name: string): CorpusFile => ({ file: name, platform: byFile.get(name)?.platform ?? '', kind: byFile.get(name)?.kind ?? '', bytes: vector(name) });
const at = (e: Entry): number | null => (e.verified_at === null ? null : Date.parse(e.verified_at) / 1000);
const given = (e: Entry, change: Partial<Vector> = {}): Vector => ({ ...file(e.file), companions: e.companions.map(file), at: at(e), ...change });

const judgedHere = all.filter((e) => judgeOf(e) !== undefined);
const entries = judgedHere.filter((e) => e.role === 'vector');

describe.skipIf(NO_VECTORS)('SEV-SNP vectors', () => {
  test('all of them are here', () => {
    expect(entries.length).toBeGreaterThanOrEqual(36);
    expect(entries.filter((e) => e.expected === 'invalid').map((e) => e.file).sort()).toEqual(Object.keys(REASONS).sort());
    expect(entries.every((e) => !('ambiguous' in e))).toBe(true);
  });

  test.each(entries)('$file is $expected', async (e) => {
    const { verdict, codes, claims } = await (judgeOf(e) as Judge)(given(e));
    expect([...codes].sort()).toEqual([...(REASONS[e.file] ?? [])].sort());
    expect(verdict).toBe(e.expected);
    if (verdict === 'invalid' || e.kind !== 'snp-report' || e.facts?.['version'] === undefined) return;
    const facts = e.facts;
    expect(claims).toMatchObject({
      version: facts['version'], vmpl: facts['vmpl'], debug: facts['debug'], policy: String(facts['policy']).slice(2), measurement: facts['measurement'], reportData: facts['report_data'],
      chipId: facts['chip_id'], root: `AMD ${String(facts['root'])}`, signer: { kind: String(facts['signing_key']).toLowerCase() },
    });
    const ext = facts['ext'] as Record<string, number | string>;
    expect(claims).toMatchObject({ tcb: { reported: { bootloader: ext['bl'], tee: ext['tee'], snp: ext['snp'], microcode: ext['ucode'] } }, signer: { productName: ext['product'], ...(ext['csp'] === undefined ? {} : { cspId: ext['csp'] }) } });
  });

  test.each(judgedHere.filter((e) => e.role === 'companion' && e.kind !== 'snp-report'))('companion $file holds alone', async (e) => {
    expect(await (judgeOf(e) as Judge)(given(e))).toMatchObject({ verdict: 'valid', codes: [] });
  });

  const named = (name: string): Entry => byFile.get(name) ?? (() => { throw new Error(name); })();
  test('a report in a buffer of 1204 bytes needs the header of Azure\'s request data behind it', async () => {
    const e = named('azure-cvm/constellation/snp-report-1204.bin');
    const bytes = vector(e.file);
    bytes[1184 + 8] = 4;
    expect(await judgeSnpReport(given(e, { bytes }))).toMatchObject({ verdict: 'invalid', codes: ['FMT_TRAILING'] });
    expect(await judgeSnpReport(given(e, { bytes: bytes.subarray(0, 1184) }))).toMatchObject({ verdict: 'valid' });
    expect(await judgeSnpReport(given(e, { bytes: bytes.subarray(0, 1203) }))).toMatchObject({ codes: ['FMT_SIZE'] });
  });

  test('runtime data that a report does not vouch for is refused', async () => {
    const e = named('azure-cvm/constellation/snp-report-1204.bin');
    const companions = e.companions.map(file).map((c) => (c.kind === 'runtime-data-json' ? { ...c, bytes: c.bytes.subarray(1) } : c));
    expect(await judgeSnpReport(given(e, { companions }))).toMatchObject({ codes: ['BINDING_MISMATCH'] });
  });

  test('genuine reports do not hold outside of the time of their certificate, nor without one', async () => {
    const e = named('amd-sev-snp/constellation/aws-milan-v3-vlek.bin');
    expect(await judgeSnpReport(given(e, { at: Date.parse('2025-12-11T00:00:00Z') / 1000 }))).toMatchObject({ codes: ['CHAIN_EXPIRED'] });
    expect(await judgeSnpReport(given(e, { at: Date.parse('2024-12-10T00:00:00Z') / 1000 }))).toMatchObject({ codes: ['CHAIN_NOT_YET_VALID'] });
    expect(await judgeSnpReport(given(e, { at: null }))).toMatchObject({ codes: ['FMT_FIELD'] });
    expect(await judgeSnpReport(given(e, { companions: [] }))).toMatchObject({ codes: ['COLLATERAL_ABSENT'] });
    const chain = e.companions.filter((c) => c.includes('ask_ark')).map(file);
    expect(await judgeSnpReport(given(e, { companions: chain }))).toMatchObject({ codes: ['COLLATERAL_ABSENT'] });
  });

  test('a VLEK report with the chain of VCEKs is of the wrong kind', async () => {
    const e = named('amd-sev-snp/constellation/aws-milan-v3-vlek.bin');
    const companions = [...e.companions.filter((c) => !c.includes('ask_ark')), 'amd-sev-snp/roots/ask_ark_milan.pem'].map(file);
    expect(await judgeSnpReport(given(e, { companions }))).toMatchObject({ codes: ['CHAIN_SIGNER_KIND'] });
  });

  test('a report of version 1 is refused by its version', async () => {
    const hcl = named('azure-cvm/microsoft-guest-attestation/hcl-v1.bin');
    const report = vector(hcl.file).slice(32, 32 + 1184);
    expect(await judgeSnpReport({ ...given(hcl), bytes: report, at: 0, companions: [] })).toMatchObject({ codes: ['FMT_VERSION'] });
  });
});
