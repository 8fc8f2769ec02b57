/**
 * SEV-SNP reports, certificates of chips, chains of them, and both put together by a scenario. Certificates among the companions are recognised by the
 * names in them; a report of version 2 states no generation, so its chain does. VLEKs of any cloud are taken: the verdict is no appraisal.
 */
import { type Bytes, concat, equal, fromHex, hex, sha256, text } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { readVek } from '../formats/amd-cert.ts';
import { readPem } from '../formats/pem.ts';
import { cutSnpReport } from '../formats/snp-report.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import { distinct, productByIssuer, verifyVekChain } from '../hardware/snp/chain.ts';
import { checkReportData, type SnpFacts, verifySnp } from '../hardware/snp/verify.ts';
import { Judge as Part } from '../judge.ts';
import { Refusal, refuse } from '../refusal.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, readJson, type Vector } from './judge.ts';

const VEK_NAMES = ['SEV-VCEK', 'SEV-VLEK'];
const NEXT = 'Name the files of the scenario among its companions.';

/** DER of the certificates of a file: DER, PEM, or a JSON array of hex. @throws Refusal FMT_* */
function certificatesOf({ bytes: data, file }: Pick<CorpusFile, 'bytes' | 'file'>): Bytes[] {
  if (data[0] === 0x30) return [data];
  if (data[0] !== 0x5b) return readPem(data, 'CERTIFICATE', file, 8);
  try {
    const list: unknown = JSON.parse(text(data));
    if (Array.isArray(list) && list.length > 0 && list.length <= 8) return list.map((item) => fromHex(String(item).toLowerCase()));
  } catch { /* said below */ }
  return refuse('FMT_JSON', file, 'Hand over a JSON array of certificates in hex.');
}

interface Certificates { readonly veks: Certificate[]; readonly issuers: Certificate[] }

/** Of the companions, those that are AMD's by name; other files are for other evidence. */
function amdCertificates(files: readonly Pick<CorpusFile, 'bytes' | 'file'>[]): Certificates {
  const all = distinct(files.flatMap((file) => attempt(() => certificatesOf(file)) ?? [])).flatMap((der) => attempt(() => parseCertificate(der, 'companion')) ?? []);
  return { veks: all.filter((c) => VEK_NAMES.includes(c.commonName)), issuers: all.filter((c) => /^(SEV|ARK)-[A-Z][A-Za-z-]+$/.test(c.commonName) && !VEK_NAMES.includes(c.commonName)) };
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

async function verifyReport(report: Bytes, companions: readonly CorpusFile[], vector: Vector): Promise<SnpFacts> {
  const { at } = vector;
  if (at === null) return refuse('FMT_FIELD', 'verified_at', 'A certificate is valid at a time: state one.');
  const { veks: [vek], issuers } = amdCertificates(companions);
  const checks = new CheckList();
  // Without a certificate among the companions there is none: the verifier says what is missing
  const facts = await verifySnp({
    report: cutSnpReport(report, 'evidence.report'), ...(vek === undefined ? {} : { vek: vek.der }), ...(issuers.length === 0 ? {} : { issuers: issuers.map((c) => c.der) }), versionTwo: AMD_PRODUCTS, cspIds: 'any',
  }, corpusTrust(vector), at, checks);
  if (facts !== undefined) await checkRuntimeData(facts, companions, checks);
  checks.refuseIfFailed();
  return facts ?? refuse('INTERNAL', 'report', 'This is a defect of the verifier: report it.');
}

/** Runtime data that a report vouches for: its SHA-256 and 32 zeros. */
async function checkRuntimeData({ report }: SnpFacts, companions: readonly CorpusFile[], checks: CheckList): Promise<void> {
  for (const { bytes: data } of companions.filter((c) => c.kind === 'runtime-data-json')) checkReportData(report, concat(await sha256(data), new Uint8Array(32)), 'evidence.report.report_data', checks);
}

const shown = (facts: SnpFacts): unknown => ({
  version: facts.report.version, generation: facts.generation, signer: facts.signer, tcb: facts.tcb, vmpl: facts.report.vmpl, debug: facts.report.policy.debug, policy: facts.report.policyBits.toString(16),
  measurement: hex(facts.report.measurement), reportData: hex(facts.report.reportData), chipId: facts.chipId, root: facts.root.name, revocation: facts.revocation.status,
});

export const judgeSnpReport: Judge = (vector) => judged(async () => shown(await verifyReport(vector.bytes, vector.companions, vector)));

/** `{report, vek, chain}`: parts of the corpus put together. */
export const judgeSnpScenario: Judge = (vector) => judged(async () => {
  const parts = readJson(vector.bytes, 'scenario');
  const named = (key: string): CorpusFile => vector.companions.find((c) => c.file === parts[key]) ?? refuse('FMT_FIELD', `scenario.${key}`, NEXT);
  return shown(await verifyReport(named('report').bytes, [named('vek'), named('chain')], vector));
});

/** The certificate of a chip (or the first of a chain) alone, against its roots. */
export const judgeVek: Judge = (vector) => judged(async () => {
  const { at } = vector;
  if (at === null) return refuse('FMT_FIELD', 'verified_at', 'A certificate is valid at a time: state one.');
  const [first, ...rest] = certificatesOf(vector).map((der) => parseCertificate(der, 'vek'));
  if (first === undefined) return refuse('FMT_FIELD_MISSING', 'vek', NEXT);
  const { kind } = readVek(first, 'vek');
  const product = productByIssuer(first, AMD_PRODUCTS);
  if (product === undefined) return refuse('UNKNOWN_GENERATION', 'vek.issuer', 'Use a generation that this version knows.', { have: first.issuerText, need: AMD_PRODUCTS.join(', ') });
  const issuers = rest.length > 0 ? rest : amdCertificates(vector.companions).issuers;
  const checks = new CheckList();
  const chain = await verifyVekChain({ leaf: first, leafPath: 'vek', issuers: issuers.map((c) => c.der).filter((der) => !equal(der, first.der)), issuersPath: 'issuers', product, kind, at }, corpusTrust(vector), checks, new Part(checks, 'SNP'), []);
  checks.refuseIfFailed();
  return chain?.path === undefined ? refuse('INTERNAL', 'vek', 'This is a defect of the verifier: report it.') : { product, vek: { ...chain.vek, hwid: chain.vek.hwid === null ? null : hex(chain.vek.hwid) }, root: chain.path.root.name };
});
