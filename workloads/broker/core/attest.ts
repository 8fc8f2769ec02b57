/** From a challenge to a session: consume, verify, appraise, issue. Anything unforeseen, or too slow, refuses. */
import { type Bytes, b64u } from '../../../attestation/bytes.ts';
import { claimsDigest } from '../../../attestation/claims-digest.ts';
import type { Collateral, CollateralSupply } from '../../../attestation/collateral/collateral.ts';
import { signEar } from '../../../attestation/ear.ts';
import { asRefusal, refuse } from '../../../attestation/refusal.ts';
import type { verifyAttested } from '../../protocol/appraised.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import { toBinding } from '../../protocol/evidence.ts';
import type { Attested, Session } from '../../protocol/messages.ts';
import type { Identity } from '../identity.ts';
import type { Challenges } from './challenges.ts';
import type { PolicySource } from '../../protocol/policy-source.ts';
import { SESSION_SECONDS, type Sessions } from './sessions.ts';

/** A verification takes a few milliseconds; one that hangs is a defect and ends as a refusal. */
export const VERIFY_MS = 5_000;
export const NO_PAYLOAD: Bytes = new Uint8Array(32);

export interface AttestDeps {
  readonly challenges: Challenges;
  readonly sessions: Sessions;
  readonly policy: PolicySource;
  readonly identity: Identity;
  readonly cell: string;
  readonly configDigest: Bytes;
  /** Of another cell of the owner's directory, whose broker may attest here. @throws Refusal */
  readonly peer?: (cell: string) => Promise<{ readonly configDigest: Bytes }>;
  readonly now: Clock;
  readonly verify: typeof verifyAttested;
  readonly verifyMs?: number;
  readonly collateral?: Collateral | CollateralSupply | undefined;
}

/** @throws Refusal */
export async function attest(deps: AttestDeps, attested: Attested): Promise<Session> {
  const { identity, cell, configDigest } = deps;
  // First of all and without an await before it: whatever happens next, this challenge is spent.
  const challenge = deps.challenges.consume(attested.binding.challenge_id);
  const inForce = await deps.policy.current();
  if (b64u(inForce.digest) !== b64u(challenge.policyDigest)) {
    refuse('BINDING_POLICY', 'binding.policyDigest', 'Another policy came into force meanwhile; ask for a new challenge.');
  }
  if (attested.binding.platform !== challenge.platform) {
    refuse('BINDING_PLATFORM', 'binding.platform', 'Answer with the platform that the challenge was asked for.', { have: attested.binding.platform, need: challenge.platform });
  }
  // A broker that asks for keys is in another cell: what its configuration must be is the owner's word.
  const elsewhere = challenge.role === 'broker' && deps.peer !== undefined && attested.binding.cell !== cell ? attested.binding.cell : undefined;
  const expected = elsewhere === undefined ? configDigest : (await deps.peer?.(elsewhere))?.configDigest ?? configDigest;
  const appraisal = await within(deps.verifyMs ?? VERIFY_MS, () => deps.verify({
    attested,
    expect: {
      role: challenge.role, cell: elsewhere ?? cell, challengeId: challenge.id, nonce: challenge.nonce, audience: identity.instance,
      policyDigest: inForce.digest, payloadDigest: NO_PAYLOAD, configDigest: expected,
    },
    policy: inForce.policy,
    now: seconds(deps.now),
    mode: 'live',
    collateral: deps.collateral,
  }));
  const { claims } = appraisal;
  // A verifier that returned without having judged is a defect; it must not become a session.
  if (appraisal.status !== 'affirming' && appraisal.status !== 'warning') refuse('APPRAISAL_STATUS', 'appraisal.status', 'See the rules of the appraisal.', { have: appraisal.status });
  if (claims.time.freshness !== 'challenge') refuse('STALE', 'claims.time.freshness', 'Attest with a fresh challenge.', { have: claims.time.freshness, need: 'challenge' });
  const binding = toBinding(attested.binding);
  const digest = await claimsDigest(claims);
  const ear = await signEar({ appraisal, binding, key: identity.signing.privateKey, issuer: identity.instance, now: seconds(deps.now), ttlSeconds: SESSION_SECONDS });
  // The policy may have changed while this waited; a session of the old one would be refused at first use, so it is not made.
  if ((await deps.policy.current()).jws !== inForce.jws) refuse('BINDING_POLICY', 'binding.policyDigest', 'Another policy came into force meanwhile; ask for a new challenge.');
  const { jwt, session } = await deps.sessions.open({
    role: challenge.role, cell: elsewhere, claims, claimsDigest: digest, policyDigest: inForce.digest, policyRevision: inForce.policy.revision,
    signingKey: binding.signingKey, receivingKey: binding.receivingKey,
  });
  return { session: jwt, ear, claims_digest: digest, expires_at: session.payload.exp };
}

/** @throws Refusal: the verifier's own, INTERNAL for anything else it threw or when it took too long. */
async function within<T>(ms: number, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error('verification took too long')), ms); });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    throw asRefusal(error);
  } finally {
    clearTimeout(timer);
  }
}
