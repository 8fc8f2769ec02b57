/** HCL reports alone, and the whole evidence of an Azure VM. Companions are recognised by their kinds. */
import { type Bytes, hex } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { verifyHcl } from '../hardware/tpm/hcl.ts';
import { verifySnp } from '../hardware/snp/verify.ts';
import { type AzureFacts, verifyAzureParts } from '../platforms/azure-cvm/evidence.ts';
import { refuse } from '../refusal.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import { certificatesIn, importAzureEvidence } from './azure-import.ts';
import { corpusTrust, type Judge, judged, type Vector } from './judge.ts';

const DEFECT = 'This is a defect of the verifier: report it.';
const ofKind = (vector: Vector, ...kinds: string[]): Bytes[] => vector.companions.filter((c) => kinds.includes(c.kind)).flatMap((c) => certificatesIn(c.bytes, c.file));

/** Binding of the runtime data (nothing signs the header, so nothing of it is a claim); the hardware report too where its certificates are among the companions. */
export const judgeHclReport: Judge = (vector) => judged(async () => {
  const checks = new CheckList();
  const facts = await verifyHcl(vector.bytes, 'hcl', checks);
  const [vek] = ofKind(vector, 'vcek-der', 'vcek-pem', 'vlek-der', 'vlek-pem');
  if (facts?.report.type === 'snp' && vek !== undefined && vector.at !== null) {
    await verifySnp({ report: facts.report.hardwareReport, vek, issuers: ofKind(vector, 'cert-chain-pem'), path: 'hcl', versionTwo: AMD_PRODUCTS }, corpusTrust(vector), vector.at, checks);
  }
  checks.refuseIfFailed();
  if (facts === undefined) return refuse('INTERNAL', 'hcl', DEFECT);
  const { report, runtime } = facts;
  return { type: report.type, reportData: hex(report.reportData), configuration: runtime.configuration, userData: runtime.userData === null ? null : hex(runtime.userData), ekPresent: runtime.ek !== null };
});

export const judgeAzureEvidence: Judge = (vector) => judged(async () => {
  const { at } = vector;
  if (at === null) return refuse('FMT_FIELD', 'verified_at', 'A certificate is valid at a time: state one.');
  const parts = importAzureEvidence(vector.bytes, 'evidence');
  const issuers = ofKind(vector, 'cert-chain-pem');
  const checks = new CheckList();
  const facts = await verifyAzureParts({
    ...parts, ...(parts.vek === undefined || issuers.length === 0 ? {} : { issuers }),
    ...(parts.ak === undefined ? {} : { ak: [...parts.ak, ...ofKind(vector, 'intermediate-cert-pem', 'root-cert-pem')] }),
    // Nobody kept what was asked for
  }, { extraData: 'unknown', required: 'any', tcb: 'skip', td: 'unjudged', signature: 'raw', versionTwo: AMD_PRODUCTS }, corpusTrust(vector), at, checks);
  checks.refuseIfFailed();
  return facts === undefined ? refuse('INTERNAL', 'evidence', DEFECT) : shown(facts);
});

function shown({ hcl, hardware, quote, ak }: AzureFacts): unknown {
  return {
    technology: hardware.technology, reportData: hex(hcl.report.reportData), extraData: hex(quote.extraData), pcrs: Object.fromEntries([...quote.pcrs].map(([i, v]) => [`PCR${i}`, hex(v)])),
    origin: ak === null ? 'asserted' : 'proven', configuration: hcl.runtime.configuration, resetCount: quote.clock.resetCount,
    ...(hardware.technology === 'sev-snp' ? { generation: hardware.snp.generation, version: hardware.snp.report.version } : { quoteVersion: hardware.tdx.quote.version, fmspc: hardware.tdx.pck.platform.fmspc }),
  };
}
