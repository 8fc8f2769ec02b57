/** Canaries: for each key of a tenant the header of a message to it, which some broker must be able to open later, or must not. */
import { createPublicKey } from 'node:crypto';
import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, RawRsaKeyringNode } from '@aws-crypto/client-node';
import { b64u, bytes, type Bytes, fromB64u } from '../../attestation/bytes.ts';
import { createApi } from '../../workloads/client/api.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { requestManifest } from '../../workloads/client/manifest.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { RSA_PROVIDER } from '../../workloads/protocol/labels.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';
import type { RunningCell } from '../cell/start.ts';
import type { Wanted } from './requesters.ts';

export interface Canary { readonly tenant: string; readonly keyId: string; readonly wanted: Wanted }

const ZONE = 'local';
const stock = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

/** As a standard client would, with the raw RSA keyring of the AWS Encryption SDK. */
async function toRsa(key: TenantKey, context: EncryptionContext): Promise<Bytes> {
  const publicKey = createPublicKey({ key: Buffer.from(fromB64u(key.public)), type: 'spki', format: 'der' }).export({ type: 'spki', format: 'pem' }) as string;
  const { result } = await stock.encrypt(new RawRsaKeyringNode({ keyName: key.id, keyNamespace: RSA_PROVIDER, oaepHash: 'sha256', rsaKey: { publicKey } }), new Uint8Array(16), {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: { ...context },
  });
  return bytes(result);
}

/** One for each version that the tenant's manifest names, verified as by any client. */
export async function canaries({ cell, tenant, apiKey }: { readonly cell: RunningCell; readonly tenant: string; readonly apiKey: string }): Promise<Canary[]> {
  const { manifest } = await requestManifest({
    api: createApi({ url: cell.url, apiKey }), audience: 'ccc-drill', now: Math.floor(Date.now() / 1000), seen: memorySeen(), ownerKey: cell.ownerKey, tenant, zone: ZONE, cell: cell.cell.cell,
  });
  return Promise.all(manifest.keys.map(async (key) => {
    const jobId = crypto.randomUUID();
    const context: EncryptionContext = { tenant_id: tenant, job_id: jobId, purpose: 'count-cats', data_classification: 'internal', compliance_zone: ZONE, result_key: b64u((await generateReceivingKey()).publicKey) };
    const message = key.alg === 'X-Wing' ? await encryptMessage(new Uint8Array(16), context, key) : await toRsa(key, context);
    return { tenant, keyId: key.id, wanted: { tenant, jobId, header: parseMessage(message).header } };
  }));
}
