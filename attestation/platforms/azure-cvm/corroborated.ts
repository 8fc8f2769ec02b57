/**
 * Azure Confidential VMs whose evidence may bring a token of Azure Attestation along. The raw evidence is verified by itself, and nothing of it is replaced: a token
 * has to be of the instance that the policy names, for this challenge and this boot, and say of the machine what the raw evidence says. It stands in the claims as
 * a service's word (`role: "corroborating"`), and a token that says otherwise refuses the whole.
 *
 * Compared where the token says it: report data (with it the boot and the keys of the runtime data), launch measurement, chip, guest, and of a TD all registers. Not
 * compared: security versions (which of a report's four the service repeats is not documented) and Secure Boot where only one of both knows of it.
 */
import type { AttestationAdapter, Expectation, TrustContext } from '../../adapter.ts';
import { d32 } from '../../binding.ts';
import { type Bytes, hex } from '../../bytes.ts';
import { CheckList } from '../../checks.ts';
import type { Check, NormalizedClaims } from '../../claims.ts';
import type { Evidence } from '../../evidence.ts';
import { parseHclReport } from '../../formats/hcl-report.ts';
import { parseJwt } from '../../formats/jwt.ts';
import { parseSnpReport } from '../../formats/snp-report.ts';
import { parseTdxQuote } from '../../formats/tdx-quote.ts';
import { Refusal } from '../../refusal.ts';
import { TCB_STATUSES } from '../../services/google-normalized.ts';
import { checkMaa, maaEvidence, type MaaFacts, type MaaPolicy, maaServiceClaims, type MaaSnp, type MaaTdx, verifyMaa } from '../../services/maa.ts';
import { type AzureParts, parseAzureEvidence } from './container.ts';
import { splitToken } from './token.ts';
import { azureCvm, PLATFORM } from './verify.ts';

const PATH = 'evidence.maa';
const SKEW = 60;

export const azureCorroborated: AttestationAdapter = {
  platform: PLATFORM,
  verify: (evidence, expect, trust) => judge(evidence, expect, trust, expect.maxAgeSeconds),
  verifyReplay: (evidence, expect, trust) => judge(evidence, expect, trust, 'replay'),
};

async function judge(evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext, maxAge: number | 'replay'): Promise<NormalizedClaims> {
  const { document, token } = evidence.document instanceof Uint8Array ? splitToken(evidence.document, 'evidence') : { document: evidence.document };
  const raw = { ...evidence, document };
  const claims = maxAge === 'replay' ? await azureCvm.verifyReplay(raw, expect, trust) : await azureCvm.verify(raw, { ...expect, maxAgeSeconds: maxAge }, trust);
  if (token === undefined) return { ...claims, checks: [...claims.checks, ...others([])] };
  const checks = new CheckList();
  const facts = await verifyToken(token, parseAzureEvidence(document, 'evidence'), claims, expect, trust, maxAge, checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Refusal({ code: 'INTERNAL', path: PATH, next: 'This is a defect of the verifier: report it.' });
  const service = maaServiceClaims(facts);
  return {
    ...claims, anchor: service.anchor === 'development' ? 'development' : claims.anchor, evidence: [...claims.evidence, maaEvidence(facts)], collateral: [...claims.collateral ?? [], ...facts.token.collateral],
    services: [...claims.services ?? [], service], checks: [...claims.checks, ...checks.done, ...others(checks.done)],
  };
}

async function verifyToken(token: string, parts: AzureParts, claims: NormalizedClaims, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext, maxAge: number | 'replay', checks: CheckList): Promise<MaaFacts | undefined> {
  const demands = expect.services?.azureAttestation;
  const asked = checks.that('MAA-CONFIGURED', PATH, demands !== undefined, () => ({ code: 'POLICY_EMPTY', have: 'a token, and no instance that may vouch', need: 'the instance and its policies (azureAttestation)', next: 'Name the instance in the policy, or have the machine send no token.' }));
  if (!asked || demands === undefined) return undefined;
  const hcl = parseHclReport(parts.hcl, 'evidence.hcl');
  const at = maxAge === 'replay' ? issuedAt(token, trust.now) : trust.now;
  const facts = await verifyMaa({
    token, issuer: demands.issuer, path: PATH,
    expect: { maxAgeSeconds: maxAge === 'replay' ? Number.MAX_SAFE_INTEGER : maxAge, runtimeData: hcl.runtimeData, challenge: { in: 'client-payload', value: await d32(expect.binding) } },
  }, trust, at, checks);
  if (facts === undefined) return undefined;
  checkMaa(facts, policyOf(demands.policyHashes), checks, PATH);
  const said = facts.tee.tee === 'sev-snp' ? ofSnp(facts.tee) : ofTdx(facts.tee);
  const measured = hcl.type === 'snp' ? measuredSnp(hcl.hardwareReport, claims) : measuredTdx(parts.tdQuote as Bytes);
  const guest = facts.guest === null ? [] : [['secureBoot', facts.guest.secureBoot, claims.guest.secureBoot]] as const;
  for (const [name, have, need] of [['technology', facts.tee.tee, claims.hardware.technology], ...Object.entries(said).map(([key, value]) => [key, value, measured[key] ?? null] as const), ...guest] as const) {
    // What one of both does not say, nobody contradicts; of another technology nothing can be compared
    const unsaid = have === null || (need === null && name === 'secureBoot');
    checks.that('MAA-AGREES', `${PATH}.${name}`, unsaid || have === need, () => ({ code: 'MAA_MISMATCH', have: String(have), need: `${String(need)}, as in the raw evidence`, next: 'Get a token for this boot of this machine; if it is one, the service and the hardware contradict each other: do not trust the machine.' }));
  }
  return facts;
}

/** Read before anybody has verified it: only a time to judge at, which must not lie ahead. */
function issuedAt(token: string, now: number): number {
  const { iat } = parseJwt(token, PATH).claims;
  return typeof iat === 'number' && Number.isSafeInteger(iat) && iat >= 0 && iat <= now + SKEW ? iat : now;
}

/** What is never negotiable; floors, generations and states are for the appraisal of the raw evidence. */
const policyOf = (policyHashes: readonly string[]): MaaPolicy => ({ policyHashes, snpFloor: { bootloader: 0, tee: 0, snp: 0, microcode: 0 }, deniedChipFamilies: [], tcbStatuses: TCB_STATUSES, requireSecureBoot: false });

type Facts = Readonly<Record<string, string | number | boolean | null>>;
const ofSnp = (t: MaaSnp): Facts => ({
  reportData: t.reportData, measurement: t.measurement, hostData: t.hostData, idKeyDigest: t.idKeyDigest, authorKeyDigest: t.authorKeyDigest, chipId: t.chipId, generation: t.chipFamily?.toLowerCase() ?? null, guestSvn: t.guestSvn, vmpl: t.vmpl,
  debug: t.debug, migratable: t.migratable, smt: t.smt,
});
function measuredSnp(data: Bytes, { hardware }: NormalizedClaims): Facts {
  const r = parseSnpReport(data, 'evidence.hcl.hardwareReport');
  return {
    reportData: hex(r.reportData), measurement: hex(r.measurement), hostData: hex(r.hostData), idKeyDigest: hex(r.idKeyDigest), authorKeyDigest: hex(r.authorKeyDigest), chipId: hex(r.chipId), generation: hardware.generation?.toLowerCase() ?? null, guestSvn: r.guestSvn, vmpl: r.vmpl,
    debug: r.policy.debug, migratable: r.policy.migrateMa, smt: r.policy.smt,
  };
}
const ofTdx = (t: MaaTdx): Facts => ({
  reportData: t.reportData, measurement: t.measurement, rtmr0: t.rtmrs[0] ?? null, rtmr1: t.rtmrs[1] ?? null, rtmr2: t.rtmrs[2] ?? null, rtmr3: t.rtmrs[3] ?? null, mrSeam: t.mrSeam, mrSignerSeam: t.mrSignerSeam, mrConfigId: t.mrConfigId, mrOwner: t.mrOwner,
  mrOwnerConfig: t.mrOwnerConfig, attributes: t.attributes, xfam: t.xfam,
});
function measuredTdx(quote: Bytes): Facts {
  const { body } = parseTdxQuote(quote, 'evidence.tdQuote');
  return {
    reportData: hex(body.reportData), measurement: hex(body.mrTd), ...Object.fromEntries(body.rtmrs.map((value, i) => [`rtmr${i}`, hex(value)])), mrSeam: hex(body.mrSeam), mrSignerSeam: hex(body.mrSignerSeam), mrConfigId: hex(body.mrConfigId), mrOwner: hex(body.mrOwner),
    mrOwnerConfig: hex(body.mrOwnerConfig), attributes: hex(body.tdAttributes), xfam: hex(body.xfam),
  };
}

/** Every check of a token: those that were not made say that they do not apply. */
export const TOKEN_CHECKS: readonly string[] = Object.freeze([
  'AGE', 'AGREES', 'CHALLENGE', 'CLAIMS', 'COMPLIANCE', 'CONFIGURED', 'EXP', 'GUEST-DEBUG', 'IAT', 'ISSUER', 'KEY', 'KEY-SET', 'NBF', 'POLICY', 'RUNTIME', 'RUNTIME-CLAIM', 'RUNTIME-JSON', 'SIGNATURE', 'SNP-CHIP-FAMILY', 'SNP-DEBUG', 'SNP-MIGRATION', 'SNP-TCB',
  'SNP-VMPL', 'TD-ATTRIBUTES', 'TDX-DEBUG', 'TDX-MIGRATABLE', 'TDX-SEPT-VE', 'TDX-STATUS', 'TIMES', 'TOKEN',
].map((name) => `MAA-${name}`));
const others = (done: readonly Check[]): Check[] => TOKEN_CHECKS.filter((id) => !done.some((c) => c.id === id)).map((id) => ({ id, result: 'not-applicable', evidenceRef: 'evidence' }));
