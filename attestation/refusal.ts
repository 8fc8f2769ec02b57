/**
 * A refusal explains itself: a stable code, where, what was there, what is needed, what to do next.
 * All failing checks of one verification come together in one Refusal.
 *
 * Codes are part of the public interface: they may be added, never renamed. The first word says who
 * is concerned (FMT: the bytes, CHAIN: certificates, SIG: a signature, BINDING: the transcript, ...).
 */
export const REFUSAL_CODES = [
  // Bytes: size, encoding, reserved values (attestation.md A0, A1; RFC 8949; RFC 9052)
  'FMT_SIZE', 'FMT_CBOR', 'FMT_CBOR_DEPTH', 'FMT_CBOR_DUPLICATE', 'FMT_CBOR_TRAILING', 'FMT_DER', 'FMT_PEM', 'FMT_FIELD',
  'FMT_FIELD_MISSING', 'FMT_FIELD_UNKNOWN', 'FMT_PCR', 'FMT_DIGEST', 'FMT_PLATFORM', 'FMT_NITROTPM', 'FMT_VERSION', 'FMT_RESERVED', 'FMT_LENGTH', 'FMT_TRAILING', 'FMT_JSON', 'COSE_HEADER', 'COSE_STRUCTURE',
  // Certificates and signatures
  'CHAIN_ROOT_UNPINNED', 'CHAIN_ORDER', 'CHAIN_LEN', 'CHAIN_CA', 'CHAIN_PATHLEN', 'CHAIN_KEY_USAGE', 'CHAIN_CRITICAL_EXTENSION',
  'CHAIN_EXPIRED', 'CHAIN_NOT_YET_VALID', 'CHAIN_SIGNATURE', 'CHAIN_ALGORITHM', 'CHAIN_NAME', 'SIG_INVALID', 'REVOKED',
  'CRL_ABSENT', 'CRL_FORMAT', 'CRL_ISSUER', 'CRL_SIGNATURE', 'CRL_EXPIRED', 'CRL_NOT_YET_VALID',
  // What vendors publish about their platforms: TCB information, identities, registries
  'COLLATERAL_ABSENT', 'COLLATERAL_UNAVAILABLE', 'COLLATERAL_FORMAT', 'COLLATERAL_SIGNATURE', 'COLLATERAL_EXPIRED', 'COLLATERAL_NOT_YET_VALID', 'COLLATERAL_MISMATCH', 'COLLATERAL_EVALUATION',
  // TPM quotes, their registers and keys; the event log; Azure's host compatibility layer
  'TPM_FORMAT', 'PCR_BANK', 'PCR_SELECTION', 'PCR_DIGEST', 'UNQUOTED_PCR', 'TPM_CLOCK', 'REBOOTED', 'AK_ATTRIBUTES', 'AK_UNBOUND', 'GCE_AK', 'EVENTLOG_FORMAT', 'EVENTLOG_ORDER', 'EVENTLOG_ALGORITHM',
  'HCL_FORMAT', 'HCL_BINDING', 'HCL_KEY', 'HCL_REPORT_TYPE',
  // AMD: generations, chips and what signs for them
  'UNKNOWN_GENERATION', 'UNAUTHENTICATED_HINT', 'UNSIGNED_REPORT', 'CHAIN_SIGNER_KIND', 'VCEK_TCB_MISMATCH', 'CHIP_ID', 'TCB_LAYOUT', 'TCB_ORDER',
  // Intel's quoting enclave and TDX module
  'QE_IDENTITY', 'QE_BINDING', 'TDX_MODULE',
  // Tokens of attestation services (RFC 7515, RFC 7519), Azure's and Google's claims; Google's launch endorsements
  'JWT_FORMAT', 'JWT_ALG', 'JWT_HEADER', 'JWT_KEY', 'JWT_SIGNATURE', 'JWT_ISSUER', 'JWT_EXPIRED', 'JWT_NOT_YET_VALID', 'JWT_CLAIM',
  'RUNTIME_UNBOUND', 'MAA_COMPLIANCE', 'MAA_POLICY', 'MAA_MISMATCH', 'CS_AUDIENCE', 'CS_NONCE', 'CS_SOFTWARE', 'CS_DEBUG', 'CS_SUPPORT', 'SECURE_BOOT', 'CS_IMAGE', 'CS_OVERRIDE', 'CS_MONITORING', 'CS_ACCOUNT', 'HW_MODEL',
  'ENDORSEMENT_FORMAT', 'ENDORSEMENT_CHAIN', 'ENDORSEMENT_SIGNATURE', 'ENDORSEMENT_MEASUREMENT', 'ENDORSEMENT_ROW', 'ENDORSEMENT_FAMILY', 'ENDORSEMENT_SVN', 'ENDORSEMENT_TIMESTAMP',
  // Freshness and binding
  'NONCE_ABSENT', 'NONCE_MISMATCH', 'STALE', 'CLOCK_FUTURE', 'BINDING_MISMATCH', 'BINDING_KEY', 'BINDING_ABSENT', 'BINDING_LENGTH', 'BINDING_ROLE',
  'BINDING_CELL', 'BINDING_AUDIENCE', 'BINDING_CHALLENGE', 'BINDING_POLICY', 'BINDING_CONFIG', 'BINDING_PAYLOAD', 'BINDING_PLATFORM',
  'CHALLENGE_UNKNOWN', 'CHALLENGE_EXPIRED', 'CHALLENGE_USED',
  // Appraisal
  'DEBUG_ENCLAVE', 'POLICY_EMPTY', 'POLICY_MISSING', 'POLICY_EXPIRED', 'POLICY_ROLLBACK', 'POLICY_SIGNATURE', 'POLICY_FORMAT', 'POLICY_DEPLOYMENT',
  'MEASUREMENT_MISMATCH', 'MEASUREMENT_ABSENT', 'ANCHOR_DEVELOPMENT', 'SCOPE_NODE', 'CLOUD_ORIGIN', 'HW_DENIED', 'APPRAISAL_STATUS',
  'TCB_FLOOR', 'TCB_OUT_OF_DATE', 'TCB_REVOKED', 'TCB_STATUS', 'TCB_ADVISORY', 'DEBUG_TD', 'DEBUG_VM', 'TD_ATTR', 'GUEST_POLICY', 'GUEST_VMPL', 'BADRAM', 'EVENTLOG_BINDING', 'PZID_MISMATCH', 'PZID_ABSENT',
  // Sessions and release
  'SESSION_INVALID', 'SESSION_EXPIRED', 'SESSION_ROLE', 'POP_INVALID', 'POP_REPLAYED', 'SCOPE', 'SEAL_OPEN', 'CONTEXT_MISMATCH', 'CONTEXT_FORMAT',
  'TENANT_MISMATCH', 'ZONE_DENIED', 'CLASSIFICATION_DENIED', 'KEY_UNKNOWN', 'KEY_STATE', 'KEY_SEALER_LOST', 'KEY_SEALER_ABSENT', 'KEY_SEALER_REFUSED', 'KEY_SEALER_UNAVAILABLE', 'KEY_SEALER_ANSWER', 'KEY_UNWRAP', 'MESSAGE_FORMAT',
  'MESSAGE_SUITE', 'MESSAGE_COMMITMENT', 'MESSAGE_HEADER_TAG', 'MESSAGE_BODY', 'RECEIPT_NOT_STORED',
  // Client side: what a hostile gateway could try
  'MANIFEST_TENANT', 'MANIFEST_FORMAT', 'MANIFEST_ROLLBACK', 'MANIFEST_BROKER', 'DIRECTORY_SIGNATURE', 'DIRECTORY_FORMAT', 'DIRECTORY_EXPIRED',
  'DIRECTORY_ROLLBACK', 'DIRECTORY_CELL', 'RESULT_SIGNATURE', 'RESULT_MESSAGE', 'RESULT_JOB', 'RESULT_FORMAT', 'RESULT_SESSION', 'RESULT_ABSENT',
  'RESULT_OUTCOME', 'RESULT_MODEL', 'RESULT_CLAIMS', 'RECEIPT_FORMAT', 'RECEIPT_OWNER', 'RECEIPT_BROKER', 'PICTURE_FORMAT',
  // Epochs: which cell may work for a tenant
  'EPOCH_ABSENT', 'EPOCH_EXPIRED', 'EPOCH_FENCED', 'EPOCH_QUORUM', 'EPOCH_OBSERVER', 'EPOCH_SIGNATURE', 'EPOCH_FORMAT', 'EPOCH_TENANT', 'EPOCH_CELL', 'EPOCH_LENGTH', 'EPOCH_CLOCK',
  'EPOCH_DEPLOYMENT', 'EPOCH_HELD', 'EPOCH_LOW', 'EPOCH_INSTANCES', 'EPOCH_ROLLBACK',
  // No hardware to attest with, or one that does not answer
  'ATTESTER_ABSENT', 'ATTESTER_FAILED',
  // Anything unforeseen: fail closed
  'INTERNAL',
] as const;

export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface Reason {
  readonly code: RefusalCode;
  /** What was judged, as a path: `document.pcrs.0`, `cabundle[2].basicConstraints`, `context.tenant_id`. */
  readonly path: string;
  /** What was found; public values only, bytes as lower-case hex. */
  readonly have?: string;
  readonly need?: string;
  /** What the reader can do about it. */
  readonly next: string;
}

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly reasons: readonly Reason[];

  constructor(reasons: Reason | readonly Reason[], options?: ErrorOptions) {
    const list = Array.isArray(reasons) ? (reasons as readonly Reason[]) : [reasons as Reason];
    super(list.map(explain).join('\n'), options);
    this.reasons = list;
  }

  /** The code of the first failing check. */
  get code(): RefusalCode {
    return this.reasons[0]?.code ?? 'INTERNAL';
  }

  get codes(): RefusalCode[] {
    return this.reasons.map((r) => r.code);
  }
}

export function refuse(code: RefusalCode, path: string, next: string, detail: { have?: string; need?: string } = {}): never {
  throw new Refusal({ code, path, next, ...detail });
}

/** Names from evidence, as refusals may show them: short, and nothing that a terminal would act on. */
export const printable = (value: string | number, max = 128): string => String(value).slice(0, max).replace(/[^\x20-\x7e]/g, '?');

/** Whatever a terminal or a reader's eye would act on: controls, directions, line separators. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text of somebody else, as people may be shown it. */
export const visible = (value: string): string => value.replace(INVISIBLE, '?');

/** One line for people. */
export function explain(reason: Reason): string {
  const have = reason.have === undefined ? '' : `, have ${reason.have}`;
  const need = reason.need === undefined ? '' : `, need ${reason.need}`;
  return visible(`${reason.code} at ${reason.path}${have}${need}: ${reason.next}`);
}

/** Whatever was thrown, as a refusal: an unforeseen error never passes and never leaks its text. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal(
    { code: 'INTERNAL', path: 'verifier', next: 'This is a defect of the verifier, not a verdict on the evidence; report it with the log of the process.' },
    { cause: error },
  );
}
