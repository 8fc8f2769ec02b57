/**
 * Proof of possession of the attested Ed25519 key, one per request (in the shape of RFC 9449, DPoP, plus a digest of the body):
 * JWS, typ `ccc-pop+jws`, payload {htm, htu, bd, jti, iat, ath?}. A stolen session is useless without the key.
 */
import { z } from 'zod';
import { b64u, equal, fromB64u, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { Refusal, refuse, type RefusalCode } from '../../attestation/refusal.ts';
import { signJws, verifyJws } from './jws.ts';
import { b64uText, epochSeconds } from './wire.ts';

export const POP_TYPE = 'ccc-pop+jws';
/** How far `iat` may be from the verifier's clock, seconds. */
export const POP_SKEW = 60;

const popSchema = z.strictObject({
  /** Method, upper case. */
  htm: z.string().max(16),
  /** Path with query. */
  htu: z.string().max(2048),
  /** SHA-256 of the body's bytes. */
  bd: b64uText(32),
  jti: b64uText(16),
  iat: epochSeconds,
  /** SHA-256 of the session JWT. */
  ath: b64uText(32).optional(),
});

export interface PopRequest {
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly session?: string | undefined;
  /** Epoch seconds. */
  readonly now: number;
}

/** Each `jti` once. Bounded: when full of unexpired ones it accepts none. */
export class JtiStore {
  readonly #seen = new Map<string, number>();
  readonly #capacity: number;

  constructor(capacity = 200_000) {
    this.#capacity = capacity;
  }

  /** `false` when it was used before, or when there is no room. @param until epoch seconds after which the proof is refused anyway. */
  use(jti: string, until: number, now: number): boolean {
    if (this.#seen.has(jti)) return false;
    if (this.#seen.size >= this.#capacity) {
      for (const [old, end] of this.#seen) if (end < now) this.#seen.delete(old);
      if (this.#seen.size >= this.#capacity) return false;
    }
    this.#seen.set(jti, until);
    return true;
  }

  get size(): number {
    return this.#seen.size;
  }
}

const digestOf = async (data: Uint8Array): Promise<string> => b64u(await sha256(data));

/** A caller sends the same session with every request: the digests of the last few are kept. */
const sessionDigests = new Map<string, Promise<string>>();
const MAX_DIGESTS = 64;
function digestOfSession(session: string): Promise<string> {
  let digest = sessionDigests.get(session);
  if (digest === undefined) {
    digest = digestOf(utf8(session));
    sessionDigests.set(session, digest);
    if (sessionDigests.size > MAX_DIGESTS) sessionDigests.delete(sessionDigests.keys().next().value as string);
  }
  return digest;
}

export async function makePop({ key, method, path, body, session, now }: PopRequest & { readonly key: CryptoKey }): Promise<string> {
  return signJws(POP_TYPE, {
    htm: method.toUpperCase(), htu: path, bd: await digestOf(body), jti: b64u(randomBytes(16)), iat: now,
    ...(session === undefined ? {} : { ath: await digestOfSession(session) }),
  }, key);
}

const invalid = (path: string, have: string, need: string): never =>
  refuse('POP_INVALID' satisfies RefusalCode, path, 'Make a proof for this very request with the attested key.', { have, need });

/** @throws Refusal POP_INVALID, POP_REPLAYED */
export async function verifyPop({ pop, publicKey, method, path, body, session, now, seen }: PopRequest & {
  readonly pop: string; readonly publicKey: Uint8Array; readonly seen: JtiStore;
}): Promise<void> {
  const proof = await verifyJws(pop, POP_TYPE, publicKey, popSchema, 'POP_INVALID');
  if (proof.htm !== method.toUpperCase()) invalid('pop.htm', proof.htm, method.toUpperCase());
  if (proof.htu !== path) invalid('pop.htu', proof.htu, path);
  if (!equal(fromB64u(proof.bd), await sha256(body))) invalid('pop.bd', proof.bd, 'SHA-256 of the body');
  const ath = session === undefined ? undefined : await digestOfSession(session);
  if (proof.ath !== ath) invalid('pop.ath', proof.ath ?? 'none', ath ?? 'none');
  if (Math.abs(now - proof.iat) > POP_SKEW) invalid('pop.iat', String(proof.iat), `${now} within ${POP_SKEW} s`);
  // Last, so that only a proof that holds takes up room.
  if (!seen.use(`${b64u(publicKey)}.${proof.jti}`, proof.iat + POP_SKEW, now)) {
    throw new Refusal({ code: 'POP_REPLAYED', path: 'pop.jti', have: proof.jti, next: 'Make a new proof for each request.' });
  }
}
