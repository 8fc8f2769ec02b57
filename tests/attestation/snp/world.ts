/** A simulated chip with its PKI and a current revocation list, and what makes a verification of it. */
import type { TrustContext, TrustRoot } from '../../../attestation/adapter.ts';
import { type Bytes, hex } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import type { Check } from '../../../attestation/claims.ts';
import { type CollateralItem, type CollateralKind, collateralOf } from '../../../attestation/collateral/collateral.ts';
import { type SnpFacts, type SnpInput, verifySnp } from '../../../attestation/hardware/snp/verify.ts';
import type { AuthorityOptions, Issued } from '../../../attestation/platforms/simulated/issue.ts';
import type { SigningKey } from '../../../attestation/platforms/simulated/keys.ts';
import { makeSnpCrl, makeSnpPki, makeVek, snpDevelopmentRoot, type SnpPki, type SnpPkiOptions, type VekFields } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { encodeTcb } from '../../../attestation/hardware/snp/generation.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { encodeSnpReport, SIMULATED_TCB, signSnpReport, type SnpReportFields, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { AMD_PRODUCTS, type AmdProduct } from '../../../attestation/trust/purposes.ts';
import { KEYS } from '../path-support.ts';
import { NOW } from '../support.ts';

export interface WorldOptions {
  readonly product?: AmdProduct;
  readonly kind?: 'vcek' | 'vlek';
  readonly pki?: SnpPki;
  readonly pkiChange?: SnpPkiOptions['change'];
  readonly vek?: Partial<VekFields>;
  readonly vekChange?: Partial<AuthorityOptions>;
}

export interface SnpWorld {
  readonly product: AmdProduct; readonly kind: 'vcek' | 'vlek'; readonly pki: SnpPki; readonly vek: Issued; readonly key: SigningKey; readonly issuers: readonly Bytes[]; readonly root: TrustRoot; readonly crl: Bytes;
  readonly trust: TrustContext;
}

const pkis = new Map<AmdProduct, Promise<SnpPki>>();
export function pkiOf(product: AmdProduct, change?: SnpPkiOptions['change']): Promise<SnpPki> {
  if (change !== undefined) return makeSnpPki({ product, now: NOW, keys: KEYS, change });
  const known = pkis.get(product) ?? makeSnpPki({ product, now: NOW, keys: KEYS });
  pkis.set(product, known);
  return known;
}

export const item = (kind: CollateralKind, key: string, bytes: Bytes): CollateralItem => ({ kind, key, bytes, source: 'offline', fetchedAt: NOW });

export async function snpWorld({ product = 'Genoa', kind = 'vcek', pki: given, pkiChange, vek: fields, vekChange }: WorldOptions = {}): Promise<SnpWorld> {
  const pki = given ?? await pkiOf(product, pkiChange);
  const vek = await makeVek(pki, kind, NOW, KEYS, fields, vekChange);
  const [root, crl] = [await snpDevelopmentRoot(pki), await makeSnpCrl(pki, NOW)];
  const issuers = [(kind === 'vcek' ? pki.ask : pki.asvk).certificate, pki.ark.certificate];
  return { product, kind, pki, vek, key: vek.key, issuers, root, crl, trust: { roots: [root], revoked: [], now: NOW, collateral: collateralOf([item('amd-crl', product, crl)]) } };
}

export interface Change {
  readonly fields?: Partial<SnpReportFields>;
  /** Of the signed report. */
  readonly bytes?: (report: Bytes) => Bytes;
  /** Signs instead of the chip's key. */
  readonly signWith?: SigningKey;
  readonly raw?: Bytes;
  readonly input?: Partial<SnpInput>;
  readonly trust?: Partial<TrustContext>;
  readonly at?: number;
}

export async function reportOf(w: SnpWorld, change: Change = {}): Promise<Bytes> {
  const report = await signSnpReport(encodeSnpReport(snpReportFields(w.product, w.kind, change.fields)), change.signWith ?? w.key, change.raw);
  return change.bytes?.(report) ?? report;
}

/** @throws Refusal */
export async function verified(w: SnpWorld, change: Change = {}): Promise<{ facts: SnpFacts; checks: readonly Check[] }> {
  const checks = new CheckList();
  const input: SnpInput = { report: await reportOf(w, change), vek: w.vek.certificate, issuers: w.issuers, cspIds: [/CN=cc-simulated-1\.example/], ...change.input };
  const facts = await verifySnp(input, { ...w.trust, ...change.trust }, change.at ?? NOW, checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Error('no facts and no reason');
  return { facts, checks: checks.done };
}

export const chipKey = (w: SnpWorld, fields: SnpReportFields): string => `${w.product}/${hex(fields.chipId)}/${hex(fields.reportedTcb)}`;
export { AMD_PRODUCTS, KEYS, NOW };

/** The lowest bit of one byte turned. */
export function flip(data: Uint8Array<ArrayBuffer>, offset: number): Uint8Array<ArrayBuffer> {
  const out = data.slice();
  out[offset] = (out[offset] as number) ^ 1;
  return out;
}

export function utf8Pem(ders: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const block = (d: Uint8Array): string => `-----BEGIN CERTIFICATE-----\n${(btoa(String.fromCharCode(...d)).match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
  return new TextEncoder().encode(ders.map(block).join(''));
}

/** One thing changed, and the codes that it is refused with. */
export interface Case { readonly name: string; readonly world?: WorldOptions; readonly change?: Change; readonly codes: readonly RefusalCode[] }
/** Of Genoa, one component set otherwise. */
export const tcbOf = (change: Record<string, number>): Bytes => encodeTcb({ ...SIMULATED_TCB.Genoa, ...change }, 'Genoa');
