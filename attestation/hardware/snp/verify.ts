/**
 * An SEV-SNP report in, facts or reasons out, all that fail together. The checks, in their order: bytes, generation, kind of the signing key, certificates up to pinned roots,
 * security versions and chip of the certificate against the report's, the cloud of a VLEK, order of the security versions, signature.
 *
 * Verification, no appraisal: debug mode, floors of the TCB, VMPL, measurements are for appraise-snp.ts and the policy. What is in
 * `report_data` is for the caller: {@link checkReportData}.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal, hex, sha256 } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import type { TcbComponents } from '../../claims.ts';
import { type CollateralKind, NO_COLLATERAL } from '../../collateral/collateral.ts';
import { readPem } from '../../formats/pem.ts';
import { parseSnpReport, type SnpReport } from '../../formats/snp-report.ts';
import { type Certificate, verifySignature } from '../../formats/x509.ts';
import { Judge } from '../../judge.ts';
import { readCertificate } from '../../kept.ts';
import { printable } from '../../refusal.ts';
import type { CrlFact } from '../../revocation.ts';
import { AMD_PRODUCTS, type AmdProduct } from '../../trust/purposes.ts';
import { type CollateralUsed, productByIssuer, verifyVekChain, type VekChain } from './chain.ts';
import { below, COMPONENTS, decodeTcb, generationOf, HWID_LENGTH } from './generation.ts';

export interface SnpInput {
  /** Exactly the report; {@link cutSnpReport} takes it out of Azure's buffers. */
  readonly report: Bytes;
  /** DER of the VCEK or VLEK. Absent: collateral `amd-vek`. */
  readonly vek?: Bytes;
  /** DER of ASK or ASVK, and ARK. Absent: collateral `amd-chain`. */
  readonly issuers?: readonly Bytes[];
  /** Where the report is, for reasons. Default `evidence`: `evidence.report`, `evidence.vek`, `evidence.issuers[1]`. */
  readonly path?: string;
  /**
   * Generations that reports of version 2 are accepted of: they state none themselves, the chain that verifies does. Default: none.
   */
  readonly versionTwo?: readonly AmdProduct[];
  /** A generation that the evidence names outside of what is signed. Never used; with a report of version 2 it is refused. */
  readonly generationHint?: string;
  /** Clouds whose VLEK is accepted (whole CSP_ID, anchored), or `any`. Default: none. */
  readonly cspIds?: 'any' | readonly RegExp[];
}

/** Everything here is covered by the signature of a key whose chain holds. */
export interface SnpFacts {
  readonly sha256: string;
  readonly report: SnpReport;
  readonly generation: AmdProduct;
  readonly tcb: { readonly current: TcbComponents; readonly committed: TcbComponents; readonly reported: TcbComponents; readonly launch: TcbComponents };
  readonly signer: { readonly kind: 'vcek' | 'vlek'; readonly leafSerial: string; readonly productName: string; readonly cspId?: string };
  readonly root: TrustRoot;
  /** Hex; 128 zeros where it is masked. */
  readonly chipId: string;
  readonly chipIdMasked: boolean;
  readonly revocation: { readonly status: 'good' | 'unchecked'; readonly crls: readonly CrlFact[] };
  /** When the chain expires, epoch seconds. */
  readonly notAfter: number;
  readonly collateral: readonly CollateralUsed[];
}

const NEXT = 'Ask the firmware for a new report, and AMD for the certificate of this chip and these security versions.';
const FETCH = 'Fetch it from AMD\'s key distribution service, from the cloud\'s cache of it, or send it with the evidence.';
const SIGNED = 'Send a report that the firmware signed, exactly as it was returned.';
/** Order of the group of P-384 (SEC 2, section 2.5.1). */
const P384_N = 'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973';

/** @param at when certificates and lists are judged, epoch seconds. @returns undefined when a check failed; reasons are in `checks` */
export async function verifySnp(input: SnpInput, trust: TrustContext, at: number, checks: CheckList): Promise<SnpFacts | undefined> {
  const path = input.path ?? 'evidence';
  const judge = new Judge(checks, 'SNP');
  const report = judge.parse('REPORT', `${path}.report`, () => parseSnpReport(input.report, `${path}.report`));
  if (report === undefined) return undefined;
  const { key } = report.signer;
  if (!judge.that('SIGNED', `${path}.report.signer_info`, key !== 'none', () => ({ code: 'UNSIGNED_REPORT', have: 'signing key 7: none', need: 'VCEK or VLEK', next: SIGNED })) || key === 'none') return undefined;
  const allowed = generations(report, input, path, judge);
  if (allowed === undefined) return undefined;

  const used: CollateralUsed[] = [];
  const leaf = await leafOf(report, input, allowed, trust, path, judge, used);
  const product = leaf === undefined ? undefined : report.cpuid === null ? productByIssuer(leaf, allowed) : allowed[0];
  if (leaf === undefined) return undefined;
  // A certificate that verified before is worth a signature at once, beside everything else; what becomes of it is recorded in its turn
  const early = inRange(report.signature) && trust.chainCache?.kept.has(leaf) === true ? verifySignature(leaf, 'ES384', report.signature, report.signed) : undefined;
  early?.catch(() => {});
  const digest = sha256(report.bytes);
  if (!judge.that('GENERATION', `${path}.report`, product !== undefined, () => ({ code: 'UNKNOWN_GENERATION', have: `version 2, a certificate by ${printable(leaf.issuerText)}`, need: `a chip of ${allowed.join(', ')}`, next: NEXT })) || product === undefined) return undefined;
  const issuers = input.issuers ?? await issuersOf(product, key, trust, path, judge, used);
  if (issuers === undefined) return undefined;
  const chain = await verifyVekChain({ leaf, leafPath: `${path}.vek`, issuers, issuersPath: `${path}.issuers`, product, kind: key, at }, trust, checks, judge, used);
  if (chain === undefined) return undefined;

  const tcb = checkTcb(report, chain, path, judge);
  checkChip(report, chain, path, judge);
  checkCsp(chain, input.cspIds ?? [], path, judge);
  judge.that('SIGNATURE', `${path}.report.signature`, inRange(report.signature) && await (early ?? verifySignature(leaf, 'ES384', report.signature, report.signed)), () => ({ code: 'SIG_INVALID', have: inRange(report.signature) ? 'a signature that the certificate\'s key does not verify' : 'r or s outside of 1 to n - 1', need: 'one over exactly these bytes', next: SIGNED }));
  const { vek, path: certified } = chain;
  if (tcb === undefined || certified === undefined || judge.failed) return undefined;
  return {
    sha256: hex(await digest), report, generation: product, tcb,
    signer: { kind: vek.kind, leafSerial: certified.leaf.serial, productName: vek.productName, ...(vek.cspId === null ? {} : { cspId: vek.cspId }) },
    root: certified.root, chipId: hex(report.chipId), chipIdMasked: isZero(report.chipId),
    revocation: { status: certified.revocation, crls: certified.crls }, notAfter: certified.notAfter, collateral: used,
  };
}

/**
 * Whether the report holds exactly the 64 bytes that the verifier expects. A digest that fills only the first half is told apart
 * (BINDING_LENGTH): padding and cutting are how verifiers came to accept other data. @param expected 64 bytes
 */
export function checkReportData(report: Pick<SnpReport, 'reportData'>, expected: Bytes, path: string, checks: CheckList): boolean {
  const whole = expected.length === 64;
  const half = whole && equal(report.reportData.subarray(0, 32), expected.subarray(0, 32));
  return checks.that('SNP-REPORT-DATA', path, whole && equal(report.reportData, expected), () => ({ code: whole && !half ? 'BINDING_MISMATCH' : 'BINDING_LENGTH', have: hex(report.reportData), need: whole ? hex(expected) : `64 bytes to compare, not ${expected.length}`, next: 'Attest again with the verifier\'s challenge, all 64 bytes of report_data.' }));
}

/** Version 3 on: the one of the CPUID. Version 2: whatever the caller allows. */
function generations(report: SnpReport, input: SnpInput, path: string, judge: Judge): readonly AmdProduct[] | undefined {
  const { cpuid } = report;
  if (cpuid !== null) {
    const found = generationOf(cpuid);
    const shown = [cpuid.family, cpuid.model, cpuid.stepping].map((n) => n.toString(16)).join('/');
    return judge.that('CPUID', `${path}.report.cpuid`, found !== undefined, () => ({ code: 'UNKNOWN_GENERATION', have: `family/model/stepping ${shown}`, need: AMD_PRODUCTS.join(', '), next: 'Use a generation that this version knows, or a version that knows this one.' })) && found !== undefined ? [found] : undefined;
  }
  const hint = input.generationHint;
  const unhinted = judge.that('HINT', `${path}.generation`, hint === undefined, () => ({ code: 'UNAUTHENTICATED_HINT', have: printable(hint ?? ''), need: 'no generation beside a report of version 2: nobody signed it', next: 'Send the report and its certificates only.' }));
  const allowed = AMD_PRODUCTS.filter((product) => input.versionTwo?.includes(product) === true);
  const taken = judge.that('VERSION-TWO', `${path}.report.version`, allowed.length > 0, () => ({ code: 'UNKNOWN_GENERATION', have: 'version 2, which states no generation', need: 'version 3 or later', next: 'Update the firmware, or have the policy name the generations that version 2 is accepted of.' }));
  return unhinted && taken ? allowed : undefined;
}

type Found = { readonly bytes: Bytes };
async function find(kind: CollateralKind, keys: readonly string[], trust: TrustContext, judge: Judge, used: CollateralUsed[]): Promise<Found | undefined> {
  const item = keys.map((key) => (trust.collateral ?? NO_COLLATERAL).get(kind, key)).find((i) => i !== undefined);
  const where = `collateral.${kind}/${keys[0]}`;
  if (!judge.that('COLLATERAL', where, item !== undefined, () => ({ code: 'COLLATERAL_ABSENT', have: 'none', need: keys.join(' or '), next: FETCH })) || item === undefined) return undefined;
  used.push({ kind, sha256: hex(await sha256(item.bytes)), source: item.source });
  return item;
}

async function leafOf(report: SnpReport, input: SnpInput, allowed: readonly AmdProduct[], trust: TrustContext, path: string, judge: Judge, used: CollateralUsed[]): Promise<Certificate | undefined> {
  const der = input.vek ?? (await find('amd-vek', allowed.map((product) => `${product}/${hex(report.chipId)}/${hex(report.reportedTcb)}`), trust, judge, used))?.bytes;
  return der === undefined ? undefined : judge.parse('VEK', `${path}.vek`, () => readCertificate(der, `${path}.vek`, trust.chainCache?.kept));
}

async function issuersOf(product: AmdProduct, kind: 'vcek' | 'vlek', trust: TrustContext, path: string, judge: Judge, used: CollateralUsed[]): Promise<readonly Bytes[] | undefined> {
  const item = await find('amd-chain', [`${product}/${kind}`], trust, judge, used);
  return item === undefined ? undefined : judge.parse('CHAIN', `${path}.issuers`, () => readPem(item.bytes, 'CERTIFICATE', `${path}.issuers`, 4));
}

/** A key is derived for a chip at its reported security versions, so the certificate has to be for these. */
function checkTcb(report: SnpReport, { vek, product }: VekChain, path: string, judge: Judge): SnpFacts['tcb'] | undefined {
  const decode = (tcb: Bytes, name: string): TcbComponents | undefined => judge.parse('TCB-LAYOUT', `${path}.report.${name}`, () => decodeTcb(tcb, product, `${path}.report.${name}`));
  const [current, committed, reported, launch] = [decode(report.currentTcb, 'current_tcb'), decode(report.committedTcb, 'committed_tcb'), decode(report.reportedTcb, 'reported_tcb'), decode(report.launchTcb, 'launch_tcb')];
  if (current === undefined || committed === undefined || reported === undefined || launch === undefined) return undefined;
  const names = new Set([...COMPONENTS[product], ...Object.keys(vek.tcb)]);
  const other = [...names].filter((name) => vek.tcb[name] !== reported[name]);
  const show = (tcb: TcbComponents): string => other.map((name) => `${name} ${tcb[name] ?? 'absent'}`).join(', ');
  judge.that('VEK-TCB', `${path}.vek`, other.length === 0, () => ({ code: 'VCEK_TCB_MISMATCH', have: show(vek.tcb), need: show(reported), next: NEXT }));
  for (const [name, tcb] of [['reported_tcb', reported], ['committed_tcb', committed]] as const) {
    const above = below(current, tcb);
    judge.that('TCB-ORDER', `${path}.report.${name}`, above.length === 0, () => ({ code: 'TCB_ORDER', have: `current ${above.join(', ')}`, need: `no more than current_tcb`, next: SIGNED }));
  }
  return { current, committed, reported, launch };
}

/** VCEK: the HWID is the chip's. VLEK: its chips may be masked. */
function checkChip(report: SnpReport, { vek, product }: VekChain, path: string, judge: Judge): void {
  const { chipId } = report;
  const length = HWID_LENGTH[product];
  const restZero = isZero(chipId.subarray(length));
  if (vek.hwid === null) {
    judge.that('CHIP-ID', `${path}.report.chip_id`, isZero(chipId) || restZero, () => ({ code: 'CHIP_ID', have: hex(chipId), need: `${length} bytes, others zero`, next: NEXT }));
    return;
  }
  const hwid = vek.hwid;
  // Of another length: not equal
  const fits = equal(chipId.subarray(0, length), hwid) && restZero && !isZero(chipId);
  judge.that('CHIP-ID', `${path}.report.chip_id`, fits, () => ({ code: 'CHIP_ID', have: isZero(chipId) ? 'a masked chip id' : hex(chipId), need: `${hex(hwid)}${length < 64 ? `, ${64 - length} zero bytes behind` : ''}`, next: NEXT }));
}

function checkCsp({ vek }: VekChain, allowed: 'any' | readonly RegExp[], path: string, judge: Judge): void {
  const { cspId } = vek;
  if (cspId === null) return;
  judge.that('CSP-ID', `${path}.vek.cspId`, allowed === 'any' || allowed.some((id) => new RegExp(`^(?:${id.source})$`).test(cspId)), () => ({ code: 'CLOUD_ORIGIN', have: printable(cspId), need: allowed === 'any' || allowed.length === 0 ? 'a VCEK: no cloud\'s key is accepted here' : allowed.map((id) => id.source).join(' or '), next: 'This key was given to another cloud than the one expected.' }));
}

const isZero = (data: Bytes): boolean => data.every((byte) => byte === 0);

function inRange(signature: Bytes): boolean {
  // Of one length, in hex: as texts they are in the order of the numbers
  return [signature.subarray(0, 48), signature.subarray(48)].every((part) => hex(part) < P384_N && !isZero(part));
}
