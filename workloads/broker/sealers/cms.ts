/**
 * What AWS KMS gives an attested recipient (`CiphertextForRecipient`): CMS EnvelopedData (RFC 5652, section 6) for exactly one recipient, named by key id.
 *
 *   ContentInfo { envelopedData, [0] EnvelopedData { 2,
 *     SET { KeyTransRecipientInfo { 2, [0] subjectKeyIdentifier, RSAES-OAEP (SHA-256, MGF1 with SHA-256, no label), OCTET STRING encrypted key } },
 *     EncryptedContentInfo { data, aes256-CBC IV, [0] content } } }
 *
 * CBC has no integrity: whatever fails behind the parser fails alike, and what comes out counts only because something with a tag opens with it (envelope.ts).
 */
import { type Bytes, hex } from '../../../attestation/bytes.ts';
import { children, type DerNode, expectTag, oid, readDer, small, TAG } from '../../../attestation/formats/der.ts';
import { Refusal, refuse } from '../../../attestation/refusal.ts';
import { definite } from './ber.ts';

export interface Enveloped {
  readonly keyId: Bytes;
  readonly encryptedKey: Bytes;
  readonly iv: Bytes;
  readonly content: Bytes;
}

const OID = {
  envelopedData: '1.2.840.113549.1.7.3', data: '1.2.840.113549.1.7.1', oaep: '1.2.840.113549.1.1.7', mgf1: '1.2.840.113549.1.1.8', sha256: '2.16.840.1.101.3.4.2.1', aes256Cbc: '2.16.840.1.101.3.4.1.42',
} as const;
const [IMPLICIT_0, EXPLICIT_0, EXPLICIT_1, EXPLICIT_2] = [0x80, 0xa0, 0xa1, 0xa2];
const PATH = 'cms';
const BLOCK = 16;
const bad = (path: string, have: string, need: string): never => refuse('KEY_SEALER_ANSWER', path, 'The key service answers in a form that is not accepted; nothing was opened.', { have, need });

/** @throws Refusal KEY_SEALER_ANSWER */
function parsed(data: Bytes): Enveloped {
  try {
    return parseEnveloped(data);
  } catch (error) {
    // What the DER reader says is for who sends certificates.
    if (error instanceof Refusal && error.code === 'FMT_DER') return bad(error.reasons[0]?.path ?? PATH, error.reasons[0]?.have ?? 'no BER', error.reasons[0]?.need ?? 'BER of EnvelopedData');
    throw error;
  }
}

/** @throws Refusal FMT_DER, KEY_SEALER_ANSWER */
export function parseEnveloped(data: Bytes): Enveloped {
  const outer = exactly(readDer(definite(data, PATH, new Set([IMPLICIT_0])), PATH), 2, 'contentInfo');
  is(outer[0], OID.envelopedData, 'contentType');
  const [inner] = exactly(outer[1], 1, 'content', EXPLICIT_0);
  // Three: neither originatorInfo nor unprotectedAttrs
  const [version, recipients, encrypted] = exactly(inner, 3, 'envelopedData');
  number(version, 2, 'version');
  const [recipient] = exactly(recipients, 1, 'recipientInfos', TAG.set);
  const [recipientVersion, rid, algorithm, encryptedKey] = exactly(recipient, 4, 'recipientInfo');
  number(recipientVersion, 2, 'recipientInfo.version');
  const keyId = expectTag(rid, IMPLICIT_0, `${PATH}.rid`).value;
  if (keyId.length === 0 || keyId.length > 64) bad(`${PATH}.rid`, `${keyId.length} bytes`, '1 to 64');
  oaep(algorithm);
  const [type, cipher, content] = exactly(encrypted, 3, 'encryptedContentInfo');
  is(type, OID.data, 'encryptedContentInfo.contentType');
  const [cipherId, iv] = exactly(cipher, 2, 'contentEncryptionAlgorithm');
  is(cipherId, OID.aes256Cbc, 'contentEncryptionAlgorithm');
  const out = { keyId, encryptedKey: expectTag(encryptedKey, TAG.octetString, PATH).value, iv: expectTag(iv, TAG.octetString, PATH).value, content: expectTag(content, IMPLICIT_0, PATH).value };
  if (out.iv.length !== BLOCK) bad(`${PATH}.iv`, hex(out.iv), '16 bytes');
  if (out.content.length === 0 || out.content.length % BLOCK !== 0) bad(`${PATH}.content`, `${out.content.length} bytes`, 'whole blocks');
  return out;
}

function oaep(node: DerNode | undefined): void {
  const at = 'keyEncryptionAlgorithm';
  const [id, parameters] = exactly(node, 2, at);
  is(id, OID.oaep, at);
  const fields = children(expectTag(parameters, TAG.sequence, PATH));
  const [hash, mask, label] = fields;
  if (fields.length < 2 || fields.length > 3) bad(`${PATH}.${at}`, `${fields.length} parameters`, 'hash and mask');
  sha256(exactly(hash, 1, `${at}.hash`, EXPLICIT_0)[0], `${at}.hash`);
  const [mgf, mgfHash] = exactly(exactly(mask, 1, `${at}.mask`, EXPLICIT_1)[0], 2, `${at}.mask`);
  is(mgf, OID.mgf1, `${at}.mask`);
  sha256(mgfHash, `${at}.mask`);
  if (label === undefined) return;
  const [, source] = exactly(exactly(label, 1, `${at}.label`, EXPLICIT_2)[0], 2, `${at}.label`);
  if (expectTag(source, TAG.octetString, PATH).value.length > 0) bad(`${PATH}.${at}.label`, 'a label', 'none');
}

/** Parameters NULL or absent (RFC 4055, section 2.1). */
function sha256(node: DerNode | undefined, path: string): void {
  const [id, nothing, ...more] = children(expectTag(node, TAG.sequence, PATH));
  is(id, OID.sha256, path);
  if (more.length > 0 || (nothing !== undefined && (nothing.tag !== TAG.null || nothing.value.length > 0))) bad(`${PATH}.${path}`, 'parameters', 'none');
}

function exactly(node: DerNode | undefined, count: number, path: string, tag: number = TAG.sequence): DerNode[] {
  const found = children(expectTag(node, tag, `${PATH}.${path}`), tag);
  if (found.length !== count) bad(`${PATH}.${path}`, `${found.length} values`, String(count));
  return found;
}

function is(node: DerNode | undefined, need: string, path: string): void {
  const have = oid(node);
  if (have !== need) bad(`${PATH}.${path}`, have, need);
}

function number(node: DerNode | undefined, need: number, path: string): void {
  const have = small(node);
  if (have !== need) bad(`${PATH}.${path}`, String(have), String(need));
}

/** @param key RSA-OAEP with SHA-256. @throws Refusal KEY_SEALER_ANSWER: the same one, whatever failed behind the parser */
export async function openEnveloped(data: Bytes, key: CryptoKey): Promise<Bytes> {
  const { encryptedKey, iv, content } = parsed(data);
  try {
    const raw = new Uint8Array(await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, key, encryptedKey));
    const cek = await crypto.subtle.importKey('raw', raw, 'AES-CBC', false, ['decrypt']).finally(() => raw.fill(0));
    if (cek.algorithm.name !== 'AES-CBC' || (cek.algorithm as AesKeyAlgorithm).length !== 256) throw new Error('another key');
    return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-CBC', iv }, cek, content));
  } catch {
    return bad(PATH, 'a ciphertext that does not open', 'one for this broker\'s key');
  }
}
