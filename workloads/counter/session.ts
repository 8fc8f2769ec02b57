/**
 * Keeps an attested session: challenge, evidence, session, registration at the gateway. Renewed well before its end, and once more
 * when it is refused: a broker that was started anew and a new policy both end all sessions.
 */
import { type Bytes, b64u, fromB64u } from '../../attestation/bytes.ts';
import type { Attester, Platform } from '../../attestation/evidence.ts';
import { refuse } from '../../attestation/refusal.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { fromBinding, fromEvidence } from '../protocol/evidence.ts';
import { Answered } from '../protocol/http-client.ts';
import { decodeJwsUnverified } from '../protocol/jws.ts';
import { type Log, errorFields } from '../protocol/log.ts';
import type { OwnerPolicy } from '../protocol/owner.ts';
import type { PolicySource } from '../protocol/policy-source.ts';
import type { CounterGateway, Credentials } from './gateway-client.ts';
import type { CounterKeys } from './keys.ts';

/** Half of a session's life is plenty to come back in. */
const RENEW_SECONDS = 300;
/** With less left than this nobody starts anything on it. */
const SPENT_SECONDS = 10;
const POLICY_FRESH_MS = 1_000;

export interface ActiveSession extends Credentials {
  readonly claimsDigest: string;
  readonly policyDigest: Bytes;
  /** As signed by the owner, checked here. */
  readonly policy: OwnerPolicy;
  /** Epoch seconds. */
  readonly expiresAt: number;
}

export interface SessionOptions {
  readonly gateway: CounterGateway;
  readonly attester: Attester;
  readonly keys: CounterKeys;
  readonly policy: PolicySource;
  readonly cell: string;
  readonly platform: Platform;
  readonly configDigest: Bytes;
  readonly now: Clock;
  readonly log: Log;
}

export class SessionKeeper {
  readonly #options: SessionOptions;
  #active: ActiveSession | undefined;
  #attesting: Promise<ActiveSession> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** @throws Unreachable, Answered, Refusal: whatever keeps this counter from being attested */
  async current(): Promise<ActiveSession> {
    const left = (this.#active?.expiresAt ?? 0) - seconds(this.#options.now);
    if (this.#active === undefined || left < SPENT_SECONDS) return this.#attestOnce();
    if (left < RENEW_SECONDS) this.#attestOnce().catch((error: unknown) => this.#options.log.warn('session-not-renewed', errorFields(error)));
    return this.#active;
  }

  /** Whether there is a session to work under. */
  get live(): boolean {
    return (this.#active?.expiresAt ?? 0) - seconds(this.#options.now) >= SPENT_SECONDS;
  }

  /** The session that was used; a newer one stays. */
  drop(session: ActiveSession): void {
    if (this.#active === session) this.#active = undefined;
  }

  /** Runs `work` with a session; when that is refused, once more with a new one. */
  async use<T>(work: (session: ActiveSession) => Promise<T>): Promise<T> {
    const session = await this.current();
    try {
      return await work(session);
    } catch (error) {
      if (!(error instanceof Answered) || error.status !== 401) throw error;
      this.#options.log.info('session-refused', { code: error.code });
      this.drop(session);
      return work(await this.current());
    }
  }

  async #attestOnce(): Promise<ActiveSession> {
    this.#attesting ??= this.#attest().finally(() => { this.#attesting = undefined; });
    return this.#attesting;
  }

  async #attest(): Promise<ActiveSession> {
    const { gateway, attester, keys, cell, platform, configDigest, log } = this.#options;
    // The owner's word, not the gateway's, says which policy this counter obeys. When the broker has a newer one, so has the gateway.
    let inForce = await this.#options.policy.current(POLICY_FRESH_MS);
    const challenge = await gateway.challenge(platform);
    if (challenge.policy_digest !== b64u(inForce.digest)) inForce = await this.#options.policy.current(0);
    if (challenge.policy_digest !== b64u(inForce.digest)) {
      refuse('BINDING_POLICY', 'challenge.policy_digest', 'The broker obeys another revision of the policy; try again shortly.', { have: challenge.policy_digest, need: b64u(inForce.digest) });
    }
    const binding = {
      platform, role: 'counter' as const, cell, challengeId: fromB64u(challenge.challenge_id), nonce: fromB64u(challenge.nonce), audience: challenge.audience,
      receivingKey: keys.receiving.publicKey, signingKey: keys.signing.publicKey, tlsSpkiSha256: new Uint8Array(0),
      policyDigest: inForce.digest, configDigest, payloadDigest: new Uint8Array(32),
    };
    const attested = { evidence: fromEvidence(await attester.attest({ binding })), binding: fromBinding(binding) };
    const { session, ear, claims_digest, expires_at } = await gateway.attest(attested);
    const active: ActiveSession = {
      session, key: keys.signing.privateKey, claimsDigest: claims_digest, policyDigest: inForce.digest, policy: inForce.policy, expiresAt: expires_at,
    };
    // Registered first: a result under a session that the gateway does not know could not be verified by anybody.
    await gateway.register({ ...attested, session, ear }, active);
    this.#active = active;
    log.info('attested', { platform, revision: inForce.policy.revision, session: idOf(session) });
    return active;
  }
}

/** For the log only, so that an operator finds the counter of a job: nothing is decided on it. */
function idOf(session: string): string {
  try {
    const { sid } = decodeJwsUnverified(session).payload as { sid?: unknown };
    return typeof sid === 'string' ? sid.slice(0, 64) : '';
  } catch {
    return '';
  }
}
