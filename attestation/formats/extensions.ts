/** Extensions of certificates, revocation lists and list entries (RFC 5280, sections 4.2, 5.2, 5.3). */
import { type Bytes, hex, text } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { boolean, children, type DerNode, expectTag, namedBits, oid, readDer, small, TAG, unsigned } from './der.ts';

export const KEY_USAGES = ['digitalSignature', 'nonRepudiation', 'keyEncipherment', 'dataEncipherment', 'keyAgreement', 'keyCertSign', 'cRLSign', 'encipherOnly', 'decipherOnly'] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export interface Extension {
  readonly id: string;
  readonly critical: boolean;
  /** What the OCTET STRING holds; nobody has looked inside. */
  readonly value: Bytes;
}

/** AuthorityKeyIdentifier; hex, `null` where absent. */
export interface AuthorityKeyId { readonly keyId: string | null; readonly serial: string | null }

const NEXT = 'Send the certificate exactly as its issuer made it.';

/** Extensions ::= SEQUENCE SIZE (1..MAX) OF SEQUENCE { extnID, critical DEFAULT FALSE, extnValue }, each once. @throws Refusal FMT_DER */
export function readExtensions(list: DerNode): ReadonlyMap<string, Extension> {
  const out = new Map<string, Extension>();
  for (const node of children(list)) {
    const parts = children(node);
    const id = oid(parts[0]);
    if (parts.length < 2 || parts.length > 3) refuse('FMT_DER', node.path, NEXT, { have: `${parts.length} parts`, need: '2 or 3' });
    const critical = parts.length === 3 && boolean(parts[1]);
    if (parts.length === 3 && !critical) refuse('FMT_DER', node.path, NEXT, { have: 'the default value, written out', need: 'DER' });
    const { value } = expectTag(parts.at(-1), TAG.octetString);
    if (out.has(id)) refuse('FMT_DER', node.path, NEXT, { have: `extension ${id} twice`, need: 'once' });
    out.set(id, { id, critical, value });
  }
  if (out.size === 0) refuse('FMT_DER', list.path, NEXT, { have: 'no extensions in their list', need: 'at least one' });
  return out;
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }; CAs do write the default out. */
export function readBasicConstraints(value: Bytes, path: string): { ca: boolean; pathLen: number | null } {
  const parts = children(readDer(value, path));
  const ca = parts[0]?.tag === TAG.boolean && boolean(parts.shift());
  const pathLen = parts.length > 0 ? small(parts.shift()) : null;
  if (parts.length > 0 || (pathLen !== null && !ca)) refuse('FMT_DER', path, NEXT, { have: 'malformed basicConstraints' });
  return { ca, pathLen };
}

export const readKeyUsage = (value: Bytes, path: string): ReadonlySet<KeyUsage> => namedBits(readDer(value, path), KEY_USAGES, 'padded');

/** KeyPurposeIds, dotted decimal. */
export function readExtendedKeyUsage(value: Bytes, path: string): ReadonlySet<string> {
  const purposes = children(readDer(value, path)).map(oid);
  if (purposes.length === 0 || new Set(purposes).size !== purposes.length) refuse('FMT_DER', path, NEXT, { have: 'no purposes, or one twice', need: 'purposes, each once' });
  return new Set(purposes);
}

export const readSubjectKeyId = (value: Bytes, path: string): string => hex(expectTag(readDer(value, path), TAG.octetString).value);

/** AuthorityKeyIdentifier ::= SEQUENCE { [0] keyIdentifier, [1] authorityCertIssuer, [2] authorityCertSerialNumber }, implicit tags. */
export function readAuthorityKeyId(value: Bytes, path: string): AuthorityKeyId {
  let [keyId, serial]: (string | null)[] = [null, null];
  let last = -1;
  for (const field of children(readDer(value, path))) {
    const number = field.tag & 0x1f;
    const form = number === 1 ? 0xa0 : 0x80;
    if (number > 2 || number <= last || field.tag !== (form | number)) refuse('FMT_DER', field.path, NEXT, { have: `field ${field.tag.toString(16)} of authorityKeyIdentifier` });
    if (number === 0) keyId = hex(field.value);
    if (number === 2) serial = serialText(unsigned({ ...field, tag: TAG.integer }));
    last = number;
  }
  return { keyId: keyId ?? null, serial: serial ?? null };
}

/** Lower-case hex without leading zeros. */
export const serialText = (serial: Bytes): string => hex(serial).replace(/^0+(?=.)/, '');

/** The URIs of CRLDistributionPoints; other forms of a point are passed over. */
export function readCrlUrls(value: Bytes, path: string): readonly string[] {
  const urls: string[] = [];
  for (const point of children(readDer(value, path))) {
    for (const field of children(point)) {
      if (field.tag !== 0xa0) continue;
      for (const name of children(field, 0xa0)) {
        if (name.tag !== 0xa0) continue;
        for (const general of children(name, 0xa0)) if (general.tag === 0x86) urls.push(uri(general));
      }
    }
  }
  return urls;
}

function uri(node: DerNode): string {
  if (node.value.length > 2048 || node.value.some((byte) => byte < 0x21 || byte > 0x7e)) refuse('FMT_DER', node.path, NEXT, { have: 'a URI with bytes that no URI has' });
  return text(node.value);
}
