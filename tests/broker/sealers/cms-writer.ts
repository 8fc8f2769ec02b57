/** CMS EnvelopedData as AWS KMS writes it for a recipient, and in any other way: each part can be set otherwise. */
import { type Bytes, bytes, concat, randomBytes } from '../../../attestation/bytes.ts';
import { der, explicit, integer, octets, oid, sequence, set } from '../../../attestation/platforms/simulated/der-writer.ts';

export interface Parts {
  readonly contentType: Bytes; readonly version: Bytes; readonly recipientVersion: Bytes; readonly rid: Bytes; readonly keyAlgorithm: Bytes; readonly innerType: Bytes; readonly contentAlgorithm: Bytes;
  /** Besides the one. */
  readonly moreRecipients: readonly Bytes[];
  /** Behind the encrypted content. */
  readonly attributes: readonly Bytes[];
  /** Around the content, instead of one primitive [0]. */
  readonly content: (ciphertext: Bytes) => Bytes;
  /** Of the content. */
  readonly cek: Bytes;
}

export const SHA256 = sequence(oid('2.16.840.1.101.3.4.2.1'), der(5));
export const SHA1 = sequence(oid('1.3.14.3.2.26'), der(5));
export const oaepOf = (hash: Bytes, mgf: Bytes, ...more: Bytes[]): Bytes => sequence(oid('1.2.840.113549.1.1.7'), sequence(explicit(0, hash), explicit(1, sequence(oid('1.2.840.113549.1.1.8'), mgf)), ...more));
/** Indefinite length. */
export const streamed = (tag: number, ...parts: Uint8Array[]): Bytes => concat(bytes([tag, 0x80]), ...parts, bytes([0, 0]));

export async function envelope(spki: Bytes, plaintext: Bytes, change: Partial<Parts> = {}, ber = false): Promise<Bytes> {
  const key = await crypto.subtle.importKey('spki', spki, { name: 'RSA-OAEP', hash: 'SHA-256' }, false, ['encrypt']);
  const cek = change.cek ?? randomBytes(32);
  const iv = randomBytes(16);
  const [wrapped, ciphertext] = await Promise.all([
    crypto.subtle.encrypt({ name: 'RSA-OAEP' }, key, cek), crypto.subtle.encrypt({ name: 'AES-CBC', iv }, await crypto.subtle.importKey('raw', cek, 'AES-CBC', false, ['encrypt']), plaintext),
  ]).then((both) => both.map((b) => bytes(b)) as [Bytes, Bytes]);
  const seq = (...parts: Uint8Array[]): Bytes => (ber ? streamed(0x30, ...parts) : sequence(...parts));
  const part = <K extends keyof Parts>(name: K, usual: Parts[K]): Parts[K] => change[name] ?? usual;
  const recipient = seq(part('recipientVersion', integer(bytes([2]))), part('rid', der(0x80, randomBytes(32))), part('keyAlgorithm', oaepOf(SHA256, SHA256)), octets(wrapped));
  const content = part('content', ber ? (data) => streamed(0xa0, octets(data.subarray(0, 20)), octets(data.subarray(20))) : (data) => der(0x80, data))(ciphertext);
  const encrypted = seq(part('innerType', oid('1.2.840.113549.1.7.1')), part('contentAlgorithm', sequence(oid('2.16.840.1.101.3.4.1.42'), octets(iv))), content);
  const enveloped = seq(part('version', integer(bytes([2]))), set(recipient, ...part('moreRecipients', [])), encrypted, ...part('attributes', []));
  return ber ? streamed(0x30, part('contentType', oid('1.2.840.113549.1.7.3')), streamed(0xa0, enveloped)) : sequence(part('contentType', oid('1.2.840.113549.1.7.3')), explicit(0, enveloped));
}
