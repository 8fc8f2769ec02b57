/**
 * What a pinned certificate is good for. A root counts for its purpose only: Google's root of vTPM keys vouches for no firmware, and the ARK of
 * one AMD generation for no chip of another.
 *
 * | purpose | certificate |
 * |---|---|
 * | aws-nitro | root of NSM documents |
 * | amd-ark/<product> | AMD Root Key of a generation; signs ASK and ASVK and their revocation list |
 * | amd-ask/<product>, amd-asvk/<product> | no roots: the keys that sign VCEKs and VLEKs, pinned as well (never handed to path validation as roots) |
 * | intel-sgx | root of PCK certificates, TCB information and identities |
 * | azure-vtpm | roots of the attestation keys of Azure's vTPMs |
 * | google-ek-ak | roots of the keys of Google's vTPMs |
 * | google-cs | root of Confidential Space's PKI tokens |
 * | gce-tcb | root of GCE's launch endorsements |
 */
import type { TrustContext, TrustRoot } from '../adapter.ts';
import type { Platform } from '../evidence.ts';

export const AMD_PRODUCTS = ['Milan', 'Genoa', 'Turin'] as const;
/** AMD's generations by the name of their roots; Genoa's are those of Bergamo and Siena too. */
export type AmdProduct = (typeof AMD_PRODUCTS)[number];

export const ROOT_PURPOSES = [
  'aws-nitro', 'amd-ark/Milan', 'amd-ark/Genoa', 'amd-ark/Turin', 'amd-ask/Milan', 'amd-ask/Genoa', 'amd-ask/Turin', 'amd-asvk/Milan', 'amd-asvk/Genoa', 'amd-asvk/Turin',
  'intel-sgx', 'azure-vtpm', 'google-ek-ak', 'google-cs', 'gce-tcb',
] as const;
export type RootPurpose = (typeof ROOT_PURPOSES)[number];

/** The pins for a purpose. @param platform the adapter that asks; a root that names another platform is not for it */
export const rootsFor = (trust: Pick<TrustContext, 'roots'>, purpose: RootPurpose, platform?: Platform): TrustRoot[] =>
  trust.roots.filter((r) => r.purpose === purpose && (r.platform === undefined || platform === undefined || r.platform === platform));
