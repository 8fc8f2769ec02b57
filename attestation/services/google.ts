/**
 * Google Cloud Attestation (Confidential Space, Confidential VMs): a token in, facts or reasons out. {@link verifyGoogle} says whether Google issued it,
 * now, for this audience and these nonces; {@link checkGoogle} says whether the machine and the container that it describes are acceptable.
 *
 *   mode oidc   the key is in the issuer's key set (collateral jwks)
 *   mode pki    certificates in the token lead to the pinned root of Confidential Space
 *
 * The caller names the mode; a token never chooses it. GCP_AMD_SEV is plain SEV, whatever the machine could do.
 */
import type { TrustContext } from '../adapter.ts';
import { b64u, type Bytes, sha384 } from '../bytes.ts';
import { transcript } from '../binding.ts';
import type { CheckList } from '../checks.ts';
import type { NormalizedClaims, ServiceClaims } from '../claims.ts';
import type { BindingFields } from '../evidence.ts';
import { Judge } from '../judge.ts';
import { printable, type RefusalCode } from '../refusal.ts';
import { type GoogleClaims, type GoogleContainer, readGoogleClaims } from './google-claims.ts';
import { claimFailure, type VerifiedToken, verifyToken } from './token.ts';

export type { GoogleClaims, GoogleContainer } from './google-claims.ts';

export const GOOGLE_ISSUER = 'https://confidentialcomputing.googleapis.com';

export interface GoogleExpectation {
  readonly maxAgeSeconds: number;
  readonly audience: string;
  /** All of these must be in the token, each once, in any order; at least one. */
  readonly nonces: readonly string[];
  /** Others besides them. Default: refuse. */
  readonly extraNonces?: 'allow' | 'refuse';
}
export interface GoogleInput {
  readonly token: Bytes | string;
  readonly mode: 'oidc' | 'pki';
  /** Default: Google's. */
  readonly issuer?: string;
  readonly path?: string;
  /** `verdict`: for stored tokens; the checks left out are recorded as skipped. */
  readonly expect: GoogleExpectation | { readonly verdict: true };
}
export interface GoogleFacts extends GoogleClaims { readonly token: VerifiedToken; readonly mode: 'oidc' | 'pki'; readonly ageSeconds: number; readonly bound: boolean }

const ANEW = 'Ask the launcher for a new token with the audience and the nonces of this challenge.';

export async function verifyGoogle(input: GoogleInput, trust: TrustContext, at: number, checks: CheckList): Promise<GoogleFacts | undefined> {
  const { path = 'token', expect, mode } = input;
  const verdict = 'verdict' in expect;
  const token = await verifyToken({ prefix: 'CS', path, token: input.token, issuer: input.issuer ?? GOOGLE_ISSUER, keys: mode === 'oidc' ? 'jwks' : 'google-cs', maxAgeSeconds: verdict ? 'skip' : expect.maxAgeSeconds }, trust, at, checks);
  if (token === undefined) return undefined;
  const judge = new Judge(checks, 'CS');
  // An array would be several audiences: whoever is one of them could pass it on
  const { aud } = token.jwt.claims;
  judge.that('AUDIENCE-FORM', `${path}.claims.aud`, typeof aud === 'string', () => ({ code: 'CS_AUDIENCE', have: Array.isArray(aud) ? `${aud.length} audiences` : 'none', need: 'one, as a string', next: ANEW }));
  if (judge.failed) return undefined;
  const claims = readGoogleClaims(token.jwt.claims);
  judge.that('CLAIMS', `${path}.claims`, !('bad' in claims), () => claimFailure(printable('bad' in claims ? claims.bad : ''), 'the claims of Google Cloud Attestation'));
  if ('bad' in claims) return undefined;
  if (verdict) for (const [id, name] of [['AUDIENCE', 'aud'], ['NONCE', 'eat_nonce']] as const) judge.skipped(id, `${path}.claims.${name}`);
  else checkBinding(claims, expect, path, judge);
  return judge.failed ? undefined : { ...claims, token, mode, ageSeconds: at - token.issuedAt, bound: !verdict };
}

function checkBinding(claims: GoogleClaims, expect: GoogleExpectation, path: string, judge: Judge): void {
  judge.that('AUDIENCE', `${path}.claims.aud`, claims.audience === expect.audience, () => ({ code: 'CS_AUDIENCE', have: printable(claims.audience), need: printable(expect.audience), next: ANEW }));
  const [have, need] = [claims.nonces, expect.nonces];
  const all = need.length > 0 && need.every((n) => have.filter((h) => h === n).length === 1);
  const none = have.every((n) => need.includes(n));
  judge.that('NONCE', `${path}.claims.eat_nonce`, all && (none || expect.extraNonces === 'allow'), () => ({ code: 'CS_NONCE', have: printable(have.join(', ') || 'none', 256), need: printable(need.join(', ') || 'a nonce', 256), next: ANEW }));
}

/** The nonces of a challenge (A10): its nonce, and SHA-384 of the transcript; base64url, 43 and 64 characters. */
export const googleNonces = async (binding: BindingFields): Promise<string[]> => [b64u(binding.nonce), b64u(await sha384(await transcript(binding)))];

export interface GooglePolicy {
  readonly software: 'CONFIDENTIAL_SPACE' | 'GCE';
  /** Lowest swversion of Confidential Space, e.g. 250301. */
  readonly minVersion: number;
  /** hwmodel values; at least one. */
  readonly hwModels: readonly string[];
  /** Must be among support_attributes; `null`: not looked at (for debug images; says so in the checks). */
  readonly support: 'LATEST' | 'STABLE' | 'USABLE' | null;
  readonly allowDebug: boolean;
  readonly projects: readonly string[];
  readonly zones: readonly string[] | 'any';
  readonly serviceAccounts: readonly string[] | 'any';
  /** Of Confidential Space. */
  readonly container: {
    /** "sha256:…"; at least one. References and tags say nothing. */
    readonly imageDigests: readonly string[];
    /** Exactly, cmd_override included; `any`: whatever the image and the operator say. */
    readonly args: readonly string[] | 'any';
    /** What the operator may set: a name with its values, `any` value. Whatever else is set refuses. */
    readonly envOverride: Readonly<Record<string, readonly string[] | 'any'>>;
    readonly cmdOverride: readonly string[] | 'none' | 'any';
    readonly restartPolicies: readonly string[];
  } | null;
  /** gcp_attester_tcb_status of TDX; not looked at elsewhere. */
  readonly tcbStatuses: readonly string[];
}

const RESTART = 'Start the workload as the policy says, or change the policy.';
const shown = (value: string | number | boolean | null): string => (value === null ? 'nothing' : printable(String(value), 256));

/** Appraisal of what Google says; every reason has its own code. */
export function checkGoogle(facts: GoogleFacts, policy: GooglePolicy, checks: CheckList, path = 'token'): void {
  const is = (id: string, claim: string, holds: boolean, code: RefusalCode, have: string, need: string): boolean =>
    checks.that(`CS-${id}`, `${path}.claims.${claim}`, holds, () => ({ code, have, need, next: RESTART }));
  const list = (values: readonly string[]): string => printable(values.join(' or ') || 'something that the policy names', 512);

  is('SOFTWARE', 'swname', facts.swName === policy.software, 'CS_SOFTWARE', shown(facts.swName), policy.software);
  is('OEM', 'oemid', facts.oemId === 11129, 'CS_SOFTWARE', shown(facts.oemId), '11129, Google');
  is('SECBOOT', 'secboot', facts.secureBoot === true, 'SECURE_BOOT', shown(facts.secureBoot), 'true');
  if (policy.allowDebug !== true) is('DEBUG', 'dbgstat', facts.dbgStat === 'disabled-since-boot', 'CS_DEBUG', shown(facts.dbgStat), 'disabled-since-boot');
  else checks.skipped('CS-DEBUG', `${path}.claims.dbgstat`);
  is('HW-MODEL', 'hwmodel', policy.hwModels.includes(facts.hwModel), 'HW_MODEL', shown(facts.hwModel), list(policy.hwModels));
  is('PROJECT', 'submods.gce.project_id', facts.gce !== null && policy.projects.includes(facts.gce.projectId), 'CLOUD_ORIGIN', shown(facts.gce?.projectId ?? null), list(policy.projects));
  if (policy.zones !== 'any') is('ZONE', 'submods.gce.zone', facts.gce !== null && policy.zones.includes(facts.gce.zone), 'CLOUD_ORIGIN', shown(facts.gce?.zone ?? null), list(policy.zones));
  if (policy.serviceAccounts !== 'any') {
    const accounts = policy.serviceAccounts;
    is('ACCOUNT', 'google_service_accounts', facts.serviceAccounts.length > 0 && facts.serviceAccounts.every((a) => accounts.includes(a)), 'CS_ACCOUNT', shown(facts.serviceAccounts.join(', ') || null), list(accounts));
  }
  if (technology(facts) === 'tdx') is('TDX-STATUS', 'tdx.gcp_attester_tcb_status', facts.tdx !== null && policy.tcbStatuses.includes(facts.tdx.status) && facts.attesterTcb.includes('INTEL'), 'TCB_STATUS', shown(facts.tdx?.status ?? null), `${list(policy.tcbStatuses)}, by INTEL`);
  if (policy.software !== 'CONFIDENTIAL_SPACE') return;

  const version = facts.swVersion.length > 0 && facts.swVersion.every((v) => /^\d{1,12}$/.test(v) && Number(v) >= policy.minVersion);
  is('VERSION', 'swversion', version, 'CS_SOFTWARE', shown(facts.swVersion.join(', ') || null), `at least ${policy.minVersion}`);
  const { support } = policy;
  if (support !== null) is('SUPPORT', 'submods.confidential_space.support_attributes', facts.supportAttributes?.includes(support) === true, 'CS_SUPPORT', shown(facts.supportAttributes?.join(', ') ?? null), support);
  else checks.skipped('CS-SUPPORT', `${path}.claims.submods.confidential_space.support_attributes`);
  is('MONITORING', 'submods.confidential_space.monitoring_enabled.memory', facts.memoryMonitoring === false, 'CS_MONITORING', shown(facts.memoryMonitoring), 'false');
  if (!is('CONTAINER', 'submods.container', facts.container !== null && policy.container !== null, policy.container === null ? 'POLICY_EMPTY' : 'CS_IMAGE', facts.container === null ? 'nothing' : 'a container', 'a container, and a policy for it')) return;
  checkContainer(facts.container as GoogleContainer, policy.container as NonNullable<GooglePolicy['container']>, is, list);
}

type Is = (id: string, claim: string, holds: boolean, code: 'CS_IMAGE' | 'CS_OVERRIDE', have: string, need: string) => boolean;
const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((v, i) => v === b[i]);

function checkContainer(box: GoogleContainer, policy: NonNullable<GooglePolicy['container']>, is: Is, list: (values: readonly string[]) => string): void {
  const at = 'submods.container';
  is('IMAGE', `${at}.image_digest`, policy.imageDigests.includes(box.imageDigest), 'CS_IMAGE', box.imageDigest, list(policy.imageDigests));
  if (policy.args !== 'any') is('ARGS', `${at}.args`, same(box.args, policy.args), 'CS_OVERRIDE', shown(box.args.join(' ') || null), list([policy.args.join(' ')]));
  if (policy.cmdOverride !== 'any') is('COMMAND', `${at}.cmd_override`, same(box.cmdOverride, policy.cmdOverride === 'none' ? [] : policy.cmdOverride), 'CS_OVERRIDE', shown(box.cmdOverride.join(' ') || null), policy.cmdOverride === 'none' ? 'nothing' : list([policy.cmdOverride.join(' ')]));
  const strange = [...box.envOverride].filter(([name, value]) => {
    const allowed = Object.hasOwn(policy.envOverride, name) ? policy.envOverride[name] : undefined;
    return allowed !== 'any' && allowed?.includes(value) !== true;
  });
  // Names only: values may be secrets that an operator passes in
  is('ENVIRONMENT', `${at}.env_override`, strange.length === 0, 'CS_OVERRIDE', shown(strange.map(([name]) => name).join(', ')), `nothing but ${Object.keys(policy.envOverride).join(', ') || 'what the image sets'}`);
  is('RESTART', `${at}.restart_policy`, box.restartPolicy !== null && policy.restartPolicies.includes(box.restartPolicy), 'CS_OVERRIDE', shown(box.restartPolicy), list(policy.restartPolicies));
}

/** What hwmodel means; other models are no confidential hardware that is known here. */
export function technology({ hwModel }: Pick<GoogleClaims, 'hwModel'>): ServiceClaims['technology'] {
  const known: Readonly<Record<string, ServiceClaims['technology']>> = { GCP_AMD_SEV: 'sev', GCP_AMD_SEV_ES: 'sev', GCP_AMD_SEV_SNP: 'sev-snp', GCP_INTEL_TDX: 'tdx' };
  return Object.hasOwn(known, hwModel) ? known[hwModel] as ServiceClaims['technology'] : 'none';
}

/** For claims: said by a service. */
export function googleServiceClaims(facts: GoogleFacts): ServiceClaims {
  const { token, tdx } = facts;
  return {
    source: 'service', service: 'google', issuer: token.issuer, mode: facts.mode, kid: token.kid, anchor: token.chain?.root.anchor ?? (token.issuer === GOOGLE_ISSUER ? 'production' : 'development'),
    issuedAt: token.issuedAt, expiresAt: token.expiresAt, ageSeconds: facts.ageSeconds, technology: technology(facts), hwModel: printable(facts.hwModel), debug: facts.dbgStat !== 'disabled-since-boot',
    tcbStatus: printable(tdx?.status ?? 'NotReported'), ...(tdx === null || tdx.date === null ? {} : { tcbDate: tdx.date }), ...(tdx === null || tdx.evaluationNumber === null ? {} : { evaluationNumber: tdx.evaluationNumber }),
    measurements: {}, software: { name: printable(facts.swName), versions: facts.swVersion.map((v) => printable(v)), supportAttributes: (facts.supportAttributes ?? []).map((v) => printable(v)) },
  };
}

export const googleEvidence = ({ token }: GoogleFacts, role: 'root' | 'corroborating'): NormalizedClaims['evidence'][number] => ({ kind: 'confidential-space-jwt', sha256: token.sha256, bytes: token.bytes, role });
