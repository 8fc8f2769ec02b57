/**
 * The attester on a confidential GKE node. What the node is decides what it proves:
 *
 *   SEV-SNP   TSM report over D64 (sev_guest), with the host's certificate table where it has one
 *   TDX       TSM quote over D64 (tdx_guest), the TD's event log, and the instance as the metadata server names it
 *   SEV       vTPM quote over D32 by Google's attestation key, which is made again from its template:
 *             NV 0x01C10003 (ECC), 0x01C10001 (RSA); certificate NV 0x01C10002, 0x01C10000; the firmware's event log
 *
 * Node only.
 */
import { d32, d64 } from '../../binding.ts';
import { type Bytes, equal } from '../../bytes.ts';
import type { Fetch } from '../../collateral/http.ts';
import { cutDer, fetchIssuers } from '../../devices/certificates.ts';
import { googleInstance, type MetadataOptions } from '../../devices/imds.ts';
import { readCertificateTable } from '../../devices/snp-certificates.ts';
import { isAbsent, TpmRefusal } from '../../devices/tpm-response.ts';
import { HIERARCHY, quoteWithValues, type Tpm } from '../../devices/tpm2.ts';
import { tsmReport, type TsmOptions, type TsmProvider } from '../../devices/tsm-configfs.ts';
import type { Attester, BindingFields } from '../../evidence.ts';
import { parseTpmtPublic } from '../../formats/tpmt-public.ts';
import { parseCertificate } from '../../formats/x509.ts';
import { refuse } from '../../refusal.ts';
import { encodeGkeEvidence, type GkeParts, type SevParts } from './container.ts';
import { gkeSelection } from './evidence.ts';

const PLATFORM = 'gke';
export const GCE_AK = { ecc: { certificate: 0x01c10002, template: 0x01c10003 }, rsa: { certificate: 0x01c10000, template: 0x01c10001 } } as const;

interface TsmNode { readonly technology: 'sev-snp' | 'tdx'; readonly tsm?: TsmOptions; readonly metadata?: MetadataOptions; /** The TD's event log (CCEL). */ readonly eventLog?: () => Promise<Bytes | null> }
interface SevNode {
  readonly technology: 'sev';
  readonly tpm: Tpm;
  /** What the verifier's policy compares; PCR0 is always quoted. */
  readonly registers: readonly string[];
  /** The firmware's event log. */
  readonly eventLog: () => Promise<Bytes | null>;
  /** For certificates of issuers; absent: none are sent, the verifier has them. */
  readonly fetch?: Fetch;
}
export type GkeAttesterOptions = TsmNode | SevNode;

const PROVIDER: Readonly<Record<TsmNode['technology'], TsmProvider>> = { 'sev-snp': 'sev_guest', tdx: 'tdx_guest' };

export function gkeAttester(options: GkeAttesterOptions): Attester {
  return {
    async attest({ binding }) {
      if (binding.platform !== PLATFORM) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: PLATFORM });
      return { platform: PLATFORM, document: encodeGkeEvidence(options.technology === 'sev' ? await sevParts(options, binding) : await tsmParts(options, binding)) };
    },
  };
}

async function tsmParts({ technology, tsm, metadata, eventLog }: TsmNode, binding: BindingFields): Promise<GkeParts> {
  const { provider, report, auxiliary } = await tsmReport(await d64(binding), tsm);
  if (provider !== PROVIDER[technology]) refuse('ATTESTER_FAILED', 'tsm.provider', 'State the technology of the node pool that this runs in.', { have: provider, need: `${PROVIDER[technology]}, for ${technology}` });
  if (technology === 'sev-snp') return { technology, report, ...(auxiliary === null ? {} : readCertificateTable(auxiliary, 'tsm.auxblob')) };
  const [ccel, instance] = await Promise.all([eventLog?.() ?? null, metadata === undefined ? null : googleInstance(metadata)]);
  return { technology, tdQuote: report, ...(ccel === null ? {} : { ccel }), ...(instance === null ? {} : { instance }) };
}

async function sevParts({ tpm, registers, eventLog, fetch }: SevNode, binding: BindingFields): Promise<SevParts> {
  const log = await eventLog();
  if (log === null) return refuse('ATTESTER_FAILED', 'eventLog', 'Mount securityfs into the pod; without the event log a quote says nothing of memory encryption.', { have: 'no event log of the firmware', need: 'binary_bios_measurements' });
  const { leaf, template } = await readKey(tpm);
  const { handle, area } = await tpm.createPrimary(HIERARCHY.endorsement, template);
  try {
    // Another key than the certificate's proves nothing: the template or the endorsement seed was changed
    if (!equal(parseTpmtPublic(area, 'tpm.ak').spki, parseCertificate(leaf, 'tpm.ak.certificate').spki)) refuse('ATTESTER_FAILED', 'tpm.ak', 'Use a node whose vTPM is as Google made it.', { have: 'another key', need: 'the key of the certificate' });
    const quote = await quoteWithValues(tpm, handle, await d32(binding), 'sha256', gkeSelection(registers));
    return { technology: 'sev', ...quote, ak: [leaf, ...(fetch === undefined ? [] : await fetchIssuers(leaf, fetch))], eventLog: log };
  } finally {
    await tpm.flush(handle);
  }
}

/** The ECC key where there is one: it is the faster one. */
async function readKey(tpm: Tpm): Promise<{ readonly leaf: Bytes; readonly template: Bytes }> {
  for (const { certificate, template } of [GCE_AK.ecc, GCE_AK.rsa]) {
    try {
      return { leaf: cutDer(await tpm.nvRead(certificate), `tpm.NV.${certificate.toString(16)}`), template: await tpm.nvRead(template) };
    } catch (error) {
      if (!(error instanceof TpmRefusal && isAbsent(error.rc))) throw error;
    }
  }
  return refuse('ATTESTER_FAILED', 'tpm.NV', 'Run this on a machine of Compute Engine with a vTPM.', { have: 'no certificate of an attestation key', need: 'the indexes 0x01C10000 to 0x01C10003' });
}
