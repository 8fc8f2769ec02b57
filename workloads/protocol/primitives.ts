/**
 * What checking a data key takes, by WebCrypto, which browsers have. Processes of a cell put Node's own in its place
 * (primitives-native.ts): the same bytes, without another thread's turn for each step.
 */
import { bytes, type Bytes } from '../../attestation/bytes.ts';

export interface Primitives {
  /** RFC 5869 with SHA-512. @param length bytes */
  hkdfSha512(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Promise<Bytes>;
  /** AES-256-GCM, 16 bytes of tag after the ciphertext. Rejects when it does not open. */
  openGcm(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Promise<Bytes>;
}

export const webPrimitives: Primitives = {
  async hkdfSha512(key, salt, info, length) {
    const ikm = await crypto.subtle.importKey('raw', bytes(key), 'HKDF', false, ['deriveBits']);
    return bytes(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-512', salt: bytes(salt), info: bytes(info) }, ikm, 8 * length));
  },
  async openGcm(key, iv, aad, sealed) {
    const secret = await crypto.subtle.importKey('raw', bytes(key), 'AES-GCM', false, ['decrypt']);
    return bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: bytes(iv), additionalData: bytes(aad) }, secret, bytes(sealed)));
  },
};

let inUse = webPrimitives;
export const primitives = (): Primitives => inUse;
export function usePrimitives(other: Primitives): void {
  inUse = other;
}
