/**
 * What proves a confidential GKE node, by technology:
 *
 *   SEV-SNP   AMD -> report over D64;  optionally Google's endorsement of the firmware
 *   TDX       Intel -> quote over D64;  optionally MR_OWNER (instance), Google's host registry, its endorsement of the firmware
 *   SEV       Google -> certificate of the vTPM's key -> quote over D32;  the event log, which replays to it, says that memory is encrypted
 *
 * Any pod that may open the device gets such evidence: it speaks of the node, never of a pod.
 */
import type { Expectation, TrustContext } from '../../adapter.ts';
import { type Bytes, equal, hex } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { parseTpmtSignature } from '../../formats/tpmt-signature.ts';
import { parseCertificate } from '../../formats/x509.ts';
import { type GceAkFacts, verifyGceAk } from '../../hardware/gce/ak.ts';
import { gceTechnology } from '../../hardware/gce/boot.ts';
import type { GceTrust } from '../../hardware/gce/trust.ts';
import { type EndorsementFacts, verifyEndorsement } from '../../hardware/gce-endorsement.ts';
import { checkReportData, type SnpFacts, verifySnp } from '../../hardware/snp/verify.ts';
import { checkTd, STRICT_TD } from '../../hardware/tdx/appraise.ts';
import type { TdxFacts } from '../../hardware/tdx/facts.ts';
import { checkGceHost, checkGceOwner, type GceHost, type GceInstance } from '../../hardware/tdx/gce.ts';
import { verifyTdxQuote } from '../../hardware/tdx/verify.ts';
import { eventFacts, type EventFacts } from '../../hardware/tpm/event-facts.ts';
import { verifyEventLog } from '../../hardware/tpm/event-log.ts';
import { type QuoteFacts, verifyTpmQuote } from '../../hardware/tpm/quote.ts';
import { vtpmIndexes } from '../../registers.ts';
import type { GkeParts, SevParts, SnpParts, TdxParts } from './container.ts';

export interface SnpNode { readonly technology: 'sev-snp'; readonly snp: SnpFacts; readonly endorsement: EndorsementFacts | null }
export interface TdxNode {
  readonly technology: 'tdx'; readonly tdx: TdxFacts; readonly endorsement: EndorsementFacts | null;
  /** `null`: not known to be one of Google's. */
  readonly host: GceHost | null;
  /** `null`: MR_OWNER names none, or the evidence does not. */
  readonly instance: GceInstance | null;
  readonly boot: EventFacts | null;
}
export interface SevNode { readonly technology: 'sev'; readonly quote: QuoteFacts; readonly ak: GceAkFacts; readonly boot: EventFacts; readonly encryption: 'sev' | 'sev-es' }
export type NodeFacts = SnpNode | TdxNode | SevNode;

/** What the transcript's digests must be found as. */
export interface Digests { readonly d64: Bytes; readonly d32: Bytes }
type Registers = Pick<Expectation, 'registers'>;

const AGAIN = 'Attest again on the node with the verifier\'s challenge.';
/** Technology and project are of the machine, so PCR0 is quoted whatever the policy compares. */
const FIRMWARE_PCR = 0;
/** The OS and what it starts may extend PCRs from here on without an event of the firmware's log. */
const FIRST_OF_OS = 8;
/** RTMRs in a CCEL are counted from 1. */
const RTMR_IN_CCEL = 1;

/** The PCRs that a quote of an SEV node selects, exactly: the policy's, and PCR0. */
export const gkeSelection = (registers: readonly string[]): number[] => [...new Set([FIRMWARE_PCR, ...vtpmIndexes(registers)])].sort((a, b) => a - b);

/** @returns undefined when a check failed; the reasons are in `checks` */
export async function verifyNode(parts: GkeParts, digests: Digests, expect: Registers, trust: TrustContext, at: number, checks: CheckList): Promise<NodeFacts | undefined> {
  const gce = trust.gce ?? {};
  const node = parts.technology === 'sev-snp' ? await verifySnpNode(parts, digests, gce, trust, at, checks)
    : parts.technology === 'tdx' ? await verifyTdxNode(parts, digests, gce, trust, at, checks)
      : await verifySevNode(parts, digests, expect, gce, trust, at, checks);
  return checks.failed ? undefined : node;
}

async function verifySnpNode(parts: SnpParts, { d64 }: Digests, gce: GceTrust, trust: TrustContext, at: number, checks: CheckList): Promise<SnpNode | undefined> {
  const snp = await verifySnp({ report: parts.report, path: 'evidence', ...(parts.vek === undefined ? {} : { vek: parts.vek }), ...(parts.issuers === undefined ? {} : { issuers: parts.issuers }) }, trust, at, checks);
  if (snp === undefined) return undefined;
  const { report } = snp;
  checkReportData(report, d64, 'evidence.report.report_data', checks);
  // The report of a GCE VM names neither project nor instance
  checkProject(null, 'evidence.report', gce, checks);
  const machine = { kind: 'sevsnp', measurement: report.measurement, familyId: report.familyId, guestPolicy: report.policyBits, vcpus: 'unknown' } as const;
  const endorsement = gce.endorsement === undefined ? null : await verifyEndorsement({ path: 'collateral.gce-endorsement', machine, floor: gce.endorsement }, trust, at, checks);
  return endorsement === undefined ? undefined : { technology: 'sev-snp', snp, endorsement };
}

async function verifyTdxNode(parts: TdxParts, { d64 }: Digests, gce: GceTrust, trust: TrustContext, at: number, checks: CheckList): Promise<TdxNode | undefined> {
  const tdx = await verifyTdxQuote({ quote: parts.tdQuote, path: 'evidence.tdQuote' }, trust, at, checks);
  if (tdx === undefined) return undefined;
  const { body } = tdx.quote;
  checks.that('GKE-REPORT-DATA', 'evidence.tdQuote.reportData', equal(body.reportData, d64), () => ({ code: 'BINDING_MISMATCH', have: hex(body.reportData), need: hex(d64), next: AGAIN }));
  // Google starts TDs with SEPT_VE_DISABLE and nothing else (0x10000000), XFAM 0xe7 and AMX, no service TD: it moves no TD from host to host while it runs
  checkTd(body, STRICT_TD, checks, 'evidence.tdQuote.body');
  const instance = await ownerOf(tdx, parts.instance, gce, checks);
  checkProject(instance, 'evidence.instance', gce, checks);
  const wanted = gce.host === 'require' || trust.collateral?.get('gce-host', hex(tdx.pck.platform.ppid)) !== undefined;
  const host = wanted ? checkGceHost(tdx, trust.collateral, at, checks) : null;
  const endorsement = gce.endorsement === undefined ? null : await verifyEndorsement({ path: 'collateral.gce-endorsement', machine: { kind: 'tdx', measurement: body.mrTd, ramGib: 'unknown' }, floor: gce.endorsement }, trust, at, checks);
  const quoted = new Map(body.rtmrs.map((value, i) => [i + RTMR_IN_CCEL, value]));
  const log = parts.ccel === undefined ? null : await verifyEventLog({ log: parts.ccel, path: 'evidence.ccel', kind: 'ccel', bank: 'sha384', quoted }, checks);
  if (host === undefined || endorsement === undefined || log === undefined) return undefined;
  return { technology: 'tdx', tdx, host, endorsement, instance, boot: log === null ? null : await eventFacts(log) };
}

/** The instance that evidence and MR_OWNER agree on. */
async function ownerOf(tdx: TdxFacts, instance: GceInstance | undefined, gce: GceTrust, checks: CheckList): Promise<GceInstance | null> {
  if (instance !== undefined) return await checkGceOwner(tdx, instance, gce.owner ?? 'allowZero', checks) === 'matched' ? instance : null;
  checks.that('TDX-GCE-OWNER', 'evidence.instance', gce.owner !== 'requireMatch', () => ({ code: 'PZID_ABSENT', have: 'evidence that names no instance', need: 'instanceId, numericalProjectId and zone from the metadata server', next: 'Send the instance with the quote.' }));
  return null;
}

function checkProject(instance: GceInstance | null, path: string, { projects, deniedInstances }: GceTrust, checks: CheckList): void {
  const have = instance === null ? 'no proof of a project' : `${instance.numericalProjectId}`;
  if (projects !== undefined) checks.that('GCE-PROJECT', path, instance !== null && projects.includes(String(instance.numericalProjectId)), () => ({ code: 'CLOUD_ORIGIN', have, need: projects.join(' or ') || 'no project: none is allowed', next: 'Run the workload in a project of this deployment, on a machine that can prove it.' }));
  if (instance !== null) checks.that('GCE-DENIED', path, deniedInstances?.includes(String(instance.instanceId)) !== true, () => ({ code: 'CLOUD_ORIGIN', have: String(instance.instanceId), need: 'an instance that the operator has not denied', next: 'Move the workload to another node; this one was denied by its operator.' }));
}

async function verifySevNode(parts: SevParts, { d32 }: Digests, { registers = [] }: Registers, gce: GceTrust, trust: TrustContext, at: number, checks: CheckList): Promise<SevNode | undefined> {
  const ak = await verifyGceAk({ chain: parts.ak, path: 'evidence.ak', gce }, trust, at, checks);
  // Whatever the chain is worth: what its key does not sign is said too
  const key = ak?.leaf ?? checks.parse('GCE-AK-CERTIFICATE', 'evidence.ak[0]', () => parseCertificate(parts.ak[0] ?? new Uint8Array(), 'evidence.ak[0]'));
  const signature = checks.parse('TPM-SIGNATURE-FORMAT', 'evidence.signature', () => parseTpmtSignature(parts.signature, 'evidence.signature'));
  if (key === undefined || signature === undefined) return undefined;
  const quote = await verifyTpmQuote({ path: 'evidence', message: parts.message, signature, key, extraData: d32, mismatch: 'BINDING_MISMATCH', bank: 'sha256', required: gkeSelection(registers), pcrs: parts.pcrs }, checks);
  const log = quote === undefined ? undefined : await verifyEventLog({ log: parts.eventLog, path: 'evidence.eventLog', kind: 'tpm', bank: quote.bank, quoted: quote.pcrs, silentFrom: FIRST_OF_OS }, checks);
  if (quote === undefined || log === undefined) return undefined;
  const encryption = await gceTechnology(log);
  const encrypted = encryption === 'sev' || encryption === 'sev-es';
  checks.that('GKE-TECHNOLOGY', 'evidence.eventLog.PCR0', encrypted, () => ({ code: 'HW_MODEL', have: encryption ?? 'no statement of Google\'s firmware', need: 'sev: for SEV-SNP and TDX, the report of the hardware', next: 'Use a confidential node pool, and the evidence of its own technology.' }));
  return ak === undefined || !encrypted ? undefined : { technology: 'sev', quote, ak, boot: await eventFacts(log), encryption };
}
