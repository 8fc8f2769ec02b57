/** Simulated GKE nodes of each technology, under production-anchored test roots: each test sets one thing otherwise, under signatures that verify. */
import type { Expectation, TrustContext, TrustRoot } from '../../../attestation/adapter.ts';
import { d32, d64 } from '../../../attestation/binding.ts';
import type { Bytes } from '../../../attestation/bytes.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { type CollateralItem, type CollateralKind, collateralOf } from '../../../attestation/collateral/collateral.ts';
import type { BindingFields, Evidence } from '../../../attestation/evidence.ts';
import { encodeGkeEvidence, type GkeParts, type SnpParts, type TdxParts } from '../../../attestation/platforms/gke/container.ts';
import { gkeSelection } from '../../../attestation/platforms/gke/evidence.ts';
import { gke } from '../../../attestation/platforms/gke/verify.ts';
import { gceDevelopmentRoot, type GceWorld, type GceWorldOptions, makeGceWorld } from '../../../attestation/platforms/simulated/gce.ts';
import { encodeSnpReport, type SnpReportFields, signSnpReport, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { makeSnpCrl, makeSnpPki, makeVek, snpDevelopmentRoot } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { makeTdxWorld, type TdxWorldOptions } from '../../../attestation/platforms/simulated/tdx.ts';
import { KEYS } from '../path-support.ts';
import { BINDING as NITRO, NOW } from '../support.ts';

export { KEYS } from '../path-support.ts';
export { NOW } from '../support.ts';

export const BINDING: BindingFields = { ...NITRO, platform: 'gke' };
export const VTPM = [4, 7, 8, 9, 11, 12, 13].map((i) => `vTPM:PCR${i}`);
/** A policy that has references of each technology. */
export const REGISTERS = ['LAUNCH', 'MRTD', 'RTMR1', 'RTMR2', ...VTPM];
export const EXPECT: Expectation = { platform: 'gke', binding: BINDING, maxAgeSeconds: 300, registers: REGISTERS };

export interface Node<P extends GkeParts = GkeParts> { readonly parts: P; readonly roots: readonly TrustRoot[]; readonly collateral: readonly CollateralItem[] }

export const item = (kind: CollateralKind, key: string, bytes: Bytes, fetchedAt = NOW): CollateralItem => ({ kind, key, bytes, source: 'offline', fetchedAt });
const production = (root: TrustRoot): TrustRoot => ({ ...root, anchor: 'production' });

export async function snpNode(change: Partial<SnpReportFields> = {}): Promise<Node<SnpParts>> {
  const pki = await makeSnpPki({ product: 'Genoa', now: NOW, keys: KEYS });
  const vek = await makeVek(pki, 'vcek', NOW, KEYS);
  const report = await signSnpReport(encodeSnpReport(snpReportFields('Genoa', 'vcek', { version: 3, reportData: await d64(BINDING), ...change })), vek.key);
  return {
    parts: { technology: 'sev-snp', report, vek: vek.certificate, issuers: [pki.ask.certificate, pki.ark.certificate] }, roots: [production(await snpDevelopmentRoot(pki)), { ...await gceDevelopmentRoot({ root: pki.ask }, 'production'), purpose: 'amd-ask/Genoa' }],
    collateral: [item('amd-crl', 'Genoa', await makeSnpCrl(pki, NOW))],
  };
}

export async function tdxNode(options: Partial<TdxWorldOptions> = {}, parts: Partial<TdxParts> = {}): Promise<Node<TdxParts>> {
  const world = await makeTdxWorld({ now: NOW, ring: KEYS, ...options, quote: { ...options.quote, td: { reportData: await d64(BINDING), ...options.quote?.td } } });
  return { parts: { technology: 'tdx', tdQuote: world.quote, ...parts }, roots: [production(world.root)], collateral: world.collateral };
}

export const gceWorld = async (options: Partial<GceWorldOptions> = {}): Promise<GceWorld> => makeGceWorld({ now: NOW, ring: KEYS, extraData: await d32(BINDING), select: gkeSelection(REGISTERS), anchor: 'production', ...options });

export async function sevNode(options: Partial<GceWorldOptions> = {}): Promise<Node> {
  const { parts, root, collateral } = await gceWorld(options);
  return { parts, roots: [root], collateral };
}

export interface Given { readonly trust?: Partial<TrustContext>; readonly expect?: Partial<Expectation>; readonly document?: Bytes; readonly without?: readonly CollateralKind[]; readonly with?: readonly CollateralItem[]; readonly evidence?: Partial<Evidence> }

export const trustOf = (node: Node, given: Given = {}): TrustContext => ({
  roots: node.roots, revoked: [], now: NOW, collateral: collateralOf([...node.collateral.filter((i) => given.without?.includes(i.kind) !== true), ...(given.with ?? [])]), ...given.trust,
});

export const evidenceOf = (node: Node, given: Given = {}): Evidence => ({ platform: 'gke', document: given.document ?? encodeGkeEvidence(node.parts), ...given.evidence });

export const verify = (node: Node, given: Given = {}): Promise<NormalizedClaims> => gke.verify(evidenceOf(node, given), { ...EXPECT, ...given.expect }, trustOf(node, given));
export const replay = (node: Node, given: Given = {}): Promise<NormalizedClaims> => gke.verifyReplay(evidenceOf(node, given), { ...EXPECT, ...given.expect }, trustOf(node, given));
