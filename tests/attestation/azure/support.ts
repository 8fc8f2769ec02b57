import type { Expectation, TrustContext } from '../../../attestation/adapter.ts';
import { d32 } from '../../../attestation/binding.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import type { BindingFields } from '../../../attestation/evidence.ts';
import { type AzureParts, encodeAzureEvidence } from '../../../attestation/platforms/azure-cvm/container.ts';
import { azureCvm } from '../../../attestation/platforms/azure-cvm/verify.ts';
import { type AzureWorld, type AzureWorldOptions, makeAzureWorld, SIMULATED_SELECTION } from '../../../attestation/platforms/simulated/azure.ts';
import { KEYS } from '../path-support.ts';
import { BINDING as NITRO, NOW } from '../support.ts';

export const BINDING: BindingFields = { ...NITRO, platform: 'azure-cvm' };
export const REGISTERS = SIMULATED_SELECTION.map((i) => `vTPM:PCR${i}`);
export const EXPECT: Expectation = { platform: 'azure-cvm', binding: BINDING, maxAgeSeconds: 300, registers: REGISTERS };

export const azureWorld = async (options: Partial<AzureWorldOptions> = {}): Promise<AzureWorld> => makeAzureWorld({ now: NOW, ring: KEYS, extraData: await d32(BINDING), ...options });

/** Under development roots, or as if they were production roots, so that claims can say `proven`. */
export function trustOf(w: AzureWorld, change: Partial<TrustContext> = {}, anchor: 'production' | 'development' = 'development'): TrustContext {
  return { roots: w.roots.map((r) => ({ ...r, anchor })), revoked: [], now: NOW, collateral: collateralOf(w.collateral), ...change };
}

export interface Change { readonly parts?: Partial<AzureParts>; readonly expect?: Partial<Expectation>; readonly trust?: Partial<TrustContext>; readonly anchor?: 'production' | 'development' }

export const verify = (w: AzureWorld, { parts, expect, trust, anchor }: Change = {}): Promise<NormalizedClaims> =>
  azureCvm.verify({ platform: 'azure-cvm', document: encodeAzureEvidence({ ...w.parts, ...parts }) }, { ...EXPECT, ...expect }, trustOf(w, trust, anchor));
