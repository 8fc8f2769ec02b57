/**
 * The chain of statements of an Azure Confidential VM (attestation of the hardware, of the paravisor, of the guest):
 *
 *   AMD or Intel  ->  hardware report  ->  runtime data of the HCL  ->  attestation key of the vTPM  ->  quote of the PCRs over the caller's data
 *   Azure's root  ->  certificate of the attestation key: the machine is Azure's
 *
 * The hardware report is made once per boot and holds nothing of the caller; only the quote is fresh.
 */
import type { TrustContext } from '../../adapter.ts';
import { type Bytes, equal, hex } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { parseTpmtSignature, rawSignature } from '../../formats/tpmt-signature.ts';
import { eventFacts, type EventFacts } from '../../hardware/tpm/event-facts.ts';
import { verifyEventLog } from '../../hardware/tpm/event-log.ts';
import { type HclFacts, verifyHcl } from '../../hardware/tpm/hcl.ts';
import { type QuoteFacts, verifyTpmQuote } from '../../hardware/tpm/quote.ts';
import { type SnpFacts, verifySnp } from '../../hardware/snp/verify.ts';
import { checkTd, STRICT_TD, type TdPolicy } from '../../hardware/tdx/appraise.ts';
import type { TdxFacts } from '../../hardware/tdx/facts.ts';
import { verifyTdxQuote } from '../../hardware/tdx/verify.ts';
import type { AmdProduct } from '../../trust/purposes.ts';
import { type AkCertificateFacts, verifyAkCertificate } from './ak-certificate.ts';
import type { AzureParts } from './container.ts';

export interface AzureOptions {
  /** What the quote has to carry; `unknown`: stored evidence whose nonce nobody kept. */
  readonly extraData: Bytes | 'unknown';
  /** PCRs that the quote has to be of, exactly; `any`: stored evidence without a policy. */
  readonly required: readonly number[] | 'any';
  /** Whether Intel's tables are needed. */
  readonly tcb: 'require' | 'skip';
  /** What a TD's attributes have to be. Default: those of production. `unjudged`: stored evidence without a policy. */
  readonly td?: TdPolicy | 'unjudged';
  /** `raw`: agents that unwrap the TPMT_SIGNATURE. */
  readonly signature: 'tpmt' | 'raw';
  /** Generations that reports of version 2 are taken of: machines that started before 2024. */
  readonly versionTwo?: readonly AmdProduct[];
}

export type HardwareFacts = { readonly technology: 'sev-snp'; readonly snp: SnpFacts } | { readonly technology: 'tdx'; readonly tdx: TdxFacts };

export interface AzureFacts {
  readonly hcl: HclFacts;
  readonly hardware: HardwareFacts;
  readonly quote: QuoteFacts;
  /** `null`: no certificate was sent, and the origin is only asserted. */
  readonly ak: AkCertificateFacts | null;
  /** `null`: no event log was sent. */
  readonly boot: EventFacts | null;
}

/** The OS and what it starts may extend PCRs from here on without an event of the firmware's log. */
const FIRST_OF_OS = 8;

/** @returns undefined when a check failed; the reasons are in `checks` */
export async function verifyAzureParts(parts: AzureParts, options: AzureOptions, trust: TrustContext, at: number, checks: CheckList): Promise<AzureFacts | undefined> {
  const hcl = await verifyHcl(parts.hcl, 'evidence.hcl', checks);
  const hardware = hcl === undefined ? undefined : await verifyHardware(parts, hcl, options, trust, at, checks);
  const quote = hcl === undefined ? undefined : await verifyQuote(parts, hcl, options, checks);
  const ak = parts.ak === undefined ? null : await verifyAkCertificate(parts.ak, hcl?.runtime.ak, 'evidence.ak', trust, at, checks);
  const log = parts.eventLog === undefined || quote === undefined ? undefined
    : await verifyEventLog({ log: parts.eventLog, path: 'evidence.eventLog', kind: 'tpm', bank: quote.bank, quoted: quote.pcrs, silentFrom: FIRST_OF_OS }, checks);
  if (hcl === undefined || hardware === undefined || quote === undefined || ak === undefined || checks.failed) return undefined;
  return { hcl, hardware, quote, ak, boot: log === undefined ? null : await eventFacts(log) };
}

/** By the kind that the HCL states; the report inside has to be of that kind to verify. */
async function verifyHardware(parts: AzureParts, { report }: HclFacts, options: AzureOptions, trust: TrustContext, at: number, checks: CheckList): Promise<HardwareFacts | undefined> {
  const surplus = (report.type === 'snp' ? (['tdQuote'] as const) : (['vek', 'issuers'] as const)).filter((name) => parts[name] !== undefined);
  checks.that('AZURE-HARDWARE-KIND', 'evidence', surplus.length === 0, () => ({ code: 'HCL_REPORT_TYPE', have: `${surplus.join(', ')} beside an HCL report of ${report.type}`, need: `what belongs to ${report.type}`, next: 'Send the parts of one machine.' }));
  if (report.type === 'snp') {
    const snp = await verifySnp({ report: report.hardwareReport, vek: parts.vek, issuers: parts.issuers, path: 'evidence', versionTwo: options.versionTwo }, trust, at, checks);
    return snp === undefined ? undefined : { technology: 'sev-snp', snp };
  }
  const { tdQuote } = parts;
  if (!checks.that('AZURE-TD-QUOTE', 'evidence.tdQuote', tdQuote !== undefined, () => ({ code: 'FMT_FIELD_MISSING', have: 'nothing', need: 'a TD quote: a TDREPORT proves nothing outside of its machine', next: 'Have Azure\'s instance metadata service quote the TDREPORT of the HCL report (acc/tdquote).' })) || tdQuote === undefined) return undefined;
  const tdx = await verifyTdxQuote({ quote: tdQuote, tcb: options.tcb, path: 'evidence.tdQuote' }, trust, at, checks);
  if (tdx === undefined) return undefined;
  const { reportData } = tdx.quote.body;
  const bound = checks.that('AZURE-TD-QUOTE-BINDING', 'evidence.tdQuote.reportData', equal(reportData, report.reportData), () => ({ code: 'HCL_BINDING', have: hex(reportData), need: `${hex(report.reportData)}, as in the HCL report`, next: 'Quote the TDREPORT of this HCL report.' }));
  const fits = options.td === 'unjudged' || checkTd(tdx.quote.body, options.td ?? STRICT_TD, checks, 'evidence.tdQuote.body');
  return bound && fits ? { technology: 'tdx', tdx } : undefined;
}

async function verifyQuote(parts: AzureParts, { runtime }: HclFacts, options: AzureOptions, checks: CheckList): Promise<QuoteFacts | undefined> {
  const path = 'evidence.signature';
  const signature = checks.parse('TPM-SIGNATURE-FORMAT', path, () => (options.signature === 'tpmt' ? parseTpmtSignature(parts.signature, path) : rawSignature(parts.signature, runtime.ak.key.kind, path)));
  if (signature === undefined) return undefined;
  return verifyTpmQuote({ path: 'evidence', message: parts.message, signature, key: runtime.ak, extraData: options.extraData, mismatch: 'BINDING_MISMATCH', bank: 'sha256', required: options.required, pcrs: parts.pcrs }, checks);
}
