/** Tenants, API keys, tenant keys, receipts, sessions, policy: rows that are written once and read often. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../attestation/canonical.ts';
import { type StoredKey } from '../protocol/messages.ts';
import { type AuditRecord, appendAudit, lockHead } from './audit.ts';
import { type Context, type Tx, attempt, transact } from './database.ts';
import type { ApiKey, AuditEntry, NewApiKey, NewReceipt, Policy, PutOutcome, Session, Tenant } from './ledger.ts';

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

export async function addTenant(context: Context, { id, zone }: { id: string; zone: string }): Promise<PutOutcome> {
  return await transact(context.db, async (tx) => {
    const { numInsertedOrUpdatedRows: added } = await tx.insertInto('tenants').values({ id, zone, created_at: context.now() })
      .onConflict((c) => c.column('id').doNothing()).executeTakeFirstOrThrow();
    if (added === 0n) return (await tx.selectFrom('tenants').select('zone').where('id', '=', id).executeTakeFirstOrThrow()).zone === zone ? 'same' : 'conflict';
    await appendAudit(tx, context, [{ kind: 'tenant-added', body: { tenant_id: id, zone } }]);
    return 'stored';
  });
}

export async function tenant({ db }: Context, id: string): Promise<Tenant | undefined> {
  return await attempt(() => db.selectFrom('tenants').select(['id', 'zone', 'created_at as createdAt']).where('id', '=', id).executeTakeFirst());
}

export async function tenants({ db }: Context): Promise<Tenant[]> {
  return await attempt(() => db.selectFrom('tenants').select(['id', 'zone', 'created_at as createdAt']).orderBy('id').execute());
}

export async function addApiKey(context: Context, key: NewApiKey): Promise<PutOutcome> {
  return await transact(context.db, async (tx) => {
    const row = { id: key.id, tenant_id: key.tenantId, hash: key.hash, scopes: [...key.scopes].sort(), expires_at: key.expiresAt ?? null };
    const { numInsertedOrUpdatedRows: added } = await tx.insertInto('api_keys').values({ ...row, created_at: context.now(), revoked_at: null })
      .onConflict((c) => c.column('id').doNothing()).executeTakeFirstOrThrow();
    if (added === 0n) {
      const found = await tx.selectFrom('api_keys').select(['id', 'tenant_id', 'hash', 'scopes', 'expires_at']).where('id', '=', key.id).executeTakeFirstOrThrow();
      return canonicalJson(found) === canonicalJson(row) ? 'same' : 'conflict';
    }
    // The hash of a secret is no business of the audit log's readers.
    await appendAudit(tx, context, [{ kind: 'api-key-added', body: { id: key.id, tenant_id: key.tenantId, scopes: row.scopes, expires_at: row.expires_at } }]);
    return 'stored';
  });
}

export async function apiKey({ db }: Context, id: string): Promise<ApiKey | undefined> {
  const row = await attempt(() => db.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirst());
  return row && {
    id: row.id, tenantId: row.tenant_id, hash: row.hash, scopes: row.scopes, createdAt: row.created_at,
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }), ...(row.revoked_at === null ? {} : { revokedAt: row.revoked_at }),
  };
}

export async function revokeApiKey(context: Context, id: string): Promise<boolean> {
  return await transact(context.db, async (tx) => {
    const row = await tx.selectFrom('api_keys').select(['tenant_id', 'revoked_at']).where('id', '=', id).forUpdate().executeTakeFirst();
    if (row === undefined) return false;
    if (row.revoked_at !== null) return true;
    await tx.updateTable('api_keys').set({ revoked_at: context.now() }).where('id', '=', id).execute();
    await appendAudit(tx, context, [{ kind: 'api-key-revoked', body: { id, tenant_id: row.tenant_id } }]);
    return true;
  });
}

/** Thrown inside a transaction to undo it: one of the rows conflicts. */
class Conflict extends Error {}

const allOrNone = async (context: Context, work: (tx: Tx) => Promise<PutOutcome>): Promise<PutOutcome> => {
  try {
    return await transact(context.db, work);
  } catch (error) {
    if (error instanceof Conflict) return 'conflict';
    throw error;
  }
};

/** All keys or none, in the order of their ids so that two callers never wait for each other in a circle. */
export async function putTenantKeys(context: Context, keys: readonly StoredKey[]): Promise<PutOutcome> {
  return await allOrNone(context, async (tx) => {
    const records = [];
    for (const key of [...keys].sort((a, b) => (a.id < b.id ? -1 : 1))) {
      const body = canonicalJson(key);
      const { numInsertedOrUpdatedRows: added } = await tx.insertInto('tenant_keys').values({ id: key.id, tenant_id: key.tenant_id, body, created_at: context.now() })
        .onConflict((c) => c.column('id').doNothing()).executeTakeFirstOrThrow();
      if (added === 0n) {
        const found = await tx.selectFrom('tenant_keys').select('body').where('id', '=', key.id).executeTakeFirstOrThrow();
        if (found.body !== body) throw new Conflict();
      } else records.push({ kind: 'tenant-key-stored', body: { tenant_id: key.tenant_id, key_id: key.id, digest: digest(body) } });
    }
    await appendAudit(tx, context, records);
    return records.length > 0 ? 'stored' : 'same';
  });
}

export async function tenantKeys({ db }: Context, tenantId: string): Promise<StoredKey[]> {
  const rows = await attempt(() => db.selectFrom('tenant_keys').select('body').where('tenant_id', '=', tenantId).orderBy('id').execute());
  return rows.map((row) => JSON.parse(row.body) as StoredKey);
}

export async function tenantKeyCount({ db }: Context): Promise<number> {
  return (await attempt(() => db.selectFrom('tenant_keys').select((e) => e.fn.countAll<number>().as('n')).executeTakeFirstOrThrow())).n;
}

export async function appendReceipts(context: Context, receipts: readonly NewReceipt[]): Promise<PutOutcome> {
  return await allOrNone(context, async (tx) => {
    const records = [];
    const sorted = [...receipts].sort((a, b) => (a.instance === b.instance ? a.seq - b.seq : a.instance < b.instance ? -1 : 1));
    for (const instance of new Set(sorted.map((r) => r.instance))) {
      const mine = sorted.filter((r) => r.instance === instance);
      let last = (await tx.selectFrom('receipts').select((e) => e.fn.max('seq').as('seq')).where('instance', '=', instance).executeTakeFirst())?.seq ?? 0;
      for (const { seq } of mine) {
        if (seq > last + 1) throw new Conflict();
        last = Math.max(last, seq);
      }
      const rows = mine.map((r) => ({ instance, seq: r.seq, jws: r.jws, tenant_id: r.tenantId, job_id: r.jobId ?? null, at: context.now() }));
      const added = new Set((await tx.insertInto('receipts').values(rows).onConflict((c) => c.columns(['instance', 'seq']).doNothing()).returning('seq').execute()).map((r) => r.seq));
      for (const row of rows) {
        // Twice in one request is the same as stored before: the second must be the first.
        if (added.delete(row.seq)) {
          records.push({ kind: 'receipt-stored', body: { instance, seq: row.seq, tenant_id: row.tenant_id, digest: digest(row.jws), ...(row.job_id === null ? {} : { job_id: row.job_id }) } });
          continue;
        }
        const found = await tx.selectFrom('receipts').select(['jws', 'tenant_id', 'job_id']).where('instance', '=', instance).where('seq', '=', row.seq).executeTakeFirstOrThrow();
        if (found.jws !== row.jws || found.tenant_id !== row.tenant_id || found.job_id !== row.job_id) throw new Conflict();
      }
    }
    await appendAudit(tx, context, records);
    return records.length > 0 ? 'stored' : 'same';
  });
}

export async function receiptsFor({ db }: Context, tenantId: string, jobId: string): Promise<string[]> {
  const rows = await attempt(() => db.selectFrom('receipts').select('jws').where('tenant_id', '=', tenantId).where('job_id', '=', jobId)
    .orderBy('at').orderBy('instance').orderBy('seq').execute());
  return rows.map((row) => row.jws);
}

export async function putSession(context: Context, session: Session): Promise<PutOutcome> {
  return await transact(context.db, async (tx) => {
    const row = { id: session.id, role: session.role, evidence: canonicalJson(session.evidence), expires_at: session.expiresAt };
    const { numInsertedOrUpdatedRows: added } = await tx.insertInto('sessions').values({ ...row, created_at: context.now(), cell: context.cell })
      .onConflict((c) => c.column('id').doNothing()).executeTakeFirstOrThrow();
    if (added === 0n) {
      const found = await tx.selectFrom('sessions').select(['id', 'role', 'evidence', 'expires_at']).where('id', '=', session.id).executeTakeFirstOrThrow();
      return canonicalJson(found) === canonicalJson(row) ? 'same' : 'conflict';
    }
    await appendAudit(tx, context, [{ kind: 'session-stored', body: { id: session.id, role: session.role, digest: digest(row.evidence), expires_at: session.expiresAt } }]);
    return 'stored';
  });
}

export async function session({ db }: Context, id: string): Promise<Session | undefined> {
  const row = await attempt(() => db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst());
  return row && { id: row.id, role: row.role, evidence: JSON.parse(row.evidence) as unknown, expiresAt: row.expires_at };
}

export async function putPolicy(context: Context, revision: number, jws: string): Promise<PutOutcome> {
  return await transact(context.db, async (tx) => {
    // The head of the audit chain is the lock: of two policies the second sees the first.
    await lockHead(tx, context.cell);
    const last = await tx.selectFrom('policies').select(['revision', 'jws']).orderBy('revision', 'desc').limit(1).executeTakeFirst();
    if (last !== undefined && revision === last.revision) return jws === last.jws ? 'same' : 'conflict';
    if (last !== undefined && revision < last.revision) return 'conflict';
    // A peer's copy of it may arrive between the look and this.
    const { numInsertedOrUpdatedRows: added } = await tx.insertInto('policies').values({ revision, jws, at: context.now() }).onConflict((c) => c.column('revision').doNothing()).executeTakeFirstOrThrow();
    if (added === 0n) return (await tx.selectFrom('policies').select('jws').where('revision', '=', revision).executeTakeFirstOrThrow()).jws === jws ? 'same' : 'conflict';
    await appendAudit(tx, context, [{ kind: 'policy-stored', body: { revision, digest: digest(jws) } }]);
    return 'stored';
  });
}

export async function policy({ db }: Context): Promise<Policy | undefined> {
  return await attempt(() => db.selectFrom('policies').select(['revision', 'jws']).orderBy('revision', 'desc').limit(1).executeTakeFirst());
}

/** An entry of its own, for what no row records. */
export async function addNote(context: Context, note: AuditRecord): Promise<AuditEntry> {
  return await transact(context.db, async (tx) => {
    await appendAudit(tx, context, [note]);
    const { seq } = await lockHead(tx, context.cell);
    return await tx.selectFrom('audit').selectAll().where('cell', '=', context.cell).where('seq', '=', seq).executeTakeFirstOrThrow();
  });
}
