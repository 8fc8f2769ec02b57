/** A simulated Confidential Space instance under a development root: each test sets one thing otherwise, under signatures that verify. */
import type { Expectation, TrustContext } from '../../../attestation/adapter.ts';
import { utf8 } from '../../../attestation/bytes.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import type { BindingFields } from '../../../attestation/evidence.ts';
import { confidentialSpace } from '../../../attestation/platforms/confidential-space/verify.ts';
import { machineRegisters, machineRoots, type MachineState, makeMachine, vendorItems } from '../../../attestation/platforms/simulated/machine.ts';
import { googleClaims, type GoogleParts, type Json, signToken } from '../../../attestation/platforms/simulated/tokens.ts';
import { GOOGLE_ISSUER, googleNonces } from '../../../attestation/services/google.ts';
import { KEYS } from '../path-support.ts';
import { BINDING as NITRO, NOW } from '../support.ts';

export const BINDING: BindingFields = { ...NITRO, platform: 'confidential-space', role: 'broker' };
export const EXPECT: Expectation = { platform: 'confidential-space', binding: BINDING, maxAgeSeconds: 300, registers: ['IMAGE'] };
export const MEASURED = { PCR0: '1a'.repeat(48), PCR1: '1b'.repeat(48), PCR2: '1c'.repeat(48) };

let made: Promise<Extract<MachineState, { platform: 'confidential-space' }>> | undefined;
export const machine = (): Promise<Extract<MachineState, { platform: 'confidential-space' }>> => (made ??= makeMachine('confidential-space', NOW, KEYS) as Promise<Extract<MachineState, { platform: 'confidential-space' }>>);

export interface Given {
  readonly model?: 'GCP_AMD_SEV' | 'GCP_INTEL_TDX';
  readonly claims?: GoogleParts; readonly header?: Json; readonly audience?: string; readonly nonces?: readonly string[]; readonly issuedAt?: number;
  readonly trust?: Partial<TrustContext>; readonly expect?: Partial<Expectation>; readonly mode?: 'live' | 'replay';
}

export async function token(given: Given = {}): Promise<string> {
  const { google } = await machine();
  const { IMAGE } = await machineRegisters('confidential-space', MEASURED);
  const { top, container, ...rest } = given.claims ?? {};
  const claims = googleClaims(given.model ?? 'GCP_INTEL_TDX', given.audience ?? BINDING.audience, given.nonces ?? await googleNonces(BINDING), given.issuedAt ?? NOW, { ...rest, container: { image_digest: `sha256:${IMAGE}`, ...container }, top: { iss: GOOGLE_ISSUER, ...top } });
  return signToken(claims, { key: google.leaf.key, header: { x5c: google.x5c, ...given.header } });
}

export async function verify(given: Given = {}): Promise<NormalizedClaims> {
  const state = await machine();
  const trust: TrustContext = { roots: await machineRoots(state), revoked: [], now: NOW, collateral: collateralOf(await vendorItems(state, NOW)), ...given.trust };
  const evidence = { platform: 'confidential-space' as const, document: utf8(await token(given)) };
  return given.mode === 'replay' ? confidentialSpace.verifyReplay(evidence, { ...EXPECT, ...given.expect }, trust) : confidentialSpace.verify(evidence, { ...EXPECT, ...given.expect }, trust);
}
