/**
 * The binding transcript: one for every platform (cc-bind/v1). What the evidence carries is a digest of
 * it, so evidence made for one role, cell, challenge, audience, key, policy, configuration or payload
 * is no evidence for another.
 *
 *   T = "cc-bind/v1" ‖ 0x00 ‖ (u32 big-endian length ‖ bytes) of each field, in this order:
 *
 *   | # | field            | bytes                                    |
 *   |---|------------------|------------------------------------------|
 *   | 1 | platform         | UTF-8                                    |
 *   | 2 | role             | UTF-8: broker, counter                   |
 *   | 3 | cell             | UTF-8                                    |
 *   | 4 | challenge id     | 16                                       |
 *   | 5 | nonce            | 32                                       |
 *   | 6 | audience         | UTF-8                                    |
 *   | 7 | suite            | UTF-8: the only one, see SUITE           |
 *   | 8 | receiving key    | 32: SHA-256 of the raw X-Wing public key |
 *   | 9 | signing key      | 32: raw Ed25519 public key               |
 *   |10 | TLS SPKI digest  | 32, or 0                                 |
 *   |11 | policy digest    | 32                                       |
 *   |12 | config digest    | 32                                       |
 *   |13 | payload digest   | 32                                       |
 */
import { type Bytes, bytes, concat, sha256, sha512, utf8 } from './bytes.ts';
import type { BindingFields } from './evidence.ts';
import { refuse } from './refusal.ts';

export const SUITE = 'X-Wing,HKDF-SHA256,AES-256-GCM';
export const RECEIVING_KEY_LENGTH = 1216;
const MAX_TEXT = 255;

function field(value: Uint8Array): Bytes {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, value.length);
  return concat(length, value);
}

function sized(name: string, value: Uint8Array, ...lengths: number[]): Uint8Array {
  if (!lengths.includes(value.length)) {
    refuse('FMT_FIELD', `binding.${name}`, 'Send the field in its fixed length.', { have: `${value.length} bytes`, need: `${lengths.join(' or ')} bytes` });
  }
  return value;
}

function label(name: string, value: string): Bytes {
  const encoded = utf8(value);
  if (encoded.length === 0 || encoded.length > MAX_TEXT) {
    refuse('FMT_FIELD', `binding.${name}`, 'Send a text of 1 to 255 bytes.', { have: `${encoded.length} bytes` });
  }
  return encoded;
}

/** @throws Refusal FMT_FIELD when a field has not its fixed length. */
export async function transcript(fields: BindingFields): Promise<Bytes> {
  const receivingKey = sized('receivingKey', fields.receivingKey, RECEIVING_KEY_LENGTH);
  return concat(
    utf8('cc-bind/v1'), bytes([0]),
    field(label('platform', fields.platform)),
    field(label('role', fields.role)),
    field(label('cell', fields.cell)),
    field(sized('challengeId', fields.challengeId, 16)),
    field(sized('nonce', fields.nonce, 32)),
    field(label('audience', fields.audience)),
    field(utf8(SUITE)),
    field(await sha256(receivingKey)),
    field(sized('signingKey', fields.signingKey, 32)),
    field(sized('tlsSpkiSha256', fields.tlsSpkiSha256, 0, 32)),
    field(sized('policyDigest', fields.policyDigest, 32)),
    field(sized('configDigest', fields.configDigest, 32)),
    field(sized('payloadDigest', fields.payloadDigest, 32)),
  );
}

/** SHA-512 of the transcript: Nitro `user_data`, SNP and TDX `report_data`. */
export const d64 = async (fields: BindingFields): Promise<Bytes> => sha512(await transcript(fields));

/** SHA-256 of the transcript: TPM `extraData`, tokens; also the transcript's name in claims. */
export const d32 = async (fields: BindingFields): Promise<Bytes> => sha256(await transcript(fields));

/** RFC 8410, section 4: an Ed25519 SubjectPublicKeyInfo is these twelve bytes and the key. */
const ED25519_SPKI_PREFIX = bytes([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);
export const ed25519Spki = (raw: Uint8Array): Bytes => concat(ED25519_SPKI_PREFIX, raw);
