/** Jobs that wait: real messages to the tenant's key, their ciphertext in the stores of both cells and their rows in the ledger of the one that holds the tenant. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { b64u, type Bytes } from '../../attestation/bytes.ts';
import { createApi } from '../../workloads/client/api.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { encryptionKey, requestManifest } from '../../workloads/client/manifest.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { openBlobs } from '../../workloads/ledger/blobs.ts';
import { openLedger } from '../../workloads/ledger/ledger.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';
import type { Fleet, FleetCell } from '../cell/fleet.ts';

export interface Encryptor { readonly key: TenantKey; message(): Promise<{ readonly jobId: string; readonly bytes: Bytes }> }

/** @param cell holds the tenant: its key manifest is asked for */
export async function encryptor(fleet: Fleet, tenant: string, cell: string, picture: Uint8Array): Promise<Encryptor> {
  const { apiKey, zone } = fleet.tenants.get(tenant) ?? (() => { throw new Error(`no tenant ${tenant}`); })();
  const now = Math.floor(Date.now() / 1000);
  const manifest = await requestManifest({ api: createApi({ url: fleet.cell(cell).url, apiKey }), audience: 'bench', now, seen: memorySeen(), ownerKey: fleet.ownerKey, tenant, zone, cell });
  const [key, resultKey] = [encryptionKey(manifest, now), await generateReceivingKey()];
  return {
    key,
    async message() {
      const jobId = crypto.randomUUID();
      return { jobId, bytes: await encryptMessage(picture, { tenant_id: tenant, job_id: jobId, purpose: 'count-cats', data_classification: 'confidential', compliance_zone: zone, result_key: b64u(resultKey.publicKey) }, key) };
    },
  };
}

const AT_ONCE = 16;

/** @returns ids of the jobs, all acknowledged as tier async is: on this cell's disk */
export async function fill({ holder, other, tenant, epoch, count, made }: { holder: FleetCell; other: FleetCell; tenant: string; epoch: number; count: number; made: Encryptor }): Promise<string[]> {
  const stores = await Promise.all([holder, other].map(({ folder }) => openBlobs({ folder: join(folder, 'store') })));
  const url = new URL(holder.databaseUrl);
  url.searchParams.set('options', '-c synchronous_commit=local');
  const ledger = await openLedger({ url: url.href, now: Date.now, cell: holder.name, connections: 8 });
  const ids: string[] = [];
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, async (_, worker) => {
      for (let n = worker; n < count; n += AT_ONCE) {
        const { jobId, bytes } = await made.message();
        await Promise.all(stores.map((store) => store.put(bytes)));
        const messageDigest = createHash('sha256').update(bytes).digest('hex');
        await ledger.accept({ tenantId: tenant, jobId, messageDigest, size: bytes.length, zone: 'local', classification: 'confidential', keyId: made.key.id }, { epoch });
        ids.push(jobId);
      }
    }));
  } finally {
    await ledger.close();
  }
  return ids;
}
