/**
 * Sessions: what an attested workload may come back with for at most ten minutes. The token alone is worth nothing: each
 * request is signed by the attested key over method, path, body and session (protocol/pop.ts). Known to this instance only,
 * and void as soon as another policy is in force.
 */
import { type Bytes, b64u, equal, fromB64u, randomBytes } from '../../../attestation/bytes.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import type { Role } from '../../../attestation/evidence.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import { signJws, verifyJws } from '../../protocol/jws.ts';
import { type SessionPayload, sessionPayloadSchema } from '../../protocol/messages.ts';
import { JtiStore, verifyPop } from '../../protocol/pop.ts';
import { CccError } from '../../protocol/problem.ts';
import type { Identity } from '../identity.ts';

export const SESSION_TYPE = 'ccc-session+jwt';
export const SESSION_SECONDS = 600;
const AGAIN = 'Attest again to get a new session.';

export interface BrokerSession {
  readonly payload: SessionPayload;
  /** Where the workload is: another cell's, for a broker that asks for keys. */
  readonly cell: string;
  readonly claims: NormalizedClaims;
  readonly claimsDigest: string;
  readonly policyDigest: Bytes;
  /** Raw Ed25519 and X-Wing public keys, both in the verified transcript. */
  readonly signingKey: Bytes;
  readonly receivingKey: Bytes;
}

export interface NewSession {
  readonly role: Role;
  /** Where the workload is; this cell unless told. */
  readonly cell?: string | undefined;
  readonly claims: NormalizedClaims;
  readonly claimsDigest: string;
  readonly policyDigest: Bytes;
  readonly policyRevision: number;
  readonly signingKey: Bytes;
  readonly receivingKey: Bytes;
}

export interface SignedCall {
  readonly session: string;
  readonly pop: string;
  readonly method: string;
  readonly path: string;
  readonly body: Bytes;
}

export class Sessions {
  readonly #identity: Identity;
  readonly #cell: string;
  readonly #now: Clock;
  readonly #limit: number;
  readonly #seen = new JtiStore();
  /** In the order of opening, so also of expiry. */
  readonly #open = new Map<string, BrokerSession>();

  constructor(options: { identity: Identity; cell: string; now: Clock; limit?: number }) {
    this.#identity = options.identity;
    this.#cell = options.cell;
    this.#now = options.now;
    this.#limit = options.limit ?? 10_000;
  }

  get size(): number {
    return this.#open.size;
  }

  /** @throws CccError BACK_PRESSURE */
  async open(fresh: NewSession): Promise<{ jwt: string; session: BrokerSession }> {
    const now = seconds(this.#now);
    for (const [sid, { payload }] of this.#open) {
      if (payload.exp > now) break;
      this.#open.delete(sid);
    }
    if (this.#open.size >= this.#limit) throw new CccError('BACK_PRESSURE', 'Try again in a minute.', { retryAfter: 60 });
    const payload: SessionPayload = {
      iss: this.#identity.instance,
      sid: b64u(randomBytes(16)),
      role: fresh.role,
      cell: this.#cell,
      cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: b64u(fresh.signingKey) } },
      claims_digest: fresh.claimsDigest,
      policy_digest: b64u(fresh.policyDigest),
      policy_revision: fresh.policyRevision,
      iat: now,
      exp: now + SESSION_SECONDS,
    };
    const { claims, claimsDigest, policyDigest, signingKey, receivingKey } = fresh;
    const session = { payload, cell: fresh.cell ?? this.#cell, claims, claimsDigest, policyDigest, signingKey, receivingKey };
    this.#open.set(payload.sid, session);
    return { jwt: await signJws(SESSION_TYPE, payload, this.#identity.signing.privateKey), session };
  }

  /**
   * The session of a signed request.
   * @throws Refusal SESSION_INVALID, SESSION_EXPIRED, SESSION_ROLE, POP_INVALID, POP_REPLAYED
   */
  async authorize(call: SignedCall, need: { role: Role; policyDigest: Bytes }): Promise<BrokerSession> {
    const { sid } = await verifyJws(call.session, SESSION_TYPE, this.#identity.signing.publicKey, sessionPayloadSchema, 'SESSION_INVALID');
    const session = this.#open.get(sid);
    if (session === undefined) refuse('SESSION_EXPIRED', 'ccc-session', AGAIN);
    const now = seconds(this.#now);
    if (session.payload.exp <= now) refuse('SESSION_EXPIRED', 'ccc-session.exp', AGAIN);
    if (!equal(session.policyDigest, need.policyDigest)) refuse('SESSION_EXPIRED', 'ccc-session.policy_digest', AGAIN, { need: 'the policy in force' });
    if (session.payload.role !== need.role) refuse('SESSION_ROLE', 'ccc-session.role', 'Attest for the role that the request needs.', { have: session.payload.role, need: need.role });
    await verifyPop({
      pop: call.pop, publicKey: fromB64u(session.payload.cnf.jwk.x), method: call.method, path: call.path, body: call.body, session: call.session, now, seen: this.#seen,
    });
    return session;
  }

  /** A new policy ends all sessions. */
  endAll(): void {
    this.#open.clear();
  }
}
