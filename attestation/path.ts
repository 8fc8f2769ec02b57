/**
 * Certification paths (RFC 5280, section 6) to pinned roots, for every platform's PKI. Stricter than RFC 5280 where the PKIs allow it: a CA has
 * basicConstraints and keyUsage, path lengths count every CA, names are equal as bytes, nothing unneeded is carried along.
 *
 *   leaf  ←  intermediates, in any order  ←  root: its SHA-256 and its key's SHA-256 are pinned
 *
 * An issuer is found by name, key identifier and signature: names alone are ambiguous (several of Google's intermediates share one).
 * The root's own signature is not checked: its bytes are the pinned ones. Nothing is verified when no pinned root is there.
 */
import { type Bytes, equal } from './bytes.ts';
import type { ChainCache } from './chain-cache.ts';
import { CheckList } from './checks.ts';
import type { Crl } from './formats/crl.ts';
import type { Certificate, KeyKind, KeyUsage, SignatureAlgorithm } from './formats/x509.ts';
import { Judge } from './judge.ts';
import { keepCertificates, readCertificate } from './kept.ts';
import { checkEach } from './path-checks.ts';
import { climb, type DeadEnd, type PoolCertificate } from './path-building.ts';
import { PathMemo } from './path-memo.ts';
import { printable } from './refusal.ts';
import { checkRevocation, type CrlFact, type CrlPolicy, type DeniedCertificate } from './revocation.ts';

/** Without `spkiSha256` the certificate's hash alone pins the key that is in it. */
export interface PinnedRoot { readonly name: string; readonly certSha256: string; readonly spkiSha256?: string }

/** What the leaf must be, besides no CA. */
export interface LeafProfile {
  /** Kinds of its key. */
  readonly keys: readonly KeyKind[];
  /** All of these must be in keyUsage, and keyCertSign must not. */
  readonly keyUsage: readonly KeyUsage[];
  /** Whether a leaf without keyUsage is accepted (AMD's VCEK has none). Default: refuse. */
  readonly keyUsageAbsent?: 'allow' | 'refuse';
  /** A purpose, dotted decimal, that the leaf must have, and every CA below the root that limits purposes. */
  readonly extendedKeyUsage?: string;
  /** The whole commonName (anchor it with ^ and $); no flags. */
  readonly commonName?: RegExp;
}

export interface PathRequest<R extends PinnedRoot = PinnedRoot> {
  /** First word of the checks' names: "SNP" makes "SNP-CHAIN-ROOT". */
  readonly prefix: string;
  /** Where the leaf is, for reasons: "evidence.vcek"; others are `issuersPath[1]`, `[2]`, ... counted up from the leaf. */
  readonly path: string;
  readonly issuersPath?: string;
  readonly leaf: Bytes | Certificate;
  /** Every other certificate, root included, in any order; DER, or parsed before. */
  readonly intermediates: readonly (Bytes | Certificate)[];
  /** Certificates that the path does not need. Default: refuse. */
  readonly unused?: 'allow' | 'refuse';
  readonly roots: readonly R[];
  /** When validity is judged, epoch seconds. */
  readonly at: number;
  /** Signature algorithms of certificates and lists below the root. */
  readonly algorithms: readonly SignatureAlgorithm[];
  readonly leafProfile: LeafProfile;
  /** Certificates in the path, leaf and root included. Default: 2 to 5. */
  readonly length?: { readonly min: number; readonly max: number };
  /** Critical extensions that the caller judges itself, dotted decimal. */
  readonly handledCriticalExtensions?: readonly string[];
  /** Operator's deny-list. */
  readonly revoked: readonly DeniedCertificate[];
  readonly crls?: readonly (Bytes | Crl)[];
  readonly requireCrl: CrlPolicy['require'];
  /** Default: all below the root. */
  readonly crlScope?: CrlPolicy['scope'];
  readonly crlGraceSeconds?: number;
  /** How far a notBefore or thisUpdate may be in the future. Default: 60 s. */
  readonly skewSeconds?: number;
  readonly cache?: ChainCache | undefined;
  /** Whether the leaf's signature is remembered too. Default: no. */
  readonly cacheLeaf?: boolean;
  /** Digests of certificates that are given parsed, again and again. */
  readonly memo?: PathMemo | undefined;
}

export interface VerifiedPath<R extends PinnedRoot = PinnedRoot> {
  readonly root: R;
  readonly leaf: Certificate;
  /** Leaf first, root last. */
  readonly certificates: readonly Certificate[];
  /** When all of them are valid, epoch seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly revocation: 'good' | 'unchecked';
  /** Lists that were verified. */
  readonly crls: readonly CrlFact[];
}

/** Bounds the work: every PKI here has at most four CAs. */
const MAX_POOL = 16;
const NEXT = 'Send the certificates that the issuer publishes for this leaf, each once, up to the root.';

/**
 * @returns undefined when a check failed; the reasons are in `checks`: FMT_DER, FMT_SIZE, CHAIN_ALGORITHM, CHAIN_ROOT_UNPINNED, CHAIN_ORDER (no issuer
 * found), CHAIN_SIGNATURE, CHAIN_LEN, CHAIN_CA, CHAIN_PATHLEN, CHAIN_KEY_USAGE, CHAIN_NAME, CHAIN_CRITICAL_EXTENSION, CHAIN_EXPIRED,
 * CHAIN_NOT_YET_VALID, REVOKED, CRL_*
 */
export async function validatePath<R extends PinnedRoot>(request: PathRequest<R>, checks: CheckList): Promise<VerifiedPath<R> | undefined> {
  const judge = new Judge(checks, request.prefix);
  const issuers = request.issuersPath ?? `${request.path}.issuers`;
  const few = judge.that('CHAIN-POOL', issuers, request.intermediates.length <= MAX_POOL, () => ({ code: 'CHAIN_LEN', have: `${request.intermediates.length} certificates`, need: `at most ${MAX_POOL}`, next: NEXT }));
  if (!few) return undefined;
  const parse = (source: Bytes | Certificate, path: string) => ('tbs' in source ? source : judge.parse('CERTIFICATE', path, () => readCertificate(source, path, request.cache?.kept)));
  const leaf = parse(request.leaf, request.path);
  const parsed = request.intermediates.map((source, i) => parse(source, `${issuers}[${i + 1}]`));
  if (leaf === undefined || parsed.includes(undefined)) return undefined;

  const memo = request.memo ?? request.cache?.memo ?? new PathMemo();
  const pool = await Promise.all((parsed as Certificate[]).map((certificate) => poolEntry(certificate, request.roots, memo)));
  if (!checkRoots(pool, request, issuers, judge)) return undefined;

  const { paths, deadEnd } = await climb({ certificate: leaf, root: undefined }, pool, {
    algorithms: request.algorithms, max: request.length?.max ?? 5, cache: request.cache, cacheLeaf: request.cacheLeaf === true, memo,
  });
  // Several paths (cross-certificates): one that holds is enough; of those that do not, the first explains
  for (const path of paths.length > 1 ? paths : []) {
    const result = await judgePath(path, request, pool, new Judge(new CheckList(), request.prefix), issuers);
    if (result !== undefined) return judgePath(path, request, pool, judge, issuers);
  }
  const [path] = paths;
  if (path !== undefined) return judgePath(path, request, pool, judge, issuers);
  explain(deadEnd, request, judge, issuers);
  checkEach(deadEnd.chain.map((c) => c.certificate), request, judge, issuers, 'partial');
  return undefined;
}

interface Entry<R = unknown> extends PoolCertificate<R> {
  readonly sha256: string;
  /** The key of a certificate that is pinned with another key. */
  readonly unpinnedKey: string | null;
}

async function poolEntry<R extends PinnedRoot>(certificate: Certificate, roots: readonly R[], memo: PathMemo): Promise<Entry<R>> {
  const { certSha256, spkiSha256 } = await memo.digests(certificate);
  const root = roots.find((r) => r.certSha256 === certSha256);
  const sameKey = root?.spkiSha256 === spkiSha256;
  return { certificate, root: sameKey ? root : undefined, unpinnedKey: root === undefined || sameKey ? null : spkiSha256, sha256: certSha256 };
}

function checkRoots(pool: readonly Entry[], request: PathRequest, issuers: string, judge: Judge): boolean {
  for (const [i, { unpinnedKey }] of pool.entries()) {
    if (unpinnedKey !== null) return judge.that('CHAIN-ROOT-KEY', `${issuers}[${i + 1}].subjectPublicKeyInfo`, false, () => ({ code: 'CHAIN_ROOT_UNPINNED', have: unpinnedKey, need: 'the pinned key of this root', next: 'Pin certificate and key of the same root.' }));
  }
  const selfIssued = pool.filter(({ certificate: c }) => equal(c.issuer, c.subject)).map(({ sha256: digest }) => digest);
  return judge.that('CHAIN-ROOT', issuers, pool.some(({ root }) => root !== undefined), () => ({
    code: 'CHAIN_ROOT_UNPINNED', have: selfIssued.length > 0 ? selfIssued.join(' or ') : 'no root', need: request.roots.map((r) => r.certSha256).join(' or ') || 'a pinned root',
    next: 'This is not under a root that you trust. For a simulated TEE, use a policy that names its development root.',
  }));
}

function explain({ kind, chain }: DeadEnd, request: PathRequest, judge: Judge, issuers: string): void {
  const top = (chain.at(-1) as PoolCertificate).certificate;
  const at = chain.length === 1 ? request.path : `${issuers}[${chain.length - 1}]`;
  const issuer = printable(top.issuerText);
  if (kind === 'algorithm') judge.that('CHAIN-ALGORITHM', `${at}.signatureAlgorithm`, false, () => ({ code: 'CHAIN_ALGORITHM', have: top.algorithm, need: request.algorithms.join(', '), next: NEXT }));
  if (kind === 'signature') judge.that('CHAIN-SIGNATURE', `${at}.signature`, false, () => ({ code: 'CHAIN_SIGNATURE', have: 'a signature that the issuer\'s key does not verify', need: `one by ${issuer}`, next: NEXT }));
  if (kind === 'key-id') judge.that('CHAIN-KEY-ID', `${at}.authorityKeyIdentifier`, false, () => ({ code: 'CHAIN_ORDER', have: `certificates of ${issuer} with other keys`, need: `the one with key ${top.authorityKeyId?.keyId ?? `serial ${top.authorityKeyId?.serial}`}`, next: NEXT }));
  if (kind === 'absent') judge.that('CHAIN-LINK', `${at}.issuer`, false, () => ({ code: 'CHAIN_ORDER', have: 'no certificate of the issuer', need: issuer, next: NEXT }));
  if (kind === 'unpinned') judge.that('CHAIN-ROOT', at, false, () => ({ code: 'CHAIN_ROOT_UNPINNED', have: `${issuer}, which issued itself`, need: 'a path to a pinned root', next: NEXT }));
  if (kind === 'length') judge.that('CHAIN-LENGTH', issuers, false, () => ({ code: 'CHAIN_LEN', have: `more than ${chain.length} certificates`, need: `at most ${request.length?.max ?? 5}`, next: NEXT }));
}

async function judgePath<R extends PinnedRoot>(path: readonly PoolCertificate<R>[], request: PathRequest<R>, pool: readonly PoolCertificate[], judge: Judge, issuers: string): Promise<VerifiedPath<R> | undefined> {
  const certificates = path.map((c) => c.certificate);
  const { min, max } = request.length ?? { min: 2, max: 5 };
  judge.that('CHAIN-LENGTH', issuers, certificates.length >= min && certificates.length <= max, () => ({ code: 'CHAIN_LEN', have: `${certificates.length} certificates`, need: `${min} to ${max}, leaf and root included`, next: NEXT }));
  const unused = pool.length - (path.length - 1);
  if (request.unused !== 'allow') judge.that('CHAIN-UNUSED', issuers, unused === 0, () => ({ code: 'CHAIN_LEN', have: `${unused} certificates that are not of the path`, need: 'none', next: NEXT }));
  // What climbing has established
  for (const i of certificates.keys()) {
    if (i === certificates.length - 1) break;
    const at = i === 0 ? request.path : `${issuers}[${i}]`;
    for (const [id, field] of [['CHAIN-LINK', 'issuer'], ['CHAIN-KEY-ID', 'authorityKeyIdentifier'], ['CHAIN-ALGORITHM', 'signatureAlgorithm'], ['CHAIN-SIGNATURE', 'signature']] as const) judge.that(id, `${at}.${field}`, true, () => ({ code: 'CHAIN_SIGNATURE', next: NEXT }));
  }
  checkEach(certificates, request, judge, issuers, 'whole');
  const revocation = await checkRevocation(certificates, {
    crls: request.crls ?? [], require: request.requireCrl, scope: request.crlScope ?? 'all', graceSeconds: request.crlGraceSeconds ?? 0, skewSeconds: request.skewSeconds ?? 60,
    at: request.at, algorithms: request.algorithms, cache: request.cache,
  }, judge, `${request.path}.crls`, (i) => (i === 0 ? request.path : `${issuers}[${i}]`));
  const root = path.at(-1)?.root;
  if (judge.failed || root === undefined) return undefined;
  keepCertificates(request.cacheLeaf === true ? certificates : certificates.slice(1), request.cache?.kept);
  return {
    root, leaf: certificates[0] as Certificate, certificates, revocation: revocation.status, crls: revocation.crls,
    notBefore: Math.max(...certificates.map((c) => c.notBefore)), notAfter: Math.min(...certificates.map((c) => c.notAfter)),
  };
}
