/** What the stores say at the end, as lines of the history: read straight from each database, past every process that could dress it up. */
import { createHash } from 'node:crypto';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { Sealed } from '../../workloads/protocol/messages.ts';
import { sealedDigest } from './answers.ts';
import type { HistoryEvent } from './history.ts';

export interface Store { readonly name: string; readonly url: string }

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

async function within<T>({ url }: Pick<Store, 'url'>, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, statement_timeout: 60_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    // One snapshot: rows read one after the other belong to one moment.
    await client.query('begin transaction isolation level repeatable read read only');
    return await work(client);
  } finally {
    await client.end();
  }
}

interface JobRow { tenant_id: string; job_id: string; state: 'accepted' | 'leased' | 'completed' | 'rejected' | 'failed'; epoch: string; cell: string }
interface ResultRow { tenant_id: string; job_id: string; outcome: 'completed' | 'rejected' | 'failed'; sealed: string | null; epoch: string; cell: string; standing: boolean }
interface UsageRow { tenant_id: string; job_id: string; epoch: string; cell: string }
interface ReceiptRow { instance: string; seq: string; jws: string; tenant_id: string; job_id: string | null }
interface AuditRow { cell: string; seq: string; prev: string; hash: string }

/** Payload of a JWS whose signature is the business of others. */
const payloadOf = (jws: string): { prev?: unknown } => JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as { prev?: unknown };

/** Jobs, results, usage, receipts and audit chains of one store. */
export async function rowsOf(store: Store, at: number): Promise<HistoryEvent[]> {
  return within(store, async (client) => {
    const all = async <T extends object>(sql: string): Promise<T[]> => (await client.query<T>(sql)).rows;
    const jobs = await all<JobRow>('select tenant_id, job_id, state, epoch, cell from jobs');
    const results = await all<ResultRow>(`select r.tenant_id, r.job_id, r.outcome, r.sealed, r.epoch, r.cell,
      (j.epoch = r.epoch and j.writer = r.cell and j.state = r.outcome) is true as standing from results r left join jobs j using (tenant_id, job_id)`);
    const usage = await all<UsageRow>('select tenant_id, job_id, epoch, cell from usage');
    const receipts = await all<ReceiptRow>('select instance, seq, jws, tenant_id, job_id from receipts order by instance, seq');
    const entries = await all<AuditRow>('select cell, seq, prev, hash from audit order by cell, seq');
    const about = ({ tenant_id: tenant, job_id: job, cell, epoch }: { tenant_id: string; job_id: string; cell: string; epoch: string }) => ({ store: store.name, tenant, job, cell, epoch: Number(epoch) });
    return [
      ...jobs.map((row): HistoryEvent => ({ kind: 'job-row', ...about(row), state: row.state })),
      ...results.map((row): HistoryEvent => ({ kind: 'result-row', ...about(row), outcome: row.outcome, digest: row.sealed === null ? 'none' : sealedDigest(JSON.parse(row.sealed) as Sealed), standing: row.standing })),
      ...usage.map((row): HistoryEvent => ({ kind: 'usage-row', ...about(row) })),
      ...receipts.map((row): HistoryEvent => ({
        kind: 'receipt', store: store.name, instance: row.instance, seq: Number(row.seq), prev: String(payloadOf(row.jws).prev), hash: createHash('sha256').update(row.jws).digest('base64url'),
        tenant: row.tenant_id, ...(row.job_id === null ? {} : { job: row.job_id }),
      })),
      ...entries.map((row): HistoryEvent => ({ kind: 'audit-entry', chain: row.cell, store: store.name, seq: Number(row.seq), prev: row.prev, hash: row.hash })),
      ...(await headsIn(client, store.name, at)),
    ];
  });
}

async function headsIn(client: pg.Client, store: string, at: number): Promise<HistoryEvent[]> {
  const { rows } = await client.query<{ cell: string; seq: string; hash: string }>('select distinct on (cell) cell, seq, hash from audit order by cell, seq desc');
  return rows.map((row) => ({ kind: 'audit-head', at, chain: row.cell, store, size: Number(row.seq), head: row.hash }));
}

export interface Step { readonly tenant: string; readonly job: string; readonly cell: string; readonly epoch: number; readonly event: string; /** Epoch ms, by the cell's clock, when it was asked. */ readonly at: number }

/** What a cell did to jobs, by its own store: each is a write that took effect. */
export const stepsOf = (store: Store): Promise<Step[]> => within(store, async (client) => {
  const { rows } = await client.query<Omit<Step, 'epoch' | 'at'> & { epoch: string; at: string }>('select tenant_id as tenant, job_id as job, cell, epoch, event, at from job_events where cell = $1 order by at', [store.name]);
  return rows.map((row) => ({ ...row, epoch: Number(row.epoch), at: Number(row.at) }));
});

const OPS: Readonly<Record<string, 'accept' | 'lease' | 'complete' | 'release'>> = { accepted: 'accept', leased: 'lease', released: 'release', completed: 'complete', rejected: 'complete', failed: 'complete' };
/** @param since epoch ms: what was there before is of no interest */
export const writesOf = (steps: readonly Step[], since: number): HistoryEvent[] => steps.flatMap(({ event, at, epoch, ...about }): HistoryEvent[] => {
  const op = OPS[event];
  return op === undefined || at < since ? [] : [{ kind: 'write', from: at, at, ...about, epoch, op, accepted: true }];
});

/** Tenants whose keys a cell's broker has sealed for itself, and when it first did. */
export const keysOf = (store: Store, at: number): Promise<HistoryEvent[]> => within(store, async (client) => {
  const { rows } = await client.query<{ tenant: string; at: string }>(`select tenant_id as tenant, min(created_at) as at from tenant_keys where body::json->>'cell' = $1 group by 1`, [store.name]);
  return rows.map((row) => ({ kind: 'key', at: Math.min(at, Number(row.at)), tenant: row.tenant, cell: store.name }));
});

/** When counters of this cell last showed themselves to its gateway for the first time, before and after a moment: epoch ms. */
export const sessionsOf = (store: Store): Promise<number[]> => within(store, async (client) => (await client.query<{ at: string }>('select created_at as at from sessions where cell = $1 order by 1', [store.name])).rows.map(({ at }) => Number(at)));

/** Heads of every chain that a store has, now. */
export const auditHeads = (store: Store, at: number): Promise<HistoryEvent[]> => within(store, (client) => headsIn(client, store.name, at));

export interface Stored { readonly tenant: string; readonly jobs: readonly string[] }

/** Jobs of these tenants in a store that another cell accepted: what had arrived. What was sent again is this cell's own. */
export async function arrived(store: Store, source: string, tenants: readonly string[]): Promise<Stored[]> {
  return within(store, async (client) => {
    const { rows } = await client.query<{ tenant: string; jobs: string[] }>('select tenant_id as tenant, array_agg(job_id::text) as jobs from jobs where cell = $1 and tenant_id = any($2) group by 1', [source, tenants]);
    return rows;
  });
}

/** `stored` lines take a thousand jobs each. */
export const storedLines = (fence: string, stored: readonly Stored[]): HistoryEvent[] => stored.flatMap(({ tenant, jobs }) =>
  Array.from({ length: Math.ceil(jobs.length / 1_000) }, (_, i): HistoryEvent => ({ kind: 'stored', fence, tenant, jobs: jobs.slice(i * 1_000, (i + 1) * 1_000) })));

/** Jobs accepted and not yet over, by the store's own count. */
export const backlog = (store: Store): Promise<number> => within(store, async (client) => Number((await client.query<{ n: string }>('select count(*) as n from jobs where due_at is not null')).rows[0]?.n ?? 0));

export const versionOf = (store: Store): Promise<string> => within(store, async (client) => String((await client.query<{ server_version: string }>('show server_version')).rows[0]?.server_version));

/** Digests that should be the same in all cells. */
export async function configurationOf(cell: string, folder: string): Promise<HistoryEvent[]> {
  return Promise.all((['policy', 'directory'] as const).map(async (item): Promise<HistoryEvent> => ({ kind: 'configuration', cell, item, digest: sha256((await readFile(join(folder, `${item}.jws`), 'utf8')).trim()) })));
}

/** Where messages of each tenant are, by the files of a cell's store (workloads/ledger/blobs.ts has the layout). */
export const ciphertextOf = (store: Store, folder: string, at: number): Promise<HistoryEvent[]> => within(store, async (client) => {
  const { rows } = await client.query<{ tenant: string; digests: string[] }>('select tenant_id as tenant, array_agg(message_digest) as digests from jobs group by 1');
  return Promise.all(rows.map(async ({ tenant, digests }): Promise<HistoryEvent[]> => {
    const there = await Promise.all(digests.map((digest) => access(join(folder, digest.slice(0, 2), digest.slice(2, 4), digest)).then(() => true, () => false)));
    const jobs = there.filter(Boolean).length;
    return jobs === 0 ? [] : [{ kind: 'ciphertext', at, tenant, cell: store.name, jobs }];
  })).then((all) => all.flat());
});
