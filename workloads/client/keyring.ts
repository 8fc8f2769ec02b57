/** What both keyrings of the AWS Encryption SDK (esdk-node.ts, esdk-browser.ts) share: which suite, which wrap, which name. */
import { type Bytes, fromB64u, randomBytes } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { X_WING_PROVIDER } from '../protocol/labels.ts';
import { MAX_FRAME, SUITE_ID } from '../protocol/message.ts';
import type { TenantKey } from '../protocol/messages.ts';
import { wrapXWing } from '../protocol/wrap.ts';

/** Suite 0x0478 and frames of 1 MiB: 130 MB/s where the default (signature, frames of 4 KiB) makes 38. */
export const FRAME_LENGTH = MAX_FRAME;
export const SUITE = SUITE_ID;

export const newDataKey = (length: number): Bytes => randomBytes(length);

/** The fields of an EncryptedDataKey; the class itself must come from the client package that uses it. */
export async function wrapFields(tenantKey: TenantKey, context: Readonly<Record<string, string>>, dataKey: Uint8Array): Promise<{ providerId: string; providerInfo: string; encryptedDataKey: Uint8Array }> {
  return { providerId: X_WING_PROVIDER, providerInfo: tenantKey.id, encryptedDataKey: await wrapXWing(fromB64u(tenantKey.public), tenantKey.id, context, dataKey) };
}

/** @throws Refusal KEY_STATE */
export function requireXWing(tenantKey: TenantKey): void {
  if (tenantKey.alg !== 'X-Wing' || tenantKey.state !== 'active') {
    refuse('KEY_STATE', `keys.${tenantKey.id}`, 'Encrypt to an active X-Wing key of the current key manifest.', { have: `${tenantKey.alg}, ${tenantKey.state}`, need: 'X-Wing, active' });
  }
}
