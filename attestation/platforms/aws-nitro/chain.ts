/**
 * The certificate chain of a Nitro attestation document (attestation_process.md, section 3.2.3; RFC 5280, section 6), root first:
 *
 *   cabundle[0] root, 30 years   CN aws.nitro-enclaves               pinned by SHA-256 of DER and SPKI
 *   cabundle[1] regional, 20 d   CN <id>.<region>.aws.nitro-enclaves          pathLen 2
 *   cabundle[2] zonal, 6 d       CN <id>.zonal.<region>.aws.nitro-enclaves    pathLen 1
 *   cabundle[3] instance, 24 h   CN <instance>.<region>.aws.nitro-enclaves    pathLen 0
 *   certificate leaf, 3 h        CN <module>.<region>.aws                     signs the document
 *
 * The root's own signature is not checked: its bytes are the pinned ones. Nothing is verified under a root that is not pinned.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal, hex, sha256 } from '../../bytes.ts';
import type { ChainCache } from '../../chain-cache.ts';
import type { CheckList } from '../../checks.ts';
import { type Certificate, type CertificateProfile, parseCertificate, verifySignature } from '../../formats/x509.ts';
import { keepCertificates, type Kept } from '../../kept.ts';
import { PathMemo } from '../../path-memo.ts';
import { printable } from '../../refusal.ts';
import { rootsFor } from '../../trust/purposes.ts';

export const PLATFORM = 'aws-nitro' as const;
/** Root, regional, zonal, instance: every genuine document has these four. */
const BUNDLE_LENGTH = 4;
/** The NSM makes a leaf 3 s before its first document, so a verifier whose clock is a little late must not refuse it. */
const NOT_BEFORE_SKEW = 60;
/** The one algorithm of this PKI. */
const PROFILE: CertificateProfile = { signatures: ['ES384'], keys: ['P-384'] };
const NEXT = 'Attest again inside the enclave; if it stays, report it to the operator of the cell.';

/** Certificates root first, the leaf last, as the document holds them. */
export interface NitroChain {
  readonly root: TrustRoot;
  readonly certificates: readonly Certificate[];
}

/**
 * Everything about the chain except its signatures. Failing checks leave their reasons in `checks`.
 * @param at the time that validity is judged at, epoch seconds
 * @returns undefined when there is nothing to verify a signature with: an unread certificate or an unpinned root
 */
export async function checkChain(bundle: readonly Bytes[], leafDer: Bytes, trust: TrustContext, at: number, checks: CheckList): Promise<NitroChain | undefined> {
  const ders = [...bundle, leafDer];
  const kept = ders.map((der, i) => keptOf(der, i < bundle.length ? trust.chainCache?.kept : trust.chainCache?.leaves));
  // Root, before anything in the chain is looked at
  const memo = trust.chainCache?.memo ?? new PathMemo();
  const rootSha256 = kept[0] === undefined ? hex(await sha256(bundle[0] ?? new Uint8Array())) : (await memo.digests(kept[0])).certSha256;
  const root = rootsFor(trust, 'aws-nitro', PLATFORM).find((r) => r.certSha256 === rootSha256);
  checks.that('NITRO-CHAIN-ROOT', 'document.cabundle[0]', root !== undefined, () => ({
    code: 'CHAIN_ROOT_UNPINNED', have: rootSha256, need: pinned(trust) || 'a pinned root', next: 'This is not a Nitro Enclave under a root that you trust. For a simulated TEE, use a policy that names its development root.',
  }));
  checks.that('NITRO-CHAIN-LENGTH', 'document.cabundle', bundle.length === BUNDLE_LENGTH, () => ({ code: 'CHAIN_LEN', have: `${bundle.length} certificates`, need: `${BUNDLE_LENGTH}: root, regional, zonal, instance`, next: NEXT }));

  // Each certificate in the profile
  const parsed = ders.map((der, i) => checks.parse('NITRO-CERTIFICATE-PROFILE', pathOf(i, ders.length), () => kept[i] ?? parseCertificate(der, pathOf(i, ders.length), PROFILE)));
  const certificates = parsed.filter((c) => c !== undefined);
  if (certificates.length !== parsed.length) return undefined;

  for (const [i, certificate] of certificates.entries()) checkOne(certificate, pathOf(i, ders.length), i, certificates, trust, at, checks);

  if (root === undefined) return undefined;
  const { spkiSha256 } = await memo.digests(certificates[0] as Certificate);
  const sameKey = checks.that('NITRO-CHAIN-ROOT-KEY', 'document.cabundle[0].subjectPublicKeyInfo', root.spkiSha256 === spkiSha256, () => ({ code: 'CHAIN_ROOT_UNPINNED', have: spkiSha256, need: root.spkiSha256, next: 'Pin certificate and key of the same root.' }));
  return sameKey ? { root, certificates } : undefined;
}

/** Of this PKI's kind: the cache serves other platforms too. */
function keptOf(der: Bytes, among: Kept | undefined): Certificate | undefined {
  const kept = among?.find('certificate', der);
  return kept !== undefined && PROFILE.signatures.includes(kept.algorithm) && PROFILE.keys.includes(kept.key.kind) ? kept : undefined;
}

/** Each certificate's signature by the one before it. The leaf is remembered too: for hours it signs every document of its enclave. */
export async function checkChainSignatures({ certificates }: NitroChain, cache: ChainCache | undefined, checks: CheckList): Promise<void> {
  const last = certificates.length - 1;
  const holds = await Promise.all(certificates.map((certificate, i) => i === 0 || verifyLink(certificates[i - 1] as Certificate, certificate, cache)));
  for (const [i, ok] of holds.entries()) {
    if (i === 0) continue;
    checks.that('NITRO-CHAIN-SIGNATURE', `${pathOf(i, certificates.length)}.signature`, ok, () => ({ code: 'CHAIN_SIGNATURE', have: 'a signature that the issuer\'s key does not verify', need: `one by ${printable((certificates[i - 1] as Certificate).subjectText)}`, next: NEXT }));
  }
  if (!holds.every(Boolean)) return;
  keepCertificates(certificates.slice(0, last), cache?.kept);
  keepCertificates(certificates.slice(last), cache?.leaves);
}

const pathOf = (i: number, length: number): string => (i === length - 1 ? 'document.certificate' : `document.cabundle[${i}]`);

/** What can be said of a certificate by its place in the chain, without its signature. */
function checkOne(certificate: Certificate, path: string, i: number, chain: readonly Certificate[], trust: TrustContext, at: number, checks: CheckList): void {
  const last = chain.length - 1;
  const above = chain[i - 1];
  if (above !== undefined) {
    checks.that('NITRO-CHAIN-LINK', `${path}.issuer`, equal(certificate.issuer, above.subject), () => ({ code: 'CHAIN_ORDER', have: printable(certificate.issuerText), need: printable(above.subjectText), next: 'Send the chain root first, each certificate followed by one that it issued.' }));
  }
  if (i < last) {
    const below = last - 1 - i;
    checks.that('NITRO-CHAIN-CA', `${path}.basicConstraints`, certificate.ca, () => ({ code: 'CHAIN_CA', have: 'cA false', need: 'cA true', next: NEXT }));
    checks.that('NITRO-CHAIN-PATHLEN', `${path}.basicConstraints.pathLen`, certificate.pathLen === null || certificate.pathLen >= below, () => ({ code: 'CHAIN_PATHLEN', have: String(certificate.pathLen), need: `at least ${below}`, next: NEXT }));
    checks.that('NITRO-CHAIN-KEY-USAGE', `${path}.keyUsage`, certificate.keyUsage?.has('keyCertSign') === true, () => ({ code: 'CHAIN_KEY_USAGE', have: usages(certificate), need: 'keyCertSign', next: NEXT }));
  } else {
    checks.that('NITRO-LEAF-CA', `${path}.basicConstraints`, !certificate.ca, () => ({ code: 'CHAIN_CA', have: 'cA true', need: 'cA false', next: NEXT }));
    checks.that('NITRO-LEAF-KEY-USAGE', `${path}.keyUsage`, certificate.keyUsage?.has('digitalSignature') === true && !certificate.keyUsage.has('keyCertSign'), () => ({ code: 'CHAIN_KEY_USAGE', have: usages(certificate), need: 'digitalSignature without keyCertSign', next: NEXT }));
  }
  checks.that('NITRO-CHAIN-CRITICAL', `${path}.extensions`, certificate.unknownCritical.length === 0, () => ({ code: 'CHAIN_CRITICAL_EXTENSION', have: certificate.unknownCritical.join(', '), need: 'no critical extension but basicConstraints and keyUsage', next: NEXT }));
  checks.that('NITRO-CHAIN-NOT-BEFORE', `${path}.notBefore`, certificate.notBefore <= at + NOT_BEFORE_SKEW, () => ({ code: 'CHAIN_NOT_YET_VALID', have: iso(at), need: `from ${iso(certificate.notBefore)}`, next: 'Compare the clocks of the verifier and of the instance.' }));
  checks.that('NITRO-CHAIN-NOT-AFTER', `${path}.notAfter`, certificate.notAfter >= at, () => ({ code: 'CHAIN_EXPIRED', have: iso(at), need: `until ${iso(certificate.notAfter)}`, next: 'Attest again: certificates of the security module live hours. Judge a stored document with verifyReplay.' }));
  checks.that('NITRO-CHAIN-REVOKED', `${path}.serialNumber`, !isRevoked(certificate, trust), () => ({ code: 'REVOKED', have: `${printable(certificate.issuerText)} ${certificate.serial}`, need: 'a certificate that the policy does not revoke', next: 'The operator has revoked this certificate: move the workload to another instance.' }));
}

async function verifyLink(issuer: Certificate, certificate: Certificate, cache: ChainCache | undefined): Promise<boolean> {
  const name = cache === undefined ? undefined : await cache.memo.linkName(issuer, certificate);
  if (name !== undefined && cache?.has(name) === true) return true;
  const holds = await verifySignature(issuer, 'ES384', certificate.signature, certificate.tbs);
  if (holds && name !== undefined) cache?.add(name);
  return holds;
}

const hexNumber = (serial: string): string => serial.toLowerCase().replace(/^0+(?=.)/, '');
const isRevoked = (c: Certificate, trust: TrustContext): boolean => trust.revoked.some((r) => r.issuer === c.issuerText && hexNumber(r.serial) === c.serial);
const pinned = (trust: TrustContext): string => rootsFor(trust, 'aws-nitro', PLATFORM).map((r) => r.certSha256).join(' or ');
const usages = (c: Certificate): string => (c.keyUsage === null ? 'no keyUsage' : [...c.keyUsage].join(', '));
/** For people; a time that no Date can hold is shown as it is. */
const iso = (seconds: number): string => (Math.abs(seconds) <= 8.64e12 ? new Date(seconds * 1000).toISOString() : String(seconds));
