/** Evidence to appraisal in one place, for clients, gateways and brokers alike: compare the plain fields, verify, appraise, insist. */
import type { AttestationAdapter, TrustContext } from '../../attestation/adapter.ts';
import { appraise, requireAcceptable } from '../../attestation/appraise.ts';
import { type Bytes, equal, hex } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import type { Appraisal } from '../../attestation/claims.ts';
import { type Collateral, collateralOf, type CollateralSupply } from '../../attestation/collateral/collateral.ts';
import type { BindingFields, Role } from '../../attestation/evidence.ts';
import { azureCorroborated } from '../../attestation/platforms/azure-cvm/corroborated.ts';
import { confidentialSpace } from '../../attestation/platforms/confidential-space/verify.ts';
import { type Reason, Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { adapterFor } from '../../attestation/registry.ts';
import { requiredRegisters } from '../../attestation/policy.ts';
import { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
import { toBinding, toEvidence } from './evidence.ts';
import type { Attested } from './messages.ts';
import type { OwnerPolicy } from './owner.ts';

/** What the verifier chose or knows; `mode: "replay"` may leave out what only the original verifier chose. */
export interface AttestedExpectation {
  readonly role: Role;
  readonly cell: string;
  readonly challengeId: Bytes;
  readonly nonce: Bytes;
  readonly audience: string;
  readonly policyDigest: Bytes;
  readonly payloadDigest: Bytes;
  readonly configDigest: Bytes;
}
export type ReplayExpectation = Omit<AttestedExpectation, 'challengeId' | 'nonce' | 'audience'> & Partial<AttestedExpectation>;

interface Common {
  readonly attested: Attested;
  readonly policy: OwnerPolicy;
  /** Epoch seconds. */
  readonly now: number;
  /** What vendors publish, as of now (revocation lists, TCB information), or who looks for it. Absent: none, and hardware that needs it is refused. */
  readonly collateral?: Collateral | CollateralSupply | undefined;
}
export type VerifyAttested = Common & ({ readonly mode: 'live'; readonly expect: AttestedExpectation } | { readonly mode: 'replay'; readonly expect: ReplayExpectation });

/** Those that read tokens of services besides. */
const TOKEN_READERS: readonly AttestationAdapter[] = [confidentialSpace, azureCorroborated];

/** One for the process: chains of the same cell, cloud and hour share all but their leaf. */
const chainCache = new ChainCache();

/** Pinned roots, plus the development roots that this owner's policy names by fingerprint; its demands on Google's machines; and whatever collateral is at hand. */
export function trustFromPolicy(policy: OwnerPolicy, now: number, collateral?: Collateral): TrustContext {
  return {
    roots: [...PRODUCTION_ROOTS, ...policy.developmentRoots.map((root) => ({ ...root, purpose: root.purpose ?? 'aws-nitro', anchor: 'development' as const }))],
    revoked: policy.revoked,
    now,
    ...(collateral === undefined ? {} : { collateral }),
    ...(policy.gce === undefined ? {} : { gce: policy.gce }),
    chainCache,
  };
}

type Plain = readonly [code: RefusalCode, field: keyof BindingFields & keyof AttestedExpectation, next: string];
const PLAIN: readonly Plain[] = [
  ['BINDING_ROLE', 'role', 'This evidence was made for another role; a counter is no broker.'],
  ['BINDING_CELL', 'cell', 'This evidence is from another cell.'],
  ['BINDING_CHALLENGE', 'challengeId', 'Answer the challenge that was given.'],
  ['NONCE_MISMATCH', 'nonce', 'Answer the nonce that was given.'],
  ['BINDING_AUDIENCE', 'audience', 'This evidence was made for somebody else.'],
  ['BINDING_POLICY', 'policyDigest', 'The workload obeys another policy; wait until it has the current revision.'],
  ['BINDING_PAYLOAD', 'payloadDigest', 'The payload is not the one the workload vouched for.'],
  ['BINDING_CONFIG', 'configDigest', 'The workload runs under another configuration than the owner\'s directory lists.'],
];

const shown = (value: string | Uint8Array): string => (typeof value === 'string' ? value : hex(value));
const same = (a: string | Uint8Array, b: string | Uint8Array): boolean =>
  typeof a === 'string' || typeof b === 'string' ? a === b : equal(a, b);

/** What somebody else chose, of stored evidence; all the rest has to be expected, and live evidence has no such fields. */
const CHOSEN_BY_CHALLENGER: ReadonlySet<string> = new Set(['challengeId', 'nonce', 'audience']);

function compare(binding: BindingFields, expect: Partial<AttestedExpectation>, mode: 'live' | 'replay'): Reason[] {
  return PLAIN.flatMap(([code, field, next]): Reason[] => {
    const need = expect[field];
    if (need === undefined && mode === 'replay' && CHOSEN_BY_CHALLENGER.has(field)) return [];
    return need !== undefined && same(binding[field], need) ? [] : [{ code, path: `binding.${field}`, have: shown(binding[field]), need: need === undefined ? 'an expectation' : shown(need), next }];
  });
}

/**
 * @returns an appraisal whose status is `affirming`, or `warning` where the policy allows what it warns of.
 * @throws Refusal: one BINDING_* reason for each plain field that differs; then whatever the adapter or the policy refuses.
 */
export async function verifyAttested({ attested, expect, policy, now, mode, collateral }: VerifyAttested): Promise<Appraisal> {
  const binding = toBinding(attested.binding);
  const evidence = toEvidence(attested.evidence);
  const rules = policy.roles[expect.role];
  const reasons = compare(binding, expect, mode);
  // The verifier chooses the format: one that the policy has reference values for, and the same on both sides.
  if (binding.platform !== evidence.platform || !rules.references.some((r) => r.platform === binding.platform)) {
    reasons.push({ code: 'BINDING_PLATFORM', path: 'binding.platform', have: `${binding.platform}, ${evidence.platform}`, need: [...new Set(rules.references.map((r) => r.platform))].join(', '), next: 'Use a platform that the owner\'s policy has reference values for.' });
  }
  if (reasons.length > 0) throw new Refusal(reasons);
  const adapter: AttestationAdapter = TOKEN_READERS.find((a) => a.platform === binding.platform) ?? adapterFor(binding.platform);
  const supplied = typeof collateral === 'function' ? await collateral(evidence, policy.gce) : undefined;
  const trust = trustFromPolicy(policy, now, typeof collateral === 'function' ? collateralOf(supplied?.items ?? []) : collateral);
  const expected = { platform: binding.platform, binding, registers: requiredRegisters(rules, binding.platform), services: rules };
  try {
    const claims = mode === 'live' ? await adapter.verify(evidence, { ...expected, maxAgeSeconds: rules.maxAgeSeconds }, trust) : await adapter.verifyReplay(evidence, expected, trust);
    const appraisal = await appraise(claims, rules);
    requireAcceptable(appraisal, mode);
    return appraisal;
  } catch (error) {
    throw withReasons(error, supplied?.reasons ?? []);
  }
}

/** What is absent is so for a reason: that comes first, since "the vendor does not answer" passes and "there is none" does not. */
function withReasons(error: unknown, why: readonly Reason[]): unknown {
  const absent = error instanceof Refusal && error.codes.some((code) => code === 'COLLATERAL_ABSENT' || code === 'CRL_ABSENT');
  return absent && why.length > 0 ? new Refusal([...why, ...error.reasons]) : error;
}
