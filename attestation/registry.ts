/** One line per platform. */
import type { AttestationAdapter } from './adapter.ts';
import { PLATFORMS, type Platform } from './evidence.ts';
import { awsNitro } from './platforms/aws-nitro/verify.ts';
import { azureCvm } from './platforms/azure-cvm/verify.ts';
import { gke } from './platforms/gke/verify.ts';
import { refuse } from './refusal.ts';

/** Tokens of a service take a JSON schema and JWT library: their adapters are loaded by whoever accepts them (workloads/protocol/appraised.ts), not by every page that verifies hardware. */
const ADAPTERS: Readonly<Record<Exclude<Platform, 'confidential-space'>, AttestationAdapter>> = {
  'aws-nitro': awsNitro,
  'azure-cvm': azureCvm,
  gke,
};

/** The platform is the one that the verifier expects, never one that evidence names. @throws Refusal FMT_PLATFORM */
export function adapterFor(platform: Platform): AttestationAdapter {
  if (!Object.hasOwn(ADAPTERS, platform)) {
    refuse('FMT_PLATFORM', 'platform', 'Use a platform that this version knows.', { have: String(platform).slice(0, 32), need: PLATFORMS.join(', ') });
  }
  return ADAPTERS[platform as keyof typeof ADAPTERS];
}
