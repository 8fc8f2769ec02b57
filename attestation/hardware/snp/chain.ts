/**
 * Certificates behind an SNP report:
 *
 *   ARK-<product>  pinned root, RSA-4096, signs ASK, ASVK and their revocation list
 *   SEV-<product>  ASK, pinned too            SEV-VLEK-<product>  ASVK, pinned too
 *   SEV-VCEK       a chip's key, P-384        SEV-VLEK            a cloud's key, P-384, loaded into its chips
 *
 * all signed RSASSA-PSS, SHA-384, salt 48. AMD numbers every VCEK and VLEK 0, so a chip is denied by its id, not by its certificate's serial.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal } from '../../bytes.ts';
import { digestOf } from '../../chain-cache.ts';
import type { CheckList } from '../../checks.ts';
import type { NormalizedClaims } from '../../claims.ts';
import { NO_COLLATERAL } from '../../collateral/collateral.ts';
import { type AmdVek, readVek } from '../../formats/amd-cert.ts';
import type { Certificate } from '../../formats/x509.ts';
import { validatePath, type VerifiedPath } from '../../path.ts';
import type { Judge } from '../../judge.ts';
import { once, readCertificate } from '../../kept.ts';
import { PathMemo } from '../../path-memo.ts';
import { printable } from '../../refusal.ts';
import { type AmdProduct, type RootPurpose, rootsFor } from '../../trust/purposes.ts';
import { namesProduct } from './generation.ts';

export interface VekChain {
  readonly vek: AmdVek;
  readonly product: AmdProduct;
  /** `undefined`: a check of the chain failed, so nothing in the certificate is proven; comparing it with the report still explains. */
  readonly path: VerifiedPath<TrustRoot> | undefined;
}

export type CollateralUsed = NonNullable<NormalizedClaims['collateral']>[number];

const NEXT = 'Send the certificate of the key that signed this report, with the ASK or ASVK and the ARK that AMD publishes for it.';
/** commonName of the certificate that issues each kind. */
export const ISSUER_NAMES = { vcek: (product: AmdProduct) => `SEV-${product}`, vlek: (product: AmdProduct) => `SEV-VLEK-${product}` } as const;
const vekOf = once(readVek);
const PIN = { vcek: 'amd-ask', vlek: 'amd-asvk' } as const;

export interface VekChainInput {
  readonly leaf: Certificate;
  readonly leafPath: string;
  /** DER of ASK or ASVK, and ARK, in any order. */
  readonly issuers: readonly Bytes[];
  readonly issuersPath: string;
  readonly product: AmdProduct;
  /** The kind that the report asks for. */
  readonly kind: 'vcek' | 'vlek';
  readonly at: number;
}

/**
 * @returns undefined where there is nothing to compare a report with: a certificate that was not read, or one of another kind. Reasons are in `checks`:
 *   CHAIN_SIGNER_KIND, CHAIN_NAME, CHAIN_ROOT_UNPINNED, FMT_*, and those of validatePath
 */
export async function verifyVekChain(input: VekChainInput, trust: TrustContext, checks: CheckList, judge: Judge, used: CollateralUsed[]): Promise<VekChain | undefined> {
  const { leaf, leafPath, issuers, issuersPath, product, kind, at } = input;
  const vek = judge.parse('VEK', leafPath, () => vekOf(leaf, leafPath));
  if (vek === undefined) return undefined;
  const named = ISSUER_NAMES[kind](product);
  const other = ISSUER_NAMES[kind === 'vcek' ? 'vlek' : 'vcek'](product);
  const parsed = issuers.map((der, i) => judge.parse('CERTIFICATE', `${issuersPath}[${i + 1}]`, () => readCertificate(der, `${issuersPath}[${i + 1}]`, trust.chainCache?.kept)));
  if (parsed.includes(undefined)) return undefined;
  const certificates = parsed as Certificate[];

  const same = judge.that('SIGNER-KIND', leafPath, vek.kind === kind, () => ({ code: 'CHAIN_SIGNER_KIND', have: `a certificate of a ${vek.kind.toUpperCase()}`, need: `of a ${kind.toUpperCase()}`, next: NEXT }));
  const theirs = certificates.some((c) => c.commonName === other) && !certificates.some((c) => c.commonName === named);
  const kindred = judge.that('ISSUER-KIND', issuersPath, !theirs, () => ({ code: 'CHAIN_SIGNER_KIND', have: other, need: named, next: NEXT }));
  if (!same || !kindred) return undefined;

  const collateral = trust.collateral ?? NO_COLLATERAL;
  // Of the same ARK: whichever is there names what it revoked
  const crl = (kind === 'vlek' ? collateral.get('amd-crl', `${product}/vlek`) : undefined) ?? collateral.get('amd-crl', product);
  const memo = trust.chainCache?.memo ?? new PathMemo();
  const path = await validatePath({
    prefix: 'SNP', path: leafPath, issuersPath, leaf, intermediates: certificates, roots: rootsFor(trust, `amd-ark/${product}`), at,
    algorithms: ['PS384'], leafProfile: { keys: ['P-384'], keyUsage: ['digitalSignature'], keyUsageAbsent: 'allow' }, length: { min: 3, max: 3 },
    revoked: trust.revoked, crls: crl === undefined ? [] : [crl.bytes], requireCrl: trust.revocation ?? 'require',
    // AMD publishes lists of the CAs only
    crlScope: 'intermediates',
    // One VCEK signs all reports of a chip
    cache: trust.chainCache, cacheLeaf: true, memo,
  }, checks);
  if (path === undefined) return { vek, product, path };
  const [, issuer] = path.certificates as [Certificate, Certificate, Certificate];
  const fits = judge.that('ISSUER-NAME', `${issuersPath}[1].subject`, issuer.commonName === named, () => ({ code: 'CHAIN_NAME', have: printable(issuer.commonName), need: named, next: NEXT }));
  const pinned = await checkIssuerPin(issuer, path.root, `${PIN[kind]}/${product}`, `${issuersPath}[1]`, trust, memo, judge);
  const ours = judge.that('PRODUCT', `${leafPath}.productName`, namesProduct(vek.productName, product), () => ({ code: 'CHAIN_NAME', have: printable(vek.productName), need: product, next: NEXT }));
  if (crl !== undefined) {
    const [fact] = path.crls;
    used.push({ kind: crl.kind, sha256: await digestOf(trust.chainCache, 'crl', crl.bytes), ...(fact === undefined ? {} : { issued: fact.thisUpdate, nextUpdate: fact.nextUpdate }), source: crl.source });
  }
  return { vek, product, path: fits && pinned && ours ? path : undefined };
}

/** Below a production root AMD's own intermediate is pinned as well; a development root may bring any, unless some are pinned. */
async function checkIssuerPin(issuer: Certificate, root: TrustRoot, purpose: RootPurpose, path: string, trust: TrustContext, memo: PathMemo, judge: Judge): Promise<boolean> {
  const pins = rootsFor(trust, purpose).filter((r) => r.anchor === root.anchor);
  const { certSha256: cert, spkiSha256: spki } = await memo.digests(issuer);
  const pinned = pins.some((p) => p.certSha256 === cert && (p.spkiSha256 === undefined || p.spkiSha256 === spki));
  const free = root.anchor === 'development' && pins.length === 0;
  return judge.that('ISSUER-PIN', path, pinned || free, () => ({ code: 'CHAIN_ROOT_UNPINNED', have: cert, need: pins.map((p) => p.certSha256).join(' or ') || 'a pinned intermediate', next: NEXT }));
}

/** The product whose ASK or ASVK issued this certificate, by its issuer's name: nothing is believed before the chain holds. */
export function productByIssuer(leaf: Certificate, among: readonly AmdProduct[]): AmdProduct | undefined {
  return among.find((product) => Object.values(ISSUER_NAMES).some((name) => leaf.issuerText.split(',').includes(`CN=${name(product)}`)));
}

/** Certificates each once. */
export const distinct = (ders: readonly Bytes[]): Bytes[] => ders.filter((der, i) => ders.findIndex((other) => equal(der, other)) === i);
