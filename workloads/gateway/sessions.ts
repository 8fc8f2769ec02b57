/** Counters and brokers at the internal listener: a session signed by a verified broker, and a proof by the attested key over this very request. */
import type { FastifyRequest } from 'fastify';
import { fromB64u } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { decodeJwsUnverified, verifyJws } from '../protocol/jws.ts';
import { type SessionPayload, sessionPayloadSchema } from '../protocol/messages.ts';
import { JtiStore, verifyPop } from '../protocol/pop.ts';
import { CccError } from '../protocol/problem.ts';
import { compactJws } from '../protocol/wire.ts';
import type { BrokerTrust, VerifiedBroker } from './broker.ts';
import type { OwnerDocuments } from './policy.ts';

export const SESSION_TYPE = 'ccc-session+jwt';
const MAX_SESSION = 8_192;
const MAX_ACTIVE = 1_000;
const NEXT = 'Ask for a challenge and attest again.';

const invalidSession = (have: string): never => refuse('SESSION_INVALID', 'ccc-session', NEXT, { have });

/** The header's value when it is there exactly once. */
function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}

const NOTHING = new Uint8Array(0);

export class Sessions {
  readonly #trust: BrokerTrust;
  readonly #documents: OwnerDocuments;
  readonly #cell: string;
  readonly #now: Clock;
  readonly #seen = new JtiStore();
  /** Sessions that proved themselves here, by id. */
  readonly #active = new Map<string, { seenAt: number; expiresAt: number }>();
  /** Tokens whose signature was verified, and by whose key: a counter sends the same one with every request. All else is judged each time. */
  readonly #signed = new Map<string, { readonly session: SessionPayload; readonly broker: VerifiedBroker }>();

  constructor(options: { trust: BrokerTrust; documents: OwnerDocuments; cell: string; now: Clock }) {
    this.#trust = options.trust;
    this.#documents = options.documents;
    this.#cell = options.cell;
    this.#now = options.now;
  }

  /** @throws Refusal SESSION_INVALID, SESSION_EXPIRED, SESSION_ROLE; CccError when policy or broker are not there */
  async verify(token: string): Promise<{ session: SessionPayload; broker: VerifiedBroker }> {
    if (token.length > MAX_SESSION || !compactJws.safeParse(token).success) invalidSession('no compact JWT');
    const known = this.#signed.get(token);
    // Unverified: it can only be refused for what it says, and it names the key that it has to be verified with.
    const claimed = known?.session ?? (() => {
      try {
        return sessionPayloadSchema.parse(decodeJwsUnverified(token).payload);
      } catch {
        return invalidSession('not the payload of a session');
      }
    })();
    const now = seconds(this.#now);
    if (claimed.exp <= now) refuse('SESSION_EXPIRED', 'session.exp', NEXT, { have: String(claimed.exp), need: `more than ${now}` });
    const { policy } = await this.#documents.policy();
    if (claimed.policy_revision !== policy.revision) {
      refuse('SESSION_EXPIRED', 'session.policy_revision', `Another policy of the owner is in force. ${NEXT}`, { have: String(claimed.policy_revision), need: String(policy.revision) });
    }
    const broker = await this.#trust.instance(claimed.iss) ?? invalidSession('an issuer that is not the broker of this cell');
    // The very broker that it was verified with: one that had to prove itself anew is another one.
    const session = known?.broker === broker ? known.session : await verifyJws(token, SESSION_TYPE, broker.signingKey, sessionPayloadSchema, 'SESSION_INVALID');
    if (session.cell !== this.#cell) invalidSession('a session of another cell');
    if (session.role !== 'counter') refuse('SESSION_ROLE', 'session.role', 'Attest as a counter.', { have: session.role, need: 'counter' });
    if (known?.broker !== broker) {
      this.#signed.delete(token);
      this.#signed.set(token, { session, broker });
      if (this.#signed.size > MAX_ACTIVE) this.#signed.delete(this.#signed.keys().next().value as string);
    }
    return { session, broker };
  }

  /** Before the body is read. */
  async beginCounter(request: FastifyRequest): Promise<void> {
    const token = header(request, 'ccc-session') ?? invalidSession('no session');
    if (header(request, 'ccc-pop') === undefined) refuse('POP_INVALID', 'ccc-pop', 'Send a proof with each request.', { have: 'none' });
    const { session, broker } = await this.verify(token);
    request.session = session;
    request.brokerInstance = broker;
  }

  /** Once the body's bytes are there. */
  async proveCounter(request: FastifyRequest): Promise<void> {
    const { session } = request;
    if (session === undefined) return invalidSession('no session');
    await this.#prove(request, fromB64u(session.cnf.jwk.x), header(request, 'ccc-session'));
    this.#active.delete(session.sid);
    this.#active.set(session.sid, { seenAt: this.#now(), expiresAt: session.exp * 1000 });
    if (this.#active.size > MAX_ACTIVE) this.#active.delete(this.#active.keys().next().value as string);
  }

  /** Sessions not expired that called here, the latest last. */
  active(): { session: string; seen_at: number; expires_at: number }[] {
    const now = this.#now();
    return [...this.#active].filter(([, { expiresAt }]) => expiresAt > now).map(([session, { seenAt, expiresAt }]) => ({ session, seen_at: seenAt, expires_at: expiresAt }));
  }

  async beginBroker(request: FastifyRequest): Promise<void> {
    const name = header(request, 'ccc-broker');
    if (name === undefined || name.length > 64 || header(request, 'ccc-pop') === undefined) refuse('POP_INVALID', 'ccc-broker', 'Send ccc-broker and ccc-pop.', { have: 'none' });
    const broker = await this.#trust.instance(name as string);
    if (broker === undefined) throw new CccError('BROKER_UNVERIFIED', 'Only the broker of this cell may call this.');
    request.brokerInstance = broker;
  }

  async proveBroker(request: FastifyRequest): Promise<void> {
    const broker = request.brokerInstance;
    if (broker === undefined) throw new CccError('BROKER_UNVERIFIED', 'Only the broker of this cell may call this.');
    await this.#prove(request, broker.signingKey, undefined);
  }

  async #prove(request: FastifyRequest, publicKey: Uint8Array, session: string | undefined): Promise<void> {
    const pop = header(request, 'ccc-pop') ?? refuse('POP_INVALID', 'ccc-pop', 'Send a proof with each request.', { have: 'none' });
    await verifyPop({
      pop, publicKey, method: request.method, path: request.raw.url ?? request.url, body: request.rawBody ?? NOTHING, session, now: seconds(this.#now), seen: this.#seen,
    });
  }
}
