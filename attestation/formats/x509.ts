/**
 * X.509 v3 certificates (RFC 5280) with the keys and signatures of signature.ts.
 *
 *   Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING }
 *   TBSCertificate ::= SEQUENCE { [0] version v3, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, [3] extensions }
 *
 * Parses; judges nothing: what a chain demands is in attestation/path.ts and in the platforms. Every extension is kept as bytes; the ones
 * that chains are judged by are read.
 */
import { type Bytes, equal } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { children, type DerNode, readDer, small, time, unsigned } from './der.ts';
import {
  type AuthorityKeyId, type Extension, type KeyUsage, readAuthorityKeyId, readBasicConstraints, readCrlUrls, readExtendedKeyUsage, readExtensions, readKeyUsage, readSubjectKeyId, serialText,
} from './extensions.ts';
import { readName } from './name.ts';
import { OID } from './oid.ts';
import { type PublicKey, readPublicKey, readSignature, readSignatureAlgorithm, SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from './signature.ts';

export { type Extension, KEY_USAGES, type KeyUsage } from './extensions.ts';
export { type KeyKind, type PublicKey, SIGNATURE_ALGORITHMS, type SignatureAlgorithm, verifySignature } from './signature.ts';

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
  readonly key: PublicKey;
  readonly ca: boolean;
  /** `null`: no limit. */
  readonly pathLen: number | null;
  /** `null`: the extension is absent (so for the next three). */
  readonly keyUsage: ReadonlySet<KeyUsage> | null;
  /** Dotted decimal. */
  readonly extendedKeyUsage: ReadonlySet<string> | null;
  /** Hex. */
  readonly subjectKeyId: string | null;
  readonly authorityKeyId: AuthorityKeyId | null;
  /** URIs of the distribution points. */
  readonly crlUrls: readonly string[];
  /** All extensions by dotted decimal, in their order. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** Critical ones other than basicConstraints and keyUsage: whoever judges must know them, or refuse. */
  readonly unknownCritical: readonly string[];
  readonly algorithm: SignatureAlgorithm;
  /** As WebCrypto takes it: r ‖ s for ECDSA (64 or 96 bytes), RSA as it is. */
  readonly signature: Bytes;
}

const EXPLICIT_0 = 0xa0;
const EXPLICIT_3 = 0xa3;
/** Well above what any of these PKIs issues; certificates of Azure Attestation embed a whole quote (30 KB). */
const MAX_SIZE = 65_536;
const NEXT = 'Send the certificate exactly as its issuer made it.';

export interface CertificateProfile { readonly signatures: readonly SignatureAlgorithm[]; readonly keys: readonly PublicKey['kind'][] }
const ANY: CertificateProfile = { signatures: SIGNATURE_ALGORITHMS, keys: ['P-256', 'P-384', 'RSA'] };

/** @param profile refuses other algorithms while parsing; path.ts has its own lists. @throws Refusal FMT_SIZE, FMT_DER, CHAIN_ALGORITHM */
export function parseCertificate(der: Bytes, path: string, profile: CertificateProfile = ANY): Certificate {
  if (der.length > MAX_SIZE) refuse('FMT_SIZE', path, NEXT, { have: `${der.length} bytes`, need: `at most ${MAX_SIZE}` });
  const outer = children(readDer(der, path));
  if (outer.length !== 3) refuse('FMT_DER', path, NEXT, { have: `${outer.length} fields`, need: '3' });
  const [tbs, outerAlgorithm, signatureValue] = outer as [DerNode, DerNode, DerNode];

  const fields = children(tbs);
  if (fields.length !== 8) refuse('FMT_DER', `${path}.tbs`, NEXT, { have: `${fields.length} fields`, need: '8: a v3 certificate with extensions, without unique ids' });
  const [version, serial, innerAlgorithm, issuer, validity, subject, spki, extensions] = fields as [DerNode, DerNode, DerNode, DerNode, DerNode, DerNode, DerNode, DerNode];
  const [v, ...restOfVersion] = children(version, EXPLICIT_0);
  if (small(v) !== 2 || restOfVersion.length !== 0) refuse('FMT_DER', `${path}.version`, NEXT, { have: `v${small(v) + 1}`, need: 'v3' });
  const algorithm = readSignatureAlgorithm(innerAlgorithm, `${path}.signatureAlgorithm`);
  if (!equal(innerAlgorithm.raw, outerAlgorithm.raw)) refuse('CHAIN_ALGORITHM', `${path}.signatureAlgorithm`, NEXT, { have: 'two different algorithms', need: 'the one that is signed' });
  if (!profile.signatures.includes(algorithm)) refuse('CHAIN_ALGORITHM', `${path}.signatureAlgorithm`, NEXT, { have: algorithm, need: profile.signatures.join(', ') });
  const key = readPublicKey(spki, `${path}.subjectPublicKeyInfo`);
  if (!profile.keys.includes(key.kind)) refuse('CHAIN_ALGORITHM', `${path}.subjectPublicKeyInfo`, NEXT, { have: key.kind, need: profile.keys.join(', ') });
  const serialBytes = unsigned(serial);
  if (serialBytes.length > 20) refuse('FMT_DER', `${path}.serialNumber`, NEXT, { have: `${serialBytes.length} bytes`, need: 'at most 20' });
  const times = children(validity);
  if (times.length !== 2) refuse('FMT_DER', `${path}.validity`, NEXT, { have: `${times.length} times`, need: '2' });
  const issuerName = readName(issuer);
  const subjectName = readName(subject);
  const list = children(extensions, EXPLICIT_3);
  if (list.length !== 1) refuse('FMT_DER', `${path}.extensions`, NEXT, { have: `${list.length} lists`, need: '1' });

  return {
    der, tbs: tbs.raw, spki: spki.raw, key, algorithm, issuer: issuer.raw, subject: subject.raw, serial: serialText(serialBytes),
    issuerText: issuerName.text, subjectText: subjectName.text, commonName: subjectName.commonName,
    notBefore: time(times[0]), notAfter: time(times[1]),
    signature: readSignature(signatureValue, algorithm, `${path}.signature`),
    ...interpret(readExtensions(list[0] as DerNode), path),
  };
}

type Read = Pick<Certificate, 'ca' | 'pathLen' | 'keyUsage' | 'extendedKeyUsage' | 'subjectKeyId' | 'authorityKeyId' | 'crlUrls' | 'extensions' | 'unknownCritical'>;

function interpret(extensions: ReadonlyMap<string, Extension>, path: string): Read {
  const read = <T>(id: string, name: string, reader: (value: Bytes, path: string) => T): T | null => {
    const found = extensions.get(id);
    return found === undefined ? null : reader(found.value, `${path}.${name}`);
  };
  return {
    ...(read(OID.basicConstraints, 'basicConstraints', readBasicConstraints) ?? { ca: false, pathLen: null }),
    keyUsage: read(OID.keyUsage, 'keyUsage', readKeyUsage),
    extendedKeyUsage: read(OID.extendedKeyUsage, 'extendedKeyUsage', readExtendedKeyUsage),
    subjectKeyId: read(OID.subjectKeyIdentifier, 'subjectKeyIdentifier', readSubjectKeyId),
    authorityKeyId: read(OID.authorityKeyIdentifier, 'authorityKeyIdentifier', readAuthorityKeyId),
    crlUrls: read(OID.crlDistributionPoints, 'crlDistributionPoints', readCrlUrls) ?? [],
    extensions,
    unknownCritical: [...extensions.values()].filter((e) => e.critical && e.id !== OID.basicConstraints && e.id !== OID.keyUsage).map((e) => e.id),
  };
}
