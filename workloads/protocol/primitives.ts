/**
 * What checking data keys and proofs takes, by WebCrypto, which browsers have. Processes of a cell put Node's own in its place
 * (primitives-native.ts): the same bytes, without another thread's turn for each step.
 */
import { b64u, bytes, type Bytes } from '../../attestation/bytes.ts';

export interface Primitives {
  /** RFC 5869 with SHA-512. @param length bytes */
  hkdfSha512(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Promise<Bytes>;
  /** AES-256-GCM, 16 bytes of tag after the ciphertext. Rejects when it does not open. */
  openGcm(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Promise<Bytes>;
  generateEd25519(extractable: boolean): Promise<{ readonly publicKey: Bytes; readonly privateKey: CryptoKey }>;
  /** RFC 8032, 64 bytes. Rejects a key that is not Ed25519's or not for signing. */
  signEd25519(key: CryptoKey, data: Uint8Array): Promise<Bytes>;
  /** @param publicKey raw, 32 bytes; rejects when it is of another length */
  verifyEd25519(publicKey: Uint8Array, signature: Uint8Array, data: Uint8Array): Promise<boolean>;
}

/** A few keys (owner, broker, counters) verify everything: made ready once each. */
export class Ready<T> {
  readonly #known = new Map<string, T>();
  readonly #make: (publicKey: Bytes) => T;

  constructor(make: (publicKey: Bytes) => T) {
    this.#make = make;
  }

  of(publicKey: Uint8Array): T {
    const name = b64u(publicKey);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const made = this.#make(bytes(publicKey));
    this.#known.set(name, made);
    if (this.#known.size > MAX_READY) this.#known.delete(this.#known.keys().next().value as string);
    return made;
  }
}
const MAX_READY = 64;
const verifying = new Ready((publicKey) => {
  const key = crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify']);
  key.catch(() => {}); // whoever verifies sees it
  return key;
});

export const webPrimitives: Primitives = {
  async hkdfSha512(key, salt, info, length) {
    const ikm = await crypto.subtle.importKey('raw', bytes(key), 'HKDF', false, ['deriveBits']);
    return bytes(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-512', salt: bytes(salt), info: bytes(info) }, ikm, 8 * length));
  },
  async openGcm(key, iv, aad, sealed) {
    const secret = await crypto.subtle.importKey('raw', bytes(key), 'AES-GCM', false, ['decrypt']);
    return bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: bytes(iv), additionalData: bytes(aad) }, secret, bytes(sealed)));
  },
  async generateEd25519(extractable) {
    const pair = await crypto.subtle.generateKey('Ed25519', extractable, ['sign', 'verify']) as CryptoKeyPair;
    return { publicKey: bytes(await crypto.subtle.exportKey('raw', pair.publicKey)), privateKey: pair.privateKey };
  },
  signEd25519: async (key, data) => bytes(await crypto.subtle.sign('Ed25519', key, bytes(data))),
  verifyEd25519: async (publicKey, signature, data) => crypto.subtle.verify('Ed25519', await verifying.of(publicKey), bytes(signature), bytes(data)),
};

let inUse = webPrimitives;
export const primitives = (): Primitives => inUse;
export function usePrimitives(other: Primitives): void {
  inUse = other;
}
