/** HPKE info and AAD of each seal (docs/protocol.md, Strings and labels): what was sealed for one purpose opens for no other. */
import { type Bytes, b64u, bytes, concat, utf8 } from '../../attestation/bytes.ts';

const ZERO = bytes([0]);

/** Provider id of our own data-key wraps: HPKE, X-Wing. */
export const X_WING_PROVIDER = 'ccc-x-wing';
/** Namespace of the raw RSA keyring that a stock AWS Encryption SDK client uses. */
export const RSA_PROVIDER = 'ccc-rsa';

/** Data key of a message, wrapped to a tenant key; the AAD is `contextAad(context)`. */
export const wrapInfo = (keyId: string): Bytes => concat(utf8('ccc/wrap/v1'), ZERO, utf8(keyId));

/** Data key released to a counter. @param claimsDigest lower-case hex @param policyDigest 32 bytes, or their base64url */
export const releaseInfo = (claimsDigest: string, policyDigest: Uint8Array | string): Bytes =>
  concat(utf8('ccc/release/v1'), ZERO, utf8(claimsDigest), ZERO, utf8(typeof policyDigest === 'string' ? policyDigest : b64u(policyDigest)));

/** @param messageId 32 bytes, or their base64url */
export const releaseAad = (tenantId: string, jobId: string, messageId: Uint8Array | string): Bytes =>
  utf8(`${tenantId}/${jobId}/${typeof messageId === 'string' ? messageId : b64u(messageId)}`);

/** A result, sealed to the client's `result_key`. */
export const resultInfo = (): Bytes => utf8('ccc/result/v1');
export const resultAad = (tenantId: string, jobId: string): Bytes => utf8(`${tenantId}/${jobId}`);
