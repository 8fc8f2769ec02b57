/** Evidence from a file: verified, normalized and appraised. Simulated platforms whose root is pinned as if it were a production one. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { TrustContext } from '../../attestation/adapter.ts';
import { hex, sha256 } from '../../attestation/bytes.ts';
import { collateralOf } from '../../attestation/collateral/collateral.ts';
import { detect } from '../../attestation/detect.ts';
import { type ExamineInput, type ExaminedClaims, examine } from '../../attestation/examine.ts';
import { parseTdxQuote } from '../../attestation/formats/tdx-quote.ts';
import { tcbInfo, tcbLevel } from '../../attestation/platforms/simulated/tdx-collateral.ts';
import type { TdxWorld } from '../../attestation/platforms/simulated/tdx.ts';
import { explainAppraisal } from '../../attestation/policy-explain.ts';
import { type AppraisalPolicy, appraisalPolicySchema } from '../../attestation/policy.ts';
import { item as snpItem, reportOf, snpWorld, type SnpWorld } from '../attestation/snp/world.ts';
import { NOW, world } from '../attestation/tdx/support.ts';

let intel: TdxWorld;
let old: TdxWorld;
let amd: SnpWorld;
let amdRoots: TrustContext['roots'];
let registers: { MRTD: string; RTMR1: string; RTMR2: string };
let nonce: Uint8Array<ArrayBuffer>;
beforeAll(async () => {
  const behind = tcbInfo(NOW, { tcbLevels: [tcbLevel({ sgx: [9, 9, 9, 9, 9, 9, 9, 9], pce: 13, tdx: [9, 0, 9], status: 'UpToDate' }), tcbLevel({ sgx: [1], pce: 1, tdx: [1], status: 'OutOfDate', advisories: ['INTEL-SA-01036'] })] });
  [intel, old, amd] = await Promise.all([world(), world({ tcbInfo: behind }), snpWorld({ product: 'Genoa' })]);
  // A production ARK counts with its pinned ASK only
  amdRoots = [{ ...amd.root, anchor: 'production' }, { name: 'ASK', purpose: 'amd-ask/Genoa', anchor: 'production', certSha256: hex(await sha256(amd.pki.ask.certificate)) }];
  const { body } = parseTdxQuote(intel.quote, 'quote');
  registers = { MRTD: hex(body.mrTd), RTMR1: hex(body.rtmrs[1] as Uint8Array), RTMR2: hex(body.rtmrs[2] as Uint8Array) };
  nonce = body.reportData;
});

const policy = (change: object = {}): AppraisalPolicy => appraisalPolicySchema.parse({ id: 'released', role: 'counter', references: [{ id: 'v1', platform: 'gke', registers }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['node'], ...change });
const trustOf = (w: TdxWorld, change: Partial<TrustContext> = {}): TrustContext => ({ roots: [{ ...w.root, anchor: 'production' }], revoked: [], now: NOW, collateral: collateralOf(w.collateral), revocation: 'require', ...change });
const quote = (change: Partial<ExamineInput> = {}, w = intel) => examine({ file: 'quote.bin', platform: 'gke', kind: 'tdx-quote', bytes: w.quote, companions: [], trust: trustOf(w), nonce, policy: policy(), ...change });

describe('a TDX quote', () => {
  it('is affirmed when everything holds: references, nonce, lists, TCB', async () => {
    const { verdict, appraisal, claims, checks } = await quote();
    expect([verdict, appraisal?.status, appraisal?.rules.filter((r) => r.outcome !== 'pass')]).toEqual(['valid', 'affirming', []]);
    expect((claims as ExaminedClaims).measurements.find((m) => m.register === 'MRTD')?.matchedReference).toBe('v1');
    expect((claims as ExaminedClaims).collateral?.every((c) => c.source === 'offline')).toBe(true);
    expect(checks.length).toBeGreaterThan(20);
    expect(claims).not.toHaveProperty('key');
  });

  it.each<[string, () => Promise<Awaited<ReturnType<typeof quote>>>, string, string]>([
    ['without a nonce, it may be anybody\'s', () => quote({ nonce: undefined }), 'warning', 'freshness'],
    ['without a policy, nobody said what may run', () => quote({ policy: undefined }), 'warning', 'measurements'],
    ['with other measurements, it is other code', () => quote({ policy: policy({ references: [{ id: 'v2', platform: 'gke', registers: { ...registers, RTMR1: 'ab'.repeat(48) } }] }) }), 'contraindicated', 'measurements'],
    ['in another scope', () => quote({ policy: policy({ scopes: ['enclave'] }) }), 'contraindicated', 'scope'],
    ['on firmware that is behind', () => quote({}, old), 'contraindicated', 'tcb'],
    ['under a development root', () => quote({ trust: trustOf(intel, { roots: [intel.root] }) }), 'contraindicated', 'anchor'],
    ['without lists, where they are not required', () => quote({ trust: trustOf(intel, { revocation: 'ifAvailable', collateral: collateralOf(intel.collateral.filter((i) => !i.kind.endsWith('crl'))) }) }), 'warning', 'revocation'],
  ])('%s', async (_, work, status, rule) => {
    const { verdict, appraisal } = await work();
    expect([verdict, appraisal?.status]).toEqual(['valid', status]);
    expect(appraisal?.rules.filter((r) => r.outcome !== 'pass').map((r) => r.id)).toContain(rule);
    const explained = explainAppraisal(appraisal as NonNullable<typeof appraisal>).find((r) => r.rule === rule);
    expect(explained?.outcome).toBe(status === 'warning' ? 'lowered' : 'fail');
    expect((explained?.have.length ?? 0) > 0 && (explained?.need.length ?? 0) > 0).toBe(true);
  });

  it.each<[string, () => Promise<Awaited<ReturnType<typeof quote>>>, string]>([
    ['for another nonce', () => quote({ nonce: new Uint8Array(64).fill(1) }), 'NONCE_MISMATCH'],
    ['for a nonce that is cut short', () => quote({ nonce: nonce.slice(0, 32) }), 'NONCE_MISMATCH'],
    ['without lists', () => quote({ trust: trustOf(intel, { collateral: collateralOf([]) }) }), 'CRL_ABSENT'],
    ['without TCB info', () => quote({ trust: trustOf(intel, { collateral: collateralOf(intel.collateral.filter((i) => i.kind !== 'intel-tcb-info')) }) }), 'COLLATERAL_ABSENT'],
    ['past the end of lists', () => quote({ trust: trustOf(intel, { now: NOW + 40 * 86_400 }) }), 'CRL_EXPIRED'],
    ['under a root that is not pinned', () => quote({ trust: trustOf(intel, { roots: [] }) }), 'CHAIN_ROOT_UNPINNED'],
    ['taken for an SNP report', () => quote({ kind: 'snp-report' }), 'FMT_SIZE'],
    ['of a kind that nobody knows', () => quote({ kind: 'tea', platform: 'x' }), 'FMT_PLATFORM'],
  ])('%s it is not verifiable', async (_, work, code) => {
    const { verdict, reasons, claims, appraisal } = await work();
    expect([verdict, claims, appraisal]).toEqual(['invalid', undefined, undefined]);
    expect(reasons.map((r) => r.code)).toContain(code);
  });
});

describe('an exception', () => {
  const exception = (change: object = {}) => ({ id: 'waiting for firmware', rule: 'tcb', platform: 'gke', fmspc: 'b0c06f000000', until: NOW + 86_400, reason: 'update is scheduled', ...change });
  const status = async (change: object, at = NOW) => {
    const { appraisal } = await quote({ policy: policy({ exceptions: [exception(change)] }), trust: trustOf(old, { now: at }) }, old);
    return { status: appraisal?.status, used: appraisal?.exceptionsUsed };
  };
  it('lowers to a warning, and the appraisal names it', async () => {
    expect(await status({})).toEqual({ status: 'warning', used: [{ id: 'waiting for firmware', rule: 'tcb', expires: NOW + 86_400, reason: 'update is scheduled' }] });
  });
  it.each<[string, object, number?]>([['its time has come', {}, NOW + 86_400], ['it is for another platform', { platform: 'azure-cvm' }], ['it is for other machines', { fmspc: '00a06d080000' }], ['it is for another rule', { rule: 'snp-alias-check' }]])('does not apply when %s', async (_, change, at) => {
    expect(await status(change, at)).toEqual({ status: 'contraindicated', used: undefined });
  });
  it('there is none for a revoked TCB', async () => {
    const revoked = await world({ tcbInfo: tcbInfo(NOW, { tcbLevels: [tcbLevel({ sgx: [1], pce: 1, tdx: [1], status: 'Revoked' })] }) });
    const { appraisal } = await quote({ policy: policy({ exceptions: [exception()] }), trust: trustOf(revoked) }, revoked);
    expect([appraisal?.status, appraisal?.exceptionsUsed]).toEqual(['contraindicated', undefined]);
  });
  it.each(['debug', 'measurements', 'anchor', 'freshness', 'scope', 'policy', 'age', 'checks', 'snp-debug', 'snp-vmpl', 'firmware'])('there is none for %s', (rule) => {
    expect(appraisalPolicySchema.safeParse({ ...policy(), exceptions: [exception({ rule })] }).success).toBe(false);
  });
});

describe('an SNP report', () => {
  const report = async (change: Partial<ExamineInput> = {}, bytes?: Uint8Array<ArrayBuffer>) => examine({
    file: 'report.bin', platform: 'amd-sev-snp', kind: 'snp-report', bytes: bytes ?? await reportOf(amd), companions: [], vek: amd.vek.certificate, issuers: amd.issuers,
    trust: { roots: amdRoots, revoked: [], now: NOW, collateral: collateralOf([snpItem('amd-crl', 'Genoa', amd.crl)]), revocation: 'require' }, ...change,
  });
  it('says that the hardware is genuine, and claims no cloud that nobody stated', async () => {
    const { verdict, reasons, appraisal, claims } = await report();
    expect([verdict, reasons, appraisal?.status]).toEqual(['valid', [], 'warning']);
    expect((claims as ExaminedClaims).cloud).toEqual({ origin: 'unknown' });
    expect((claims as ExaminedClaims).hardware.revocation.status).toBe('good');
  });
  it('without its certificate is not verifiable, and says what is missing', async () => {
    const { verdict, reasons } = await report({ vek: undefined, issuers: undefined });
    expect([verdict, reasons[0]?.code, reasons[0]?.path]).toEqual(['invalid', 'COLLATERAL_ABSENT', expect.stringMatching(/^collateral\.amd-vek\/Genoa\//)]);
  });
  it('with debugging is contraindicated whatever else holds', async () => {
    const { appraisal } = await report({}, await reportOf(amd, { fields: { policy: 0x20133n | (1n << 19n) } }));
    expect([appraisal?.status, appraisal?.rules.filter((r) => r.outcome === 'fail').map((r) => r.code)]).toEqual(['contraindicated', expect.arrayContaining(['DEBUG_VM'])]);
  });
});

describe('detection', () => {
  it('chooses a parser, which still judges', async () => {
    expect(detect(intel.quote)).toEqual({ platform: 'intel-tdx', kind: 'tdx-quote' });
    expect(detect(await reportOf(amd))).toEqual({ platform: 'amd-sev-snp', kind: 'snp-report' });
    const forged = intel.quote.slice();
    forged[600] = (forged[600] as number) ^ 1;
    expect(detect(forged)).toEqual({ platform: 'intel-tdx', kind: 'tdx-quote' });
    expect((await quote({ bytes: forged })).verdict).toBe('invalid');
  });
  it('knows nothing of what is nothing', () => {
    for (const data of [new Uint8Array(0), new Uint8Array(1184), new Uint8Array([0x30]), new TextEncoder().encode('{}'), new TextEncoder().encode('a.b.c'), new Uint8Array(5000).fill(0xff)]) expect(detect(data)).toBeUndefined();
  });
});
