/** Tokens that verify, of which each test changes one thing, and verifiers for them. */
import type { TrustContext } from '../../../attestation/adapter.ts';
import { type Bytes, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { type CollateralItem, collateralOf } from '../../../attestation/collateral/collateral.ts';
import {
  googleClaims, type GoogleParts, type GooglePki, hclRuntime, type Json, jwkOf, keySet, maaGuestClaims, maaPlatformClaims, SIMULATED_GOOGLE_ISSUER, SIMULATED_MAA_ISSUER, signToken, type TokenOptions,
} from '../../../attestation/platforms/simulated/tokens.ts';
import { checkGoogle, type GoogleExpectation, type GoogleFacts, type GoogleInput, type GooglePolicy, verifyGoogle } from '../../../attestation/services/google.ts';
import { checkMaa, type MaaExpectation, type MaaFacts, type MaaInput, type MaaPolicy, verifyMaa } from '../../../attestation/services/maa.ts';
import { KEYS } from '../path-support.ts';
import { filled, NOW } from '../support.ts';

export { KEYS } from '../path-support.ts';
export { filled, NOW, refused } from '../support.ts';

export const USER_DATA = filled(64, 0xd6);
export const NONCE = filled(32, 0xd3);
export const RUNTIME = hclRuntime(USER_DATA);
export const KID = 'XxRc2vLh1E5FrsNawnRH3PzuFgqg3q7NvCdnjoJHBGE=';

export const serviceKey = () => KEYS.get('RSA-2048', 'service');
export const otherKey = () => KEYS.get('RSA-2048', 'other');
export const trustOf = (items: readonly CollateralItem[], change: Partial<TrustContext> = {}): TrustContext => ({ roots: [], revoked: [], now: NOW, collateral: collateralOf(items), ...change });
export const maaKeySet = async (change: Json = {}): Promise<CollateralItem> => keySet(SIMULATED_MAA_ISSUER, [jwkOf(await otherKey(), 'another'), jwkOf(await serviceKey(), KID, change)], NOW);
export const googleKeySet = async (): Promise<CollateralItem> => keySet(SIMULATED_GOOGLE_ISSUER, [jwkOf(await serviceKey(), KID)], NOW);
export const sign = async (claims: Json, options: Partial<TokenOptions> = {}): Promise<string> => signToken(claims, { key: await serviceKey(), ...options, header: { kid: KID, ...options.header } });

export type Tee = 'sev-snp' | 'tdx';
export const PLATFORM: MaaExpectation = { maxAgeSeconds: 300, runtimeData: utf8(RUNTIME), challenge: { in: 'user-data', value: USER_DATA } };
export const GUEST: MaaExpectation = { ...PLATFORM, challenge: { in: 'client-payload', value: NONCE } };
export const platformToken = async (tee: Tee, change: Json = {}, options: Partial<TokenOptions> = {}) => sign(await maaPlatformClaims(tee, RUNTIME, NOW, change), options);
export const guestToken = async (tee: Tee, change: Json = {}, teeChange: Json = {}) => sign(await maaGuestClaims(tee, RUNTIME, NONCE, NOW, change, teeChange));

export interface Options { readonly items?: readonly CollateralItem[]; readonly trust?: Partial<TrustContext>; readonly at?: number }

/** @throws Refusal with every reason */
export async function maa(token: Bytes | string, expect: MaaInput['expect'] = PLATFORM, { items, trust, at = NOW }: Options = {}): Promise<MaaFacts> {
  const checks = new CheckList();
  const facts = await verifyMaa({ token, issuer: SIMULATED_MAA_ISSUER, expect }, trustOf(items ?? [await maaKeySet()], trust), at, checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Error('no facts and no reason');
  return facts;
}

export const MAA_POLICY: MaaPolicy = { policyHashes: ['9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco'], snpFloor: { bootloader: 10, tee: 0, snp: 27, microcode: 88 }, deniedChipFamilies: ['Milan'], tcbStatuses: ['UpToDate'], requireSecureBoot: true };
export async function appraiseMaa(facts: MaaFacts, policy: Partial<MaaPolicy> = {}): Promise<CheckList> {
  const checks = new CheckList();
  checkMaa(facts, { ...MAA_POLICY, ...policy }, checks);
  checks.refuseIfFailed();
  return checks;
}

export const AUDIENCE = 'broker-1';
export const NONCES = ['n'.repeat(43), 't'.repeat(64)];
export const GOOGLE: GoogleExpectation = { maxAgeSeconds: 300, audience: AUDIENCE, nonces: NONCES };
export const google = (model: 'GCP_AMD_SEV' | 'GCP_INTEL_TDX' = 'GCP_INTEL_TDX', change: GoogleParts = {}, nonces: readonly string[] = NONCES): Json => googleClaims(model, AUDIENCE, nonces, NOW, change);
export const googleToken = (change: GoogleParts = {}, options: Partial<TokenOptions> = {}) => sign(google('GCP_INTEL_TDX', change), options);
/** Signed by the leaf, certificates in the header. */
export const pkiToken = (p: GooglePki, change: GoogleParts = {}, header: Json = {}) => signToken(google('GCP_INTEL_TDX', change), { key: p.leaf.key, header: { kid: 'leaf', x5c: p.x5c, ...header } });

/** @throws Refusal with every reason */
export async function verify(token: Bytes | string, expect: GoogleInput['expect'] = GOOGLE, { items, trust, at = NOW }: Options = {}, mode: 'oidc' | 'pki' = 'oidc'): Promise<GoogleFacts> {
  const checks = new CheckList();
  const facts = await verifyGoogle({ token, mode, issuer: SIMULATED_GOOGLE_ISSUER, expect }, trustOf(items ?? [await googleKeySet()], trust), at, checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Error('no facts and no reason');
  return facts;
}

export const GOOGLE_POLICY: GooglePolicy = {
  software: 'CONFIDENTIAL_SPACE', minVersion: 250301, hwModels: ['GCP_INTEL_TDX'], support: 'STABLE', allowDebug: false, projects: ['simulated'], zones: ['europe-west4-a'],
  serviceAccounts: ['broker@simulated.iam.gserviceaccount.com'], tcbStatuses: ['UpToDate'],
  container: { imageDigests: [`sha256:${'b1'.repeat(32)}`], args: ['/broker'], envOverride: { LOG: ['info', 'warn'], NAME: 'any' }, cmdOverride: 'none', restartPolicies: ['Never'] },
};
export async function appraiseGoogle(facts: GoogleFacts, policy: Partial<GooglePolicy> = {}): Promise<CheckList> {
  const checks = new CheckList();
  checkGoogle(facts, { ...GOOGLE_POLICY, ...policy }, checks);
  checks.refuseIfFailed();
  return checks;
}
