/** A real cell of real processes for the benchmark, and messages for it that are encrypted before any clock runs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { b64u, type Bytes } from '../../attestation/bytes.ts';
import { type Api, createApi } from '../../workloads/client/api.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { encryptionKey, requestManifest } from '../../workloads/client/manifest.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import type { TenantKey } from '../../workloads/protocol/messages.ts';
import { useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import { addKey, addTenant, SCOPES } from '../cell/admin.ts';
import { type RunningCell, startCell } from '../cell/start.ts';

export const TENANT = 'bench';
const ZONE = 'local';
/** The rate limit is per API key; a benchmark is not to measure it. */
const KEYS = 4;

export interface Message { readonly jobId: string; readonly bytes: Bytes }

export interface BenchCell extends RunningCell {
  readonly database: pg.Pool;
  /** PostgreSQL's own words. */
  readonly databaseVersion: string;
  messages(count: number, picture: Uint8Array): Promise<Message[]>;
  /** Submits through the API keys in turn. */
  submit(message: Message, turn: number): Promise<void>;
  close(): Promise<void>;
}

export async function benchCell(counters: number): Promise<BenchCell> {
  useNativeCrypto();
  const folder = await mkdtemp(join(tmpdir(), 'ccc-bench-cell-'));
  const cell = await startCell(folder, { counters, log: createLog('bench', { write: () => {} }) });
  const database = new pg.Pool({ connectionString: cell.databaseUrl, max: 2 });
  const close = async () => {
    await database.end();
    await cell.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await addTenant(folder, TENANT, ZONE);
    const apis: Api[] = [];
    for (let i = 0; i < KEYS; i++) apis.push(createApi({ url: cell.url, apiKey: (await addKey(folder, TENANT, SCOPES)).key }));
    const seen = memorySeen();
    const resultKey = await generateReceivingKey();
    const { rows } = await database.query<{ server_version: string }>('show server_version');

    let key: { tenantKey: TenantKey; at: number } | undefined;
    const current = async (): Promise<TenantKey> => {
      const now = Math.floor(Date.now() / 1000);
      if (key === undefined || now - key.at > 120) {
        const manifest = await requestManifest({ api: apis[0] as Api, audience: 'bench', now, seen, ownerKey: cell.ownerKey, tenant: TENANT, zone: ZONE, cell: cell.cell.cell });
        key = { tenantKey: encryptionKey(manifest, now), at: now };
      }
      return key.tenantKey;
    };
    return {
      ...cell, database, close,
      databaseVersion: rows[0]?.server_version ?? 'unknown',
      async messages(count, picture) {
        const tenantKey = await current();
        const out: Message[] = [];
        for (let i = 0; i < count; i++) {
          const jobId = crypto.randomUUID();
          const context = { tenant_id: TENANT, job_id: jobId, purpose: 'count-cats' as const, data_classification: 'confidential' as const, compliance_zone: ZONE, result_key: b64u(resultKey.publicKey) };
          out.push({ jobId, bytes: await encryptMessage(picture, context, tenantKey) });
        }
        return out;
      },
      async submit(message, turn) {
        await (apis[turn % apis.length] as Api).submit(message.bytes);
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
