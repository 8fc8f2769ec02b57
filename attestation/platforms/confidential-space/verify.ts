/**
 * Confidential Space (Google): a token of Google Cloud Attestation in, normalized claims or a refusal out. The evidence is the service's word, not a measurement by
 * the processor that anybody can check: claims say so (`signer.kind` "service", `imageDigestSource` "platform-token"), and the image's digest is the one register:
 *
 *   IMAGE   SHA-256 of the container image, submods.container.image_digest
 *
 * Only tokens with certificates (token type PKI) count: they lead to a pinned root, so that whoever verifies needs no key set that nobody signed. Binding (A10):
 * `aud` is the challenge's audience, `eat_nonce` its nonce and SHA-384 of the transcript. What the operator of the machine could change on the image, its command
 * and its environment, must be as the image has it. Scope `container`: one machine, one container, and no other may ask its launcher.
 */
import type { AttestationAdapter, Expectation, TrustContext } from '../../adapter.ts';
import { transcript } from '../../binding.ts';
import { type Bytes, hex, sha256 } from '../../bytes.ts';
import { allChecks } from '../../check-ids.ts';
import { CheckList, checkPlatform } from '../../checks.ts';
import type { Check, NormalizedClaims } from '../../claims.ts';
import type { BindingFields, Evidence } from '../../evidence.ts';
import { parseJwt } from '../../formats/jwt.ts';
import { printable, refuse } from '../../refusal.ts';
import { CONFIDENTIAL_SPACE_FLOOR } from '../../services/demands.ts';
import { checkGoogle, type GoogleFacts, googleEvidence, googleNonces, type GooglePolicy, verifyGoogle } from '../../services/google.ts';
import { type GoogleNormalized, googleNormalized, TCB_STATUSES } from '../../services/google-normalized.ts';

export const PLATFORM = 'confidential-space' as const;
export const IMAGE = 'IMAGE';
const SKEW = 60;

const verify = (evidence: Evidence, expect: Expectation, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, trust.now, expect.maxAgeSeconds);
/** At the token's own time: it cannot say more than that Google said so then. */
const verifyReplay = (evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, 'own', Number.MAX_SAFE_INTEGER);

export const confidentialSpace: AttestationAdapter = { platform: PLATFORM, verify, verifyReplay };

type Expected = Omit<Expectation, 'maxAgeSeconds'>;

async function judge(evidence: Evidence, expect: Expected, trust: TrustContext, when: number | 'own', maxAgeSeconds: number): Promise<NormalizedClaims> {
  const checks = new CheckList();
  const token = checkPlatform(PLATFORM, 'CS', evidence, expect, checks);
  const registers = expect.registers ?? [];
  checks.that('CS-REQUIRED', 'expect.registers', registers.includes(IMAGE), () => ({ code: 'POLICY_EMPTY', have: registers.join(', ') || 'no register', need: IMAGE, next: 'Put the digest of the released container image into the policy.' }));
  const at = when === 'own' ? issuedAt(token, trust.now) : when;
  const { audience } = expect.binding;
  const facts = await verifyGoogle({ token, mode: 'pki', expect: { maxAgeSeconds, audience, nonces: await googleNonces(expect.binding) } }, trust, at, checks);
  if (facts !== undefined) checkGoogle(facts, policyOf(facts, expect), checks);
  if (facts !== undefined) checkDemands(facts, trust, checks);
  checks.refuseIfFailed();
  const found = facts === undefined ? undefined : googleNormalized(facts);
  if (facts === undefined || found === undefined) return refuse('HW_MODEL', 'token.claims.hwmodel', 'Use a Confidential Space machine with SEV-SNP or TDX.', { have: printable(facts?.hwModel ?? 'nothing') });
  return toClaims(facts, found, expect.binding, trust, when === 'own' ? 'none' : 'challenge', checks.done);
}

/** Read before anybody has verified it: only a time to judge at, which must not lie ahead. */
function issuedAt(token: Bytes, now: number): number {
  const { iat } = parseJwt(token, 'token').claims;
  return typeof iat === 'number' && Number.isSafeInteger(iat) && iat >= 0 && iat <= now + SKEW ? iat : now;
}

/**
 * What is never negotiable. Image, project and state of the TCB are for the appraisal and for the owner's demands, so they are let through here; the command line is
 * the image's own, because nothing may override it.
 */
const policyOf = ({ container, gce }: GoogleFacts, { services }: Expected): GooglePolicy => ({
  software: 'CONFIDENTIAL_SPACE', minVersion: Math.max(CONFIDENTIAL_SPACE_FLOOR, services?.confidentialSpace?.minVersion ?? 0), hwModels: ['GCP_INTEL_TDX', 'GCP_AMD_SEV_SNP'], support: 'USABLE', allowDebug: false, projects: gce === null ? [] : [gce.projectId], zones: 'any', serviceAccounts: 'any',
  container: { imageDigests: container === null ? [] : [container.imageDigest], args: 'any', envOverride: {}, cmdOverride: 'none', restartPolicies: ['Never', 'OnFailure', 'Always'] }, tcbStatuses: TCB_STATUSES,
});

function checkDemands({ gce }: GoogleFacts, { gce: demands = {} }: TrustContext, checks: CheckList): void {
  const { projects, deniedInstances } = demands;
  if (projects !== undefined) checks.that('CS-PROJECT-NUMBER', 'token.claims.submods.gce.project_number', gce !== null && projects.includes(gce.projectNumber), () => ({ code: 'CLOUD_ORIGIN', have: gce?.projectNumber ?? 'nothing', need: projects.join(' or ') || 'no project: none is allowed', next: 'Run the workload in a project of this deployment.' }));
  if (deniedInstances !== undefined) checks.that('CS-DENIED', 'token.claims.submods.gce.instance_id', gce !== null && !deniedInstances.includes(gce.instanceId), () => ({ code: 'CLOUD_ORIGIN', have: gce?.instanceId ?? 'nothing', need: 'an instance that the operator has not denied', next: 'Move the workload to another instance.' }));
}

async function toClaims(facts: GoogleFacts, found: GoogleNormalized, binding: BindingFields, trust: TrustContext, freshness: 'challenge' | 'none', checks: readonly Check[]): Promise<NormalizedClaims> {
  const [whole, signingKey, receivingKey] = await Promise.all([transcript(binding).then(sha256), sha256(binding.signingKey), sha256(binding.receivingKey)]);
  const { workload, collateral, ...rest } = found;
  const image = facts.container?.imageDigest.slice('sha256:'.length);
  return {
    schema: 'https://confidential-cat-counter.dev/claims/v1',
    platform: PLATFORM,
    ...rest,
    ...(collateral.length === 0 ? {} : { collateral }),
    evidence: [googleEvidence(facts, 'root')],
    time: { verifiedAt: Math.floor(trust.now), evidenceAt: facts.token.issuedAt, freshness, challengeId: hex(binding.challengeId), nonce: hex(binding.nonce) },
    measurements: image === undefined ? [] : [{ register: IMAGE, alg: 'sha256', value: image, covers: 'container', quoted: true }],
    workload: { ...workload, configDigest: hex(binding.configDigest) },
    key: { alg: 'Ed25519', publicKeySha256: hex(signingKey), receivingKeySha256: hex(receivingKey), boundIn: 'eat_nonce', transcriptSha256: hex(whole) },
    checks: allChecks(PLATFORM, checks),
  };
}
