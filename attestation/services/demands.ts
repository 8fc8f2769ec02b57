/** What a policy demands of the attestation services; their tokens are verified by platforms/confidential-space and platforms/azure-cvm/corroborated.ts. */

/** The first production images of 2025; Google's `USABLE` attribute follows what it fixes. No policy goes below it. */
export const CONFIDENTIAL_SPACE_FLOOR = 250_000;

export interface ServiceDemands {
  /** Lowest swversion of Confidential Space, e.g. 250301. Absent: the floor. */
  readonly confidentialSpace?: { readonly minVersion: number } | undefined;
  /**
   * The instance of Azure Attestation whose tokens may stand beside the evidence of a machine: `iss` exactly, and the hashes of its policies that were looked at
   * (x-ms-policy-hash). Absent: evidence with a token is refused.
   */
  readonly azureAttestation?: { readonly issuer: string; readonly policyHashes: readonly string[] } | undefined;
}
