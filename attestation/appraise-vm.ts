/**
 * What appraisal adds for Confidential VMs and nodes, whose evidence says more than a Nitro document: TCB, generation, paravisor, migration,
 * console, Secure Boot, revocation. A rule that lowers allows at most `warning`; what would be a matter of policy and has no field in the policy
 * yet is decided on the careful side.
 */
import { appraiseSnp, DEFAULT_SNP } from './appraise-snp.ts';
import type { NormalizedClaims, Rule, TrustVector } from './claims.ts';
import type { Reference } from './policy.ts';
import { referenceRegisters } from './policy-registers.ts';
import type { RefusalCode } from './refusal.ts';
import type { SnpRules } from './snp-rules.ts';

export interface VmAppraisal { readonly rules: readonly Rule[]; readonly vector: Partial<TrustVector> }

const rule = (id: string, detail: string): Rule => ({ id, outcome: 'pass', detail });
const lowered = (id: string, detail: string, next: string): Rule => ({ id, outcome: 'lowered', detail, next });
const failed = (id: string, code: RefusalCode, have: string, need: string, next: string): Rule => ({ id, outcome: 'fail', code, detail: have, have, need, next });

const UPDATE = 'Move the workload to a machine with current firmware.';
/** Nothing for Nitro. SEV-SNP has rules of its own in the policy, or the careful ones. */
export function appraiseVm(claims: NormalizedClaims, matched: Reference | undefined, policy?: SnpRules): VmAppraisal {
  const { technology } = claims.hardware;
  if (technology === 'nitro') return { rules: [], vector: {} };
  const snp = technology === 'sev-snp' ? appraiseSnp(claims, policy ?? DEFAULT_SNP) : undefined;
  const common = [revocationRule(claims), firmwareRule(claims, matched), consoleRule(claims), secureBootRule(claims)];
  const rules = snp === undefined ? [tcbRule(claims), ...common, migrationRule(claims)] : [...snp.rules, ...common];
  const weak = rules.some((r) => ['tcb', 'revocation'].includes(r.id) && r.outcome !== 'pass');
  const plain = technology === 'sev';
  return {
    rules,
    vector: {
      ...(snp !== undefined ? { hardware: snp.vector.hardware } : weak || plain ? { hardware: 32 } : {}),
      ...(plain ? { 'runtime-opaque': 32 } : {}),
      // Nothing of these measures the workload's image by itself: boot chain only
      ...(matched === undefined ? {} : { executables: 3 }),
      configuration: Math.max(snp?.vector.configuration ?? 3, claims.guest.debug === true ? 96 : claims.guest.debug === null || rules.some((r) => ['console', 'secure-boot', 'migration'].includes(r.id) && r.outcome !== 'pass') ? 32 : 3),
      'instance-identity': claims.cloud.origin === 'proven' && claims.anchor === 'production' ? 2 : 0,
    },
  };
}

function tcbRule({ tcb, hardware }: NormalizedClaims): Rule {
  const advisories = tcb.advisories?.length ?? 0;
  const detail = `${tcb.status}${advisories === 0 ? '' : `, ${advisories} advisories`}`;
  switch (tcb.status) {
    case 'UpToDate': return rule('tcb', detail);
    case 'SWHardeningNeeded': case 'ConfigurationNeeded': case 'ConfigurationAndSWHardeningNeeded': return lowered('tcb', detail, UPDATE);
    case 'OutOfDate': case 'OutOfDateConfigurationNeeded': return failed('tcb', 'TCB_OUT_OF_DATE', detail, 'UpToDate', UPDATE);
    case 'Revoked': return failed('tcb', 'TCB_REVOKED', detail, 'UpToDate', UPDATE);
    // Absent for a TD means that nobody has judged its TCB; plain SEV proves none
    default: return hardware.technology === 'tdx' ? failed('tcb', 'TCB_STATUS', detail, 'UpToDate', 'Verify with the TCB information of Intel.') : lowered('tcb', `${detail}: the evidence proves no security versions`, 'Use SEV-SNP or TDX.');
  }
}

function revocationRule({ hardware }: NormalizedClaims): Rule {
  if (hardware.revocation.status === 'good') return rule('revocation', 'good');
  return lowered('revocation', 'unchecked', 'Bring the revocation lists of the vendor.');
}

/**
 * The registers of a vTPM are what the paravisor says. Somebody with a machine of the same vendor could run a paravisor of their own; so either its
 * measurement or signer is pinned, or the cloud vouches for its vTPM.
 */
function firmwareRule({ platform, cloud, anchor }: NormalizedClaims, matched: Reference | undefined): Rule {
  if (platform !== 'azure-cvm') return rule('firmware', 'measured');
  const registers = matched === undefined ? undefined : referenceRegisters(matched);
  const pinned = registers?.has('LAUNCH') === true || registers?.has('MRTD') === true || (matched !== undefined && 'idKeyDigest' in matched && matched.idKeyDigest !== undefined);
  if (pinned) return rule('firmware', 'pinned by the reference');
  // Under a development root nothing is proven anyway: the anchor rule decides
  if (cloud.origin === 'proven' || anchor === 'development') return rule('firmware', `origin ${cloud.origin}`);
  return failed('firmware', 'CLOUD_ORIGIN', `origin ${cloud.origin}, no LAUNCH, MRTD or idKeyDigest in the reference`, 'proven origin, or the paravisor pinned', 'Send the certificate of the vTPM\'s attestation key with its intermediates, or have the owner pin LAUNCH, MRTD or idKeyDigest.');
}

function migrationRule({ guest }: NormalizedClaims): Rule {
  if (guest.migratable === null) return lowered('migration', 'nothing proves that migration is off', 'Use a technology whose evidence says so: SEV-SNP or TDX.');
  return guest.migratable ? failed('migration', 'HW_DENIED', 'may be migrated by an agent', 'no migration', 'Start the guest with a policy that allows no migration.') : rule('migration', 'not migratable');
}

function consoleRule({ guest }: NormalizedClaims): Rule {
  return guest.consoleEnabled === true ? lowered('console', 'console enabled', 'Start the VM without serial console and boot diagnostics.') : rule('console', 'not enabled');
}

function secureBootRule({ guest }: NormalizedClaims): Rule {
  return guest.secureBoot === false ? lowered('secure-boot', 'off', 'Start the VM with Secure Boot.') : rule('secure-boot', guest.secureBoot === true ? 'on' : 'not stated');
}
