/** From a leaf up to pinned roots, through a pool of certificates in any order, each step by name, key identifier and signature. */
import { equal } from './bytes.ts';
import type { ChainCache } from './chain-cache.ts';
import { type Certificate, type SignatureAlgorithm, verifySignature } from './formats/x509.ts';
import type { PathMemo } from './path-memo.ts';

export interface PoolCertificate<R = unknown> { readonly certificate: Certificate; readonly root: R | undefined }

export interface ClimbOptions {
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Most certificates in a path. */
  readonly max: number;
  readonly cache: ChainCache | undefined;
  readonly cacheLeaf: boolean;
  readonly memo: PathMemo;
}

/** Where climbing ended without a pinned root. */
export interface DeadEnd<R = unknown> { readonly kind: 'absent' | 'key-id' | 'signature' | 'algorithm' | 'unpinned' | 'length'; readonly chain: readonly PoolCertificate<R>[] }

/** A hostile pool of look-alikes costs at most this many signatures and paths. */
const MAX_SIGNATURES = 32;
const MAX_PATHS = 8;

/** @returns paths, leaf first; and the longest dead end, for when there are none */
export async function climb<R>(leaf: PoolCertificate<R>, pool: readonly PoolCertificate<R>[], options: ClimbOptions): Promise<{ paths: PoolCertificate<R>[][]; deadEnd: DeadEnd<R> }> {
  const paths: PoolCertificate<R>[][] = [];
  let deadEnd: DeadEnd<R> = { kind: 'absent', chain: [leaf] };
  let signatures = 0;
  const stuck = (reason: DeadEnd['kind'], chain: PoolCertificate<R>[]): void => {
    const top = (chain.at(-1) as PoolCertificate<R>).certificate;
    // Whatever else bears its name: a certificate that issued itself is a root that nobody pinned
    const kind = chain.length > 1 && equal(top.issuer, top.subject) ? 'unpinned' : reason;
    if (chain.length > deadEnd.chain.length || deadEnd.chain.length === 1) deadEnd = { kind, chain };
  };
  const open: PoolCertificate<R>[][] = [[leaf]];
  for (let chain = open.pop(); chain !== undefined && paths.length < MAX_PATHS; chain = open.pop()) {
    const { certificate: top, root } = chain.at(-1) as PoolCertificate<R>;
    if (root !== undefined) {
      paths.push(chain);
      continue;
    }
    const named = pool.filter((c) => equal(c.certificate.subject, top.issuer) && !(chain as PoolCertificate<R>[]).some((d) => equal(c.certificate.der, d.certificate.der)));
    const fitting = named.filter((c) => keyIdsFit(top, c.certificate));
    if (named.length === 0) stuck('absent', chain);
    else if (fitting.length === 0) stuck('key-id', chain);
    else if (chain.length >= options.max) stuck('length', chain);
    else if (!options.algorithms.includes(top.algorithm)) stuck('algorithm', chain);
    else {
      const next: PoolCertificate<R>[] = [];
      for (const candidate of fitting) {
        if (signatures === MAX_SIGNATURES) break;
        signatures += 1;
        const cache = chain.length === 1 && !options.cacheLeaf ? undefined : options.cache;
        if (await verifyLink(candidate.certificate, top, cache, options.memo)) next.push(candidate);
      }
      if (next.length === 0) stuck('signature', chain);
      // First candidates first
      for (const candidate of next.reverse()) open.push([...chain, candidate]);
    }
  }
  return { paths, deadEnd };
}

/** RFC 5280, section 4.2.1.1: identifiers that both sides have must be equal. */
function keyIdsFit(certificate: Certificate, issuer: Certificate): boolean {
  const { keyId, serial } = certificate.authorityKeyId ?? { keyId: null, serial: null };
  return (keyId === null || issuer.subjectKeyId === null || keyId === issuer.subjectKeyId) && (serial === null || serial === issuer.serial);
}

async function verifyLink(issuer: Certificate, certificate: Certificate, cache: ChainCache | undefined, memo: PathMemo): Promise<boolean> {
  const name = cache === undefined ? '' : await memo.linkName(issuer, certificate);
  if (cache?.has(name) === true) return true;
  const holds = await verifySignature(issuer, certificate.algorithm, certificate.signature, certificate.tbs);
  if (holds) cache?.add(name);
  return holds;
}
