/**
 * X.509 v2 certificate revocation lists (RFC 5280, section 5), complete and direct ones:
 *
 *   CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue BIT STRING }
 *   TBSCertList     ::= SEQUENCE { version v2, signature, issuer, thisUpdate, nextUpdate, revokedCertificates OPTIONAL, [0] crlExtensions }
 *
 * Parses; judges nothing but form. A critical extension of the list (delta, partition by distribution point) or of an entry (indirect
 * lists) changes what the list says, so it is refused. Whether a list is authentic, current and the right one: attestation/revocation.ts.
 */
import { type Bytes, equal } from '../bytes.ts';
import { type Reason, Refusal, refuse } from '../refusal.ts';
import { children, type DerNode, expectTag, readDer, small, TAG, time, unsigned } from './der.ts';
import { type AuthorityKeyId, type Extension, readAuthorityKeyId, readExtensions, serialText } from './extensions.ts';
import { readName } from './name.ts';
import { OID } from './oid.ts';
import { readSignature, readSignatureAlgorithm, type SignatureAlgorithm } from './signature.ts';

export interface RevokedEntry {
  /** Lower-case hex without leading zeros, as in certificates. */
  readonly serial: string;
  /** Epoch seconds. */
  readonly revokedAt: number;
  /** CRLReason (1 keyCompromise, 6 certificateHold, ...), `null` where absent. */
  readonly reason: number | null;
}

export interface Crl {
  readonly der: Bytes;
  /** What the issuer signed, as received. */
  readonly tbs: Bytes;
  readonly issuer: Bytes;
  readonly issuerText: string;
  /** Epoch seconds, both inclusive. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** crlNumber in hex without leading zeros, `null` where absent. */
  readonly number: string | null;
  readonly authorityKeyId: AuthorityKeyId | null;
  /** By serial. */
  readonly revoked: ReadonlyMap<string, RevokedEntry>;
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly algorithm: SignatureAlgorithm;
  /** As WebCrypto takes it. */
  readonly signature: Bytes;
}

const MAX_SIZE = 8 * 1024 * 1024;
const EXPLICIT_0 = 0xa0;
const ENUMERATED = 0x0a;
const NEXT = 'Fetch the revocation list again from its issuer, as DER.';
const bad = (path: string, have: string, need?: string): never => refuse('CRL_FORMAT', path, NEXT, need === undefined ? { have } : { have, need });

/** @throws Refusal CRL_FORMAT */
export function parseCrl(der: Bytes, path: string): Crl {
  try {
    return read(der, path);
  } catch (error) {
    // Whatever the shared readers call it: to the reader of the refusal it is the list that is malformed
    if (error instanceof Refusal) throw new Refusal(error.reasons.map((r): Reason => ({ ...r, code: 'CRL_FORMAT', next: NEXT })));
    throw error;
  }
}

function read(der: Bytes, path: string): Crl {
  if (der.length > MAX_SIZE) bad(path, `${der.length} bytes`, `at most ${MAX_SIZE}`);
  const outer = children(readDer(der, path));
  if (outer.length !== 3) bad(path, `${outer.length} fields`, '3');
  const [tbs, outerAlgorithm, signatureValue] = outer as [DerNode, DerNode, DerNode];

  const fields = children(tbs);
  const [version, innerAlgorithm, issuer, thisUpdate, nextUpdate, ...optional] = fields;
  if (version?.tag !== TAG.integer || small(version) !== 1) bad(`${path}.version`, 'another version', 'v2');
  const algorithm = readSignatureAlgorithm(expectTag(innerAlgorithm, TAG.sequence, path), `${path}.signatureAlgorithm`);
  if (!equal((innerAlgorithm as DerNode).raw, outerAlgorithm.raw)) bad(`${path}.signatureAlgorithm`, 'two different algorithms');
  const entries = optional[0]?.tag === TAG.sequence ? optional.shift() : undefined;
  const [explicit, ...rest] = optional;
  if (explicit === undefined || rest.length !== 0) return bad(path, `${fields.length} fields`, 'a v2 list with extensions');
  const [list, ...more] = children(explicit, EXPLICIT_0);
  if (list === undefined || more.length !== 0) return bad(`${path}.crlExtensions`, `${more.length} lists more`);
  const extensions = readExtensions(list);
  refuseCritical(extensions, `${path}.crlExtensions`);
  const number = extensions.get(OID.crlNumber);
  const keyId = extensions.get(OID.authorityKeyIdentifier);

  return {
    der, tbs: tbs.raw, algorithm, extensions,
    issuer: expectTag(issuer, TAG.sequence, path).raw, issuerText: readName(issuer as DerNode).text,
    thisUpdate: time(thisUpdate), nextUpdate: time(nextUpdate),
    number: number === undefined ? null : serialText(unsigned(readDer(number.value, `${path}.crlNumber`))),
    authorityKeyId: keyId === undefined ? null : readAuthorityKeyId(keyId.value, `${path}.authorityKeyIdentifier`),
    revoked: entries === undefined ? new Map() : readEntries(entries, path),
    signature: readSignature(signatureValue, algorithm, `${path}.signature`),
  };
}

function refuseCritical(extensions: ReadonlyMap<string, Extension>, path: string): void {
  const critical = [...extensions.values()].filter((e) => e.critical).map((e) => e.id);
  if (critical.length > 0) bad(path, `critical ${critical.join(', ')}`, 'a complete, direct list without critical extensions');
}

/** SEQUENCE OF SEQUENCE { userCertificate, revocationDate, crlEntryExtensions OPTIONAL } */
function readEntries(node: DerNode, path: string): ReadonlyMap<string, RevokedEntry> {
  const out = new Map<string, RevokedEntry>();
  for (const entry of children(node)) {
    const [serial, date, list, ...rest] = children(entry);
    const id = unsigned(serial);
    if (rest.length !== 0 || id.length > 20) bad(entry.path, 'a malformed entry');
    let reason: number | null = null;
    if (list !== undefined) {
      const extensions = readExtensions(list);
      refuseCritical(extensions, `${path}.revokedCertificates`);
      const code = extensions.get(OID.reasonCode);
      if (code !== undefined) reason = readReason(readDer(code.value, `${path}.reasonCode`));
    }
    const name = serialText(id);
    if (!out.has(name)) out.set(name, { serial: name, revokedAt: time(date), reason });
  }
  return out;
}

/** removeFromCRL (8) exists in delta lists only (RFC 5280, section 5.3.1). */
function readReason(node: DerNode): number {
  const [value] = node.value;
  if (node.tag !== ENUMERATED || node.value.length !== 1 || value === undefined || value > 10 || value === 7 || value === 8) return bad(node.path, 'a reason that complete lists do not have');
  return value;
}
