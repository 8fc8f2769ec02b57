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

/** A tenant key, given to another cell's broker. @param claimsDigest of the one that receives, lower-case hex */
export const shareInfo = (claimsDigest: string, policyDigest: Uint8Array): Bytes => concat(utf8('ccc/share/v1'), ZERO, utf8(claimsDigest), ZERO, utf8(b64u(policyDigest)));
export const shareAad = (key: { tenantId: string; id: string; zone: string; from: string; to: string }): Bytes => utf8([key.tenantId, key.id, key.zone, key.from, key.to].join('/'));

/** A result, sealed to the client's `result_key`. */
export const resultInfo = (): Bytes => utf8('ccc/result/v1');
export const resultAad = (tenantId: string, jobId: string): Bytes => utf8(`${tenantId}/${jobId}`);
