/**
 * From the wrapped key of a release to a key of ours. `RSA_AES_KEY_WRAP_256`: the runtime key's RSA-OAEP (SHA-256) of an AES-256 key, then AES-KWP (RFC 5649) of PKCS#8.
 *
 * The public half of the released RSA key is no secret: whoever sealed with it could make tenant keys of his own, and a broker would give them out as genuine. So nothing is sealed with it.
 * What only a TEE that the key was released to knows is its private exponent; a key for AES-256-GCM is derived of it.
 */
import { createDecipheriv } from 'node:crypto';
import { type Bytes, bytes, equal, sha256, utf8 } from '../../../attestation/bytes.ts';
import { children, oid, readDer, small, TAG, unsigned } from '../../../attestation/formats/der.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { RuntimeKey } from './runtime-key.ts';

export const RELEASE_WRAP = 'RSA_AES_KEY_WRAP_256';
const WRAPPED_KEK = 256;
const MAX_WRAPPED = 8_192;
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
/** RFC 5649, section 3. */
const KWP_IV = Buffer.from('a65959a6', 'hex');
const bad = (path: string, have: string, need: string): never => refuse('KEY_SEALER_ANSWER', path, 'Nothing was opened. See which key the vault has under this name, and what it was made as.', { have, need });

/** @param modulus of the public half that the answer names. @throws Refusal KEY_SEALER_ANSWER */
export async function derivedKey(wrapped: Bytes, key: RuntimeKey, modulus: Bytes, keyId: string): Promise<CryptoKey> {
  if (wrapped.length <= WRAPPED_KEK || wrapped.length > MAX_WRAPPED) bad('release.key_hsm', `${wrapped.length} bytes`, `${WRAPPED_KEK + 1} to ${MAX_WRAPPED}`);
  const secrets: Bytes[] = [];
  try {
    const kek = await key.decrypt(wrapped.slice(0, WRAPPED_KEK), 'oaep-sha256').catch(() => bad('release.key_hsm', 'a key for another recipient', 'one for the runtime key'));
    secrets.push(kek);
    if (kek.length !== 32) bad('release.key_hsm', `a wrapping key of ${kek.length} bytes`, '32 bytes');
    const pkcs8 = unwrap(kek, wrapped.subarray(WRAPPED_KEK));
    secrets.push(pkcs8);
    const { n, d } = readRsa(pkcs8);
    if (!equal(n, modulus)) bad('release.key', 'a private key of another public one', 'the one that the answer names');
    const ikm = await crypto.subtle.importKey('raw', d, 'HKDF', false, ['deriveKey']);
    return await crypto.subtle.deriveKey({ name: 'HKDF', hash: 'SHA-256', salt: await sha256(utf8(keyId)), info: utf8('ccc/azure-sealer/v1') }, ikm, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  } finally {
    for (const secret of secrets) secret.fill(0);
  }
}

function unwrap(kek: Bytes, data: Bytes): Bytes {
  try {
    const cipher = createDecipheriv('id-aes256-wrap-pad', kek, KWP_IV);
    return bytes(Buffer.concat([cipher.update(data), cipher.final()]));
  } catch {
    return bad('release.key_hsm', 'a wrapped key that does not open', 'AES-KWP');
  }
}

/** PKCS#8 (RFC 5208) of an RSA key (RFC 8017, appendix A.1.2). */
function readRsa(pkcs8: Bytes): { n: Bytes; d: Bytes } {
  const path = 'release.key';
  try {
    const [version, algorithm, inner] = children(readDer(pkcs8, path));
    if (small(version) !== 0 || oid(children(algorithm as never)[0]) !== RSA_ENCRYPTION || inner?.tag !== TAG.octetString) throw new Error('another key');
    const fields = children(readDer(inner.value, path));
    if (fields.length !== 9 || small(fields[0]) !== 0) throw new Error('another form');
    return { n: unsigned(fields[1]), d: unsigned(fields[3]) };
  } catch {
    return bad(path, 'no private RSA key', 'PKCS#8 of one');
  }
}
