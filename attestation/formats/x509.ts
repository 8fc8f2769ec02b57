/**
 * X.509 v3 certificates (RFC 5280) in the one profile of the Nitro PKI: keys on P-384, signatures ECDSA with SHA-384.
 *
 *   Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING }
 *   TBSCertificate ::= SEQUENCE { [0] version v3, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, [3] extensions }
 *
 * Parses; judges nothing. What a chain demands is in platforms/aws-nitro/chain.ts. Of the extensions, basicConstraints and keyUsage
 * are read; the others are listed when critical, so that the chain can refuse what nobody here understands.
 */
import { type Bytes, concat, hex } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { boolean, children, type DerNode, expectTag, namedBits, octetAlignedBits, oid, readDer, small, string, TAG, time, unsigned } from './der.ts';

export const KEY_USAGES = ['digitalSignature', 'nonRepudiation', 'keyEncipherment', 'dataEncipherment', 'keyAgreement', 'keyCertSign', 'cRLSign', 'encipherOnly', 'decipherOnly'] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export interface Certificate {
  readonly der: Bytes;
  /** What the issuer signed, as received. */
  readonly tbs: Bytes;
  /** Lower-case hex without leading zeros: "f931…", "0". */
  readonly serial: string;
  /** DER of the names; links of a chain compare these bytes. */
  readonly issuer: Bytes;
  readonly subject: Bytes;
  /** RFC 4514 text, most specific first: "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US" (`openssl x509 -nameopt RFC2253`). */
  readonly issuerText: string;
  readonly subjectText: string;
  readonly commonName: string;
  /** Epoch seconds, both inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Bytes;
  readonly ca: boolean;
  /** `null`: no limit. */
  readonly pathLen: number | null;
  /** `null`: the extension is absent. */
  readonly keyUsage: ReadonlySet<KeyUsage> | null;
  readonly unknownCritical: readonly string[];
  /** r ‖ s, 96 bytes. */
  readonly signature: Bytes;
}

const ECDSA_SHA384 = '1.2.840.10045.4.3.3';
const EC_PUBLIC_KEY = '1.2.840.10045.2.1';
const P384 = '1.3.132.0.34';
const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const ATTRIBUTES: Readonly<Record<string, string>> = { '2.5.4.3': 'CN', '2.5.4.6': 'C', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.10': 'O', '2.5.4.11': 'OU' };
const COORDINATE = 48;
const EXPLICIT_0 = 0xa0;
const EXPLICIT_3 = 0xa3;
const NEXT = 'Send the certificate exactly as its issuer made it.';

/** @throws Refusal FMT_DER, CHAIN_ALGORITHM */
export function parseCertificate(der: Bytes, path: string): Certificate {
  const outer = children(readDer(der, path));
  if (outer.length !== 3) refuse('FMT_DER', path, NEXT, { have: `${outer.length} fields`, need: '3' });
  const [tbs, algorithm, signatureValue] = outer as [DerNode, DerNode, DerNode];

  const fields = children(tbs);
  if (fields.length !== 8) refuse('FMT_DER', `${path}.tbs`, NEXT, { have: `${fields.length} fields`, need: '8: a v3 certificate with extensions, without unique ids' });
  const [version, serial, innerAlgorithm, issuer, validity, subject, spki, extensions] = fields as [DerNode, DerNode, DerNode, DerNode, DerNode, DerNode, DerNode, DerNode];
  const [v] = children(version, EXPLICIT_0);
  if (small(v) !== 2) refuse('FMT_DER', `${path}.version`, NEXT, { have: `v${small(v) + 1}`, need: 'v3' });
  checkSignatureAlgorithm(algorithm, `${path}.signatureAlgorithm`);
  checkSignatureAlgorithm(innerAlgorithm, `${path}.tbs.signature`);
  const serialBytes = unsigned(serial);
  if (serialBytes.length > 20) refuse('FMT_DER', `${path}.serialNumber`, NEXT, { have: `${serialBytes.length} bytes`, need: 'at most 20' });
  const times = children(validity);
  if (times.length !== 2) refuse('FMT_DER', `${path}.validity`, NEXT, { have: `${times.length} times`, need: '2' });
  checkKey(spki, `${path}.subjectPublicKeyInfo`);
  const issuerName = readName(issuer);
  const subjectName = readName(subject);

  return {
    der, tbs: tbs.raw, spki: spki.raw, issuer: issuer.raw, subject: subject.raw,
    serial: hex(serialBytes).replace(/^0+(?=.)/, ''),
    issuerText: issuerName.text, subjectText: subjectName.text, commonName: subjectName.commonName,
    notBefore: time(times[0]), notAfter: time(times[1]),
    signature: ecdsaSignature(signatureValue, `${path}.signature`),
    ...readExtensions(extensions, path),
  };
}

function checkSignatureAlgorithm(node: DerNode, path: string): void {
  const [algorithm, ...parameters] = children(node);
  const have = oid(algorithm);
  if (have !== ECDSA_SHA384 || parameters.length !== 0) refuse('CHAIN_ALGORITHM', path, NEXT, { have, need: `${ECDSA_SHA384} (ecdsa-with-SHA384), no parameters` });
}

function checkKey(node: DerNode, path: string): void {
  const parts = children(node);
  const [algorithm, curve, ...rest] = children(expectTag(parts[0], TAG.sequence, path));
  const have = `${oid(algorithm)} ${curve?.tag === TAG.oid ? oid(curve) : '-'}`;
  if (have !== `${EC_PUBLIC_KEY} ${P384}` || rest.length !== 0) refuse('CHAIN_ALGORITHM', path, NEXT, { have, need: `${EC_PUBLIC_KEY} ${P384} (an EC key on P-384)` });
  const point = octetAlignedBits(parts[1]);
  if (parts.length !== 2 || point.length !== 1 + 2 * COORDINATE || point[0] !== 4) refuse('CHAIN_ALGORITHM', path, NEXT, { have: `a point of ${point.length} bytes`, need: 'an uncompressed point of 97 bytes' });
}

/** Ecdsa-Sig-Value (RFC 3279, section 2.2.3) as r ‖ s. */
function ecdsaSignature(node: DerNode, path: string): Bytes {
  const parts = children(readDer(octetAlignedBits(node), path));
  const [r, s] = [unsigned(parts[0]), unsigned(parts[1])];
  if (parts.length !== 2 || r.length > COORDINATE || s.length > COORDINATE) refuse('FMT_DER', path, NEXT, { have: 'no pair of integers below 2^384' });
  return concat(new Uint8Array(COORDINATE - r.length), r, new Uint8Array(COORDINATE - s.length), s);
}

function readName(node: DerNode): { text: string; commonName: string } {
  let commonName = '';
  const parts = children(node).map((rdn) => {
    const attributes = children(rdn, TAG.set);
    if (attributes.length !== 1) refuse('FMT_DER', rdn.path, NEXT, { have: `${attributes.length} attributes`, need: '1' });
    const [type, value, ...rest] = children(attributes[0] as DerNode);
    const [id, content] = [oid(type), string(value)];
    if (rest.length !== 0) refuse('FMT_DER', rdn.path, NEXT, { have: 'an attribute of more than two parts' });
    if (id === '2.5.4.3') commonName = content;
    return `${ATTRIBUTES[id] ?? id}=${escapeName(content)}`;
  });
  return { text: parts.reverse().join(','), commonName };
}

/** RFC 4514, section 2.4. */
const escapeName = (value: string): string => value.replace(/[\\,+"<>;]|^[ #]| $/g, '\\$&').replaceAll('\0', '\\00');

function readExtensions(node: DerNode, path: string): Pick<Certificate, 'ca' | 'pathLen' | 'keyUsage' | 'unknownCritical'> {
  const list = children(node, EXPLICIT_3);
  if (list.length !== 1) refuse('FMT_DER', `${path}.extensions`, NEXT, { have: `${list.length} lists`, need: '1' });
  let ca = false;
  let pathLen: number | null = null;
  let keyUsage: ReadonlySet<KeyUsage> | null = null;
  const unknownCritical: string[] = [];
  const seen = new Set<string>();

  for (const extension of children(list[0] as DerNode)) {
    const parts = children(extension);
    const id = oid(parts[0]);
    if (parts.length < 2 || parts.length > 3) refuse('FMT_DER', extension.path, NEXT, { have: `${parts.length} parts`, need: '2 or 3' });
    const critical = parts.length === 3 && boolean(parts[1]);
    if (parts.length === 3 && !critical) refuse('FMT_DER', extension.path, NEXT, { have: 'the default value, written out', need: 'DER' });
    const value = expectTag(parts.at(-1), TAG.octetString).value;
    if (seen.has(id)) refuse('FMT_DER', extension.path, NEXT, { have: `extension ${id} twice`, need: 'once' });
    seen.add(id);
    if (id === BASIC_CONSTRAINTS) ({ ca, pathLen } = readBasicConstraints(readDer(value, `${path}.basicConstraints`)));
    else if (id === KEY_USAGE) keyUsage = namedBits(readDer(value, `${path}.keyUsage`), KEY_USAGES);
    else if (critical) unknownCritical.push(id);
  }
  return { ca, pathLen, keyUsage, unknownCritical };
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL } */
function readBasicConstraints(node: DerNode): { ca: boolean; pathLen: number | null } {
  const parts = children(node);
  const ca = parts[0]?.tag === TAG.boolean && boolean(parts.shift());
  const pathLen = parts.length > 0 ? small(parts.shift()) : null;
  if (parts.length > 0 || (pathLen !== null && !ca)) refuse('FMT_DER', node.path, NEXT, { have: 'malformed basicConstraints' });
  return { ca, pathLen };
}
