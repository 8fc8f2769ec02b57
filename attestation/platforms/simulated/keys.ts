/** Keys of the simulated PKIs: every kind and signature of formats/signature.ts. Isomorphic. */
import { b64u, type Bytes, bytes, fromB64u } from '../../bytes.ts';
import type { SignatureAlgorithm } from '../../formats/signature.ts';
import { integer, sequence } from './der-writer.ts';

export const KEY_TYPES = ['P-256', 'P-384', 'RSA-2048', 'RSA-3072', 'RSA-4096'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** A key that signs with any algorithm of its kind: kept as DER, since a CryptoKey is tied to one algorithm. */
export interface SigningKey {
  readonly type: KeyType;
  /** SubjectPublicKeyInfo. */
  readonly spki: Bytes;
  readonly pkcs8: Bytes;
}

type Scheme = { generate: EcKeyImportParams | RsaHashedImportParams; sign: EcdsaParams | RsaPssParams | Algorithm };
const SCHEMES: Readonly<Record<SignatureAlgorithm, Scheme>> = {
  ES256: { generate: { name: 'ECDSA', namedCurve: 'P-256' }, sign: { name: 'ECDSA', hash: 'SHA-256' } },
  ES384: { generate: { name: 'ECDSA', namedCurve: 'P-384' }, sign: { name: 'ECDSA', hash: 'SHA-384' } },
  RS256: { generate: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, sign: { name: 'RSASSA-PKCS1-v1_5' } },
  RS384: { generate: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' }, sign: { name: 'RSASSA-PKCS1-v1_5' } },
  PS256: { generate: { name: 'RSA-PSS', hash: 'SHA-256' }, sign: { name: 'RSA-PSS', saltLength: 32 } },
  PS384: { generate: { name: 'RSA-PSS', hash: 'SHA-384' }, sign: { name: 'RSA-PSS', saltLength: 48 } },
};

/** The algorithm that a key of this type signs with when nothing else is said. */
export const defaultAlgorithm = (type: KeyType): SignatureAlgorithm => (type === 'P-256' ? 'ES256' : type === 'P-384' ? 'ES384' : 'RS256');

/** Takes about a second for RSA-4096: see {@link KeyRing}. */
export async function newSigningKey(type: KeyType): Promise<SigningKey> {
  const { generate } = SCHEMES[defaultAlgorithm(type)];
  const bits = Number(type.slice(4));
  const parameters = type.startsWith('RSA') ? { ...generate, modulusLength: bits, publicExponent: bytes([1, 0, 1]) } : generate;
  return fromPair(type, await crypto.subtle.generateKey(parameters as EcKeyGenParams, true, ['sign', 'verify']));
}

export async function fromPair(type: KeyType, pair: CryptoKeyPair): Promise<SigningKey> {
  const [spki, pkcs8] = await Promise.all([crypto.subtle.exportKey('spki', pair.publicKey), crypto.subtle.exportKey('pkcs8', pair.privateKey)]);
  return { type, spki: new Uint8Array(spki), pkcs8: new Uint8Array(pkcs8) };
}

/** A signature as protocols other than X.509 carry it: r ‖ s for ECDSA. */
export async function signRaw(key: SigningKey, algorithm: SignatureAlgorithm, data: Uint8Array): Promise<Bytes> {
  const { generate, sign } = SCHEMES[algorithm];
  const imported = await crypto.subtle.importKey('pkcs8', key.pkcs8, generate, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign(sign, imported, data as Bytes));
}

/** A signature as X.509 carries it: a DER pair for ECDSA. */
export async function signDer(key: SigningKey, algorithm: SignatureAlgorithm, data: Uint8Array): Promise<Bytes> {
  const raw = await signRaw(key, algorithm, data);
  return algorithm.startsWith('ES') ? derSignature(raw) : raw;
}

/** Ecdsa-Sig-Value of r ‖ s. */
export const derSignature = (raw: Bytes): Bytes => sequence(integer(raw.subarray(0, raw.length / 2)), integer(raw.subarray(raw.length / 2)));

/** Where a ring keeps its keys between runs; names are of letters, digits and `-`. */
export interface KeyStore { get(name: string): string | undefined; set(name: string, value: string): void }

/** Keys by name, made when first asked for, so that a thousand certificates cost a handful of RSA keys. */
export class KeyRing {
  readonly #store: KeyStore | undefined;
  readonly #keys = new Map<string, Promise<SigningKey>>();

  constructor(store?: KeyStore) {
    this.#store = store;
  }

  get(type: KeyType, name = 'a'): Promise<SigningKey> {
    const id = `${type}-${name}`;
    let key = this.#keys.get(id);
    if (key === undefined) {
      key = this.#load(type, id);
      this.#keys.set(id, key);
    }
    return key;
  }

  async #load(type: KeyType, id: string): Promise<SigningKey> {
    const stored = this.#store?.get(id)?.split('.');
    if (stored?.length === 2) return { type, spki: fromB64u(stored[0] as string), pkcs8: fromB64u(stored[1] as string) };
    const key = await newSigningKey(type);
    this.#store?.set(id, `${b64u(key.spki)}.${b64u(key.pkcs8)}`);
    return key;
  }
}
