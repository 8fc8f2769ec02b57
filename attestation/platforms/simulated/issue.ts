/**
 * Certificates and revocation lists of any PKI, every field of them settable: a test changes exactly one thing under signatures that verify.
 * {@link makeAuthority} gives a certificate that fits its place; whatever it sets, `change` sets otherwise. Isomorphic.
 */
import { type Bytes, bytes, concat, randomBytes, utf8 } from '../../bytes.ts';
import { KEY_USAGES, type KeyUsage } from '../../formats/extensions.ts';
import { OID } from '../../formats/oid.ts';
import type { SignatureAlgorithm } from '../../formats/signature.ts';
import { bits, bool, der, explicit, integer, longSequence, namedBits, octets, oid, printable, sequence, set, time, utf8String } from './der-writer.ts';
import { defaultAlgorithm, type SigningKey, signDer } from './keys.ts';

export interface Extension { readonly id: string; readonly critical: boolean; readonly value: Bytes }

/** What every certificate says, its extensions as a list. */
export interface CertificateBody {
  /** 2 means v3. */
  readonly version: number;
  readonly serial: Bytes;
  /** DER names. */
  readonly issuer: Bytes;
  readonly subject: Bytes;
  /** Epoch seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Bytes;
  readonly extensions: readonly Extension[];
}

export interface CertificateTemplate extends CertificateBody {
  /** What it is signed with. */
  readonly algorithm: SignatureAlgorithm;
  /** AlgorithmIdentifiers inside and outside of the signed part; those of `algorithm` by default. */
  readonly innerAlgorithm?: Bytes;
  readonly outerAlgorithm?: Bytes;
}

export interface Issued { readonly certificate: Bytes; readonly template: CertificateTemplate; readonly key: SigningKey }

export interface AuthorityOptions {
  readonly key: SigningKey;
  /** DER; {@link dn} makes one. */
  readonly subject: Bytes;
  /** Absent: issues itself. */
  readonly issuer?: Issued;
  /** Epoch seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** `null`: an end entity. Default: a CA without limit. */
  readonly pathLen?: number | null | 'unlimited';
  readonly keyUsage?: readonly KeyUsage[];
  /** Behind the standard ones. */
  readonly extensions?: readonly Extension[];
  /** What the issuer signs with; its key's default otherwise. */
  readonly algorithm?: SignatureAlgorithm;
  readonly change?: Partial<CertificateTemplate>;
  /** Signs instead of the issuer's key. */
  readonly signWith?: SigningKey;
}

/** A certificate with basicConstraints, keyUsage, key identifiers and `extensions`, signed by its issuer. */
export async function makeAuthority(options: AuthorityOptions): Promise<Issued> {
  const { key, subject, issuer, notBefore, notAfter, pathLen = 'unlimited', change = {} } = options;
  const signer = issuer?.key ?? key;
  const isCa = pathLen !== null;
  const template: CertificateTemplate = {
    version: 2, serial: concat(bytes([0x40]), randomBytes(15)), issuer: issuer?.template.subject ?? subject, subject, notBefore, notAfter, spki: key.spki,
    algorithm: options.algorithm ?? defaultAlgorithm(signer.type),
    extensions: [
      basicConstraints(isCa, pathLen === 'unlimited' ? null : pathLen), keyUsage(options.keyUsage ?? (isCa ? ['keyCertSign', 'cRLSign'] : ['digitalSignature'])),
      subjectKeyIdentifier(await keyIdOf(key.spki)), authorityKeyIdentifier(await keyIdOf(signer.spki)), ...(options.extensions ?? []),
    ],
    ...change,
  };
  return { certificate: await issueCertificate(template, options.signWith ?? signer), template, key };
}

export const issueCertificate = (t: CertificateTemplate, signer: SigningKey): Promise<Bytes> => assemble(t, t.innerAlgorithm ?? ALGORITHMS[t.algorithm], t.outerAlgorithm ?? ALGORITHMS[t.algorithm], (tbs) => signDer(signer, t.algorithm, tbs));

/** Certificate (RFC 5280, section 4.1). @param inner AlgorithmIdentifier inside of the signed part; `outer` behind it */
export async function assemble(t: CertificateBody, inner: Bytes, outer: Bytes, sign: (tbs: Bytes) => Promise<Bytes>): Promise<Bytes> {
  const tbs = sequence(
    explicit(0, integer(bytes([t.version]))), integer(t.serial), inner, t.issuer, sequence(time(t.notBefore), time(t.notAfter)), t.subject, t.spki,
    ...(t.extensions.length === 0 ? [] : [explicit(3, sequence(...t.extensions.map(extension)))]),
  );
  return sequence(tbs, outer, bits(await sign(tbs)));
}

export interface CrlEntry { readonly serial: Bytes; readonly revokedAt: number; readonly reason?: number; readonly extensions?: readonly Extension[] }

export interface CrlTemplate {
  /** 1 means v2. */
  readonly version: number;
  readonly issuer: Bytes;
  readonly thisUpdate: number;
  /** `null`: absent. */
  readonly nextUpdate: number | null;
  readonly revoked: readonly CrlEntry[];
  readonly extensions: readonly Extension[];
  readonly algorithm: SignatureAlgorithm;
  readonly innerAlgorithm?: Bytes;
  readonly outerAlgorithm?: Bytes;
}

export interface CrlOptions {
  readonly issuer: Issued;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Certificates, or whole entries. */
  readonly revoked?: readonly (Issued | CrlEntry)[];
  readonly number?: number;
  readonly algorithm?: SignatureAlgorithm;
  readonly change?: Partial<CrlTemplate>;
  readonly signWith?: SigningKey;
}

/** A list with crlNumber and authorityKeyIdentifier, signed by its issuer. */
export async function makeCrl({ issuer, thisUpdate, nextUpdate, revoked = [], number = 1, algorithm, change = {}, signWith }: CrlOptions): Promise<Bytes> {
  const template: CrlTemplate = {
    version: 1, issuer: issuer.template.subject, thisUpdate, nextUpdate, algorithm: algorithm ?? defaultAlgorithm(issuer.key.type),
    revoked: revoked.map((r): CrlEntry => ('certificate' in r ? { serial: r.template.serial, revokedAt: thisUpdate - 1, reason: 1 } : r)),
    extensions: [{ id: OID.crlNumber, critical: false, value: integer(bytes([number >> 8, number & 255])) }, authorityKeyIdentifier(await keyIdOf(issuer.key.spki))],
    ...change,
  };
  return issueCrl(template, signWith ?? issuer.key);
}

/** CertificateList (RFC 5280, section 5.1). */
export async function issueCrl(t: CrlTemplate, signer: SigningKey): Promise<Bytes> {
  const entries = t.revoked.map((e) => {
    const extensions = [...(e.reason === undefined ? [] : [{ id: OID.reasonCode, critical: false, value: der(0x0a, bytes([e.reason])) }]), ...(e.extensions ?? [])];
    return sequence(integer(e.serial), time(e.revokedAt), ...(extensions.length === 0 ? [] : [sequence(...extensions.map(extension))]));
  });
  const tbs = sequence(
    ...(t.version === 0 ? [] : [integer(bytes([t.version]))]), t.innerAlgorithm ?? ALGORITHMS[t.algorithm], t.issuer, time(t.thisUpdate), ...(t.nextUpdate === null ? [] : [time(t.nextUpdate)]),
    ...(entries.length === 0 ? [] : [longSequence(entries)]), ...(t.extensions.length === 0 ? [] : [explicit(0, sequence(...t.extensions.map(extension)))]),
  );
  return sequence(tbs, t.outerAlgorithm ?? ALGORITHMS[t.algorithm], bits(await signDer(signer, t.algorithm, tbs)));
}

const NULL = bytes([5, 0]);
/** AlgorithmIdentifier of RSASSA-PSS (RFC 4055, section 3.1); `trailer` writes the default out, as AMD does. */
export function pssAlgorithm(hash: string, saltLength: number, options: { mgfHash?: string; trailer?: number } = {}): Bytes {
  const digest = (id: string): Bytes => sequence(oid(id), NULL);
  return sequence(oid(OID.rsaPss), sequence(
    explicit(0, digest(hash)), explicit(1, sequence(oid(OID.mgf1), digest(options.mgfHash ?? hash))), explicit(2, integer(bytes([saltLength]))),
    ...(options.trailer === undefined ? [] : [explicit(3, integer(bytes([options.trailer])))]),
  ));
}

export const ALGORITHMS: Readonly<Record<SignatureAlgorithm, Bytes>> = {
  ES256: sequence(oid(OID.ecdsaSha256)), ES384: sequence(oid(OID.ecdsaSha384)), RS256: sequence(oid(OID.sha256WithRsa), NULL), RS384: sequence(oid(OID.sha384WithRsa), NULL),
  PS256: pssAlgorithm(OID.sha256, 32), PS384: pssAlgorithm(OID.sha384, 48, { trailer: 1 }),
};

/** A name from attributes in the order of the certificate: `[['C', 'US'], ['O', 'Intel Corporation'], ['CN', '...']]`. */
export function dn(attributes: readonly (readonly [type: string, value: string])[]): Bytes {
  const types: Readonly<Record<string, string>> = { CN: '2.5.4.3', C: '2.5.4.6', L: '2.5.4.7', ST: '2.5.4.8', O: '2.5.4.10', OU: '2.5.4.11' };
  return sequence(...attributes.map(([type, value]) => set(sequence(oid(types[type] ?? type), type === 'C' ? printable(value) : utf8String(value)))));
}

export const extension = (e: Extension): Bytes => sequence(oid(e.id), ...(e.critical ? [bool(true)] : []), octets(e.value));
export const basicConstraints = (ca: boolean, pathLen: number | null = null, critical = true): Extension => ({ id: OID.basicConstraints, critical, value: sequence(...(ca ? [bool(true)] : []), ...(pathLen === null ? [] : [integer(bytes([pathLen]))])) });
export const keyUsage = (usages: readonly KeyUsage[], critical = true): Extension => ({ id: OID.keyUsage, critical, value: namedBits(usages.map((u) => KEY_USAGES.indexOf(u))) });
export const extendedKeyUsage = (purposes: readonly string[], critical = false): Extension => ({ id: OID.extendedKeyUsage, critical, value: sequence(...purposes.map(oid)) });
export const subjectKeyIdentifier = (id: Bytes): Extension => ({ id: OID.subjectKeyIdentifier, critical: false, value: octets(id) });
export const authorityKeyIdentifier = (id: Bytes): Extension => ({ id: OID.authorityKeyIdentifier, critical: false, value: sequence(der(0x80, id)) });
export const crlDistributionPoints = (urls: readonly string[]): Extension => ({ id: OID.crlDistributionPoints, critical: false, value: sequence(...urls.map((url) => sequence(explicit(0, explicit(0, der(0x86, utf8(url))))))) });

/** Key identifier: 160 bits of the SHA-256 of the key (RFC 7093, section 2, method 1, of the whole SubjectPublicKeyInfo). */
export async function keyIdOf(spki: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', spki)).slice(0, 20);
}
