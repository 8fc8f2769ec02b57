/**
 * A simulated Azure Confidential VM: hardware report, HCL report, vTPM quote and the certificate of its key, in the real formats under development
 * roots. It proves nothing about hardware. Every part can be set otherwise, under signatures that verify. Isomorphic.
 */
import type { TrustRoot } from '../../adapter.ts';
import { type Bytes, hex, sha256 } from '../../bytes.ts';
import type { CollateralItem, CollateralKind } from '../../collateral/collateral.ts';
import { expectedReportData, type HclReportType } from '../../formats/hcl-report.ts';
import { OID } from '../../formats/oid.ts';
import { parseCertificate } from '../../formats/x509.ts';
import type { AmdProduct } from '../../trust/purposes.ts';
import type { AzureParts } from '../azure-cvm/container.ts';
import { buildEventLog, type SimulatedEvent } from './event-log.ts';
import { buildHcl, buildTdReport, type HclFields, type RuntimeFields, runtimeBytes, runtimeFields } from './hcl.ts';
import { type AuthorityOptions, dn, extendedKeyUsage, type Issued, makeAuthority, makeCrl } from './issue.ts';
import { KeyRing, type SigningKey } from './keys.ts';
import { encodeSnpReport, type SnpReportFields, snpReportFields, signSnpReport } from './snp.ts';
import { makeSnpCrl, makeSnpPki, makeVek, SIMULATED_ORGANIZATION, snpDevelopmentRoot, type SnpPki } from './snp-pki.ts';
import { makeTdxWorld, type TdxWorldOptions } from './tdx.ts';
import { buildQuote, freshPcrs, type PcrValues, type QuoteOptions } from './tpm.ts';

const DAY = 86_400;
/** What a policy compares (policy.ts): boot loader, Secure Boot, kernel, initrd, command line. */
export const SIMULATED_SELECTION = [4, 7, 8, 9, 11, 12, 13] as const;

type CertificateChange = Partial<AuthorityOptions>;
export interface AzurePki { readonly root: Issued; readonly ca: Issued; readonly ak: Issued; readonly crl: Bytes }

export interface AzureWorldOptions {
  readonly now: number;
  readonly ring?: KeyRing;
  readonly technology?: HclReportType;
  /** What the quote carries: D32 of the binding. */
  readonly extraData: Bytes;
  /** SEV-SNP. */
  readonly product?: AmdProduct;
  readonly report?: Partial<SnpReportFields>;
  /** TDX. */
  readonly tdx?: Partial<TdxWorldOptions>;
  readonly runtime?: Partial<RuntimeFields>;
  /** Runtime data as text, whatever it is; the report holds its digest. */
  readonly runtimeData?: Bytes;
  readonly hcl?: Partial<HclFields>;
  /** Digest in the hardware report, instead of the runtime data's. */
  readonly reportData?: Bytes;
  readonly pcrs?: PcrValues;
  readonly select?: readonly number[];
  readonly quote?: Partial<Pick<QuoteOptions, 'change' | 'signWith' | 'bank' | 'key'>>;
  /** `null`: the certificate is not sent. */
  readonly certificates?: Partial<Record<'root' | 'ca' | 'ak', CertificateChange>> | null;
  readonly events?: readonly SimulatedEvent[];
}

export interface AzureWorld {
  readonly parts: AzureParts;
  readonly roots: readonly TrustRoot[];
  readonly collateral: readonly CollateralItem[];
  readonly pki: AzurePki;
  readonly ak: SigningKey;
  readonly snp?: SnpPki;
}

export const AK_COMMON_NAME = '353c6d9a70bc.ConfidentialVM.Azure.windows.net';

/** Root, one CA, leaf: the shape of 2025. */
export async function makeAzurePki(ring: KeyRing, now: number, change: Partial<Record<'root' | 'ca' | 'ak', CertificateChange>> = {}): Promise<AzurePki> {
  const [rootKey, caKey, akKey] = await Promise.all([ring.get('RSA-2048', 'azure-root'), ring.get('RSA-2048', 'azure-ca'), ring.get('RSA-2048', 'azure-ak')]);
  const named = (cn: string): Bytes => dn([['C', 'US'], ['O', SIMULATED_ORGANIZATION], ['CN', cn]]);
  const root = await makeAuthority({ key: rootKey, subject: named('DEVELOPMENT ROOT simulated Azure Virtual TPM'), algorithm: 'RS384', notBefore: now - 365 * DAY, notAfter: now + 9000 * DAY, ...change.root });
  const purposes = extendedKeyUsage(['2.23.133.8.1', OID.tpmAttestationKey]);
  const ca = await makeAuthority({ key: caKey, subject: dn([['CN', 'Simulated Virtual TPM CA - 01']]), issuer: root, pathLen: 0, keyUsage: ['keyCertSign', 'cRLSign'], extensions: [purposes], algorithm: 'RS384', notBefore: now - 200 * DAY, notAfter: now + 500 * DAY, ...change.ca });
  const ak = await makeAuthority({
    key: akKey, subject: dn([['CN', AK_COMMON_NAME]]), issuer: ca, pathLen: null, keyUsage: ['digitalSignature'], extensions: [extendedKeyUsage(['1.3.6.1.4.1.311.10.3.12', OID.tpmAttestationKey])], algorithm: 'RS256',
    notBefore: now - DAY, notAfter: now + 364 * DAY, ...change.ak,
  });
  return { root, ca, ak, crl: await makeCrl({ issuer: root, thisUpdate: now - DAY, nextUpdate: now + 30 * DAY, algorithm: 'RS384' }) };
}

export async function azureDevelopmentRoot({ root }: Pick<AzurePki, 'root'>): Promise<TrustRoot> {
  return { name: 'simulated Azure vTPM root', purpose: 'azure-vtpm', anchor: 'development', certSha256: hex(await sha256(root.certificate)), spkiSha256: hex(await sha256(root.template.spki)) };
}

/** PCRs of a VM that booted something. */
export function simulatedPcrs(change: Readonly<Record<number, Bytes>> = {}): Map<number, Bytes> {
  const filled = (value: number): Bytes => new Uint8Array(32).fill(value);
  return freshPcrs('sha256', { 0: filled(0xa0), 4: filled(0xa4), 7: filled(0xa7), 9: filled(0xa9), 11: filled(0xab), ...change });
}

export async function makeAzureWorld(options: AzureWorldOptions): Promise<AzureWorld> {
  const { now, ring = new KeyRing(), technology = 'snp', certificates } = options;
  const [pki, ek] = await Promise.all([makeAzurePki(ring, now, certificates ?? {}), ring.get('RSA-2048', 'azure-ek')]);
  const ak = pki.ak.key;
  const runtimeData = options.runtimeData ?? runtimeBytes(await runtimeFields(ak, ek, technology, options.runtime));
  const reportData = options.reportData ?? await expectedReportData(runtimeData);
  const hardware = technology === 'snp' ? await snpHardware(options, ring, reportData) : await tdxHardware(options, ring, reportData);
  const pcrs = options.pcrs ?? simulatedPcrs();
  const quote = await buildQuote({ bank: 'sha256', pcrs, select: options.select ?? SIMULATED_SELECTION, extraData: options.extraData, key: ak, ...options.quote });
  const keyId = parseCertificate(pki.ca.certificate, 'ca').authorityKeyId?.keyId ?? '';
  return {
    parts: {
      hcl: buildHcl(technology, hardware.report, runtimeData, options.hcl), message: quote.message, signature: quote.signature, pcrs,
      ...(certificates === null ? {} : { ak: [pki.ak, pki.ca, pki.root].map((c) => c.certificate) }), ...hardware.parts,
      ...(options.events === undefined ? {} : { eventLog: await buildEventLog(options.events) }),
    },
    roots: [...hardware.roots, await azureDevelopmentRoot(pki)],
    collateral: [...hardware.collateral, item('azure-vtpm-crl', keyId, pki.crl, now)],
    pki, ak, ...(hardware.snp === undefined ? {} : { snp: hardware.snp }),
  };
}

interface Hardware { readonly report: Bytes; readonly parts: Partial<AzureParts>; readonly roots: readonly TrustRoot[]; readonly collateral: readonly CollateralItem[]; readonly snp?: SnpPki }

const item = (kind: CollateralKind, key: string, data: Bytes, now: number): CollateralItem => ({ kind, key, bytes: data, source: 'offline', fetchedAt: now });

async function snpHardware({ now, product = 'Genoa', report: change }: AzureWorldOptions, ring: KeyRing, reportData: Bytes): Promise<Hardware> {
  const snp = await makeSnpPki({ product, now, keys: ring });
  const vek = await makeVek(snp, 'vcek', now, ring);
  const report = await signSnpReport(encodeSnpReport(snpReportFields(product, 'vcek', { version: 3, reportData, ...change })), vek.key);
  return {
    report, snp, parts: { vek: vek.certificate, issuers: [snp.ask.certificate, snp.ark.certificate] },
    roots: [await snpDevelopmentRoot(snp), await pinnedAsk(snp)], collateral: [item('amd-crl', product, await makeSnpCrl(snp, now), now)],
  };
}

async function pinnedAsk({ ask, product }: SnpPki): Promise<TrustRoot> {
  return { name: `simulated SEV-${product}`, purpose: `amd-ask/${product}`, anchor: 'development', certSha256: hex(await sha256(ask.certificate)), spkiSha256: hex(await sha256(ask.template.spki)) };
}

async function tdxHardware({ now, tdx }: AzureWorldOptions, ring: KeyRing, reportData: Bytes): Promise<Hardware> {
  const world = await makeTdxWorld({ now, ring, ...tdx, quote: { ...tdx?.quote, td: { reportData, rtmrs: Array.from({ length: 4 }, () => new Uint8Array(48)), ...tdx?.quote?.td } } });
  return { report: buildTdReport(reportData), parts: { tdQuote: world.quote }, roots: [world.root], collateral: world.collateral };
}
