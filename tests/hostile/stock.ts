/** A message of a stock AWS Encryption SDK client with a raw RSA keyring: OAEP binds no context, so all hangs on commitment and header tag. */
import { createPublicKey } from 'node:crypto';
import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, RawRsaKeyringNode } from '@aws-crypto/client-node';
import { type Bytes, b64u, bytes, fromB64u, utf8 } from '../../attestation/bytes.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { RSA_PROVIDER } from '../../workloads/protocol/labels.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';

const { encrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

export async function stockMessage(keys: readonly TenantKey[], change: Partial<EncryptionContext> = {}, options: { plaintext?: Uint8Array; frameLength?: number } = {}): Promise<{ bytes: Bytes; context: EncryptionContext }> {
  const key = keys.find(({ alg }) => alg === 'RSA-OAEP-SHA256') as TenantKey;
  const rsaKey = { publicKey: createPublicKey({ key: Buffer.from(fromB64u(key.public)), type: 'spki', format: 'der' }).export({ type: 'spki', format: 'pem' }) as string };
  const context: EncryptionContext = {
    tenant_id: 'acme', job_id: crypto.randomUUID(), purpose: 'count-cats', data_classification: 'confidential', compliance_zone: 'here', result_key: b64u((await generateReceivingKey()).publicKey), ...change,
  };
  const { result } = await encrypt(new RawRsaKeyringNode({ keyName: key.id, keyNamespace: RSA_PROVIDER, oaepHash: 'sha256', rsaKey }), options.plaintext ?? utf8('a picture'), {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: { ...context }, ...(options.frameLength === undefined ? {} : { frameLength: options.frameLength }),
  });
  return { bytes: bytes(result), context };
}
