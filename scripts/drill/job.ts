/** One job of a drill's client: the message, and what its result is opened and compared with. */
import { b64u, type Bytes } from '../../attestation/bytes.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { digestHex } from '../../workloads/client/manifest.ts';
import { type Sent, sentOf } from '../../workloads/client/result.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';

export interface Outstanding {
  readonly jobId: string;
  readonly message: Bytes;
  readonly header: Bytes;
  readonly sent: Sent;
  readonly privateKey: Uint8Array;
  /** Where it was acknowledged last. */
  cell?: string;
  sending: boolean;
}

export async function encryptJob(tenant: { readonly id: string; readonly zone: string }, key: TenantKey, picture: Bytes): Promise<Outstanding> {
  const result = await generateReceivingKey();
  const jobId = crypto.randomUUID();
  const message = await encryptMessage(picture, {
    tenant_id: tenant.id, job_id: jobId, purpose: 'count-cats', data_classification: 'internal', compliance_zone: tenant.zone, result_key: b64u(result.publicKey),
  }, key);
  const parsed = parseMessage(message);
  return { jobId, message, header: parsed.header, sent: sentOf(parsed, await digestHex(parsed.body)), privateKey: result.privateKey, sending: true };
}
