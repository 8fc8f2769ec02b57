/**
 * Microsoft Azure Attestation: a token in, facts or reasons out. {@link verifyMaa} says whether the configured instance issued it, now, for this
 * runtime data and challenge; {@link checkMaa} says whether the machine that it describes is acceptable. Facts are what a service says: they stand beside
 * what was measured and are never mixed with it.
 */
import type { TrustContext } from '../adapter.ts';
import { type Bytes, equal, fromHex, hex, sha256, text } from '../bytes.ts';
import { canonicalJson } from '../canonical.ts';
import type { CheckList } from '../checks.ts';
import type { NormalizedClaims, ServiceClaims } from '../claims.ts';
import { readJsonObject } from '../formats/json-span.ts';
import { Judge } from '../judge.ts';
import { printable } from '../refusal.ts';
import { type MaaClaims, readMaaClaims } from './maa-claims.ts';
import { claimFailure, type VerifiedToken, verifyToken } from './token.ts';

export type { MaaClaims, MaaSnp, MaaTdx } from './maa-claims.ts';

export interface MaaExpectation {
  /** Since the service issued it, seconds; it would be valid for 8 hours. */
  readonly maxAgeSeconds: number;
  /** The data whose SHA-256 is in the hardware report: on Azure the HCL's JSON, as it is. */
  readonly runtimeData: Bytes;
  /** Guest tokens carry the caller's nonce (x-ms-runtime.client-payload.nonce), platform tokens the HCL's user-data (64 bytes). */
  readonly challenge: { readonly in: 'client-payload' | 'user-data'; readonly value: Bytes };
}
export interface MaaInput {
  readonly token: Bytes | string;
  /** The instance, exactly: https://<name>.<region>.attest.azure.net */
  readonly issuer: string;
  readonly path?: string;
  /** `runtimeData` alone, or nothing: for verdicts on stored tokens; the checks left out are recorded as skipped. */
  readonly expect: MaaExpectation | { readonly verdict: true; readonly runtimeData?: Bytes };
}
export interface MaaFacts extends MaaClaims { readonly token: VerifiedToken; readonly ageSeconds: number; readonly bound: { readonly runtime: boolean; readonly challenge: boolean } }

/** Instances of the public cloud; another host is a development service. */
export const MAA_ISSUER = /^https:\/\/[a-z0-9]{3,24}\.[a-z0-9]{2,8}(?:\.[a-z]{1,8})?\.attest\.azure\.net$/;
const ANEW = 'Ask the service again, with the runtime data of this machine and the verifier\'s challenge.';

export async function verifyMaa(input: MaaInput, trust: TrustContext, at: number, checks: CheckList): Promise<MaaFacts | undefined> {
  const { path = 'token', expect } = input;
  const verdict = 'verdict' in expect;
  const token = await verifyToken({ prefix: 'MAA', path, token: input.token, issuer: input.issuer, keys: 'jwks', maxAgeSeconds: verdict ? 'skip' : expect.maxAgeSeconds }, trust, at, checks);
  if (token === undefined) return undefined;
  const judge = new Judge(checks, 'MAA');
  const claims = readMaaClaims(token.jwt.claims);
  const readable = judge.that('CLAIMS', `${path}.claims`, !('bad' in claims), () => claimFailure(printable('bad' in claims ? claims.bad : ''), 'the claims of sevsnpvm, tdxvm or azurevm'));
  if (!readable || 'bad' in claims) return undefined;
  checkAttributes(claims, path, judge);
  if (expect.runtimeData === undefined) judge.skipped('RUNTIME', `${path}.claims.x-ms-runtime`);
  else await checkRuntime(claims, expect.runtimeData, path, judge);
  if (verdict) judge.skipped('CHALLENGE', `${path}.claims.x-ms-runtime`);
  else checkChallenge(claims, expect.challenge, path, judge);
  if (judge.failed) return undefined;
  return { ...claims, token, ageSeconds: at - token.issuedAt, bound: { runtime: expect.runtimeData !== undefined, challenge: !verdict } };
}

/** The service's flags are those of the attributes that it repeats. */
function checkAttributes({ tee }: MaaClaims, path: string, judge: Judge): void {
  if (tee.tee !== 'tdx') return;
  const word = new DataView(fromHex(tee.attributes).buffer).getBigUint64(0, true);
  for (const [flag, name, bit] of [[tee.debug, 'debug', 0n], [tee.septVeDisable, 'septve_disable', 28n], [tee.migratable, 'migratable', 29n]] as const) {
    judge.that('TD-ATTRIBUTES', `${path}.claims.tdx_td_attributes_${name}`, flag === null || flag === ((word >> bit & 1n) === 1n), () => claimFailure(String(flag), `bit ${bit} of ${tee.attributes}`));
  }
}

async function checkRuntime({ tee, runtime }: MaaClaims, data: Bytes, path: string, judge: Judge): Promise<void> {
  const digest = hex(await sha256(data));
  judge.that('RUNTIME', `${path}.claims.reportdata`, tee.reportData === `${digest}${'00'.repeat(32)}`, () => ({ code: 'RUNTIME_UNBOUND', have: tee.reportData, need: `${digest}, then zeros`, next: ANEW }));
  const values = judge.parse('RUNTIME-JSON', 'runtimeData', () => readJsonObject(data, 'runtimeData', { maxBytes: 16 * 1024, maxDepth: 8, code: 'RUNTIME_UNBOUND', next: ANEW }));
  if (values === undefined) return;
  const bound = runtime !== null && contained(runtime, Object.fromEntries([...values].map(([name, m]) => [name, m.value])));
  judge.that('RUNTIME-CLAIM', `${path}.claims.x-ms-runtime`, bound, () => ({ code: 'RUNTIME_UNBOUND', have: runtime === null ? 'a token without runtime data' : 'other runtime data', need: 'the data that the report holds the hash of', next: ANEW }));
}

/** Whether the data says all that the claim says; the service may leave members and keys out. */
function contained(claim: unknown, data: unknown): boolean {
  if (Array.isArray(claim)) {
    if (!Array.isArray(data)) return false;
    const known = new Set(data.map((item: unknown) => canonicalJson(item)));
    return claim.every((item) => known.has(canonicalJson(item)));
  }
  if (typeof claim !== 'object' || claim === null) return claim === data;
  return typeof data === 'object' && data !== null && Object.entries(claim).every(([name, value]) => Object.hasOwn(data, name) && contained(value, (data as Record<string, unknown>)[name]));
}

function checkChallenge({ guest, runtime }: MaaClaims, { in: where, value }: MaaExpectation['challenge'], path: string, judge: Judge): void {
  const at = `${path}.claims.x-ms-runtime.${where}`;
  const nonce = where === 'client-payload' ? (guest?.runtime?.['client-payload'] as { nonce?: unknown } | null | undefined)?.nonce : runtime?.['user-data'];
  const have = typeof nonce === 'string' ? decoded(nonce, where) : undefined;
  judge.that('CHALLENGE', at, have !== undefined && value.length > 0 && equal(have, value), () => ({ code: nonce === undefined ? 'NONCE_ABSENT' : 'NONCE_MISMATCH', have: have === undefined ? 'none' : hex(have.subarray(0, 64)), need: hex(value), next: ANEW }));
}

function decoded(value: string, where: 'client-payload' | 'user-data'): Bytes | undefined {
  if (where === 'user-data') return /^(?:[0-9a-fA-F]{2}){1,64}$/.test(value) ? fromHex(value.toLowerCase()) : undefined;
  if (value.length > 1024 || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) return undefined;
  const binary = atob(value);
  return btoa(binary) === value ? Uint8Array.from(binary, (c) => c.charCodeAt(0)) : undefined;
}

export interface MaaPolicy {
  /** Hashes of the instance's policies that were looked at, base64url; at least one. */
  readonly policyHashes: readonly string[];
  /** Lowest security versions of SEV-SNP. */
  readonly snpFloor: Readonly<Record<'bootloader' | 'tee' | 'snp' | 'microcode', number>>;
  /** "Milan" (its keys can be extracted by software), as the service calls it. */
  readonly deniedChipFamilies: readonly string[];
  /** Of TDX. */
  readonly tcbStatuses: readonly string[];
  readonly requireSecureBoot: boolean;
}

/** Appraisal of what the service says; every reason has its own code. */
export function checkMaa(facts: MaaFacts, policy: MaaPolicy, checks: CheckList, path = 'token'): void {
  const at = (name: string): string => `${path}.claims.${name}`;
  const { tee, guest } = facts;
  checks.that('MAA-COMPLIANCE', at('x-ms-compliance-status'), facts.compliance === 'azure-compliant-cvm', () => ({ code: 'MAA_COMPLIANCE', have: facts.compliance === null ? 'nothing' : printable(facts.compliance), need: 'azure-compliant-cvm', next: 'Run the workload on a Confidential VM of Azure.' }));
  checks.that('MAA-POLICY', at('x-ms-policy-hash'), facts.policyHash !== null && policy.policyHashes.includes(facts.policyHash), () => ({ code: policy.policyHashes.length === 0 ? 'POLICY_EMPTY' : 'MAA_POLICY', have: facts.policyHash ?? 'nothing', need: policy.policyHashes.join(' or ') || 'a hash that the policy names', next: 'Look at the policy of the instance; name its hash if it is acceptable.' }));
  if (policy.requireSecureBoot) {
    const on = guest === null ? (facts.runtime?.['vm-configuration'] as Record<string, unknown> | null | undefined)?.['secure-boot'] : guest.secureBoot;
    checks.that('MAA-SECURE-BOOT', at('secureboot'), on === true, () => ({ code: 'SECURE_BOOT', have: String(on ?? 'nothing'), need: 'true', next: 'Turn Secure Boot on and start the machine again.' }));
  }
  checks.that('MAA-GUEST-DEBUG', at('x-ms-azurevm'), guest?.debug !== true, () => ({ code: 'DEBUG_VM', have: 'debugging of kernel, boot loader or hypervisor, or test signing', need: 'none of them', next: 'Turn debugging off in the guest and start it again.' }));
  if (tee.tee === 'sev-snp') checkSnp(tee, policy, checks, at);
  else checkTdx(tee, policy, checks, at);
}

type At = (name: string) => string;
const RESTART = 'Start the machine with the settings required.';

function checkSnp(tee: Extract<MaaClaims['tee'], { tee: 'sev-snp' }>, policy: MaaPolicy, checks: CheckList, at: At): void {
  const show = (value: unknown): string => (value === null ? 'nothing' : String(value));
  checks.that('MAA-SNP-DEBUG', at('x-ms-sevsnpvm-is-debuggable'), tee.debug === false, () => ({ code: 'DEBUG_VM', have: show(tee.debug), need: 'false', next: RESTART }));
  checks.that('MAA-SNP-VMPL', at('x-ms-sevsnpvm-vmpl'), tee.vmpl === 0, () => ({ code: 'GUEST_VMPL', have: show(tee.vmpl), need: '0', next: RESTART }));
  checks.that('MAA-SNP-MIGRATION', at('x-ms-sevsnpvm-migration-allowed'), tee.migratable === false, () => ({ code: 'GUEST_POLICY', have: show(tee.migratable), need: 'false', next: RESTART }));
  const family = tee.chipFamily;
  checks.that('MAA-SNP-CHIP-FAMILY', at('x-ms-sevsnpvm-chip-family'), family !== null && !policy.deniedChipFamilies.some((d) => d.toLowerCase() === family.toLowerCase()), () => ({ code: 'HW_DENIED', have: show(family), need: `none of ${policy.deniedChipFamilies.join(', ')}`, next: 'Move the workload to a newer generation.' }));
  for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
    const [have, need] = [tee.tcb[component], policy.snpFloor[component]];
    checks.that('MAA-SNP-TCB', at(`x-ms-sevsnpvm-${component === 'snp' ? 'snpfw' : component}-svn`), have !== null && have >= need, () => ({ code: 'TCB_FLOOR', have: show(have), need: `at least ${need}`, next: 'Move the workload to a machine with current firmware.' }));
  }
}

function checkTdx(tee: Extract<MaaClaims['tee'], { tee: 'tdx' }>, policy: MaaPolicy, checks: CheckList, at: At): void {
  const show = (value: unknown): string => (value === null ? 'nothing' : printable(String(value)));
  const bit = (n: bigint): boolean => (new DataView(fromHex(tee.attributes).buffer).getBigUint64(0, true) >> n & 1n) === 1n;
  checks.that('MAA-TDX-STATUS', at('attester_tcb_status'), tee.tcbStatus !== null && policy.tcbStatuses.includes(tee.tcbStatus), () => ({ code: 'TCB_STATUS', have: show(tee.tcbStatus), need: policy.tcbStatuses.join(' or '), next: 'Move the workload to a machine that is up to date.' }));
  checks.that('MAA-TDX-DEBUG', at('tdx_td_attributes_debug'), tee.debug === false && !bit(0n), () => ({ code: 'DEBUG_TD', have: show(tee.debug), need: 'false', next: RESTART }));
  checks.that('MAA-TDX-MIGRATABLE', at('tdx_td_attributes_migratable'), tee.migratable === false && !bit(29n), () => ({ code: 'TD_ATTR', have: show(tee.migratable), need: 'false', next: RESTART }));
  checks.that('MAA-TDX-SEPT-VE', at('tdx_td_attributes_septve_disable'), tee.septVeDisable === true && bit(28n), () => ({ code: 'TD_ATTR', have: show(tee.septVeDisable), need: 'true', next: RESTART }));
}

/** For claims: said by a service, beside what was measured. */
export function maaServiceClaims(facts: MaaFacts): ServiceClaims {
  const { tee, token } = facts;
  return {
    source: 'service', service: 'maa', issuer: token.issuer, mode: 'oidc', kid: token.kid, anchor: MAA_ISSUER.test(token.issuer) ? 'production' : 'development', issuedAt: token.issuedAt, expiresAt: token.expiresAt, ageSeconds: facts.ageSeconds,
    ...(facts.policyHash === null ? {} : { policyHash: facts.policyHash }), ...(facts.compliance === null ? {} : { compliance: printable(facts.compliance) }),
    technology: tee.tee, debug: tee.debug, tcbStatus: tee.tee === 'tdx' && tee.tcbStatus !== null ? printable(tee.tcbStatus) : 'NotReported',
    measurements: tee.tee === 'tdx' ? { MRTD: tee.measurement, ...Object.fromEntries(tee.rtmrs.map((v, i) => [`RTMR${i}`, v])) } : { LAUNCH: tee.measurement },
    ...(tee.tee === 'sev-snp' && tee.chipFamily !== null ? { generation: printable(tee.chipFamily) } : {}),
  };
}

/** The token among the evidence of an adapter that has measured more than it says. */
export const maaEvidence = ({ token }: MaaFacts): NormalizedClaims['evidence'][number] => ({ kind: 'maa-jwt', sha256: token.sha256, bytes: token.bytes, role: 'corroborating' });

/** The issuer that a token claims, unverified: to choose among configured instances. */
export function claimedIssuer(token: Bytes | string): string | undefined {
  try {
    const [, claims] = (typeof token === 'string' ? token : text(token)).split('.');
    const iss: unknown = (JSON.parse(atob((claims ?? '').replaceAll('-', '+').replaceAll('_', '/'))) as Record<string, unknown>)['iss'];
    return typeof iss === 'string' ? iss : undefined;
  } catch {
    return undefined;
  }
}
