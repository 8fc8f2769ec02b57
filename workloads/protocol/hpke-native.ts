/**
 * HKDF-SHA256 and AES-256-GCM of HPKE over Node's own, synchronous primitives: the library goes through WebCrypto, a task for a worker
 * thread for each of ten tiny HMACs, which costs more than all the rest of a seal. Same bytes; used together with xwing-native.ts.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey } from 'node:crypto';
import { Aes256Gcm, HkdfSha256 } from '@hpke/core';
import { type Bytes, bytes, concat } from '../../attestation/bytes.ts';

type Raw = ArrayBufferLike | ArrayBufferView;

const HASH = 32;
const TAG = 16;
const CIPHER = 'aes-256-gcm';

const view = (data: Raw): Uint8Array => (ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));
const hmac = (key: Uint8Array, ...parts: Uint8Array[]): Bytes => {
  // As a KeyObject: for bytes Node first finds out by an exception that they are none, which takes four times as long as the HMAC.
  const mac = createHmac('sha256', createSecretKey(key));
  for (const part of parts) mac.update(part);
  return bytes(mac.digest());
};

/** RFC 5869. */
export class NativeHkdf extends HkdfSha256 {
  override async extract(salt: Raw, ikm: Raw): Promise<ArrayBuffer> {
    const key = salt.byteLength === 0 ? new Uint8Array(HASH) : view(salt);
    if (key.length !== HASH) throw new RangeError('HKDF: a salt as long as the hash');
    return hmac(key, view(ikm)).buffer;
  }

  override async expand(prk: Raw, info: Raw, length: number): Promise<ArrayBuffer> {
    if (length > 255 * HASH) throw new RangeError('HKDF: too much asked for');
    const out = new Uint8Array(length);
    let previous: Bytes = new Uint8Array(0);
    for (let at = 0, n = 1; at < length; at += HASH, n++) {
      previous = hmac(view(prk), previous, view(info), Uint8Array.of(n));
      out.set(previous.subarray(0, length - at), at);
    }
    return out.buffer;
  }

  override async extractAndExpand(salt: Raw, ikm: Raw, info: Raw, length: number): Promise<ArrayBuffer> {
    // HMAC pads a short key with zeros, so an empty salt is 32 zero bytes, and any other length is its own.
    const prk = hmac(view(salt), view(ikm));
    try {
      return await this.expand(prk, info, length);
    } finally {
      prk.fill(0);
    }
  }
}

export class NativeAes256Gcm extends Aes256Gcm {
  override createEncryptionContext(key: Raw): ReturnType<Aes256Gcm['createEncryptionContext']> {
    const own = createSecretKey(view(key));
    return {
      async seal(iv: Raw, data: Raw, aad: Raw): Promise<ArrayBuffer> {
        const cipher = createCipheriv(CIPHER, own, view(iv), { authTagLength: TAG }).setAAD(view(aad));
        return concat(cipher.update(view(data)), cipher.final(), cipher.getAuthTag()).buffer;
      },
      async open(iv: Raw, data: Raw, aad: Raw): Promise<ArrayBuffer> {
        const sealed = view(data);
        if (sealed.length < TAG) throw new RangeError('AES-GCM: shorter than its tag');
        const decipher = createDecipheriv(CIPHER, own, view(iv), { authTagLength: TAG }).setAAD(view(aad)).setAuthTag(sealed.subarray(-TAG));
        const plain = decipher.update(sealed.subarray(0, -TAG));
        try {
          return concat(plain, decipher.final()).buffer;
        } finally {
          plain.fill(0); // also where the tag does not hold
        }
      },
    } as unknown as ReturnType<Aes256Gcm['createEncryptionContext']>;
  }
}
