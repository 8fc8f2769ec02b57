import type { Bytes } from './bytes.ts';

/** Platforms with an adapter. Simulated evidence has the same formats and keeps these names (claims say `anchor: "development"`). */
export const PLATFORMS = ['aws-nitro', 'azure-cvm', 'gke', 'confidential-space'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** Whether evidence of this platform says when it was made; other evidence is only as fresh as its challenge. */
export const isDated = (platform: Platform): boolean => platform === 'aws-nitro' || platform === 'confidential-space';

/** Roles that a workload can be appraised for. */
export const ROLES = ['broker', 'counter'] as const;
export type Role = (typeof ROLES)[number];

/** Evidence as it travels: the platform's document, byte for byte. */
export interface Evidence {
  readonly platform: Platform;
  readonly document: Bytes;
}

/**
 * The fields of the binding transcript (binding.ts). They travel beside the evidence; the evidence holds
 * only their digest.
 */
export interface BindingFields {
  readonly platform: Platform;
  readonly role: Role;
  readonly cell: string;
  /** 16 bytes, chosen by whoever challenges. */
  readonly challengeId: Bytes;
  /** 32 bytes, chosen by whoever challenges. */
  readonly nonce: Bytes;
  /** The broker instance, or the client's origin. */
  readonly audience: string;
  /** Raw X-Wing public key, 1,216 bytes. */
  readonly receivingKey: Bytes;
  /** Raw Ed25519 public key, 32 bytes. */
  readonly signingKey: Bytes;
  /** SHA-256 of the TLS certificate's SPKI, or empty. */
  readonly tlsSpkiSha256: Bytes;
  /** SHA-256 of the owner-signed policy's compact JWS. */
  readonly policyDigest: Bytes;
  /** SHA-256 of the cell's configuration file. */
  readonly configDigest: Bytes;
  /** SHA-256 of the payload (a broker's key manifest), 32 zero bytes for a counter. */
  readonly payloadDigest: Bytes;
}

/** What a workload is asked to prove. */
export interface Challenge {
  readonly binding: BindingFields;
}

/** Runs inside the TEE only. */
export interface Attester {
  attest(challenge: Challenge): Promise<Evidence>;
}
