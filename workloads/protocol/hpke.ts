/**
 * HPKE (RFC 9180), base mode, one suite: X-Wing (draft-connolly-cfrg-xwing-kem: ML-KEM-768 and X25519), HKDF-SHA256,
 * AES-256-GCM. Single shot: each seal has an encapsulation of its own, so no nonce is ever reused.
 */
import { Aes256Gcm, CipherSuite, HkdfSha256, type KemInterface } from '@hpke/core';
import { XWing } from '@hpke/hybridkem-x-wing';
import { type Bytes, b64u, bytes, fromB64u } from '../../attestation/bytes.ts';
import { RECEIVING_KEY_LENGTH } from '../../attestation/binding.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { Sealed } from './messages.ts';

export const ENC_LENGTH = 1120;
export const PRIVATE_KEY_LENGTH = 32;
const TAG_LENGTH = 16;

let schedule = (): { kdf: HkdfSha256; aead: Aes256Gcm } => ({ kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const suiteOf = (kem: KemInterface): CipherSuite => new CipherSuite({ kem, ...schedule() });
let suite = suiteOf(new XWing());

/** Another implementation of the same KEM, for the whole process (xwing-native.ts). */
export function useKem(kem: XWing): void {
  suite = suiteOf(kem);
}

/** Other implementations of the same KDF and cipher, for the whole process (primitives-native.ts). */
export function useSchedule(make: typeof schedule): void {
  schedule = make;
  suite = suiteOf(suite.kem);
}

export interface ReceivingKey {
  /** Raw X-Wing encapsulation key, 1,216 bytes. */
  readonly publicKey: Bytes;
  /** X-Wing seed, 32 bytes. */
  readonly privateKey: Bytes;
}

export async function generateReceivingKey(): Promise<ReceivingKey> {
  const pair = await suite.kem.generateKeyPair();
  return {
    publicKey: bytes(await suite.kem.serializePublicKey(pair.publicKey)),
    privateKey: bytes(await suite.kem.serializePrivateKey(pair.privateKey)),
  };
}

/** A private key that opens many messages: read and expanded once. Nothing wipes what it holds; whoever has it lets go of it. */
export interface PreparedKey { readonly kemKey: CryptoKey }

/** @throws RangeError when the key is none. */
export async function prepareKey(privateKey: Uint8Array): Promise<PreparedKey> {
  if (privateKey.length !== PRIVATE_KEY_LENGTH) throw new RangeError('X-Wing: wrong length');
  return { kemKey: await suite.kem.deserializePrivateKey(bytes(privateKey)) };
}

export interface SealedBytes { readonly enc: Bytes; readonly ct: Bytes }

/** @throws Refusal FMT_FIELD when the public key is none. */
export async function sealBytes(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Promise<SealedBytes> {
  if (publicKey.length !== RECEIVING_KEY_LENGTH) {
    refuse('FMT_FIELD', 'publicKey', 'Give a raw X-Wing public key.', { have: `${publicKey.length} bytes`, need: `${RECEIVING_KEY_LENGTH} bytes` });
  }
  try {
    const recipientPublicKey = await suite.kem.deserializePublicKey(bytes(publicKey));
    const { enc, ct } = await suite.seal({ recipientPublicKey, info: bytes(info) }, bytes(plaintext), bytes(aad));
    return { enc: bytes(enc), ct: bytes(ct) };
  } catch (cause) {
    // FIPS 203, section 7.2: an encapsulation key with coefficients out of range is refused.
    throw new Refusal({ code: 'FMT_FIELD', path: 'publicKey', next: 'Give a valid X-Wing public key.' }, { cause });
  }
}

/** @throws Refusal SEAL_OPEN: wrong key, info, AAD, or altered bytes (HPKE does not tell which). */
export async function openBytes(privateKey: Uint8Array | PreparedKey, info: Uint8Array, aad: Uint8Array, sealed: SealedBytes): Promise<Bytes> {
  const refused = (cause?: unknown): never => {
    throw new Refusal({ code: 'SEAL_OPEN', path: 'sealed', next: 'It was sealed to another key, for another purpose, or was altered; ask for it anew.' }, { cause });
  };
  if (sealed.enc.length !== ENC_LENGTH || sealed.ct.length < TAG_LENGTH) return refused();
  try {
    const { kemKey: recipientKey } = 'kemKey' in privateKey ? privateKey : await prepareKey(privateKey);
    return bytes(await suite.open({ recipientKey, enc: bytes(sealed.enc), info: bytes(info) }, bytes(sealed.ct), bytes(aad)));
  } catch (cause) {
    return refused(cause);
  }
}

/** As it travels in JSON (messages.ts, `sealedSchema`). */
export async function seal(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Promise<Sealed> {
  const { enc, ct } = await sealBytes(publicKey, info, aad, plaintext);
  return { enc: b64u(enc), ct: b64u(ct) };
}

/** @throws Refusal SEAL_OPEN */
export async function open(privateKey: Uint8Array | PreparedKey, info: Uint8Array, aad: Uint8Array, sealed: Sealed): Promise<Bytes> {
  let raw: SealedBytes;
  try {
    raw = { enc: fromB64u(sealed.enc), ct: fromB64u(sealed.ct) };
  } catch (cause) {
    throw new Refusal({ code: 'SEAL_OPEN', path: 'sealed', next: 'Send unpadded base64url.' }, { cause });
  }
  return openBytes(privateKey, info, aad, raw);
}
