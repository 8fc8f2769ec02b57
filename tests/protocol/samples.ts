/** Messages to test with: contexts, tenant keys of both kinds, messages of our keyring and of a stock AWS Encryption SDK client. */
import { generateKeyPairSync } from 'node:crypto';
import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, RawRsaKeyringNode } from '@aws-crypto/client-node';
import { b64u, bytes } from '../../attestation/bytes.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { RSA_PROVIDER } from '../../workloads/protocol/labels.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';
import type { UnwrapKey } from '../../workloads/protocol/wrap.ts';

export const resultKey = await generateReceivingKey();
export const context = (changed: Partial<EncryptionContext> = {}): EncryptionContext => ({
  tenant_id: 'acme', job_id: '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11', purpose: 'count-cats', data_classification: 'confidential', compliance_zone: 'eu',
  result_key: b64u(resultKey.publicKey), ...changed,
});

const xWing = await generateReceivingKey();
export const tenantKey: TenantKey = { id: 'acme.x-wing.1', alg: 'X-Wing', state: 'active', public: b64u(xWing.publicKey), not_after: 4_000_000_000 };
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const rsaTenantKey: TenantKey = {
  id: 'acme.rsa.1', alg: 'RSA-OAEP-SHA256', state: 'active', public: b64u(rsa.publicKey.export({ type: 'spki', format: 'der' })), not_after: 4_000_000_000,
};
export const privateKeys: Record<string, UnwrapKey> = {
  [tenantKey.id]: { alg: 'X-Wing', privateKey: xWing.privateKey },
  [rsaTenantKey.id]: { alg: 'RSA-OAEP-SHA256', privateKey: bytes(rsa.privateKey.export({ type: 'pkcs8', format: 'der' })) },
};

/** The SDK alone, as any customer would use it: nothing of ours but the names of docs/protocol.md. */
export const stockKeyring = () => new RawRsaKeyringNode({
  keyName: rsaTenantKey.id, keyNamespace: RSA_PROVIDER, oaepHash: 'sha256',
  rsaKey: { publicKey: rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string },
});
export async function stockMessage(plaintext: Uint8Array, options: { context?: Record<string, string>; suiteId?: AlgorithmSuiteIdentifier; frameLength?: number } = {}) {
  const { encrypt } = buildClient(CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT);
  const committed = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const suiteId = options.suiteId ?? AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
  const client = suiteId >= 0x0400 ? committed.encrypt : encrypt;
  const { result } = await client(stockKeyring(), plaintext, { suiteId, encryptionContext: options.context ?? context(), ...(options.frameLength === undefined ? {} : { frameLength: options.frameLength }) });
  return bytes(result);
}
