/** Appraisal of verified SNP evidence: one thing below what a policy demands, and exactly that rule fails with its code. */
import { beforeAll, describe, expect, test } from 'vitest';
import { appraise, requireAcceptable } from '../../../attestation/appraise.ts';
import { appraiseSnp, DEFAULT_SNP, PUBLISHED_FLOORS, STRICT_SNP } from '../../../attestation/appraise-snp.ts';
import { type SnpRules, snpRulesSchema } from '../../../attestation/snp-rules.ts';
import { hex } from '../../../attestation/bytes.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { encodeTcb } from '../../../attestation/hardware/snp/generation.ts';
import { snpEvidence, snpGuest, snpHardware, snpMeasurement, snpTcb } from '../../../attestation/hardware/snp/claims.ts';
import { SIMULATED_PLATFORM, SIMULATED_POLICY, SIMULATED_TCB, simulatedChipId, type SnpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { type AppraisalPolicy, appraisalPolicySchema } from '../../../attestation/policy.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import type { AmdProduct } from '../../../attestation/trust/purposes.ts';
import { refused } from '../support.ts';
import { AMD_PRODUCTS, NOW, snpWorld, verified } from './world.ts';

/** Claims of a report with these fields, signed and verified. */
async function claimsOf(product: AmdProduct, fields: Partial<SnpReportFields> = {}, reported = SIMULATED_TCB[product]): Promise<NormalizedClaims> {
  const w = await snpWorld({ product, vek: { tcb: reported } });
  const { facts, checks } = await verified(w, { fields });
  return {
    schema: 'https://confidential-cat-counter.dev/claims/v1', platform: 'aws-nitro', anchor: 'production', evidence: [snpEvidence(facts, 'root')],
    time: { verifiedAt: NOW, evidenceAt: NOW, freshness: 'challenge', challengeId: '', nonce: '' },
    hardware: snpHardware(facts, NOW), tcb: snpTcb(facts), guest: snpGuest(facts), measurements: [snpMeasurement(facts)],
    workload: { imageDigestSource: 'none', configDigest: '', binding: { scope: 'vm' } }, key: { alg: 'Ed25519', publicKeySha256: '', receivingKeySha256: '', boundIn: 'report_data', transcriptSha256: '' },
    cloud: { provider: 'gcp', origin: 'unknown' }, checks,
  };
}

const all = { Milan: SIMULATED_TCB.Milan, Genoa: SIMULATED_TCB.Genoa, Turin: SIMULATED_TCB.Turin } as SnpRules['minimumTcb'];
const RULES: SnpRules = { ...STRICT_SNP, minimumTcb: all, deniedGenerations: [] };
const failures = ({ rules }: ReturnType<typeof appraiseSnp>) => rules.filter((r) => r.outcome === 'fail');

describe('a machine that fulfils everything', () => {
  test.each(['Genoa', 'Turin'] as const)('%s is genuine hardware', async (product) => {
    const { rules, vector } = appraiseSnp(await claimsOf(product), RULES);
    expect(rules.filter((r) => r.outcome !== 'pass')).toEqual([]);
    expect(rules.length).toBeGreaterThanOrEqual(16);
    expect(vector).toEqual({ hardware: 2, configuration: 2, 'runtime-opaque': 2 });
  });

  test('D28: Milan never affirms, whatever its TCB', async () => {
    const { rules, vector } = appraiseSnp(await claimsOf('Milan'), RULES);
    expect(rules.filter((r) => r.outcome !== 'pass').map((r) => [r.id, r.outcome])).toEqual([['snp-generation', 'lowered']]);
    expect(vector.hardware).toBe(32);
  });

  test('without revocation lists hardware is a warning', async () => {
    const claims = await claimsOf('Genoa');
    expect(appraiseSnp({ ...claims, hardware: { ...claims.hardware, revocation: { status: 'unchecked' } } }, RULES).vector.hardware).toBe(32);
  });
});

interface Case { readonly name: string; readonly product?: AmdProduct; readonly fields?: Partial<SnpReportFields>; readonly reported?: Record<string, number>; readonly policy?: Partial<SnpRules>; readonly id: string; readonly code: RefusalCode; readonly vector?: object }
const bit = (n: bigint): bigint => SIMULATED_POLICY | (1n << n);
const HARDWARE = { hardware: 96 };
const GUEST = { configuration: 96 };

const CASES: Case[] = [
  // D26: each component of each generation one below the floor
  ...AMD_PRODUCTS.flatMap((product) => Object.entries(SIMULATED_TCB[product]).filter(([, n]) => n > 0).flatMap(([name, n]): Case[] => {
    const low = { ...SIMULATED_TCB[product], [name]: n - 1 };
    return [
      { name: `D26 ${product}: reported ${name} one below`, product, reported: low, fields: { reportedTcb: encodeTcb(low, product) }, id: 'snp-tcb-reported', code: 'TCB_FLOOR', vector: HARDWARE },
      { name: `D26 ${product}: launch ${name} one below`, product, fields: { launchTcb: encodeTcb(low, product) }, id: 'snp-tcb-launch', code: 'TCB_FLOOR', vector: HARDWARE },
      { name: `D26 ${product}: committed ${name} below current`, product, fields: { committedTcb: encodeTcb(low, product) }, id: 'snp-firmware-committed', code: 'TCB_FLOOR', vector: HARDWARE },
    ];
  })),
  ...([[54, 55, 1], [55, 54, 1], [55, 55, 0]] as const).map((committedVersion): Case => ({ name: `D26 committed firmware ${committedVersion.toReversed().join('.')}`, fields: { committedVersion }, id: 'snp-firmware-committed', code: 'TCB_FLOOR', vector: HARDWARE })),
  ...([[2, 0, 0], [1, 56, 0], [1, 55, 56]] as const).map(([major, minor, build]): Case => ({ name: `firmware below ${major}.${minor}.${build}`, policy: { minimumFirmware: { major, minor, build } }, id: 'snp-firmware', code: 'TCB_FLOOR', vector: HARDWARE })),
  { name: 'a mitigation that was not there at launch', policy: { mitigations: '0000000000000001' }, fields: { launchMitVector: 0xan }, id: 'snp-mitigations', code: 'TCB_FLOOR', vector: HARDWARE },
  { name: 'a mitigation that is not there now', policy: { mitigations: '000000000000000b' }, fields: { currentMitVector: 0x3n }, id: 'snp-mitigations', code: 'TCB_FLOOR', vector: HARDWARE },
  { name: 'mitigations in a report before version 5', policy: { mitigations: '0000000000000001' }, fields: { version: 3 }, id: 'snp-mitigations', code: 'TCB_FLOOR', vector: HARDWARE },
  { name: 'D27 ALIAS_CHECK_COMPLETE 0', fields: { platformInfo: SIMULATED_PLATFORM & ~(1n << 5n) }, id: 'snp-alias-check', code: 'BADRAM', vector: HARDWARE },
  { name: 'D28 a denied generation', policy: { deniedGenerations: ['Genoa'] }, id: 'snp-generation', code: 'HW_DENIED', vector: HARDWARE },
  { name: 'D28 Milan, as it is by default', product: 'Milan', policy: { deniedGenerations: STRICT_SNP.deniedGenerations }, id: 'snp-generation', code: 'HW_DENIED', vector: HARDWARE },
  { name: 'a denied chip', policy: { deniedChips: [hex(simulatedChipId('Genoa'))] }, id: 'snp-chip', code: 'HW_DENIED', vector: HARDWARE },
  { name: 'D21 debugging', fields: { policy: bit(19n) }, id: 'snp-debug', code: 'DEBUG_VM', vector: { configuration: 96, 'runtime-opaque': 96 } },
  { name: 'D21 migration', fields: { policy: bit(18n) }, id: 'snp-migration', code: 'GUEST_POLICY', vector: GUEST },
  ...[1, 2, 3].map((vmpl): Case => ({ name: `D21 VMPL ${vmpl}`, fields: { vmpl }, id: 'snp-vmpl', code: 'GUEST_VMPL', vector: GUEST })),
  { name: 'VMPL 0 where 1 is demanded', policy: { vmpl: 1 }, id: 'snp-vmpl', code: 'GUEST_VMPL', vector: GUEST },
  { name: 'ABI minor below', policy: { minimumAbi: { major: 1, minor: 52 } }, id: 'snp-abi', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'ABI major below', policy: { minimumAbi: { major: 2, minor: 0 } }, id: 'snp-abi', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'guest_svn below', policy: { minimumGuestSvn: 2 }, id: 'snp-guest-svn', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'other host_data', policy: { hostData: ['00'.repeat(32)] }, id: 'snp-host-data', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'another author key', policy: { authorKeyDigests: ['00'.repeat(48)] }, id: 'snp-author-key', code: 'GUEST_POLICY', vector: GUEST },
  ...(['singleSocket', 'aes256Xts', 'raplDisabled', 'ciphertextHiding', 'pageSwapDisabled'] as const).map((name): Case => ({ name: `${name} not demanded by the guest`, policy: { require: [name] }, id: 'snp-policy', code: 'GUEST_POLICY', vector: GUEST })),
  { name: 'RAPL on although the guest forbids it', fields: { policy: bit(23n) }, id: 'snp-platform', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'ciphertext visible although the guest forbids it', fields: { policy: bit(24n) }, id: 'snp-platform', code: 'GUEST_POLICY', vector: GUEST },
  { name: 'SMT allowed where it is refused', policy: { smt: 'refuse' }, fields: { policy: bit(16n) }, id: 'snp-smt', code: 'GUEST_POLICY', vector: GUEST },
];

describe('refused for', () => {
  test.each(CASES)('$name', async ({ product = 'Genoa', fields, reported, policy, id, code, vector }) => {
    const appraisal = appraiseSnp(await claimsOf(product, fields, reported), { ...RULES, ...policy });
    expect(failures(appraisal).map((r) => [r.id, r.code])).toEqual([[id, code]]);
    expect(appraisal.vector).toMatchObject(vector ?? {});
    expect(failures(appraisal)[0]?.next?.length).toBeGreaterThan(10);
  });

  test('SMT on although the guest forbids it', async () => {
    const appraisal = appraiseSnp(await claimsOf('Genoa', { platformInfo: SIMULATED_PLATFORM | 1n }), { ...RULES, smt: 'allow' });
    expect(failures(appraisal).map((r) => r.id)).toEqual(['snp-platform']);
  });
});

describe('what a policy accepts', () => {
  test('demands that are fulfilled', async () => {
    const fields = { policy: bit(20n) | bit(22n) | bit(23n) | bit(24n) | bit(25n), platformInfo: SIMULATED_PLATFORM | (3n << 3n) };
    const policy: SnpRules = { ...RULES, require: ['singleSocket', 'aes256Xts', 'raplDisabled', 'ciphertextHiding', 'pageSwapDisabled'], mitigations: '000000000000000b', hostData: ['00'.repeat(32), '05'.repeat(32)], authorKeyDigests: ['07'.repeat(48)], minimumFirmware: { major: 1, minor: 55, build: 55 }, minimumAbi: { major: 1, minor: 51 } };
    expect(failures(appraiseSnp(await claimsOf('Genoa', fields), policy))).toEqual([]);
  });

  test('firmware that is not committed, where it is allowed', async () => {
    expect(failures(appraiseSnp(await claimsOf('Genoa', { committedVersion: [1, 1, 1] }), { ...RULES, allowProvisionalFirmware: true }))).toEqual([]);
  });

  test('SMT on: a warning, or as the policy says', async () => {
    const claims = await claimsOf('Genoa', { policy: bit(16n), platformInfo: SIMULATED_PLATFORM | 1n });
    const warned = appraiseSnp(claims, RULES);
    expect(warned.rules.find((r) => r.id === 'snp-smt')?.outcome).toBe('lowered');
    expect(warned.vector).toEqual({ hardware: 2, configuration: 32, 'runtime-opaque': 2 });
    expect(appraiseSnp(claims, { ...RULES, smt: 'allow' }).vector.configuration).toBe(2);
  });

  test('security versions above the floor, not only equal ones', async () => {
    const higher = Object.fromEntries(Object.entries(SIMULATED_TCB.Genoa).map(([name, n]) => [name, Math.max(0, n - 3)])) as never;
    expect(failures(appraiseSnp(await claimsOf('Genoa'), { ...RULES, minimumTcb: { Genoa: higher } }))).toEqual([]);
  });
});

describe('nothing is taken for granted', () => {
  let claims: NormalizedClaims;
  beforeAll(async () => {
    claims = await claimsOf('Genoa');
  });

  test('a generation without a floor is refused', () => {
    const { rules, vector } = appraiseSnp(claims, { ...RULES, minimumTcb: { Turin: SIMULATED_TCB.Turin as never } });
    expect(rules.filter((r) => r.outcome === 'fail').map((r) => [r.id, r.code])).toEqual([['snp-generation', 'HW_DENIED'], ['snp-tcb-reported', 'TCB_FLOOR'], ['snp-tcb-launch', 'TCB_FLOOR']]);
    expect(vector.hardware).toBe(96);
  });

  test('claims with a field absent fail, whichever it is', () => {
    const without = <T extends object>(value: T, key: string): T => Object.fromEntries(Object.entries(value).filter(([k]) => k !== key)) as T;
    for (const key of ['aliasCheck', 'abi', 'guestSvn', 'attributes']) expect(failures(appraiseSnp({ ...claims, guest: without(claims.guest, key) }, RULES)), key).not.toEqual([]);
    for (const key of ['chipId', 'platformInfo']) expect(failures(appraiseSnp({ ...claims, hardware: without(claims.hardware, key) }, RULES)), key).not.toEqual([]);
    for (const key of ['components', 'firmware']) expect(failures(appraiseSnp({ ...claims, tcb: without(claims.tcb, key) }, RULES)), key).not.toEqual([]);
  });

  test('another technology, or no generation', () => {
    expect(failures(appraiseSnp({ ...claims, hardware: { ...claims.hardware, technology: 'sev' } }, RULES)).map((r) => r.code)).toEqual(['HW_DENIED']);
    const { rules, vector } = appraiseSnp({ ...claims, hardware: { ...claims.hardware, generation: null } }, RULES);
    expect(rules.find((r) => r.id === 'snp-generation')?.code).toBe('UNKNOWN_GENERATION');
    expect(vector.hardware).toBe(97);
  });

  test('a component that the claims do not have is below every floor', () => {
    const { components } = claims.tcb;
    if (components === undefined) throw new Error('no components');
    const { snp: _, ...rest } = components.reported;
    expect(failures(appraiseSnp({ ...claims, tcb: { ...claims.tcb, components: { ...components, reported: rest } } }, RULES)).map((r) => r.id)).toEqual(['snp-tcb-reported']);
  });

  test('the schema: dangerous fields must be stated, unknown ones are refused, no empty floors', () => {
    expect(snpRulesSchema.parse(STRICT_SNP)).toEqual(STRICT_SNP);
    for (const key of ['minimumTcb', 'deniedGenerations', 'deniedChips', 'allowProvisionalFirmware', 'requireAliasCheck', 'vmpl', 'minimumAbi', 'smt', 'require', 'minimumGuestSvn']) {
      const { [key]: _, ...rest } = STRICT_SNP as unknown as Record<string, unknown>;
      expect(snpRulesSchema.safeParse(rest).success, key).toBe(false);
    }
    for (const change of [{ minimumTcb: {} }, { extra: 1 }, { hostData: [] }, { vmpl: 4 }, { deniedChips: ['00'] }, { minimumTcb: { Genoa: { snp: 1 } } }, { minimumTcb: { Genoa: { ...PUBLISHED_FLOORS.Genoa, fmc: 0 } } }, { minimumTcb: { Turin: SIMULATED_TCB.Genoa } }]) {
      expect(snpRulesSchema.safeParse({ ...STRICT_SNP, ...change }).success, JSON.stringify(change)).toBe(false);
    }
  });
});

describe('with a whole policy', () => {
  const LAUNCH = '04'.repeat(48);
  const policyOf = (snp?: SnpRules, launch = LAUNCH): AppraisalPolicy => appraisalPolicySchema.parse({ id: 'p', role: 'counter', references: [{ id: 'r', platform: 'gke', registers: { LAUNCH: launch } }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['vm'], ...(snp === undefined ? {} : { snp }) });
  const node = async (product: AmdProduct, fields?: Partial<SnpReportFields>): Promise<NormalizedClaims> => ({ ...await claimsOf(product, fields), platform: 'gke' });
  const judged = async (claims: NormalizedClaims, policy: AppraisalPolicy) => {
    const appraisal = await appraise(claims, policy);
    requireAcceptable(appraisal);
    return appraisal;
  };

  test('Genoa affirms, with the rules stated or with the careful ones', async () => {
    for (const policy of [policyOf(RULES), policyOf()]) {
      expect(await judged(await node('Genoa'), policy)).toMatchObject({ status: 'affirming', vector: { hardware: 2, configuration: 3, executables: 3 } });
    }
  });

  test('D28: Milan is a warning at best, and refused where it is denied', async () => {
    expect(await judged(await node('Milan'), policyOf(RULES))).toMatchObject({ status: 'warning', vector: { hardware: 32 } });
    await refused(judged(await node('Milan'), policyOf(STRICT_SNP)), 'HW_DENIED');
  });

  test('D33: another measurement is refused, not warned about', async () => {
    await refused(judged(await node('Genoa'), policyOf(RULES, '05'.repeat(48))), 'MEASUREMENT_MISMATCH');
    await refused(judged(await node('Genoa', { measurement: new Uint8Array(48).fill(9) }), policyOf()), 'MEASUREMENT_MISMATCH');
  });

  test('D21, D26, D27 refuse with the careful rules too', async () => {
    await refused(judged(await node('Genoa', { policy: bit(19n) }), policyOf()), 'DEBUG_VM');
    await refused(judged(await node('Genoa', { policy: bit(18n) }), policyOf()), 'GUEST_POLICY');
    await refused(judged(await node('Genoa', { vmpl: 1 }), policyOf()), 'GUEST_VMPL');
    await refused(judged(await node('Genoa', { platformInfo: 6n }), policyOf()), 'BADRAM');
    const old = encodeTcb({ ...SIMULATED_TCB.Genoa, snp: 0x16 }, 'Genoa');
    await refused(judged(await node('Genoa', { launchTcb: old }), policyOf()), 'TCB_FLOOR');
    await refused(judged(await node('Turin'), policyOf()), 'HW_DENIED', 'TCB_FLOOR');
    expect(DEFAULT_SNP).toMatchObject({ requireAliasCheck: true, allowProvisionalFirmware: false, vmpl: 0 });
  });
});
