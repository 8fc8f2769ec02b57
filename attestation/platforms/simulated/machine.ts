/**
 * Machines of the other clouds as software TEEs, for a cell on one computer: the PKI of the cloud and of its processor, made once and kept, evidence in the real
 * formats under these development roots, and the files that the vendors would publish. Anybody who has the state can make any evidence: it proves nothing. Isomorphic.
 *
 *   azure-cvm            SNP report over the paravisor's runtime data, vTPM quote over D32, key certificate; VCEK and issuers come along, as from THIM
 *   gke                  SNP report over D64; certificates are for the verifier to fetch
 *   confidential-space   a Google token with certificates, TDX, for the audience and nonces of the challenge
 */
import type { TrustRoot } from '../../adapter.ts';
import { d32, d64 } from '../../binding.ts';
import { b64u, type Bytes, concat, fromB64u, fromHex, hex, sha256, sha384, utf8 } from '../../bytes.ts';
import type { CollateralItem, CollateralKind } from '../../collateral/collateral.ts';
import type { BindingFields, Platform } from '../../evidence.ts';
import { expectedReportData } from '../../formats/hcl-report.ts';
import { parseCertificate } from '../../formats/x509.ts';
import { encodeTcb } from '../../hardware/snp/generation.ts';
import { GOOGLE_ISSUER, googleNonces } from '../../services/google.ts';
import { encodeAzureEvidence } from '../azure-cvm/container.ts';
import { encodeGkeEvidence } from '../gke/container.ts';
import { type AzurePki, azureDevelopmentRoot, makeAzurePki, SIMULATED_SELECTION } from './azure.ts';
import { buildHcl, runtimeBytes, runtimeFields } from './hcl.ts';
import { type Issued, makeCrl } from './issue.ts';
import type { KeyRing, SigningKey } from './keys.ts';
import { encodeSnpReport, signSnpReport, SIMULATED_TCB, simulatedChipId, snpReportFields } from './snp.ts';
import { makeSnpCrl, makeSnpPki, makeVek, snpDevelopmentRoot, type SnpPki } from './snp-pki.ts';
import { googleClaims, type GooglePki, makeGooglePki, pemOf, signToken } from './tokens.ts';
import { buildQuote, freshPcrs } from './tpm.ts';

export type MachinePlatform = Exclude<Platform, 'aws-nitro'>;
const PRODUCT = 'Genoa';
const DAY = 86_400;

/** What a role runs, SHA-384 in hex: code, runtime, packages. */
export interface Measured { readonly PCR0: string; readonly PCR1: string; readonly PCR2: string }

interface Chip { readonly pki: SnpPki; readonly vek: Issued }
export type MachineState =
  | { readonly platform: 'azure-cvm'; readonly chip: Chip; readonly azure: AzurePki; readonly ek: SigningKey }
  | { readonly platform: 'gke'; readonly chip: Chip }
  | { readonly platform: 'confidential-space'; readonly google: GooglePki };

/** Takes seconds where the ring has no keys yet. @param now epoch seconds */
export async function makeMachine(platform: MachinePlatform, now: number, keys: KeyRing): Promise<MachineState> {
  if (platform === 'confidential-space') return { platform, google: await makeGooglePki(now, {}, keys) };
  const chip = async (): Promise<Chip> => {
    const pki = await makeSnpPki({ product: PRODUCT, now, keys });
    return { pki, vek: await makeVek(pki, 'vcek', now, keys, {}, { notAfter: now + 7 * 365 * DAY }) };
  };
  if (platform === 'gke') return { platform, chip: await chip() };
  const [made, azure, ek] = await Promise.all([chip(), makeAzurePki(keys, now, { ak: { notAfter: now + 7 * 365 * DAY }, ca: { notAfter: now + 8 * 365 * DAY } }), keys.get('RSA-2048', 'azure-ek')]);
  return { platform, chip: made, azure, ek };
}

/** Bytes as `{"b64u": ...}`. */
export const encodeMachine = (state: MachineState): string => JSON.stringify(state, (_, value: unknown) => (value instanceof Uint8Array ? { b64u: b64u(value as Bytes) } : value));
export function decodeMachine(text: string): MachineState {
  return JSON.parse(text, (_, value: unknown) => {
    const encoded = typeof value === 'object' && value !== null && Object.keys(value).length === 1 ? (value as { b64u?: unknown }).b64u : undefined;
    return typeof encoded === 'string' ? fromB64u(encoded) : value;
  }) as MachineState;
}

/** What the evidence of a role shows, by register: the reference of a policy. */
export async function machineRegisters(platform: MachinePlatform, { PCR0, PCR1, PCR2 }: Measured): Promise<Record<string, string>> {
  const all = concat(...[PCR0, PCR1, PCR2].map(fromHex));
  if (platform === 'gke') return { LAUNCH: hex(await sha384(all)) };
  if (platform === 'confidential-space') return { IMAGE: hex(await sha256(all)) };
  const [boot, secure, packages, code] = await Promise.all([fromHex(PCR1), utf8('simulated Secure Boot'), fromHex(PCR2), fromHex(PCR0)].map(sha256)) as [Bytes, Bytes, Bytes, Bytes];
  const values: Readonly<Record<number, Bytes>> = { 4: boot, 7: secure, 9: packages, 11: code };
  return Object.fromEntries(SIMULATED_SELECTION.map((i) => [`vTPM:PCR${i}`, hex(values[i] ?? new Uint8Array(32))]));
}

/** What a development policy names. */
export async function machineRoots(state: MachineState): Promise<(TrustRoot & { readonly spkiSha256: string })[]> {
  const roots: TrustRoot[] = [];
  if (state.platform === 'confidential-space') roots.push(state.google.trustRoot);
  else {
    const { pki } = state.chip;
    roots.push(await snpDevelopmentRoot(pki), { name: `simulated SEV-${PRODUCT}`, purpose: `amd-ask/${PRODUCT}`, anchor: 'development', certSha256: hex(await sha256(pki.ask.certificate)), spkiSha256: hex(await sha256(pki.ask.template.spki)) });
  }
  if (state.platform === 'azure-cvm') roots.push(await azureDevelopmentRoot(state.azure));
  return roots as (TrustRoot & { readonly spkiSha256: string })[];
}

/** What the vendors publish of this machine, lists made now. @param now epoch seconds */
export async function vendorItems(state: MachineState, now: number): Promise<CollateralItem[]> {
  const item = (kind: CollateralKind, key: string, data: Bytes): CollateralItem => ({ kind, key, bytes: data, source: 'live', fetchedAt: now });
  const issuerOf = (der: Bytes): string => parseCertificate(der, 'certificate').authorityKeyId?.keyId ?? '';
  if (state.platform === 'confidential-space') {
    const { root, intermediate } = state.google;
    return [item('google-crl', issuerOf(intermediate.certificate), await makeCrl({ issuer: root, thisUpdate: now - DAY, nextUpdate: now + 30 * DAY }))];
  }
  const { pki, vek } = state.chip;
  const chip = `${PRODUCT}/${hex(simulatedChipId(PRODUCT))}/${hex(encodeTcb(SIMULATED_TCB[PRODUCT], PRODUCT))}`;
  const amd = [
    item('amd-chain', `${PRODUCT}/vcek`, utf8(pemOf(pki.ask.certificate) + pemOf(pki.ark.certificate))), item('amd-crl', PRODUCT, await makeSnpCrl(pki, now)), item('amd-vek', chip, vek.certificate),
  ];
  if (state.platform === 'gke') return amd;
  const { root, ca } = state.azure;
  return [...amd, item('azure-vtpm-crl', issuerOf(ca.certificate), await makeCrl({ issuer: root, thisUpdate: now - DAY, nextUpdate: now + 30 * DAY, algorithm: 'RS384' }))];
}

/** @param now epoch seconds */
export async function machineEvidence(state: MachineState, measured: Measured, binding: BindingFields, now: number): Promise<Bytes> {
  const registers = await machineRegisters(state.platform, measured);
  switch (state.platform) {
    case 'gke': return encodeGkeEvidence({ technology: 'sev-snp', report: await snpReport(state.chip, { reportData: await d64(binding), measurement: fromHex(registers['LAUNCH'] as string) }) });
    case 'azure-cvm': return azureEvidence(state, registers, binding);
    case 'confidential-space': {
      const claims = googleClaims('GCP_INTEL_TDX', binding.audience, await googleNonces(binding), now, { container: { image_digest: `sha256:${registers['IMAGE']}` }, top: { iss: GOOGLE_ISSUER } });
      return utf8(await signToken(claims, { key: state.google.leaf.key, header: { x5c: state.google.x5c } }));
    }
  }
}

const snpReport = async ({ vek }: Chip, change: { reportData: Bytes; measurement?: Bytes }): Promise<Bytes> => signSnpReport(encodeSnpReport(snpReportFields(PRODUCT, 'vcek', { version: 3, ...change })), vek.key);

async function azureEvidence({ chip, azure, ek }: Extract<MachineState, { platform: 'azure-cvm' }>, registers: Readonly<Record<string, string>>, binding: BindingFields): Promise<Bytes> {
  const runtime = runtimeBytes(await runtimeFields(azure.ak.key, ek, 'snp'));
  const pcrs = freshPcrs('sha256', Object.fromEntries(SIMULATED_SELECTION.map((i) => [i, fromHex(registers[`vTPM:PCR${i}`] as string)])));
  const [report, { message, signature }] = await Promise.all([
    expectedReportData(runtime).then((reportData) => snpReport(chip, { reportData })), d32(binding).then((extraData) => buildQuote({ bank: 'sha256', pcrs, select: SIMULATED_SELECTION, extraData, key: azure.ak.key })),
  ]);
  return encodeAzureEvidence({
    hcl: buildHcl('snp', report, runtime), message, signature, pcrs, ak: [azure.ak, azure.ca, azure.root].map((c) => c.certificate), vek: chip.vek.certificate, issuers: [chip.pki.ask.certificate, chip.pki.ark.certificate],
  });
}
