/** Data-key wraps of a message: HPKE X-Wing (our keyring) and RSA-OAEP with SHA-256 (the raw RSA keyring of any AWS Encryption SDK). */
import { type Bytes, bytes, concat, text } from '../../attestation/bytes.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import { contextAad } from './context.ts';
import { ENC_LENGTH, openBytes, type PreparedKey, sealBytes } from './hpke.ts';
import { RSA_PROVIDER, wrapInfo, X_WING_PROVIDER } from './labels.ts';
import type { DataKeyWrap, ParsedHeader } from './message.ts';
import type { TenantKey } from './messages.ts';

export type UnwrapKey =
  | { readonly alg: 'X-Wing'; readonly privateKey: Uint8Array; /** The same, for many messages. */ readonly prepared?: PreparedKey | undefined }
  /** PKCS#8 in DER. */
  | { readonly alg: 'RSA-OAEP-SHA256'; readonly privateKey: Uint8Array };

export interface OurWrap { readonly alg: TenantKey['alg']; readonly keyId: string; readonly ciphertext: Bytes }

/** The wraps that name a tenant key; those of other providers are for others. */
export function tenantWraps(wraps: readonly DataKeyWrap[]): OurWrap[] {
  return wraps.flatMap(({ providerId, providerInfo, ciphertext }) => {
    const alg = providerId === X_WING_PROVIDER ? 'X-Wing' as const : providerId === RSA_PROVIDER ? 'RSA-OAEP-SHA256' as const : undefined;
    if (alg === undefined) return [];
    try {
      return [{ alg, keyId: text(providerInfo), ciphertext }];
    } catch {
      return []; // not UTF-8: names no key of ours
    }
  });
}

/** enc (1,120 bytes) ‖ ct (48 bytes). */
export async function wrapXWing(publicKey: Uint8Array, keyId: string, context: Readonly<Record<string, string>>, dataKey: Uint8Array): Promise<Bytes> {
  const { enc, ct } = await sealBytes(publicKey, wrapInfo(keyId), contextAad(context), dataKey);
  return concat(enc, ct);
}

/** @throws Refusal SEAL_OPEN */
export const unwrapXWing = (privateKey: Uint8Array | PreparedKey, keyId: string, context: Readonly<Record<string, string>>, wrapped: Uint8Array): Promise<Bytes> =>
  openBytes(privateKey, wrapInfo(keyId), contextAad(context), { enc: bytes(wrapped.subarray(0, ENC_LENGTH)), ct: bytes(wrapped.subarray(ENC_LENGTH)) });

/** RSAES-OAEP (RFC 8017, section 7.1), SHA-256, MGF1 with SHA-256, empty label. */
export async function unwrapRsa(privateKey: Uint8Array, wrapped: Uint8Array): Promise<Bytes> {
  const key = await crypto.subtle.importKey('pkcs8', bytes(privateKey), { name: 'RSA-OAEP', hash: 'SHA-256' }, false, ['decrypt']);
  return bytes(await crypto.subtle.decrypt('RSA-OAEP', key, bytes(wrapped)));
}

/**
 * The data key, by the first wrap that a known key opens. Whether it belongs to the message is for `checkDataKey`.
 * @param keyOf the private half of a tenant key, or `undefined` when there is none of that id.
 * @throws Refusal KEY_UNKNOWN, KEY_UNWRAP; whatever `keyOf` throws
 */
export async function unwrapDataKey(
  message: Pick<ParsedHeader, 'wraps' | 'context'>,
  keyOf: (keyId: string) => Promise<UnwrapKey | undefined> | UnwrapKey | undefined,
): Promise<{ keyId: string; dataKey: Bytes }> {
  const ours = tenantWraps(message.wraps);
  let failure: unknown;
  let tried = 0;
  for (const { alg, keyId, ciphertext } of ours) {
    const key = await keyOf(keyId);
    if (key === undefined || key.alg !== alg) continue;
    tried++;
    try {
      const dataKey = key.alg === 'X-Wing' ? await unwrapXWing(key.prepared ?? key.privateKey, keyId, message.context, ciphertext) : await unwrapRsa(key.privateKey, ciphertext);
      if (dataKey.length === 32) return { keyId, dataKey };
    } catch (cause) {
      failure = cause;
    }
  }
  if (tried === 0) {
    refuse('KEY_UNKNOWN', 'header.wraps', 'Encrypt to a key of the current key manifest.', { have: ours.map((w) => w.keyId.slice(0, 100)).join(', ') || 'no wrap to a tenant key' });
  }
  throw new Refusal({ code: 'KEY_UNWRAP', path: 'header.wraps', next: 'The wrap does not open under this context; encrypt again to the current key manifest.' }, { cause: failure });
}
