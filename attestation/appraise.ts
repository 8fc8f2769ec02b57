/**
 * Appraisal (RFC 9334, section 8.4): normalized claims against a policy give an AR4SI trustworthiness vector and a tier.
 *
 * Every rule is carried out and recorded. A failed rule makes the appraisal contraindicated, whatever the vector says: a measurement
 * that is not in the references is refused, not warned about. A lowered rule allows at most `warning`.
 */
import { appraiseVm } from './appraise-vm.ts';
import { hex, sha256, utf8 } from './bytes.ts';
import { canonicalJson } from './canonical.ts';
import type { Appraisal, NormalizedClaims, Rule, Tier, TrustVector } from './claims.ts';
import { applyExceptions } from './exceptions.ts';
import type { AppraisalPolicy, Reference } from './policy.ts';
import { referenceRegisters } from './policy-registers.ts';
import { deepFreeze, mismatches, type References, referencesOf } from './reference-index.ts';
import { type Reason, Refusal } from './refusal.ts';

/**
 * A bad status is an answer, not an exception; `requireAcceptable` turns it into a refusal.
 * @param policy frozen from here on: what was prepared of it stands for it the next time
 */
export function appraise(claims: NormalizedClaims, policy: AppraisalPolicy): Promise<Appraisal> {
  return appraiseAgainst(referencesOf(policy, claims.platform), claims, policy);
}

/** @param references of the policy, for the platform of the claims */
export async function appraiseAgainst(references: References, claims: NormalizedClaims, policy: AppraisalPolicy): Promise<Appraisal> {
  const matched = references.match(claims);
  const development = claims.anchor !== 'production';
  const vm = appraiseVm(claims, matched, policy.snp);

  const { rules, used } = applyExceptions([
    policyRule(references),
    anchorRule(development, policy),
    debugRule(claims),
    measurementRule(references, matched, claims),
    freshnessRule(claims),
    ageRule(claims, policy),
    scopeRule(claims, policy),
    skippedRule(claims),
    ...vm.rules,
  ], claims, policy.exceptions);
  const excepted = used.length > 0 && rules.every((r) => r.outcome !== 'fail');
  const vector: TrustVector = {
    // Under a development root the names in the certificates are only what somebody typed: no claim.
    'instance-identity': development ? 0 : 2,
    configuration: unless(claims.guest.debug, 2),
    executables: matched === undefined ? 33 : 2,
    'file-system': 0,
    hardware: 2,
    'runtime-opaque': unless(claims.guest.debug, 2),
    'storage-opaque': 0,
    'sourced-data': 0,
    ...vm.vector,
    ...(excepted ? { hardware: 32 } : {}),
    ...(development ? { hardware: policy.allowDevelopment ? 32 : 97 } : {}),
  };
  return {
    status: statusOf(vector, rules),
    vector, rules, ...(used.length === 0 ? {} : { exceptionsUsed: used }),
    policyId: policy.id,
    policySha256: await digestOf(policy),
    claims: matched === undefined ? claims : withReference(claims, matched),
  };
}

const digests = new WeakMap<AppraisalPolicy, string>();

async function digestOf(policy: AppraisalPolicy): Promise<string> {
  const known = digests.get(policy);
  if (known !== undefined) return known;
  const digest = hex(await sha256(utf8(canonicalJson(deepFreeze(policy)))));
  digests.set(policy, digest);
  return digest;
}

/**
 * @param mode `live` (default) wants evidence that answers a challenge; `replay` accepts stored evidence too, and is for reading
 *   results, never for releasing keys.
 * @throws Refusal with one reason per failed rule, unless the status is affirming or warning
 */
export function requireAcceptable(appraisal: Appraisal, mode: 'live' | 'replay' = 'live'): void {
  const failed = appraisal.rules.filter((r) => r.outcome === 'fail' || (r.id === 'freshness' && r.outcome !== 'pass' && mode !== 'replay'));
  const reasons = failed.map((r): Reason => ({ code: r.code ?? 'APPRAISAL_STATUS', path: `appraisal.${r.id}`, have: r.have, need: r.need, next: r.next ?? 'Read the rule in the appraisal.' }));
  if (reasons.length === 0 && appraisal.status !== 'affirming' && appraisal.status !== 'warning') {
    reasons.push({ code: 'APPRAISAL_STATUS', path: 'appraisal.status', have: appraisal.status, need: 'affirming or warning', next: 'Read the trustworthiness vector: a claim of 96 or more says what is wrong.' });
  }
  if (reasons.length > 0) throw new Refusal(reasons);
}

/** AR4SI, section 2.3.2: the tier of one claim of the vector. */
export function tierOf(claim: number): Tier {
  if (claim >= -1 && claim <= 1) return 'none';
  if (claim >= -32 && claim <= 31) return 'affirming';
  return claim >= -96 && claim <= 95 ? 'warning' : 'contraindicated';
}

/** The worst tier of the vector, and never better than the rules allow. */
function statusOf(vector: TrustVector, rules: readonly Rule[]): Tier {
  const order: readonly Tier[] = ['none', 'affirming', 'warning', 'contraindicated'];
  const tiers = Object.values(vector).map(tierOf);
  if (rules.some((r) => r.outcome === 'lowered')) tiers.push('warning');
  if (rules.some((r) => r.outcome === 'fail')) tiers.push('contraindicated');
  return tiers.reduce((worst, tier) => (order.indexOf(tier) > order.indexOf(worst) ? tier : worst), 'none');
}

/** A claim of the vector that debugging ruins, and that nothing affirms while debugging is not ruled out. */
const unless = (debug: boolean | null, otherwise: number): number => (debug === false ? otherwise : debug === null ? 32 : 96);

const pass = (id: string, detail: string): Rule => ({ id, outcome: 'pass', detail });

function policyRule({ count, complete }: References): Rule {
  if (complete) return pass('policy', `${count} references`);
  return {
    id: 'policy', outcome: 'fail', code: 'POLICY_EMPTY', detail: 'no references, or one without the registers that its platform must have',
    have: `${count} references`, need: 'at least one, each with all registers that its platform must have (aws-nitro: PCR0, PCR1 and PCR2)', next: 'Put the measurements of the released image into the policy (ccc measure) and have the owner sign it.',
  };
}

function anchorRule(development: boolean, policy: AppraisalPolicy): Rule {
  if (!development) return pass('anchor', 'production root');
  if (policy.allowDevelopment === true) return { id: 'anchor', outcome: 'lowered', detail: 'development root, allowed by the policy: proves nothing about hardware' };
  return { id: 'anchor', outcome: 'fail', code: 'ANCHOR_DEVELOPMENT', detail: 'development root', have: 'development', need: 'production', next: 'Run the workload in a real enclave; only a development policy may set allowDevelopment.' };
}

const DEBUG_CODES = { nitro: 'DEBUG_ENCLAVE', tdx: 'DEBUG_TD', 'sev-snp': 'DEBUG_VM', sev: 'DEBUG_VM' } as const;

function debugRule(claims: NormalizedClaims): Rule {
  if (claims.guest.debug === false) return pass('debug', 'not in debug mode');
  if (claims.guest.debug === null) return { id: 'debug', outcome: 'lowered', detail: 'nothing proves that debugging is off', next: 'Use a technology whose evidence says so: SEV-SNP or TDX.' };
  return { id: 'debug', outcome: 'fail', code: DEBUG_CODES[claims.hardware.technology], detail: 'debug mode', have: claims.hardware.technology === 'nitro' ? 'PCR0, PCR1, PCR2 are zero' : 'debugging allowed by the guest\'s policy or attributes', need: 'no debugging', next: 'Start it without debug mode: its memory is open to the host.' };
}

function measurementRule(references: References, matched: Reference | undefined, claims: NormalizedClaims): Rule {
  if (matched !== undefined) return pass('measurements', `reference ${matched.id}`);
  const nearest = references.nearest(claims);
  const wrong = nearest === undefined ? undefined : mismatches(nearest, claims);
  const show = (key: 'have' | 'need') => wrong?.map((w) => `${w.register} ${w[key]}`).join(', ');
  return {
    id: 'measurements', outcome: 'fail', detail: nearest === undefined ? 'no references' : `nearest reference: ${nearest.id}`,
    code: wrong?.some((w) => w.have === 'absent') === true ? 'MEASUREMENT_ABSENT' : 'MEASUREMENT_MISMATCH',
    have: show('have') ?? 'measurements', need: show('need') ?? 'a reference', next: 'This is other code than the owner released. Rebuild the release, or have the owner sign a policy with these measurements.',
  };
}

function freshnessRule(claims: NormalizedClaims): Rule {
  if (claims.time.freshness === 'challenge') return pass('freshness', 'answers the challenge');
  return { id: 'freshness', outcome: 'lowered', code: 'STALE', detail: `freshness ${claims.time.freshness}`, have: claims.time.freshness, need: 'challenge', next: 'Ask for evidence over a fresh challenge: stored evidence releases nothing.' };
}

function ageRule(claims: NormalizedClaims, policy: AppraisalPolicy): Rule {
  if (claims.time.freshness === 'none') return pass('age', 'not judged: freshness none');
  const age = claims.time.verifiedAt - claims.time.evidenceAt;
  if (age <= policy.maxAgeSeconds) return pass('age', `${age} s, at most ${policy.maxAgeSeconds} s`);
  return { id: 'age', outcome: 'fail', code: 'STALE', detail: 'too old', have: `${age} s`, need: `at most ${policy.maxAgeSeconds} s`, next: 'Attest again.' };
}

function scopeRule(claims: NormalizedClaims, policy: AppraisalPolicy): Rule {
  const { scope } = claims.workload.binding;
  // The schema says this of brokers already; it must hold for a policy that never saw the schema too.
  if (policy.scopes.includes(scope) && !(scope === 'node' && policy.role === 'broker')) return pass('scope', scope);
  return { id: 'scope', outcome: 'fail', code: 'SCOPE_NODE', detail: 'scope', have: scope, need: policy.scopes.filter((s) => s !== 'node' || policy.role !== 'broker').join(', '), next: 'Evidence of this scope does not prove this workload; run it where the policy allows.' };
}

function skippedRule(claims: NormalizedClaims): Rule {
  const skipped = claims.checks.filter((c) => c.result === 'skipped-by-policy').map((c) => c.id);
  if (claims.checks.length === 0) return { id: 'checks', outcome: 'fail', code: 'APPRAISAL_STATUS', detail: 'no checks', have: 'claims without checks', need: 'claims of an adapter', next: 'Appraise what an adapter returned.' };
  return skipped.length === 0 ? pass('checks', `${claims.checks.filter((c) => c.result === 'pass').length} carried out`) : { id: 'checks', outcome: 'lowered', detail: `skipped: ${skipped.join(', ')}` };
}

const withReference = (claims: NormalizedClaims, reference: Reference): NormalizedClaims => ({
  ...claims,
  measurements: claims.measurements.map((m) => (referenceRegisters(reference).has(m.register) ? { ...m, matchedReference: reference.id } : m)),
});
