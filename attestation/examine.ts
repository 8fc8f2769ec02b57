/**
 * One piece of evidence as somebody has it in a file, without the challenge that it answered: verified under pinned roots at a stated time, its facts as
 * normalized claims, and appraised. What it was not asked (which key it is bound to, which nonce it answers) is not in the claims, and an
 * appraisal without references never affirms: it says whether the hardware is genuine and leaves open what runs on it.
 */
import type { TrustContext } from './adapter.ts';
import { appraise, tierOf } from './appraise.ts';
import { type Bytes, equal, hex, sha256 } from './bytes.ts';
import { CheckList } from './checks.ts';
import type { Appraisal, Check, Measurement, NormalizedClaims, Rule, Tier } from './claims.ts';
import { importAzureEvidence } from './corpus/azure-import.ts';
import type { CorpusFile, Verdict } from './corpus/judge.ts';
import { judgeFor } from './corpus/registry.ts';
import type { Platform } from './evidence.ts';
import { cutSnpReport } from './formats/snp-report.ts';
import { parseCoseSign1 } from './formats/cose.ts';
import { parseNsmPayload } from './formats/nsm.ts';
import { snpEvidence, snpGuest, snpHardware, snpMeasurement, snpTcb } from './hardware/snp/claims.ts';
import { verifySnp } from './hardware/snp/verify.ts';
import { tdxClaims } from './hardware/tdx/claims.ts';
import { verifyTdxQuote } from './hardware/tdx/verify.ts';
import { verifyDocument } from './platforms/aws-nitro/verify.ts';
import { parseAzureEvidence } from './platforms/azure-cvm/container.ts';
import { verifyAzureParts } from './platforms/azure-cvm/evidence.ts';
import type { AppraisalPolicy } from './policy.ts';
import { type Reason, Refusal, refuse } from './refusal.ts';
import { AMD_PRODUCTS } from './trust/purposes.ts';

/** Claims of evidence that nobody challenged: no key, and a cloud only where something names it. */
export type ExaminedClaims = Omit<NormalizedClaims, 'key' | 'cloud'> & { readonly cloud: Partial<NormalizedClaims['cloud']> & Pick<NormalizedClaims['cloud'], 'origin'> };

export interface ExamineInput {
  readonly file: string;
  /** As corpora name them: corpus/registry.ts. */
  readonly platform: string;
  readonly kind: string;
  readonly bytes: Bytes;
  /** Files beside it; certificates and key sets are found in them by what they are. */
  readonly companions: readonly CorpusFile[];
  /** DER of certificates among the companions. */
  readonly vek?: Bytes;
  readonly issuers?: readonly Bytes[];
  readonly trust: TrustContext;
  /** Judge a Nitro document at its own time: says nothing of freshness. */
  readonly ownTime?: boolean;
  /** What the evidence has to carry: nonce of a Nitro document, 64 bytes of report data. */
  readonly nonce?: Bytes;
  /** Absent: the built-in one, without references. */
  readonly policy?: AppraisalPolicy;
}

export interface Examination {
  readonly verdict: Verdict;
  /** Of an invalid one, all of them. */
  readonly reasons: readonly Reason[];
  /** Normalized, or what a kind without normalization says. */
  readonly claims?: ExaminedClaims | unknown;
  readonly checks: readonly Check[];
  /** Absent where nothing could be appraised. */
  readonly appraisal?: Omit<Appraisal, 'claims'>;
}

/** Production hardware at a careful level, whatever runs on it: the best that can be said without references is `warning`. */
export const UNPINNED_POLICY: AppraisalPolicy = { id: 'built-in: production roots, no references', role: 'counter', references: [], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave', 'vm', 'node', 'container'] };

interface Found { readonly claims: ExaminedClaims; readonly checks: readonly Check[] }

export async function examine(input: ExamineInput): Promise<Examination> {
  let found: Found | undefined;
  try {
    found = await normalized(input);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { verdict: 'invalid', reasons: error.reasons, checks: [] };
  }
  if (found === undefined) return judgeOnly(input);
  const appraisal = await appraiseExamined(found.claims, input.policy);
  const { claims, ...rest } = appraisal;
  // As appraised: with the names of matched references
  return { verdict: 'valid', reasons: [], claims: { ...found.claims, measurements: claims.measurements }, checks: found.checks, appraisal: rest };
}

/** The appraisal never looks at the key, which unchallenged evidence is not bound to. */
export async function appraiseExamined(claims: ExaminedClaims, policy: AppraisalPolicy | undefined): Promise<Appraisal> {
  const appraisal = await appraise(claims as NormalizedClaims, policy ?? UNPINNED_POLICY);
  return policy === undefined ? withoutReferences(appraisal) : appraisal;
}

/** That nobody said which code is right is no refusal of the code that runs: it can be approved no more. */
function withoutReferences(appraisal: Appraisal): Appraisal {
  const open: Rule = { id: 'measurements', outcome: 'lowered', detail: 'no references: nobody said which code is right', next: 'Name a policy with the measurements of the released image (--policy FILE).' };
  const rules = [open, ...appraisal.rules.filter((r) => r.id !== 'policy' && r.id !== 'measurements')];
  const order: readonly Tier[] = ['none', 'affirming', 'warning', 'contraindicated'];
  const tiers: Tier[] = ['warning', ...Object.values(appraisal.vector).map(tierOf), ...(rules.some((r) => r.outcome === 'fail') ? ['contraindicated' as const] : [])];
  return { ...appraisal, rules, status: tiers.reduce((worst, tier) => (order.indexOf(tier) > order.indexOf(worst) ? tier : worst)) };
}

async function judgeOnly({ file, platform, kind, bytes, companions, trust }: ExamineInput): Promise<Examination> {
  const judge = judgeFor(platform, kind);
  if (judge === undefined) return { verdict: 'invalid', reasons: [{ code: 'FMT_PLATFORM', path: file, have: `${platform}/${kind}`, need: 'a kind that this version knows', next: 'State platform and kind of the evidence (--platform, --kind).' }], checks: [] };
  const { verdict, codes, reasons, claims } = await judge({ file, platform, kind, bytes, companions, at: trust.now });
  return { verdict, reasons: verdict === 'valid' ? [] : reasons ?? codes.map((code): Reason => ({ code, path: file, next: 'Compare the evidence with what its issuer sent.' })), checks: [], ...(verdict === 'valid' ? { claims } : {}) };
}

/** undefined: a kind that has a verdict but no normalized claims. @throws Refusal */
async function normalized(input: ExamineInput): Promise<Found | undefined> {
  switch (input.kind) {
    case 'nitro-attestation-document': return nitro(input);
    case 'snp-report': return snp(input);
    case 'tdx-quote': return tdx(input);
    case 'azure-evidence-json': return azure(input);
    default: return undefined;
  }
}

const schema = 'https://confidential-cat-counter.dev/claims/v1';
/** Of the clouds that hand out bare reports; without a stated one, references are those of a node's. */
const adapterOf = (platform: string): Platform => (platform === 'azure-cvm' ? 'azure-cvm' : 'gke');
const cloudOf = (platform: string): ExaminedClaims['cloud'] => (platform === 'azure-cvm' ? { provider: 'azure', origin: 'asserted' } : platform === 'gke' || platform === 'gcp-vtpm' ? { provider: 'gcp', origin: 'asserted' } : { origin: 'unknown' });
const unbound = (scope: 'enclave' | 'vm' | 'node'): NormalizedClaims['workload'] => ({ imageDigestSource: scope === 'enclave' ? 'measured' : 'none', configDigest: '', binding: { scope } });

/** Whether it answers the nonce that somebody chose. */
function checkNonce(id: string, path: string, have: Bytes | undefined, { nonce }: ExamineInput, checks: CheckList): 'challenge' | 'none' {
  if (nonce === undefined) return 'none';
  const absent = have === undefined || have.length === 0;
  checks.that(id, path, !absent && equal(have, nonce), () => ({ code: absent ? 'NONCE_ABSENT' : 'NONCE_MISMATCH', have: absent ? 'nothing' : hex(have), need: hex(nonce), next: 'Attest again with the verifier\'s challenge, exactly.' }));
  return 'challenge';
}

async function nitro(input: ExamineInput): Promise<Found> {
  const own = input.ownTime === true ? parseNsmPayload(parseCoseSign1(input.bytes, 'document').payload, 'document').timestamp / 1000 : input.trust.now;
  const { payload, chain, checks: done } = await verifyDocument(input.bytes, { ...input.trust, now: Math.floor(own) });
  const checks = new CheckList();
  const freshness = checkNonce('NITRO-NONCE', 'document.nonce', payload.nonce, input, checks);
  const evidenceAt = Math.floor(payload.timestamp / 1000);
  checks.that('NITRO-NOT-AHEAD', 'document.timestamp', evidenceAt - input.trust.now <= 300, () => ({ code: 'CLOCK_FUTURE', have: `${evidenceAt - input.trust.now} s ahead`, need: 'at most 300 s', next: 'Judge it at a time when it existed (--at TIME).' }));
  checks.refuseIfFailed();
  const leaf = chain.certificates.at(-1);
  const region = /\.([a-z][a-z0-9-]+)\.aws$/.exec(leaf?.commonName ?? '')?.[1];
  const instanceId = /^(i-[0-9a-f]+)-enc/.exec(payload.moduleId)?.[1];
  const all = [...done, ...checks.done];
  return {
    checks: all,
    claims: {
      schema, platform: 'aws-nitro', anchor: chain.root.anchor, evidence: [{ kind: input.kind, sha256: hex(await sha256(input.bytes)), bytes: input.bytes.length, role: 'root' }],
      time: { verifiedAt: Math.floor(input.trust.now), evidenceAt, freshness, challengeId: '', nonce: payload.nonce === undefined ? '' : hex(payload.nonce) },
      hardware: { vendor: 'aws', technology: 'nitro', generation: null, signer: { kind: 'nsm', leafSerial: leaf?.serial ?? '', rootSha256: chain.root.certSha256 }, revocation: { status: 'unchecked' } },
      tcb: { status: 'NotReported' },
      guest: { debug: [0, 1, 2].every((i) => payload.pcrs.get(i)?.every((b) => b === 0) === true), migratable: false, vmpl: null, smt: null, secureBoot: null },
      measurements: [...payload.pcrs].map(([i, value]): Measurement => ({ register: `PCR${i}`, alg: 'sha384', value: hex(value), covers: ({ 0: 'container', 1: 'kernel', 2: 'app' } as const)[i as 0] ?? 'other', quoted: true })),
      workload: unbound('enclave'),
      cloud: { provider: 'aws', ...(region === undefined ? {} : { region }), ...(instanceId === undefined ? {} : { instanceId }), moduleId: payload.moduleId, origin: chain.root.anchor === 'production' ? 'proven' : 'asserted' },
      checks: all,
    },
  };
}

/** The facts, or a refusal with every failing check. */
function settle<F>(facts: F | undefined, checks: CheckList, path: string): F {
  checks.refuseIfFailed();
  return facts ?? refuse('INTERNAL', path, 'This is a defect of the verifier: report it.');
}

async function snp(input: ExamineInput): Promise<Found> {
  const { trust, vek, issuers, platform } = input;
  const checks = new CheckList();
  const facts = await verifySnp({ report: cutSnpReport(input.bytes, 'report'), ...(vek === undefined ? {} : { vek }), ...(issuers === undefined || issuers.length === 0 ? {} : { issuers }), versionTwo: AMD_PRODUCTS, cspIds: 'any' }, trust, trust.now, checks);
  const freshness = facts === undefined ? 'none' : checkNonce('SNP-REPORT-DATA', 'report.report_data', facts.report.reportData, input, checks);
  const f = settle(facts, checks, 'report');
  return {
    checks: checks.done,
    claims: {
      schema, platform: adapterOf(platform), anchor: f.root.anchor, evidence: [snpEvidence(f, 'root')], ...(f.collateral.length === 0 ? {} : { collateral: f.collateral }), time: timeOf(trust, freshness, f.report.reportData),
      hardware: snpHardware(f, trust.now), tcb: snpTcb(f), guest: snpGuest(f), measurements: [snpMeasurement(f)], workload: unbound(platform === 'azure-cvm' ? 'vm' : 'node'), cloud: cloudOf(platform), checks: checks.done,
    },
  };
}

const timeOf = ({ now }: TrustContext, freshness: 'challenge' | 'none', nonce: Bytes): NormalizedClaims['time'] => ({ verifiedAt: Math.floor(now), evidenceAt: Math.floor(now), freshness, challengeId: '', nonce: hex(nonce) });

async function tdx(input: ExamineInput): Promise<Found> {
  const { trust, platform } = input;
  const checks = new CheckList();
  const facts = await verifyTdxQuote({ quote: input.bytes, tcb: 'require', trailing: 'any' }, trust, trust.now, checks);
  const freshness = facts === undefined ? 'none' : checkNonce('TDX-REPORT-DATA', 'quote.reportData', facts.quote.body.reportData, input, checks);
  const f = settle(facts, checks, 'quote');
  const { anchor, collateral, ...rest } = tdxClaims(f, trust.now);
  return {
    checks: checks.done,
    claims: {
      schema, platform: adapterOf(platform), anchor, evidence: [{ kind: input.kind, sha256: f.sha256, bytes: input.bytes.length, role: 'root' }], ...(collateral === undefined ? {} : { collateral }), ...rest,
      time: timeOf(trust, freshness, f.quote.body.reportData), workload: unbound(platform === 'azure-cvm' ? 'vm' : 'node'), cloud: cloudOf(platform), checks: checks.done,
    },
  };
}

async function azure(input: ExamineInput): Promise<Found> {
  const { trust, nonce } = input;
  const checks = new CheckList();
  const ours = new TextDecoder().decode(input.bytes.subarray(0, 4096)).includes('"hcl"');
  const parts = ours ? parseAzureEvidence(input.bytes, 'evidence') : importAzureEvidence(input.bytes, 'evidence');
  const facts = await verifyAzureParts(
    { ...parts, ...(parts.vek === undefined && input.vek !== undefined ? { vek: input.vek } : {}), ...(parts.vek === undefined && input.vek === undefined || parts.issuers !== undefined || input.issuers === undefined || input.issuers.length === 0 ? {} : { issuers: input.issuers }) },
    { extraData: nonce ?? 'unknown', required: 'any', tcb: 'require', td: 'unjudged', signature: ours ? 'tpmt' : 'raw', versionTwo: AMD_PRODUCTS }, trust, trust.now, checks,
  );
  const f = settle(facts, checks, 'evidence');
  const { hardware: h, quote, ak, hcl: { runtime: { configuration } } } = f;
  const chip = h.technology === 'tdx' ? tdxClaims(h.tdx, trust.now) : { anchor: h.snp.root.anchor, hardware: snpHardware(h.snp, trust.now), tcb: snpTcb(h.snp), guest: snpGuest(h.snp), collateral: h.snp.collateral, measurements: [snpMeasurement(h.snp)] };
  return {
    checks: checks.done,
    claims: {
      schema, platform: 'azure-cvm', anchor: chip.anchor === 'production' && (ak === null || ak.root.anchor === 'production') ? 'production' : 'development',
      evidence: [{ kind: input.kind, sha256: hex(await sha256(input.bytes)), bytes: input.bytes.length, role: 'root' }], ...(chip.collateral === undefined || chip.collateral.length === 0 ? {} : { collateral: chip.collateral }),
      time: timeOf(trust, nonce === undefined ? 'none' : 'challenge', quote.extraData), hardware: chip.hardware, tcb: chip.tcb,
      guest: { ...chip.guest, secureBoot: configuration.secureBoot, consoleEnabled: configuration.consoleEnabled === true || configuration.interactiveConsoleEnabled === true },
      measurements: [...chip.measurements.filter((m) => !m.register.startsWith('RTMR')), ...[...quote.pcrs].map(([i, value]): Measurement => ({ register: `vTPM:PCR${i}`, alg: 'sha256', value: hex(value), covers: 'other', quoted: true }))],
      workload: unbound('vm'), cloud: { provider: 'azure', ...(configuration.vmUniqueId === null ? {} : { instanceId: configuration.vmUniqueId.toLowerCase() }), origin: ak !== null && ak.root.anchor === 'production' ? 'proven' : 'asserted' },
      vmConfiguration: configuration, ...(f.boot === null ? {} : { boot: f.boot }), checks: checks.done,
    },
  };
}
