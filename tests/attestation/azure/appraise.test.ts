/** Appraisal of Azure Confidential VMs: what has to match, what lowers, what refuses (D33, D44). Claims are of synthetic evidence. */
import { beforeAll, describe, expect, test } from 'vitest';
import { appraise, requireAcceptable } from '../../../attestation/appraise.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { type AppraisalPolicy, appraisalPolicySchema, requiredRegisters } from '../../../attestation/policy.ts';
import { vtpmIndexes } from '../../../attestation/registers.ts';
import { refused } from '../support.ts';
import { azureWorld, REGISTERS, verify } from './support.ts';

const zero = '00'.repeat(32);
const registers = { 'vTPM:PCR4': 'a4'.repeat(32), 'vTPM:PCR7': 'a7'.repeat(32), 'vTPM:PCR8': zero, 'vTPM:PCR9': 'a9'.repeat(32), 'vTPM:PCR11': 'ab'.repeat(32), 'vTPM:PCR12': zero, 'vTPM:PCR13': zero };
type Azure = Extract<AppraisalPolicy['references'][number], { platform: 'azure-cvm' }>;
const reference = (change: Partial<Azure['registers']> = {}, id = 'image-1', rest: Partial<Azure> = {}): Azure => ({ id, platform: 'azure-cvm', registers: { ...registers, ...change }, ...rest });
const policy = (...references: Azure[]): AppraisalPolicy => ({ id: 'prod/broker', role: 'broker', references: references.length === 0 ? [reference()] : references, maxAgeSeconds: 300, allowDevelopment: false, scopes: ['vm'] });

let snp: NormalizedClaims;
let tdx: NormalizedClaims;
let unproven: NormalizedClaims;
let development: NormalizedClaims;
beforeAll(async () => {
  const [w, t] = await Promise.all([azureWorld(), azureWorld({ technology: 'tdx' })]);
  [snp, tdx, unproven, development] = await Promise.all([verify(w, { anchor: 'production' }), verify(t, { anchor: 'production' }), verify(w, { anchor: 'production', parts: { ak: undefined } }), verify(w)]);
});
const verdict = async (claims: NormalizedClaims, p = policy()) => requireAcceptable(await appraise(claims, p));

describe('accepted', () => {
  test('an image that the owner released, on a machine that Azure vouches for', async () => {
    for (const claims of [snp, tdx]) {
      const appraisal = await appraise(claims, policy());
      expect(appraisal.rules.filter((r) => r.outcome === 'fail')).toEqual([]);
      expect(appraisal.vector).toMatchObject({ 'instance-identity': 2, executables: 3, configuration: 3 });
      expect(appraisal.claims.measurements.filter((m) => m.matchedReference === 'image-1').map((m) => m.register)).toEqual(REGISTERS);
      expect(() => requireAcceptable(appraisal)).not.toThrow();
    }
  });

  test('a console and Secure Boot that is off: warnings, never affirming', async () => {
    for (const guest of [{ consoleEnabled: true }, { secureBoot: false }]) {
      const appraisal = await appraise({ ...tdx, guest: { ...tdx.guest, ...guest } }, policy());
      expect(appraisal).toMatchObject({ status: 'warning', vector: { configuration: 32 } });
    }
  });

  test('development roots: as everywhere', async () => {
    await refused(verdict(development), 'ANCHOR_DEVELOPMENT');
    expect((await appraise(development, { ...policy(), allowDevelopment: true })).status).toBe('warning');
  });
});

describe('measurements', () => {
  test.each(Object.keys(registers) as (keyof typeof registers)[])('D44: another %s is another kernel, initrd or command line', async (register) => {
    const { reasons } = await refused(verdict(snp, policy(reference({ [register]: 'bb'.repeat(32) }))), 'MEASUREMENT_MISMATCH');
    expect(reasons[0]?.need).toBe(`${register} ${'bb'.repeat(32)}`);
  });

  test('a register that was not quoted is absent, whatever else is in the evidence', async () => {
    await refused(verdict(snp, policy(reference({ 'vTPM:PCR14': zero }))), 'MEASUREMENT_ABSENT');
  });

  test('one reference has to match whole', async () => {
    await refused(verdict(snp, policy(reference({ 'vTPM:PCR4': 'bb'.repeat(32) }), reference({ 'vTPM:PCR7': 'bb'.repeat(32) }, 'b'))), 'MEASUREMENT_MISMATCH');
    await expect(verdict(snp, policy(reference({ 'vTPM:PCR4': 'bb'.repeat(32) }), reference({}, 'b')))).resolves.toBeUndefined();
  });

  test('launch measurement and signer of the paravisor, where they are pinned', async () => {
    const launch = snp.measurements.find((m) => m.register === 'LAUNCH')?.value as string;
    await expect(verdict(snp, policy(reference({ LAUNCH: launch }, 'a', { idKeyDigest: snp.guest.idKeyDigest })))).resolves.toBeUndefined();
    await refused(verdict(snp, policy(reference({ LAUNCH: 'bb'.repeat(48) }))), 'MEASUREMENT_MISMATCH');
    await refused(verdict(snp, policy(reference({}, 'a', { idKeyDigest: 'bb'.repeat(48) }))), 'MEASUREMENT_MISMATCH');
    await refused(verdict(tdx, policy(reference({ LAUNCH: launch }))), 'MEASUREMENT_ABSENT');
    await refused(verdict(tdx, policy(reference({}, 'a', { idKeyDigest: 'bb'.repeat(48) }))), 'MEASUREMENT_ABSENT');
    await refused(verdict(tdx, policy(reference({ MRTD: 'bb'.repeat(48) }))), 'MEASUREMENT_MISMATCH');
  });

  test('a reference that names too little is none, whoever wrote the policy', async () => {
    const { 'vTPM:PCR12': _, ...rest } = registers;
    await refused(verdict(snp, policy({ ...reference(), registers: rest as Azure['registers'] })), 'POLICY_EMPTY', 'MEASUREMENT_MISMATCH');
  });
});

describe('paravisor', () => {
  test('neither pinned nor vouched for: the registers could be anybody\'s', async () => {
    await refused(verdict(unproven), 'CLOUD_ORIGIN');
    await expect(verdict(unproven, policy(reference({ LAUNCH: snp.measurements[0]?.value })))).resolves.toBeUndefined();
    await expect(verdict(unproven, policy(reference({}, 'a', { idKeyDigest: snp.guest.idKeyDigest })))).resolves.toBeUndefined();
  });
});

describe('hardware', () => {
  test.each([['OutOfDate', 'TCB_OUT_OF_DATE'], ['OutOfDateConfigurationNeeded', 'TCB_OUT_OF_DATE'], ['Revoked', 'TCB_REVOKED'], ['NotReported', 'TCB_STATUS']] as const)('a TD whose TCB is %s', async (status, code) => {
    await refused(verdict({ ...tdx, tcb: { ...tdx.tcb, status } }), code);
  });

  test('what Intel calls needed allows a warning', async () => {
    for (const status of ['SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded'] as const) expect(await appraise({ ...tdx, tcb: { ...tdx.tcb, status } }, policy())).toMatchObject({ status: 'warning', vector: { hardware: 32 } });
  });

  test('migration, debugging, lists that were not looked at', async () => {
    await refused(verdict({ ...tdx, guest: { ...tdx.guest, migratable: true } }), 'HW_DENIED');
    await expect(verdict({ ...tdx, guest: { ...tdx.guest, debug: true } })).rejects.toThrow(/DEBUG/);
    expect((await appraise({ ...tdx, hardware: { ...tdx.hardware, revocation: { status: 'unchecked' } } }, policy())).status).toBe('warning');
  });
});

describe('policy', () => {
  const parses = (value: unknown) => appraisalPolicySchema.safeParse(value).success;

  test('references of all platforms beside each other; a Nitro document is valid as ever', () => {
    const nitro = { id: 'n', platform: 'aws-nitro', registers: { PCR0: 'a0'.repeat(48), PCR1: 'a1'.repeat(48), PCR2: 'a2'.repeat(48) } };
    expect(parses({ ...policy(), references: [nitro] })).toBe(true);
    expect(parses({ ...policy(), references: [nitro, reference(), { id: 'g', platform: 'gke', registers: { LAUNCH: 'a0'.repeat(48) } }, { id: 't', platform: 'gke', registers: { MRTD: 'a0'.repeat(48), RTMR1: 'a1'.repeat(48), RTMR2: 'a2'.repeat(48) } }] })).toBe(true);
  });

  test('what a reference must not be', () => {
    const { 'vTPM:PCR8': _, ...missing } = registers;
    for (const bad of [
      { ...reference(), registers: missing }, reference({ 'vTPM:PCR4': zero }), reference({ 'vTPM:PCR7': zero }), reference({ 'vTPM:PCR9': 'A9'.repeat(32) }), reference({ LAUNCH: 'a0'.repeat(32) }), reference({ LAUNCH: '00'.repeat(48) }),
      { ...reference(), registers: { ...registers, PCR0: 'a0'.repeat(48) } }, { ...reference(), registers: { ...registers, 'vTPM:PCR24': zero } }, { ...reference(), idKeyDigest: 'a0' }, { ...reference(), platform: 'azure' }, { ...reference(), platform: 'aws-nitro' },
    ]) expect(parses({ ...policy(), references: [bad] }), JSON.stringify(bad).slice(0, 80)).toBe(false);
  });

  test('one quote answers all references: they name the same PCRs', () => {
    expect(parses(policy(reference(), reference({ 'vTPM:PCR14': zero }, 'b')))).toBe(false);
    expect(parses(policy(reference({ 'vTPM:PCR14': zero }), reference({ 'vTPM:PCR14': zero }, 'b')))).toBe(true);
    expect(parses(policy(reference({ LAUNCH: 'a0'.repeat(48) }), reference({}, 'b')))).toBe(true);
  });

  test('what a machine is asked to quote', () => {
    expect(vtpmIndexes(requiredRegisters(policy(reference({ LAUNCH: 'a0'.repeat(48) })), 'azure-cvm'))).toEqual([4, 7, 8, 9, 11, 12, 13]);
    expect(requiredRegisters(policy(), 'aws-nitro')).toEqual([]);
    expect(vtpmIndexes(['vTPM:PCR10', 'vTPM:PCR2', 'PCR3', 'vTPM:PCR', 'xvTPM:PCR5'])).toEqual([2, 10]);
  });
});
