/** The port that every platform implements (platforms/<name>/verify.ts); pure: no I/O, no clock of its own. */
import type { ChainCache } from './chain-cache.ts';
import type { Collateral } from './collateral/collateral.ts';
import type { NormalizedClaims } from './claims.ts';
import type { BindingFields, Evidence, Platform } from './evidence.ts';
import type { GceTrust } from './hardware/gce/trust.ts';
import type { ServiceDemands } from './services/demands.ts';
import type { RootPurpose } from './trust/purposes.ts';

/** A pinned root. The root carried in evidence is compared with this and then discarded. */
export interface TrustRoot {
  readonly name: string;
  /** The only thing it is good for: trust/purposes.ts. */
  readonly purpose: RootPurpose;
  /** Absent: good for every adapter that needs this purpose (AMD's and Intel's roots are below several clouds). */
  readonly platform?: Platform;
  /** Claims repeat it; only the policy decides whether `development` is good for anything. */
  readonly anchor: 'production' | 'development';
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly certSha256: string;
  /**
   * SHA-256 of its SPKI, lower-case hex. Absent only where the certificate could not be had when it was pinned; its hash alone pins the key
   * too, because the key is part of the certificate.
   */
  readonly spkiSha256?: string;
}

export interface TrustContext {
  readonly roots: readonly TrustRoot[];
  /**
   * Certificates refused whatever else holds, named by issuer (RFC 4514 text, as `openssl x509 -issuer -nameopt RFC2253` prints it) and
   * serial (hex), never by bytes: ECDSA has twins.
   */
  readonly revoked: readonly { readonly issuer: string; readonly serial: string }[];
  /** The one clock of this verification, epoch seconds. */
  readonly now: number;
  /** What was fetched or brought along; absent means that there is none. */
  readonly collateral?: Collateral;
  /** Revocation lists: `require` refuses where one is missing (default), `ifAvailable` is for verdicts on stored corpora. */
  readonly revocation?: 'require' | 'ifAvailable';
  /** Demands on Google's machines: projects, denied instances, endorsed firmware, hosts. */
  readonly gce?: GceTrust;
  /** Verified signatures of earlier chains; saves time, changes no verdict. */
  readonly chainCache?: ChainCache;
}

/**
 * What the verifier wants to see. `binding` is built by the verifier: its own role, cell, challenge, audience and
 * policy digest, plus the keys, configuration and payload digests that the attester sent beside the evidence.
 */
export interface Expectation {
  readonly platform: Platform;
  readonly binding: BindingFields;
  /** Oldest acceptable evidence, seconds. */
  readonly maxAgeSeconds: number;
  /** Registers that the policy compares (policy.ts, `requiredRegisters`); platforms whose evidence is a quote of chosen registers want exactly these. */
  readonly registers?: readonly string[];
  /** Of the policy: what attestation services have to say. */
  readonly services?: ServiceDemands;
  /** The boot that the evidence has to be of, where an earlier one was appraised: a TPM counts its resets and restarts. */
  readonly boot?: { readonly resetCount: number; readonly restartCount: number };
}

export interface AttestationAdapter {
  readonly platform: Platform;
  /** @throws Refusal with every failing check. */
  verify(evidence: Evidence, expect: Expectation, trust: TrustContext): Promise<NormalizedClaims>;
  /**
   * Stored evidence: certificates are judged at the document's own signed time. Claims say `freshness: "none"`,
   * which no release accepts. Signature, chain, binding are checked as ever. @throws Refusal
   */
  verifyReplay(evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext): Promise<NormalizedClaims>;
}
