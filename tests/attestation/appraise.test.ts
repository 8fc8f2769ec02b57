import { beforeAll, describe, expect, test } from 'vitest';
import { appraise, requireAcceptable, tierOf } from '../../attestation/appraise.ts';
import { canonicalJson } from '../../attestation/canonical.ts';
import { claimsDigest } from '../../attestation/claims-digest.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { type AppraisalPolicy, appraisalPolicySchema } from '../../attestation/policy.ts';
import { evidence, EXPECT, NOW, refused, REGISTERS, world } from './support.ts';

const POLICY: AppraisalPolicy = { id: 'prod/counter', role: 'counter', references: [{ id: 'release-1', platform: 'aws-nitro', registers: REGISTERS }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] };
const reference = (registers: object, id = 'other') => ({ id, platform: 'aws-nitro', registers }) as Extract<AppraisalPolicy['references'][number], { platform: 'aws-nitro' }>;

let claims: NormalizedClaims;
let development: NormalizedClaims;
let stored: NormalizedClaims;
beforeAll(async () => {
  const [good, dev] = await Promise.all([world(), world({}, 'development')]);
  claims = await awsNitro.verify(await evidence(good), EXPECT, good.trust);
  development = await awsNitro.verify(await evidence(dev), EXPECT, dev.trust);
  stored = await awsNitro.verifyReplay(await evidence(good), EXPECT, { ...good.trust, now: NOW + 86_400 });
});

const failed = async (c: NormalizedClaims, p: AppraisalPolicy) => (await appraise(c, p)).rules.filter((r) => r.outcome === 'fail').map((r) => r.id);

describe('appraisal', () => {
  test('a released image under the production root is affirming', async () => {
    const appraisal = await appraise(claims, POLICY);
    expect(appraisal).toMatchObject({
      status: 'affirming', policyId: 'prod/counter',
      vector: { 'instance-identity': 2, configuration: 2, executables: 2, 'file-system': 0, hardware: 2, 'runtime-opaque': 2, 'storage-opaque': 0, 'sourced-data': 0 },
    });
    expect(appraisal.rules.map((r) => [r.id, r.outcome])).toEqual(['policy', 'anchor', 'debug', 'measurements', 'freshness', 'age', 'scope', 'checks'].map((id) => [id, 'pass']));
    expect(appraisal.claims.measurements.filter((m) => m.matchedReference === 'release-1').map((m) => m.register)).toEqual(['PCR0', 'PCR1', 'PCR2']);
    expect(claims.measurements.some((m) => 'matchedReference' in m)).toBe(false);
    expect(() => requireAcceptable(appraisal)).not.toThrow();
  });

  test('a development root: refused, or a warning where the policy allows it; never affirming', async () => {
    const refusedHere = await appraise(development, POLICY);
    expect(refusedHere).toMatchObject({ status: 'contraindicated', vector: { hardware: 97 } });
    await refused(() => requireAcceptable(refusedHere), 'ANCHOR_DEVELOPMENT');
    const allowed = await appraise(development, { ...POLICY, allowDevelopment: true });
    expect(allowed).toMatchObject({ status: 'warning', vector: { hardware: 32, 'instance-identity': 0 } });
    expect(() => requireAcceptable(allowed)).not.toThrow();
    expect((await appraise(development, { ...POLICY, allowDevelopment: 'yes' as unknown as boolean })).status).toBe('contraindicated');
  });

  test.each(['PCR0', 'PCR1', 'PCR2'] as const)('another %s is refused, not warned about', async (register) => {
    const policy = { ...POLICY, references: [reference({ ...REGISTERS, [register]: 'bb'.repeat(48) })] };
    const appraisal = await appraise(claims, policy);
    expect(appraisal).toMatchObject({ status: 'contraindicated', vector: { executables: 33 } });
    const { reasons } = await refused(() => requireAcceptable(appraisal), 'MEASUREMENT_MISMATCH');
    expect(reasons).toEqual([expect.objectContaining({ have: `${register} ${REGISTERS[register]}`, need: `${register} ${'bb'.repeat(48)}` })]);
  });

  test('registers of one reference must match together', async () => {
    const other = 'bb'.repeat(48);
    const policy = { ...POLICY, references: [reference({ ...REGISTERS, PCR0: other }), reference({ ...REGISTERS, PCR1: other }, 'third')] };
    expect(await failed(claims, policy)).toEqual(['measurements']);
  });

  test('the second of two references', async () => {
    const appraisal = await appraise(claims, { ...POLICY, references: [reference({ ...REGISTERS, PCR0: 'bb'.repeat(48) }), ...POLICY.references] });
    expect(appraisal.status).toBe('affirming');
    expect(appraisal.claims.measurements[0]?.matchedReference).toBe('release-1');
  });

  test('optional registers are compared when the reference lists them', async () => {
    expect(await failed(claims, { ...POLICY, references: [reference({ ...REGISTERS, PCR8: 'bb'.repeat(48) })] })).toEqual(['measurements']);
    const without = { ...claims, measurements: claims.measurements.filter((m) => m.register !== 'PCR8') };
    await refused(async () => requireAcceptable(await appraise(without, { ...POLICY, references: [reference({ ...REGISTERS, PCR8: 'bb'.repeat(48) })] })), 'MEASUREMENT_ABSENT');
  });

  test('a register of another algorithm does not count', async () => {
    const sha256 = { ...claims, measurements: claims.measurements.map((m) => ({ ...m, alg: 'sha256' as const })) };
    await refused(async () => requireAcceptable(await appraise(sha256, POLICY)), 'MEASUREMENT_ABSENT');
  });

  test('references of another platform are none', async () => {
    const policy = { ...POLICY, references: [{ ...reference(REGISTERS), platform: 'azure-cvm-snp' as 'aws-nitro' }] };
    expect(await failed(claims, policy)).toEqual(['policy', 'measurements']);
  });

  test('stored evidence: a warning for reading results, refused for anything live', async () => {
    const appraisal = await appraise(stored, POLICY);
    expect(appraisal.status).toBe('warning');
    expect(() => requireAcceptable(appraisal, 'replay')).not.toThrow();
    await refused(() => requireAcceptable(appraisal), 'STALE');
  });

  test('replay mode forgives nothing else', async () => {
    const appraisal = await appraise(stored, { ...POLICY, references: [reference({ ...REGISTERS, PCR0: 'bb'.repeat(48) })] });
    await refused(() => requireAcceptable(appraisal, 'replay'), 'MEASUREMENT_MISMATCH');
  });

  test('age', async () => {
    const old = { ...claims, time: { ...claims.time, verifiedAt: claims.time.evidenceAt + 301 } };
    await refused(async () => requireAcceptable(await appraise(old, POLICY)), 'STALE');
    await refused(async () => requireAcceptable(await appraise(claims, { ...POLICY, maxAgeSeconds: undefined as unknown as number })), 'STALE');
  });

  test('scope: only what the policy lists, and never a node as a broker', async () => {
    const node = { ...claims, workload: { ...claims.workload, binding: { scope: 'node' as const } } };
    await refused(async () => requireAcceptable(await appraise(node, POLICY)), 'SCOPE_NODE');
    expect((await appraise(node, { ...POLICY, scopes: ['node'] })).status).toBe('affirming');
    await refused(async () => requireAcceptable(await appraise(node, { ...POLICY, role: 'broker', scopes: ['node'] })), 'SCOPE_NODE');
  });

  test('debug is contraindicated whatever the policy says', async () => {
    const debug = { ...claims, guest: { ...claims.guest, debug: true } };
    const appraisal = await appraise(debug, { ...POLICY, allowDevelopment: true });
    expect(appraisal).toMatchObject({ status: 'contraindicated', vector: { configuration: 96, 'runtime-opaque': 96 } });
    await refused(() => requireAcceptable(appraisal), 'DEBUG_ENCLAVE');
  });

  test('a skipped check lowers the tier; claims without checks are refused', async () => {
    const skipped = { ...claims, checks: [{ id: 'X', result: 'skipped-by-policy' as const, evidenceRef: 'x' }] };
    expect((await appraise(skipped, POLICY)).status).toBe('warning');
    await refused(async () => requireAcceptable(await appraise({ ...claims, checks: [] }, POLICY)), 'APPRAISAL_STATUS');
  });

  test('a status of none or contraindicated is refused even without a failed rule', async () => {
    const appraisal = await appraise(claims, POLICY);
    for (const status of ['none', 'contraindicated'] as const) await refused(() => requireAcceptable({ ...appraisal, status }), 'APPRAISAL_STATUS');
  });

  test('the policy is named by its digest', async () => {
    const [a, b, c] = await Promise.all([appraise(claims, POLICY), appraise(claims, { ...POLICY }), appraise(claims, { ...POLICY, maxAgeSeconds: 299 })]);
    expect(a.policySha256).toBe(b.policySha256);
    expect(a.policySha256).not.toBe(c.policySha256);
    expect(a.policySha256).toMatch(/^[0-9a-f]{64}$/);
  });

  test('tiers of AR4SI', () => {
    expect([-128, -97, -96, -33, -32, -2, -1, 0, 1, 2, 31, 32, 95, 96, 127].map(tierOf)).toEqual([
      'contraindicated', 'contraindicated', 'warning', 'warning', 'affirming', 'affirming', 'none', 'none', 'none', 'affirming', 'affirming', 'warning', 'warning', 'contraindicated', 'contraindicated',
    ]);
  });
});

describe('policy documents', () => {
  const parse = (change: object) => appraisalPolicySchema.safeParse({ ...POLICY, ...change }).success;
  test('closed and typed', () => {
    expect(parse({})).toBe(true);
    expect(parse({ references: [] })).toBe(false);
    expect(parse({ maxAge: 5 })).toBe(false);
    expect(parse({ allowDevelopment: undefined })).toBe(false);
    expect(parse({ scopes: [] })).toBe(false);
    expect(parse({ maxAgeSeconds: 0 })).toBe(false);
    expect(parse({ role: 'broker', scopes: ['enclave', 'node'] })).toBe(false);
    expect(parse({ references: [reference({ PCR0: REGISTERS.PCR0, PCR1: REGISTERS.PCR1 })] })).toBe(false);
    expect(parse({ references: [reference({ ...REGISTERS, PCR2: '00'.repeat(48) })] })).toBe(false);
    expect(parse({ references: [reference({ ...REGISTERS, PCR5: 'aa'.repeat(48) })] })).toBe(false);
  });
});

describe('canonical JSON and the digest of claims', () => {
  test('keys sorted, nothing else, at every level', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'ü"\n' }], a: true, '\u{1f600}': 1, z: 0.5, e: 1e21 })).toBe('{"a":true,"b":[1,{"c":"ü\\"\\n","d":null}],"e":1e+21,"z":0.5,"\u{1f600}":1}');
    expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  });

  test('what JSON cannot say is refused', () => {
    for (const value of [undefined, Number.NaN, Infinity, 1n, () => 1, new Map(), new Uint8Array(1), new Date(0), [undefined], { a: Symbol('x') }, '\ud800']) expect(() => canonicalJson(value), String(value)).toThrow(TypeError);
  });

  test('the order of keys changes no digest, a value does', async () => {
    const reversed = Object.fromEntries(Object.entries(claims).reverse()) as unknown as NormalizedClaims;
    expect(await claimsDigest(reversed)).toBe(await claimsDigest(claims));
    expect(await claimsDigest({ ...claims, anchor: 'development' })).not.toBe(await claimsDigest(claims));
  });
});
