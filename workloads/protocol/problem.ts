/**
 * Errors on the wire: RFC 9457 problem documents. One table gives every code its HTTP status and title:
 *
 *   400 the bytes are malformed        401 no valid API key or session    403 the policy says no      404 not there
 *   409 a conflict or a spent challenge   422 well-formed, but evidence or message is refused   429 too fast   503 not now
 *
 * Codes may be added, never renamed.
 */
import { Refusal, type Reason, type RefusalCode } from '../../attestation/refusal.ts';
import type { Problem } from './messages.ts';

type Entry = readonly [status: number, title: string];

const REFUSALS: Record<RefusalCode, Entry> = {
  FMT_SIZE: [400, 'The evidence has an impossible size'],
  FMT_CBOR: [400, 'The evidence is not well-formed CBOR'],
  FMT_CBOR_DEPTH: [400, 'The evidence is nested too deeply'],
  FMT_CBOR_DUPLICATE: [400, 'A key of the evidence appears twice'],
  FMT_CBOR_TRAILING: [400, 'The evidence has bytes after its end'],
  FMT_DER: [400, 'A certificate is not well-formed DER'],
  FMT_PEM: [400, 'The certificates are not well-formed PEM'],
  FMT_FIELD: [400, 'A field has a wrong form'],
  FMT_FIELD_MISSING: [400, 'A field is missing'],
  FMT_FIELD_UNKNOWN: [400, 'A field is unknown'],
  FMT_PCR: [400, 'A register of the evidence has a wrong form'],
  FMT_DIGEST: [400, 'The digest algorithm of the evidence is unknown'],
  FMT_PLATFORM: [400, 'The platform is unknown or not the one asked for'],
  FMT_NITROTPM: [400, 'The evidence is of an EC2 NitroTPM, not of a Nitro Enclave'],
  FMT_VERSION: [400, 'The evidence has a version that is not accepted'],
  FMT_RESERVED: [400, 'A reserved part of the evidence is not zero'],
  FMT_LENGTH: [400, 'Lengths inside the evidence do not add up'],
  FMT_TRAILING: [400, 'The evidence has bytes after its end'],
  FMT_JSON: [400, 'A JSON text is not well-formed'],
  COSE_HEADER: [400, 'The COSE header is not the one required'],
  COSE_STRUCTURE: [400, 'The evidence is not a COSE_Sign1 structure'],

  CHAIN_ROOT_UNPINNED: [422, 'The certificate chain ends at a root that is not pinned'],
  CHAIN_ORDER: [422, 'The certificates do not form a chain'],
  CHAIN_LEN: [422, 'The certificate chain has a wrong length'],
  CHAIN_CA: [422, 'A certificate of the chain may not issue certificates'],
  CHAIN_PATHLEN: [422, 'The certificate chain is longer than its path length allows'],
  CHAIN_KEY_USAGE: [422, 'A certificate is used for what its key usage does not allow'],
  CHAIN_CRITICAL_EXTENSION: [422, 'A certificate has a critical extension that is not understood'],
  CHAIN_EXPIRED: [422, 'A certificate has expired'],
  CHAIN_NOT_YET_VALID: [422, 'A certificate is not valid yet'],
  CHAIN_SIGNATURE: [422, 'The signature of a certificate is invalid'],
  CHAIN_ALGORITHM: [422, 'A certificate uses an algorithm that is not accepted'],
  CHAIN_NAME: [422, 'A certificate names another subject than required'],
  SIG_INVALID: [422, 'A signature is invalid'],
  REVOKED: [422, 'A certificate was revoked'],
  CRL_ABSENT: [422, 'A revocation list that the verifier requires is absent'],
  CRL_FORMAT: [422, 'A revocation list is not well-formed'],
  CRL_ISSUER: [422, 'A revocation list is not by the issuer of the certificate'],
  CRL_SIGNATURE: [422, 'The signature of a revocation list is invalid'],
  CRL_EXPIRED: [422, 'A revocation list has expired'],
  CRL_NOT_YET_VALID: [422, 'A revocation list is not valid yet'],

  COLLATERAL_ABSENT: [422, 'Information of the vendor that the verifier requires is absent'],
  COLLATERAL_UNAVAILABLE: [503, 'A vendor\'s service does not answer'],
  COLLATERAL_FORMAT: [422, 'Information of the vendor is not well-formed'],
  COLLATERAL_SIGNATURE: [422, 'The signature of information of the vendor is invalid'],
  COLLATERAL_EXPIRED: [422, 'Information of the vendor has expired'],
  COLLATERAL_NOT_YET_VALID: [422, 'Information of the vendor is not valid yet'],
  COLLATERAL_MISMATCH: [422, 'Information of the vendor is about another platform'],
  COLLATERAL_EVALUATION: [422, 'Information of the vendor is of an evaluation older than the policy accepts'],
  TPM_FORMAT: [400, 'A structure of the TPM is not well-formed'],
  PCR_BANK: [422, 'The quote is of other PCR banks than the one accepted'],
  PCR_SELECTION: [422, 'The quote is of other PCRs than the policy requires'],
  PCR_DIGEST: [422, 'The PCR values are not the ones that were quoted'],
  UNQUOTED_PCR: [422, 'A PCR that is needed was not quoted'],
  TPM_CLOCK: [422, 'The clock of the TPM is not one that it vouches for'],
  REBOOTED: [422, 'The machine was restarted since it was appraised'],
  AK_ATTRIBUTES: [422, 'The attestation key is not restricted to what its TPM made'],
  AK_UNBOUND: [422, 'The attestation key is not bound to the hardware or the cloud'],
  GCE_AK: [422, 'The attestation key is not one of an instance that Google and the operator accept'],
  EVENTLOG_FORMAT: [400, 'The event log is not well-formed'],
  EVENTLOG_ORDER: [422, 'The event log has events where they cannot have happened'],
  EVENTLOG_ALGORITHM: [422, 'The event log has no digests of the bank quoted'],
  HCL_FORMAT: [400, 'The report of the host compatibility layer is not well-formed'],
  HCL_BINDING: [422, 'The hardware report does not hold the runtime data of the host compatibility layer'],
  HCL_KEY: [422, 'The runtime data of the host compatibility layer has not the keys required'],
  HCL_REPORT_TYPE: [422, 'The host compatibility layer names another kind of hardware report'],
  UNKNOWN_GENERATION: [422, 'The processor generation of the report is not known to this verifier'],
  UNAUTHENTICATED_HINT: [422, 'The evidence names what its signed part does not say'],
  UNSIGNED_REPORT: [422, 'The hardware report is not signed by a key of the chip'],
  CHAIN_SIGNER_KIND: [422, 'The certificate chain is of another kind of key than the one that signed the report'],
  VCEK_TCB_MISMATCH: [422, 'The certificate is for other security versions than the report states'],
  CHIP_ID: [422, 'The certificate is for another chip than the report states'],
  TCB_LAYOUT: [422, 'The security versions do not have the layout of this generation'],
  TCB_ORDER: [422, 'The security versions of the report contradict each other'],

  QE_IDENTITY: [422, 'The quoting enclave is not the one that Intel vouches for'],
  QE_BINDING: [422, 'The attestation key is not the one of the quoting enclave'],
  TDX_MODULE: [422, 'The TDX module is not one that Intel vouches for'],

  JWT_FORMAT: [400, 'The token is not well-formed'],
  JWT_ALG: [422, 'The token is not signed with the algorithm of its service'],
  JWT_HEADER: [422, 'The header of the token says what is not accepted'],
  JWT_KEY: [422, 'The key of the token is not one that its issuer publishes'],
  JWT_SIGNATURE: [422, 'The signature of the token is invalid'],
  JWT_ISSUER: [422, 'The token is of another issuer'],
  JWT_EXPIRED: [422, 'The token has expired'],
  JWT_NOT_YET_VALID: [422, 'The token is not valid yet'],
  JWT_CLAIM: [422, 'A claim of the token is missing or has a wrong form'],
  RUNTIME_UNBOUND: [422, 'The runtime data is not bound in the hardware report'],
  MAA_COMPLIANCE: [403, 'The attestation service does not call the machine compliant'],
  MAA_POLICY: [403, 'The attestation service applied another policy than the ones accepted'],
  MAA_MISMATCH: [403, 'The attestation service says of the machine what its own evidence does not'],
  CS_AUDIENCE: [422, 'The token is for another audience'],
  CS_NONCE: [422, 'The token carries other nonces than required'],
  CS_SOFTWARE: [403, 'The token is of another system software than required'],
  CS_DEBUG: [403, 'The token is of a machine that may be debugged'],
  CS_SUPPORT: [403, 'The system image has not the support status required'],
  SECURE_BOOT: [403, 'The machine was started without Secure Boot'],
  CS_IMAGE: [403, 'The container image is not one that the policy accepts'],
  CS_OVERRIDE: [403, 'The container was started in another way than the policy accepts'],
  CS_MONITORING: [403, 'The operator may look into the memory of the machine'],
  CS_ACCOUNT: [403, 'The workload runs under another service account than the policy accepts'],
  HW_MODEL: [403, 'The machine is of another kind of hardware than required'],
  ENDORSEMENT_FORMAT: [400, 'The launch endorsement is not well-formed'],
  ENDORSEMENT_CHAIN: [422, 'The launch endorsement is not signed under a root that is pinned'],
  ENDORSEMENT_SIGNATURE: [422, 'The signature of the launch endorsement is invalid'],
  ENDORSEMENT_MEASUREMENT: [422, 'The launch endorsement does not list the measurement'],
  ENDORSEMENT_ROW: [422, 'The launch endorsement lists the measurement for a machine of another size'],
  ENDORSEMENT_FAMILY: [422, 'The launch endorsement is of another family of firmware'],
  ENDORSEMENT_SVN: [403, 'The firmware has a lower security version than the policy accepts'],
  ENDORSEMENT_TIMESTAMP: [403, 'The launch endorsement is older than the policy accepts'],

  NONCE_ABSENT: [422, 'The evidence carries no nonce'],
  NONCE_MISMATCH: [422, 'The evidence answers another nonce'],
  STALE: [422, 'The evidence is too old'],
  CLOCK_FUTURE: [422, 'The evidence is from the future'],
  BINDING_MISMATCH: [422, 'The evidence is bound to something else'],
  BINDING_KEY: [422, 'The evidence is bound to another key'],
  BINDING_ABSENT: [422, 'The evidence is bound to nothing'],
  BINDING_LENGTH: [422, 'The evidence binds only a part of what was expected, or more'],
  BINDING_ROLE: [422, 'The evidence is for another role'],
  BINDING_CELL: [422, 'The evidence is for another cell'],
  BINDING_AUDIENCE: [422, 'The evidence is for another audience'],
  BINDING_CHALLENGE: [422, 'The evidence answers another challenge'],
  BINDING_POLICY: [422, 'The evidence is bound to another policy'],
  BINDING_CONFIG: [422, 'The evidence is bound to another configuration'],
  BINDING_PAYLOAD: [422, 'The evidence is bound to another payload'],
  BINDING_PLATFORM: [422, 'The evidence is bound to another platform'],
  CHALLENGE_UNKNOWN: [409, 'The challenge is unknown'],
  CHALLENGE_EXPIRED: [409, 'The challenge has expired'],
  CHALLENGE_USED: [409, 'The challenge was used already'],

  DEBUG_ENCLAVE: [403, 'The enclave runs in debug mode'],
  POLICY_EMPTY: [403, 'The policy lists nothing that may pass'],
  POLICY_MISSING: [503, 'There is no policy yet'],
  POLICY_EXPIRED: [503, 'The policy has expired'],
  POLICY_ROLLBACK: [403, 'The policy is not newer than the one in force'],
  POLICY_SIGNATURE: [403, 'The policy is not signed by the owner'],
  POLICY_FORMAT: [400, 'The policy is malformed'],
  POLICY_DEPLOYMENT: [403, 'The policy is of another deployment'],
  MEASUREMENT_MISMATCH: [403, 'The measured code is not in the policy'],
  MEASUREMENT_ABSENT: [403, 'A measurement that the policy asks for is absent'],
  ANCHOR_DEVELOPMENT: [403, 'The policy does not accept a development root'],
  SCOPE_NODE: [403, 'The evidence proves a node, which this role does not accept'],
  CLOUD_ORIGIN: [403, 'The origin of the workload is not the one that the policy asks for'],
  HW_DENIED: [403, 'The policy does not accept this hardware'],
  APPRAISAL_STATUS: [403, 'The appraisal did not reach the status required'],
  TCB_FLOOR: [403, 'The security versions of the platform are below every level accepted'],
  TCB_OUT_OF_DATE: [403, 'The platform is out of date'],
  TCB_REVOKED: [403, 'The vendor has revoked the trust in this platform'],
  TCB_STATUS: [403, 'The policy does not accept the status of the platform'],
  TCB_ADVISORY: [403, 'The policy does not accept a security advisory that affects the platform'],
  DEBUG_VM: [403, 'The virtual machine may be debugged'],
  GUEST_POLICY: [403, 'The virtual machine runs under another guest policy than required'],
  GUEST_VMPL: [403, 'The report was asked for at another privilege level than required'],
  BADRAM: [403, 'The memory of the platform was not checked for aliases'],
  DEBUG_TD: [403, 'The trust domain is in debug mode'],
  TD_ATTR: [403, 'The policy does not accept an attribute of the trust domain'],
  EVENTLOG_BINDING: [422, 'The event log does not lead to the registers of the evidence'],
  PZID_MISMATCH: [403, 'The evidence names another instance'],
  PZID_ABSENT: [403, 'The evidence names no instance'],

  SESSION_INVALID: [401, 'The session is invalid'],
  SESSION_EXPIRED: [401, 'The session has expired'],
  SESSION_ROLE: [403, 'The session has another role'],
  POP_INVALID: [401, 'The proof of possession is invalid'],
  POP_REPLAYED: [401, 'The proof of possession was used already'],
  SCOPE: [403, 'The policy does not accept evidence of this scope for the tenant'],
  SEAL_OPEN: [422, 'A sealed value does not open'],
  CONTEXT_MISMATCH: [422, 'The encryption context is not the one of this job'],
  CONTEXT_FORMAT: [400, 'The encryption context is malformed'],
  TENANT_MISMATCH: [403, 'The message is of another tenant'],
  ZONE_DENIED: [403, 'The policy does not allow this compliance zone'],
  CLASSIFICATION_DENIED: [403, 'The policy does not allow this data classification'],
  KEY_UNKNOWN: [422, 'The tenant key is unknown'],
  KEY_STATE: [403, 'The tenant key is in a state that does not allow this'],
  KEY_SEALER_LOST: [503, 'The tenant key cannot be unsealed'],
  KEY_SEALER_ABSENT: [503, 'The broker has nothing to seal tenant keys with'],
  KEY_SEALER_REFUSED: [503, 'The key service refuses the broker its key'],
  KEY_SEALER_UNAVAILABLE: [503, 'The key service does not answer'],
  KEY_SEALER_ANSWER: [503, 'The key service answered something else than it was asked'],
  KEY_UNWRAP: [422, 'The data key does not unwrap'],
  MESSAGE_FORMAT: [400, 'The message is not a well-formed AWS Encryption SDK message'],
  MESSAGE_SUITE: [400, 'The message uses another algorithm suite'],
  MESSAGE_COMMITMENT: [422, 'The message commits to another key'],
  MESSAGE_HEADER_TAG: [422, 'The header of the message was altered'],
  MESSAGE_BODY: [422, 'The body of the message does not decrypt'],
  RECEIPT_NOT_STORED: [503, 'The receipt could not be stored'],

  MANIFEST_TENANT: [422, 'The key manifest is of another tenant'],
  MANIFEST_FORMAT: [400, 'The key manifest is malformed'],
  MANIFEST_ROLLBACK: [422, 'The key manifest is older than one seen before'],
  DIRECTORY_SIGNATURE: [403, 'The cell directory is not signed by the owner'],
  DIRECTORY_ROLLBACK: [403, 'The cell directory is older than one seen before'],
  DIRECTORY_CELL: [403, 'The cell is not in the directory'],
  RESULT_SIGNATURE: [422, 'The signature of the result is invalid'],
  RESULT_MESSAGE: [422, 'The result is about another message'],
  RESULT_JOB: [422, 'The result is about another job'],
  RESULT_FORMAT: [400, 'The result is malformed'],
  RESULT_SESSION: [422, 'The result is of another session'],
  RECEIPT_FORMAT: [400, 'The receipt is malformed'],
  RECEIPT_OWNER: [422, 'The receipt names another owner'],
  MANIFEST_BROKER: [422, 'The key manifest names other broker keys than its evidence'],
  DIRECTORY_FORMAT: [422, 'The cell directory is signed, but not of the format'],
  DIRECTORY_EXPIRED: [422, 'The cell directory has expired'],
  RESULT_ABSENT: [422, 'The job ended without a result'],
  RESULT_OUTCOME: [422, 'The outcome of the result is not consistent'],
  RESULT_MODEL: [422, 'The result is from a detector that the policy does not name'],
  RESULT_CLAIMS: [422, 'The result names other claims than its evidence gives'],
  RECEIPT_BROKER: [422, 'A receipt of the broker does not hold'],
  PICTURE_FORMAT: [422, 'The picture is not a well-formed JPEG, PNG or WebP file'],

  EPOCH_ABSENT: [503, 'This cell has no epoch for the tenant'],
  EPOCH_EXPIRED: [503, 'The epoch of this cell has ended'],
  EPOCH_FENCED: [409, 'Another cell has a higher epoch for the tenant'],
  EPOCH_QUORUM: [503, 'Too few observers promise the same epoch'],
  EPOCH_OBSERVER: [403, 'A promise is not from an observer of the cell directory'],
  EPOCH_SIGNATURE: [403, 'A promise or grant of an epoch is not signed by the one it names'],
  EPOCH_FORMAT: [400, 'A promise or grant of an epoch is malformed'],
  EPOCH_TENANT: [403, 'A promise or grant of an epoch is for another tenant'],
  EPOCH_CELL: [403, 'The cell may not have this tenant\'s epoch'],
  EPOCH_LENGTH: [403, 'A promise of an epoch lasts longer than the owner allows'],
  EPOCH_CLOCK: [503, 'Clocks differ by more than the owner\'s bound'],
  EPOCH_DEPLOYMENT: [403, 'A grant of an epoch is for another deployment'],
  EPOCH_HELD: [409, 'Another cell holds the epoch of the tenant'],
  EPOCH_LOW: [409, 'The epoch asked for is not above those promised'],
  EPOCH_INSTANCES: [503, 'Too many processes of the cell hold the epoch'],
  EPOCH_ROLLBACK: [422, 'The epoch is lower than one seen before'],

  ATTESTER_ABSENT: [503, 'This machine has nothing to attest with'],
  ATTESTER_FAILED: [503, 'The security module did not attest'],

  INTERNAL: [500, 'Something went wrong on this side'],
};

const SERVICE = {
  UNAUTHENTICATED: [401, 'An API key is required'],
  KEY_EXPIRED: [401, 'The API key has expired'],
  KEY_REVOKED: [401, 'The API key was revoked'],
  FORBIDDEN_SCOPE: [403, 'The API key has not the scope required'],
  NOT_FOUND: [404, 'There is no such thing'],
  METHOD_NOT_ALLOWED: [405, 'The method is not allowed here'],
  JOB_CONFLICT: [409, 'The job exists with other bytes'],
  LEASE_STALE: [409, 'The lease was lost'],
  TENANT_CONFLICT: [409, 'The tenant exists with another zone'],
  TENANT_UNKNOWN: [404, 'The tenant is unknown'],
  KEY_CONFLICT: [409, 'A tenant key of this id exists with other bytes'],
  RECEIPT_CONFLICT: [409, 'The receipt number is taken by another receipt'],
  VALIDATION: [400, 'The request does not fit the schema'],
  BAD_REQUEST: [400, 'The request is malformed'],
  BODY_EMPTY: [400, 'The body is empty'],
  BODY_TOO_LARGE: [413, 'The body is too large'],
  HEADERS_TOO_LARGE: [431, 'The header fields are too large'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'The media type is not the one required'],
  REQUEST_TIMEOUT: [408, 'The request took too long to arrive'],
  RATE_LIMITED: [429, 'Too many requests'],
  BACK_PRESSURE: [503, 'The queue is full'],
  BROKER_UNAVAILABLE: [503, 'The broker does not answer'],
  BROKER_UNVERIFIED: [503, 'The broker did not prove itself'],
  LEDGER_UNAVAILABLE: [503, 'The ledger does not answer'],
  STORE_UNAVAILABLE: [503, 'The store does not answer'],
  STORE_FULL: [507, 'The store is full'],
  NOT_READY: [503, 'The service is not ready'],
} as const satisfies Record<string, Entry>;

export type ServiceCode = keyof typeof SERVICE;
export type ProblemCode = RefusalCode | ServiceCode;

/** Every code there is. */
export const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> = Object.freeze(
  Object.fromEntries(Object.entries({ ...REFUSALS, ...SERVICE }).map(([code, [status, title]]) => [code, Object.freeze({ status, title })])),
) as Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>>;

export const isProblemCode = (code: string): code is ProblemCode => Object.hasOwn(PROBLEMS, code);

/** What evidence, messages and policies are refused with, as against all other problems. */
export const isRefusalCode = (code: string): code is RefusalCode => Object.hasOwn(REFUSALS, code);

export const PROBLEM_MEDIA_TYPE = 'application/problem+json';
const TYPE_BASE = 'https://confidential-cat-counter.dev/problems/';
export const problemType = (code: ProblemCode): string => TYPE_BASE + code.toLowerCase().replaceAll('_', '-');

/** An error with a code of the table. `detail` and `next` are shown to the caller: never text of another error. */
export class CccError extends Error {
  override readonly name = 'CccError';
  readonly code: ProblemCode;
  /** HTTP status. */
  readonly status: number;
  /** What the reader can do about it. */
  readonly next: string;
  readonly detail: string | undefined;
  /** Whole seconds, for the header Retry-After. */
  readonly retryAfter: number | undefined;

  constructor(code: ProblemCode, next: string, options: { detail?: string; retryAfter?: number; cause?: unknown } = {}) {
    super(`${code}: ${options.detail ?? PROBLEMS[code].title}. ${next}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = PROBLEMS[code].status;
    this.next = next;
    this.detail = options.detail;
    this.retryAfter = options.retryAfter;
  }
}

const wireReason = ({ code, path, have, need, next }: Reason) => ({
  code, path, ...(have === undefined ? {} : { have }), ...(need === undefined ? {} : { need }), next,
});

/** Anything thrown, as a problem document. What is neither a CccError nor a Refusal is INTERNAL; its text stays here. */
export function toProblem(error: unknown): Problem {
  if (error instanceof CccError) {
    const detail = error.detail === undefined ? error.next : `${error.detail}. ${error.next}`;
    return { type: problemType(error.code), title: PROBLEMS[error.code].title, status: error.status, code: error.code, detail };
  }
  if (error instanceof Refusal) {
    const { code } = error;
    const { status, title } = PROBLEMS[code];
    const detail = error.reasons[0]?.next;
    return { type: problemType(code), title, status, code, ...(detail === undefined ? {} : { detail }), reasons: error.reasons.map(wireReason) };
  }
  return {
    type: problemType('INTERNAL'), title: PROBLEMS.INTERNAL.title, status: 500, code: 'INTERNAL',
    detail: 'This is a defect of the service; try again later and report the request id.',
  };
}
