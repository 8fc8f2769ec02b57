/** What nothing proves: claims say null, and appraisal neither refuses it as if it were so nor affirms it as if it were not. */
import { beforeAll, expect, test } from 'vitest';
import { appraise, requireAcceptable } from '../../attestation/appraise.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { type AppraisalPolicy, appraisalPolicySchema } from '../../attestation/policy.ts';
import { sevNode, snpNode, tdxNode, verify as gke } from './gke/support.ts';
import { evidence, EXPECT, refused, REGISTERS, world } from './support.ts';

let nitro: NormalizedClaims;
let tdx: NormalizedClaims;
let snp: NormalizedClaims;
let sev: NormalizedClaims;
beforeAll(async () => {
  const w = await world();
  nitro = await awsNitro.verify(await evidence(w), EXPECT, w.trust);
  [tdx, snp, sev] = await Promise.all([gke(await tdxNode()), gke(await snpNode()), gke(await sevNode())]);
});

const policy = (): AppraisalPolicy => appraisalPolicySchema.parse({
  id: 'test', role: 'counter', maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave', 'node'], references: [
    { id: 'nitro', platform: 'aws-nitro', registers: REGISTERS }, { id: 'snp', platform: 'gke', registers: { LAUNCH: '04'.repeat(48) } }, { id: 'tdx', platform: 'gke', registers: { MRTD: '3d'.repeat(48), RTMR1: 'a1'.repeat(48), RTMR2: 'a2'.repeat(48) } },
    { id: 'sev', platform: 'gke', registers: Object.fromEntries(sev.measurements.map((m) => [m.register, m.value])) },
  ],
});
const with_ = (claims: NormalizedClaims, guest: Partial<NormalizedClaims['guest']>): NormalizedClaims => ({ ...claims, guest: { ...claims.guest, ...guest } });

test('debugging that nothing rules out', async () => {
  for (const claims of [nitro, tdx]) {
    expect((await appraise(claims, policy())).status).toBe('affirming');
    const appraisal = await appraise(with_(claims, { debug: null }), policy());
    expect(appraisal).toMatchObject({ status: 'warning', vector: { configuration: 32 } });
    expect(appraisal.rules.filter((r) => r.outcome !== 'pass').map((r) => [r.id, r.outcome])).toEqual([['debug', 'lowered']]);
    requireAcceptable(appraisal);
    await refused(async () => requireAcceptable(await appraise(with_(claims, { debug: true }), policy())), claims === nitro ? 'DEBUG_ENCLAVE' : 'DEBUG_TD');
  }
  expect((await appraise(with_(nitro, { debug: null }), policy())).vector['runtime-opaque']).toBe(32);
});

test('migration that nothing rules out', async () => {
  const appraisal = await appraise(with_(tdx, { migratable: null }), policy());
  expect(appraisal).toMatchObject({ status: 'warning', vector: { configuration: 32 } });
  expect(appraisal.rules.filter((r) => r.outcome !== 'pass').map((r) => [r.id, r.outcome])).toEqual([['migration', 'lowered']]);
  await refused(async () => requireAcceptable(await appraise(with_(tdx, { migratable: true }), policy())), 'HW_DENIED');
});

test('a SEV-SNP report always says both: without them it is refused', async () => {
  await refused(async () => requireAcceptable(await appraise(with_(snp, { debug: null }), policy())), 'DEBUG_VM');
  await refused(async () => requireAcceptable(await appraise(with_(snp, { migratable: null }), policy())), 'GUEST_POLICY');
});

test('plain SEV proves neither', async () => {
  expect(sev.guest).toMatchObject({ debug: null, migratable: null });
  const appraisal = await appraise(sev, policy());
  expect(appraisal).toMatchObject({ status: 'warning', vector: { configuration: 32, 'runtime-opaque': 32, hardware: 32 } });
  expect(appraisal.rules.filter((r) => r.outcome === 'lowered').map((r) => r.id).sort()).toEqual(['debug', 'migration', 'tcb']);
});
