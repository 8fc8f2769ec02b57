/** X.501 names (RFC 5280, section 4.1.2.4) as text for people and for deny-lists; chains compare their DER. */
import { refuse } from '../refusal.ts';
import { children, type DerNode, oid, string, TAG } from './der.ts';
import { ATTRIBUTE_NAMES } from './oid.ts';

export interface Name {
  /** RFC 4514, most specific first: "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US" (`openssl x509 -nameopt RFC2253`). */
  readonly text: string;
  /** The last commonName, "" without one. */
  readonly commonName: string;
}

/** @throws Refusal FMT_DER */
export function readName(node: DerNode): Name {
  const next = 'Send the certificate exactly as its issuer made it.';
  let commonName = '';
  const parts = children(node).map((rdn) => {
    const attributes = children(rdn, TAG.set);
    if (attributes.length !== 1) refuse('FMT_DER', rdn.path, next, { have: `${attributes.length} attributes`, need: '1' });
    const [type, value, ...rest] = children(attributes[0] as DerNode);
    const [id, content] = [oid(type), string(value)];
    if (rest.length !== 0) refuse('FMT_DER', rdn.path, next, { have: 'an attribute of more than two parts' });
    const label = ATTRIBUTE_NAMES[id] ?? id;
    if (label === 'CN') commonName = content;
    return `${label}=${escapeName(content)}`;
  });
  return { text: parts.reverse().join(','), commonName };
}

/** RFC 4514, section 2.4. */
const escapeName = (value: string): string => value.replace(/[\\,+"<>;]|^[ #]| $/g, '\\$&').replaceAll('\0', '\\00');
