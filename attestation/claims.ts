/** Normalized claims, version 1: one vocabulary for every platform. Bytes are lower-case hex, times epoch seconds. */
import type { Platform } from './evidence.ts';
import type { RefusalCode } from './refusal.ts';

export type Tier = 'none' | 'affirming' | 'warning' | 'contraindicated';
export type Scope = 'enclave' | 'vm' | 'node' | 'container';
export interface Check { readonly id: string; readonly result: 'pass' | 'not-applicable' | 'skipped-by-policy'; readonly evidenceRef: string }
export interface Measurement {
  readonly register: string; readonly alg: 'sha256' | 'sha384'; readonly value: string;
  readonly covers: 'firmware' | 'kernel' | 'initrd' | 'cmdline' | 'rootfs' | 'app' | 'container' | 'other';
  readonly quoted: true; readonly matchedReference?: string;
}

/** Intel's words for a platform's state, used for every vendor; a cloud that reports none is `NotReported`, never `UpToDate`. */
export type TcbStatus =
  | 'UpToDate' | 'SWHardeningNeeded' | 'ConfigurationNeeded' | 'ConfigurationAndSWHardeningNeeded' | 'OutOfDate' | 'OutOfDateConfigurationNeeded' | 'Revoked' | 'NotReported';

/** Security versions of one TCB by the name of the component: bootloader, tee, snp, microcode, fmc. */
export type TcbComponents = Readonly<Record<string, number>>;

/** What an attestation service says; it stands beside what the verifier measured and never in its place. */
export interface ServiceClaims {
  readonly source: 'service'; readonly service: 'maa' | 'google'; readonly issuer: string;
  /** How its key was found: the issuer's key set, or certificates in the token. */
  readonly mode: 'oidc' | 'pki'; readonly kid: string; readonly anchor: 'production' | 'development';
  readonly issuedAt: number; readonly expiresAt: number; readonly ageSeconds: number;
  readonly policyHash?: string; readonly compliance?: string;
  readonly technology: 'sev' | 'sev-snp' | 'tdx' | 'none'; readonly generation?: string; readonly hwModel?: string;
  /** `null`: it does not say. */
  readonly debug: boolean | null;
  /** The service's own word, `NotReported` where it has none. */
  readonly tcbStatus: string; readonly tcbDate?: number; readonly evaluationNumber?: number;
  /** By register, lower-case hex. */
  readonly measurements: Readonly<Record<string, string>>;
  readonly software?: { readonly name: string; readonly versions: readonly string[]; readonly supportAttributes: readonly string[] };
}

export interface NormalizedClaims {
  readonly schema: 'https://confidential-cat-counter.dev/claims/v1';
  /** The adapter; `hardware.technology` says what is below it. */
  readonly platform: Platform;
  readonly anchor: 'production' | 'development';
  readonly evidence: readonly { readonly kind: string; readonly sha256: string; readonly bytes: number; readonly role: 'root' | 'bound' | 'corroborating' }[];
  /** What the verifier used besides the evidence. */
  readonly collateral?: readonly { readonly kind: string; readonly sha256: string; readonly issued?: number; readonly nextUpdate?: number; readonly source: 'live' | 'cache' | 'offline' | 'evidence' }[];
  readonly time: { readonly verifiedAt: number; readonly evidenceAt: number; readonly freshness: 'challenge' | 'timestamp' | 'boot-static' | 'none'; readonly challengeId: string; readonly nonce: string };
  readonly hardware: {
    readonly vendor: 'aws' | 'amd' | 'intel'; readonly technology: 'nitro' | 'sev' | 'sev-snp' | 'tdx'; readonly generation: string | null;
    readonly reportVersion?: number; readonly chipId?: string; readonly chipIdMasked?: boolean;
    /** AMD: PLATFORM_INFO, sixteen hex digits. */
    readonly platformInfo?: string;
    readonly signer: { readonly kind: 'nsm' | 'vcek' | 'vlek' | 'pck' | 'ak-cert' | 'service'; readonly leafSerial: string; readonly rootSha256: string; readonly cspId?: string };
    readonly revocation: { readonly status: 'good' | 'unchecked'; readonly checkedAt?: number; readonly crlNumber?: string };
  };
  readonly tcb: {
    readonly status: TcbStatus;
    /** AMD: the four TCBs of a report, decoded by generation. */
    readonly components?: { readonly current: TcbComponents; readonly committed: TcbComponents; readonly reported: TcbComponents; readonly launch: TcbComponents };
    /** AMD: versions of the SEV firmware, "1.55.49"; provisional while they differ. */
    readonly firmware?: { readonly current: string; readonly committed: string };
    /** AMD, report version 5: mitigations in effect, sixteen hex digits. */
    readonly mitigations?: { readonly launch: string; readonly current: string };
    /** Intel: security versions of the platform and of the TDX module. */
    readonly intel?: { readonly sgx: readonly number[]; readonly tdx: readonly number[]; readonly pcesvn: number; readonly module: string; readonly fmspc: string };
    readonly date?: number; readonly evaluationNumber?: number; readonly advisories?: readonly string[];
  };
  readonly guest: {
    /** `null`: nothing proves it, either way. Appraisal takes that for a warning at best. */
    readonly debug: boolean | null; readonly migratable: boolean | null; readonly vmpl: number | null; readonly smt: boolean | null; readonly secureBoot: boolean | null;
    readonly singleSocket?: boolean; readonly ciphertextHiding?: boolean; readonly aliasCheck?: boolean; readonly abi?: { readonly major: number; readonly minor: number };
    readonly guestSvn?: number; readonly attributes?: string; readonly xfam?: string; readonly hostData?: string; readonly idKeyDigest?: string; readonly authorKeyDigest?: string;
    readonly consoleEnabled?: boolean;
  };
  readonly measurements: readonly Measurement[];
  readonly workload: {
    readonly imageDigest?: string; readonly imageDigestSource: 'measured' | 'platform-token' | 'none'; readonly configDigest: string;
    readonly args?: readonly string[]; readonly env?: Readonly<Record<string, string>>; readonly binding: { readonly scope: Scope };
  };
  readonly key: { readonly alg: 'Ed25519'; readonly publicKeySha256: string; readonly receivingKeySha256: string; readonly boundIn: string; readonly transcriptSha256: string };
  readonly cloud: {
    readonly provider: 'aws' | 'azure' | 'gcp'; readonly region?: string; readonly zone?: string; readonly accountOrProject?: string; readonly instanceId?: string; readonly moduleId?: string;
    /** `proven`: by a chain to a root of the cloud (NSM, vTPM AK certificate, VLEK CSP_ID, endorsement). */
    readonly origin: 'proven' | 'asserted' | 'unknown';
  };
  /** A TPM's statement, where a quote is part of the evidence; its registers are among the measurements. */
  readonly tpm?: {
    readonly bank: 'sha256' | 'sha384'; readonly pcrDigest: string; readonly resetCount: number; readonly restartCount: number; readonly firmwareVersion: string;
    /** What vouches for the attestation key: `hcl` is Azure's runtime data under the hardware report. */
    readonly ak: { readonly alg: string; readonly spkiSha256: string; readonly provenance: readonly ('hcl' | 'certificate' | 'document')[]; readonly certificate?: { readonly serial: string; readonly commonName: string; readonly issuer: string; readonly notAfter: number } };
  };
  /** What a replayed event log says of the boot, each fact with its register. */
  readonly boot?: {
    readonly secureBoot: boolean | null; readonly variables: readonly { readonly register: string; readonly name: string; readonly sha256: string }[];
    readonly commandLines: readonly { readonly register: string; readonly text: string }[];
  };
  /** Azure's vm-configuration, as measured by the paravisor; null: not stated. */
  readonly vmConfiguration?: {
    readonly secureBoot: boolean | null; readonly tpmEnabled: boolean | null; readonly tpmPersisted: boolean | null; readonly consoleEnabled: boolean | null; readonly interactiveConsoleEnabled: boolean | null;
    readonly rootCertThumbprint: string | null; readonly vmUniqueId: string | null;
  };
  readonly services?: readonly ServiceClaims[];
  readonly checks: readonly Check[];
}

/** Trustworthiness vector of AR4SI (draft-ietf-rats-ar4si, section 2.3). */
export interface TrustVector {
  readonly 'instance-identity': number; readonly configuration: number; readonly executables: number; readonly 'file-system': number;
  readonly hardware: number; readonly 'runtime-opaque': number; readonly 'storage-opaque': number; readonly 'sourced-data': number;
}
export interface Rule {
  readonly id: string; readonly outcome: 'pass' | 'fail' | 'lowered'; readonly detail: string;
  /** Of a rule that did not pass: what a refusal says. */
  readonly code?: RefusalCode; readonly have?: string; readonly need?: string; readonly next?: string;
}
export interface Appraisal {
  readonly status: Tier; readonly vector: TrustVector; readonly policyId: string; readonly policySha256: string; readonly rules: readonly Rule[];
  /** Without them it would be contraindicated; absent: none was needed. */
  readonly exceptionsUsed?: readonly { readonly id: string; readonly rule: string; readonly expires: number; readonly reason: string }[];
  /** Claims with `matchedReference` filled in. */
  readonly claims: NormalizedClaims;
}
