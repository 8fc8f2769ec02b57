/**
 * Node's own primitives for the processes of a cell. WebCrypto gives every operation, were it on a hundred bytes, to another thread and
 * wraps each key anew. Same library (OpenSSL), same bytes, same checks. Keys go in as KeyObjects: Node finds out that bytes are none by an
 * exception that it throws and catches, which takes four times as long as the HMAC.
 */
import { createCipheriv, createDecipheriv, createHmac, createPublicKey, createSecretKey, generateKeyPairSync, hkdfSync, type KeyObject, sign, verify } from 'node:crypto';
import { type AeadEncryptionContext, Aes256Gcm, HkdfSha256 } from '@hpke/core';
import { bytes, concat, fromHex } from '../../attestation/bytes.ts';
import { useSchedule } from './hpke.ts';
import { type Primitives, Ready, usePrimitives, webPrimitives } from './primitives.ts';
import { useNativeSha256 } from './sha256-native.ts';
import { useNativeXWing } from './xwing-native.ts';

const TAG = 16;
/** DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410) up to the key itself. */
const ED25519 = fromHex('302a300506032b6570032100');
const ED25519_KEY = 32;
const verifying = new Ready((publicKey) => {
  if (publicKey.length !== ED25519_KEY) throw new RangeError('Ed25519: wrong length');
  return createPublicKey({ key: Buffer.from(concat(ED25519, publicKey)), format: 'der', type: 'spki' });
});
/** Keys that were made here, and so known to be for signing. */
const signing = new WeakMap<CryptoKey, KeyObject>();

export const nativePrimitives: Primitives = {
  async generateEd25519(extractable) {
    const pair = generateKeyPairSync('ed25519');
    const privateKey = pair.privateKey.toCryptoKey('Ed25519', extractable, ['sign']) as CryptoKey;
    signing.set(privateKey, pair.privateKey);
    return { publicKey: bytes(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-ED25519_KEY)), privateKey };
  },
  async signEd25519(key, data) {
    const known = signing.get(key);
    return known === undefined ? webPrimitives.signEd25519(key, data) : bytes(sign(null, data, known));
  },
  verifyEd25519: async (publicKey, signature, data) => verify(null, data, verifying.of(publicKey), signature),
  hkdfSha512: async (key, salt, info, length) => bytes(hkdfSync('sha512', createSecretKey(key), salt, info, length)),
  async openGcm(key, iv, aad, sealed) {
    const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), iv, { authTagLength: TAG });
    decipher.setAAD(aad).setAuthTag(sealed.subarray(-TAG));
    const opened = decipher.update(sealed.subarray(0, -TAG));
    try {
      decipher.final(); // in GCM it adds nothing, and judges
    } catch (error) {
      opened.fill(0);
      throw error;
    }
    return new Uint8Array(opened.buffer as ArrayBuffer, opened.byteOffset, opened.length);
  },
};

type Input = ArrayBufferLike | ArrayBufferView;
const view = (data: Input): Uint8Array => (ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));
const HASH = 32;
const NO_SALT = createSecretKey(new Uint8Array(HASH));
const hmac = (key: KeyObject, ...parts: Uint8Array[]): Uint8Array => {
  const mac = createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return mac.digest();
};

/** The key schedule of HPKE (RFC 9180, section 5.1) calls these about ten times for every seal and open. */
export class NativeHkdf extends HkdfSha256 {
  override async extract(salt: Input, ikm: Input): Promise<ArrayBuffer> {
    return bytes(hmac(salt.byteLength === 0 ? NO_SALT : createSecretKey(view(salt)), view(ikm))).buffer;
  }

  override async expand(prk: Input, info: Input, length: number): Promise<ArrayBuffer> {
    if (length > 255 * HASH) throw new RangeError('HKDF: too long');
    const [key, blocks]: [KeyObject, Uint8Array[]] = [createSecretKey(view(prk)), []];
    for (let i = 1; (i - 1) * HASH < length; i++) blocks.push(hmac(key, blocks.at(-1) ?? new Uint8Array(0), view(info), Uint8Array.of(i)));
    return concat(...blocks).buffer.slice(0, length);
  }

  override async extractAndExpand(salt: Input, ikm: Input, info: Input, length: number): Promise<ArrayBuffer> {
    return this.expand(await this.extract(salt, ikm), info, length);
  }
}

const gcm = (key: Uint8Array): AeadEncryptionContext => ({
  async seal(iv, data, aad) {
    const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), view(iv), { authTagLength: TAG }).setAAD(view(aad));
    return concat(cipher.update(view(data)), cipher.final(), cipher.getAuthTag()).buffer;
  },
  open: async (iv, data, aad) => (await nativePrimitives.openGcm(key, view(iv), view(aad), view(data))).buffer,
});

export class NativeGcm extends Aes256Gcm {
  override createEncryptionContext(key: Input): AeadEncryptionContext {
    return gcm(view(key).slice());
  }
}

/** Called once when a process starts. */
export function useNativeCrypto(): void {
  useNativeSha256();
  usePrimitives(nativePrimitives);
  useSchedule(() => ({ kdf: new NativeHkdf(), aead: new NativeGcm() }));
  useNativeXWing();
}
