/**
 * What a policy says of SEV-SNP hardware and of the guest's own policy, over claims. Minima are compared component by component, never as one number
 * and never for equality; what a policy does not state is refused, not skipped. A rule that lowers allows at most `warning`.
 *
 * Milan never reaches `affirming`: extraction of its chips' key seeds by software was published in 2026, after which any TCB can be forged.
 */
import type { NormalizedClaims, Rule, TcbComponents, TrustVector } from './claims.ts';
import { decodePlatformInfo, decodePolicy } from './formats/snp-report.ts';
import { below } from './hardware/snp/generation.ts';
import type { RefusalCode } from './refusal.ts';
import type { SnpRules } from './snp-rules.ts';
import { AMD_PRODUCTS, type AmdProduct } from './trust/purposes.ts';

/**
 * Floors with a source: SNP firmware against EntrySign (AMD-SB-3019, CVE-2024-56161); Genoa's others are those that a verifier in production enforces. For
 * Turin none is published: an owner who wants it states his own.
 */
export const PUBLISHED_FLOORS: SnpRules['minimumTcb'] = { Milan: { bootloader: 0, tee: 0, snp: 0x18, microcode: 0 }, Genoa: { bootloader: 7, tee: 0, snp: 0x17, microcode: 0x48 } };

/** A guest at VMPL 0, no debugging, no migration, committed firmware; Milan denied. */
export const STRICT_SNP: SnpRules = {
  minimumTcb: PUBLISHED_FLOORS, deniedGenerations: ['Milan'], deniedChips: [], allowProvisionalFirmware: false, requireAliasCheck: true, vmpl: 0, minimumAbi: { major: 0, minor: 0 }, smt: 'warn', require: [], minimumGuestSvn: 0,
};

/** Where a policy states no rules of its own. Milan is taken, as a warning; Turin is not, since its floors are the owner's to state. */
export const DEFAULT_SNP: SnpRules = { ...STRICT_SNP, deniedGenerations: [] };

export interface SnpAppraisal { readonly rules: readonly Rule[]; readonly vector: Pick<TrustVector, 'hardware' | 'configuration' | 'runtime-opaque'> }

const NEVER_AFFIRMING: ReadonlySet<string> = new Set(['Milan']);
const UPDATE = 'Move the workload to a machine with current firmware.';
const MOVE = 'Move the workload to a machine that the policy accepts.';
const LAUNCH = 'Launch the guest with the policy that is asked for.';

const pass = (id: string, detail: string): Rule => ({ id, outcome: 'pass', detail });
const lowered = (id: string, detail: string, next: string): Rule => ({ id, outcome: 'lowered', detail, next });
/** A rule that holds or refuses. */
const demand = (id: string, holds: boolean, code: RefusalCode, have: string, need: string, next: string): Rule => (holds ? pass(id, have) : { id, outcome: 'fail', code, detail: have, have, need, next });

/** @param claims of a verified SNP report: `hardware.technology` is sev-snp */
export function appraiseSnp(claims: NormalizedClaims, policy: SnpRules): SnpAppraisal {
  const hardware = [technologyRule(claims), generationRule(claims, policy), chipRule(claims, policy), ...tcbRules(claims, policy), ...firmwareRules(claims, policy), mitigationRule(claims, policy), aliasRule(claims, policy)];
  const guest = [...guestRules(claims, policy), ...platformRules(claims, policy), smtRule(claims, policy)];
  const worst = (rules: readonly Rule[], fail: number): number => (rules.some((r) => r.outcome === 'fail') ? fail : rules.some((r) => r.outcome === 'lowered') ? 32 : 2);
  const { generation, revocation } = claims.hardware;
  return {
    rules: [...hardware, ...guest],
    vector: {
      hardware: generation === null ? 97 : Math.max(worst(hardware, 96), revocation.status === 'good' ? 2 : 32),
      configuration: worst(guest, 96),
      'runtime-opaque': claims.guest.debug === false ? 2 : 96,
    },
  };
}

const technologyRule = ({ hardware }: NormalizedClaims): Rule => demand('snp-technology', hardware.technology === 'sev-snp', 'HW_DENIED', hardware.technology, 'sev-snp', MOVE);

function generationRule({ hardware: { generation } }: NormalizedClaims, policy: SnpRules): Rule {
  if (generation === null) return demand('snp-generation', false, 'UNKNOWN_GENERATION', 'an unknown generation', AMD_PRODUCTS.join(', '), MOVE);
  const listed = floorOf(generation, policy) !== undefined && !policy.deniedGenerations.some((g) => g === generation);
  if (!listed) return demand('snp-generation', false, 'HW_DENIED', generation, AMD_PRODUCTS.filter((g) => floorOf(g, policy) !== undefined && !policy.deniedGenerations.includes(g)).join(', ') || 'none', MOVE);
  return NEVER_AFFIRMING.has(generation) ? lowered('snp-generation', `${generation}: keys of its chips can be extracted`, 'Use a later generation.') : pass('snp-generation', generation);
}

const floorOf = (generation: string, policy: SnpRules): TcbComponents | undefined => policy.minimumTcb[generation as AmdProduct];

function chipRule({ hardware: { chipId } }: NormalizedClaims, { deniedChips }: SnpRules): Rule {
  return demand('snp-chip', chipId !== undefined && !deniedChips.includes(chipId), 'HW_DENIED', chipId ?? 'no chip id', 'a chip that the policy does not deny', MOVE);
}

function tcbRules({ hardware, tcb }: NormalizedClaims, policy: SnpRules): Rule[] {
  const floor = floorOf(hardware.generation ?? '', policy);
  return (['reported', 'launch'] as const).map((which) => {
    const have = tcb.components?.[which];
    // Without a floor the generation is refused already
    const low = have === undefined ? ['no security versions'] : floor === undefined ? ['no minimum'] : below(have, floor);
    return demand(`snp-tcb-${which}`, low.length === 0, 'TCB_FLOOR', low.join(', ') || 'at or above the minimum', floor === undefined ? 'a minimum for this generation' : Object.entries(floor).map(([name, n]) => `${name} ${n}`).join(', '), which === 'launch' ? `${UPDATE} A guest that was launched on old firmware has to be launched again.` : UPDATE);
  });
}

function firmwareRules({ tcb: { components, firmware } }: NormalizedClaims, policy: SnpRules): Rule[] {
  const behind = components === undefined ? ['no security versions'] : below(components.committed, components.current);
  const final = firmware !== undefined && firmware.current === firmware.committed && behind.length === 0;
  const versions = `firmware ${firmware?.current ?? 'unknown'}, committed ${firmware?.committed ?? 'unknown'}${behind.length === 0 ? '' : `, ${behind.join(', ')}`}`;
  const committed = demand('snp-firmware-committed', final || policy.allowProvisionalFirmware, 'TCB_FLOOR', versions, 'committed versions that are the current ones', 'Have the operator of the machine commit its firmware.');
  const floor = policy.minimumFirmware;
  if (floor === undefined) return [committed];
  const [major = -1, minor = -1, build = -1] = firmware?.current.split('.').map(Number) ?? [];
  const enough = [major - floor.major, minor - floor.minor, build - floor.build].find((d) => d !== 0) ?? 0;
  return [committed, demand('snp-firmware', enough >= 0, 'TCB_FLOOR', firmware?.current ?? 'unknown', `at least ${floor.major}.${floor.minor}.${floor.build}`, UPDATE)];
}

function mitigationRule({ tcb: { mitigations: have } }: NormalizedClaims, { mitigations: need }: SnpRules): Rule {
  if (need === undefined) return pass('snp-mitigations', 'none demanded');
  const bits = BigInt(`0x${need}`);
  const set = have !== undefined && [have.launch, have.current].every((vector) => (BigInt(`0x${vector}`) & bits) === bits);
  return demand('snp-mitigations', set, 'TCB_FLOOR', have === undefined ? 'a report before version 5' : `launch ${have.launch}, current ${have.current}`, need, UPDATE);
}

const aliasRule = ({ guest }: NormalizedClaims, policy: SnpRules): Rule => (policy.requireAliasCheck ? demand('snp-alias-check', guest.aliasCheck === true, 'BADRAM', 'ALIAS_CHECK_COMPLETE 0', 'ALIAS_CHECK_COMPLETE 1', UPDATE) : pass('snp-alias-check', 'not demanded'));

function guestRules({ guest }: NormalizedClaims, policy: SnpRules): Rule[] {
  const { abi, guestSvn, hostData, authorKeyDigest } = guest;
  const { minimumAbi: min } = policy;
  const listed = (id: string, name: string, have: string | undefined, need: readonly string[] | undefined): Rule[] => (need === undefined ? [] : [demand(id, have !== undefined && need.includes(have), 'GUEST_POLICY', `${name} ${have ?? 'absent'}`, need.join(' or '), LAUNCH)]);
  return [
    demand('snp-debug', guest.debug === false, 'DEBUG_VM', guest.debug === false ? 'no debugging' : 'the host may debug the guest', 'policy bit 19 zero', LAUNCH),
    demand('snp-migration', guest.migratable === false, 'GUEST_POLICY', guest.migratable === false ? 'no migration' : 'a migration agent may take it', 'policy bit 18 zero', LAUNCH),
    demand('snp-vmpl', guest.vmpl === policy.vmpl, 'GUEST_VMPL', `VMPL ${guest.vmpl ?? 'unknown'}`, `VMPL ${policy.vmpl}`, 'Ask for the report at the level that the policy names.'),
    demand('snp-abi', abi !== undefined && (abi.major > min.major || (abi.major === min.major && abi.minor >= min.minor)), 'GUEST_POLICY', `ABI ${abi?.major ?? '?'}.${abi?.minor ?? '?'}`, `at least ${min.major}.${min.minor}`, LAUNCH),
    demand('snp-guest-svn', (guestSvn ?? -1) >= policy.minimumGuestSvn, 'GUEST_POLICY', `guest_svn ${guestSvn ?? 'absent'}`, `at least ${policy.minimumGuestSvn}`, LAUNCH),
    ...listed('snp-host-data', 'host_data', hostData, policy.hostData),
    ...listed('snp-author-key', 'author_key_digest', authorKeyDigest, policy.authorKeyDigests),
  ];
}

/** What is demanded has to be in the guest's policy, and what that demands has to be so. */
function platformRules(claims: NormalizedClaims, policy: SnpRules): Rule[] {
  const bits = bitsOf(claims);
  if (bits === undefined) return [demand('snp-policy', false, 'GUEST_POLICY', 'no policy or platform information', 'both', 'Appraise what the adapter returned.')];
  const { guest, platform } = bits;
  const broken = [...(guest.raplDisabled && !platform.raplDisabled ? ['RAPL is on'] : []), ...(guest.ciphertextHiding && !platform.ciphertextHiding ? ['ciphertext is visible'] : []), ...(!guest.smt && platform.smtEnabled ? ['SMT is on'] : [])];
  const missing = policy.require.filter((name) => !guest[name]);
  return [
    demand('snp-policy', missing.length === 0, 'GUEST_POLICY', missing.length === 0 ? 'demands what is required' : `does not demand ${missing.join(', ')}`, policy.require.join(', '), LAUNCH),
    demand('snp-platform', broken.length === 0, 'GUEST_POLICY', broken.join(', ') || 'as the guest\'s policy demands', 'what the guest\'s policy demands', MOVE),
  ];
}

function bitsOf({ guest, hardware }: NormalizedClaims): { guest: ReturnType<typeof decodePolicy>; platform: ReturnType<typeof decodePlatformInfo> } | undefined {
  const [policy, platform] = [guest.attributes, hardware.platformInfo];
  if (policy === undefined || platform === undefined || !/^[0-9a-f]{16}$/.test(policy) || !/^[0-9a-f]{16}$/.test(platform)) return undefined;
  return { guest: decodePolicy(BigInt(`0x${policy}`)), platform: decodePlatformInfo(BigInt(`0x${platform}`)) };
}

function smtRule(claims: NormalizedClaims, { smt }: SnpRules): Rule {
  const bits = bitsOf(claims);
  const on = bits === undefined || bits.platform.smtEnabled || bits.guest.smt;
  if (!on) return pass('snp-smt', 'off and not allowed');
  if (smt === 'refuse') return demand('snp-smt', false, 'GUEST_POLICY', 'SMT on, or allowed by the guest\'s policy', 'policy bit 16 zero, SMT off', LAUNCH);
  return smt === 'allow' || claims.guest.smt === false ? pass('snp-smt', 'allowed') : lowered('snp-smt', 'SMT on', 'Use a machine without simultaneous multithreading.');
}
