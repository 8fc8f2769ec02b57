/**
 * The attester inside an Azure Confidential VM:
 *
 *   NV 0x01400001               the HCL report, made at boot
 *   key 0x81000003              the vTPM's attestation key: quotes the policy's PCRs over D32 of the transcript
 *   NV 0x01C101D0               its certificate, padded; issuers from the addresses that certificates name
 *   metadata service            SEV-SNP: VCEK, ASK and ARK (THIM); TDX: a TD quote over the report_data of the HCL report
 *   binary_bios_measurements    the firmware's event log, where the kernel has it
 *
 * HCL report, certificates and hardware evidence are of one boot: they are read once, and again after a failure. Node only.
 */
import { d32 } from '../../binding.ts';
import type { Bytes } from '../../bytes.ts';
import type { Fetch } from '../../collateral/http.ts';
import { cutDer, fetchIssuers } from '../../devices/certificates.ts';
import { azureTdQuote, azureVcek, type MetadataOptions } from '../../devices/imds.ts';
import { isAbsent, TpmRefusal } from '../../devices/tpm-response.ts';
import { quoteWithValues, type Tpm } from '../../devices/tpm2.ts';
import type { Attester } from '../../evidence.ts';
import { parseHclReport } from '../../formats/hcl-report.ts';
import { refuse } from '../../refusal.ts';
import { vtpmIndexes } from '../../registers.ts';
import { type AzureParts, encodeAzureEvidence } from './container.ts';
import { withToken } from './token.ts';

export const HCL_INDEX = 0x01400001;
export const AK_CERTIFICATE_INDEX = 0x01c101d0;
export const AK_HANDLE = 0x81000003;
const TDREPORT = 1024;
const PLATFORM = 'azure-cvm';

export interface AzureAttesterOptions {
  readonly tpm: Tpm;
  readonly metadata: MetadataOptions;
  /** What the verifier's policy compares: "vTPM:PCR4", ...; the quote selects exactly these. */
  readonly registers: readonly string[];
  /** For certificates of issuers; absent: none are sent, the verifier has them. */
  readonly fetch?: Fetch;
  /** A guest's token of Azure Attestation, asked for with this nonce in its client payload. Absent: none is sent. */
  readonly token?: (nonce: Bytes) => Promise<string>;
  /** The firmware's event log; `null` where there is none. */
  readonly eventLog?: () => Promise<Bytes | null>;
}

type Machine = Omit<AzureParts, 'message' | 'signature' | 'pcrs'>;

/** @throws Refusal POLICY_EMPTY without a register to quote */
export function azureAttester(options: AzureAttesterOptions): Attester {
  const { tpm } = options;
  const indexes = vtpmIndexes(options.registers);
  if (indexes.length === 0) refuse('POLICY_EMPTY', 'registers', 'Put the vTPM registers of the released image into the policy.', { have: options.registers.join(', ') || 'no register', need: 'a register of the vTPM' });
  let machine: Promise<Machine> | undefined;
  const ofThisBoot = (): Promise<Machine> => {
    machine ??= readMachine(options).catch((error: unknown) => {
      machine = undefined;
      throw error;
    });
    return machine;
  };
  return {
    async attest({ binding }) {
      if (binding.platform !== PLATFORM) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: PLATFORM });
      const parts = await ofThisBoot();
      const digest = await d32(binding);
      const [quote, token] = [await quoteWithValues(tpm, AK_HANDLE, digest, 'sha256', indexes), await options.token?.(digest)];
      const document = encodeAzureEvidence({ ...parts, ...quote });
      return { platform: PLATFORM, document: token === undefined ? document : withToken(document, token) };
    },
  };
}

async function readMachine({ tpm, metadata, fetch, eventLog }: AzureAttesterOptions): Promise<Machine> {
  const hcl = await tpm.nvRead(HCL_INDEX);
  const report = parseHclReport(hcl, 'tpm.NV.1400001');
  const [hardware, ak, log] = await Promise.all([
    report.type === 'snp' ? azureVcek(metadata) : azureTdQuote(report.hardwareReport.slice(0, TDREPORT), metadata).then((tdQuote) => ({ tdQuote })),
    readCertificate(tpm, fetch), eventLog?.() ?? null,
  ]);
  return { hcl, ...hardware, ...(ak === null ? {} : { ak }), ...(log === null ? {} : { eventLog: log }) };
}

/** `null`: this machine has none (those of before 2024), and its origin stays asserted. */
async function readCertificate(tpm: Tpm, fetch: Fetch | undefined): Promise<Bytes[] | null> {
  let area: Bytes;
  try {
    area = await tpm.nvRead(AK_CERTIFICATE_INDEX);
  } catch (error) {
    if (error instanceof TpmRefusal && isAbsent(error.rc)) return null;
    throw error;
  }
  const leaf = cutDer(area, 'tpm.NV.1c101d0');
  return [leaf, ...(fetch === undefined ? [] : await fetchIssuers(leaf, fetch))];
}
