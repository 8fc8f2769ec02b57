/** One line per platform. */
import type { AttestationAdapter } from './adapter.ts';
import { PLATFORMS, type Platform } from './evidence.ts';
import { awsNitro } from './platforms/aws-nitro/verify.ts';
import { azureCvm } from './platforms/azure-cvm/verify.ts';
import { gke } from './platforms/gke/verify.ts';
import { refuse } from './refusal.ts';

const ADAPTERS: Readonly<Record<Platform, AttestationAdapter>> = {
  'aws-nitro': awsNitro,
  'azure-cvm': azureCvm,
  gke,
};

/** The platform is the one that the verifier expects, never one that evidence names. @throws Refusal FMT_PLATFORM */
export function adapterFor(platform: Platform): AttestationAdapter {
  if (!Object.hasOwn(ADAPTERS, platform)) {
    refuse('FMT_PLATFORM', 'platform', 'Use a platform that this version knows.', { have: String(platform).slice(0, 32), need: PLATFORMS.join(', ') });
  }
  return ADAPTERS[platform];
}
