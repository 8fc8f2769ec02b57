/**
 * The audit chain: one per cell, each entry written in the transaction of what it records.
 *
 * | field | |
 * |---|---|
 * | seq | 1, 2, 3, ... without gaps |
 * | prev | hash of the entry before; 64 zeros before the first |
 * | kind | what happened, `job-accepted` |
 * | body | canonical JSON; ids, digests, codes; neither plaintext nor keys |
 * | at | epoch milliseconds |
 * | hash | SHA-256, hex, of the UTF-8 JSON array `["ccc-audit/v1", cell, seq, prev, kind, body, at]` |
 *
 * The chain finds changed, removed, inserted and reordered rows. Who may write the whole table can recompute it: an outside copy of
 * the head ({@link verifyAudit} returns it) is what finds that. A Merkle log takes this module's place later.
 */
import { createHash } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { canonicalJson } from '../../attestation/canonical.ts';
import type { Context, Db, Tx } from './database.ts';
import type { AuditVerdict } from './ledger.ts';

export const NO_HASH = '0'.repeat(64);
const PAGE = 2_000;

export interface AuditRecord { readonly kind: string; readonly body: Readonly<Record<string, unknown>> }
interface Link { readonly cell: string; readonly seq: number; readonly prev: string; readonly kind: string; readonly body: string; readonly at: number }

export function entryHash(e: Link): string {
  return createHash('sha256').update(JSON.stringify(['ccc-audit/v1', e.cell, e.seq, e.prev, e.kind, e.body, e.at])).digest('hex');
}

/** Called once when the ledger opens, so that appending may rely on the row it locks. */
export async function ensureHead(db: Db, cell: string): Promise<void> {
  await db.insertInto('audit_heads').values({ cell, seq: 0, hash: NO_HASH }).onConflict((c) => c.column('cell').doNothing()).execute();
}

/**
 * Appends entries. Call it last in a transaction: it locks the head until the transaction ends, and that everyone locks the head
 * last is what keeps deadlocks away.
 */
export async function appendAudit(tx: Tx, { cell, now }: Context, records: readonly AuditRecord[]): Promise<void> {
  if (records.length === 0) return;
  const head = await lockHead(tx, cell);
  let { seq, hash } = head;
  const at = now();
  const rows = records.map(({ kind, body }) => {
    const link = { cell, seq: ++seq, prev: hash, kind, body: canonicalJson(body), at };
    hash = entryHash(link);
    return { ...link, hash };
  });
  await tx
    .with('appended', (q) => q.insertInto('audit').values(rows))
    .updateTable('audit_heads').set({ seq, hash }).where('cell', '=', cell)
    .execute();
}

const json = (text: RawBuilder<unknown>): RawBuilder<string> => sql`to_json(${text}::text)::text`;

/** {@link entryHash} in SQL: PostgreSQL writes JSON strings as JSON.stringify does (a test compares them). */
export const entryHashSql = ({ cell, seq, prev, kind, body, at }: Readonly<Record<keyof Link, RawBuilder<unknown>>>): RawBuilder<string> => sql`
  encode(sha256(convert_to('["ccc-audit/v1",' || ${json(cell)} || ',' || ${seq} || ',' || ${json(prev)} || ',' || ${json(kind)} || ',' || ${json(body)} || ',' || ${at} || ']', 'UTF8')), 'hex')`;

/**
 * CTEs that append one entry in the same statement as what it records, which saves the transaction around them: for the row of the CTE
 * `of`, when there is one. Asking for that row carries `of` out before the head is locked, so the head is locked last here, too.
 */
export function appendAuditCtes({ cell, now }: Context, { of, kind, body }: { of: string; kind: string; body: RawBuilder<string> }): RawBuilder<unknown> {
  const hash = entryHashSql({ cell: sql`${cell}`, seq: sql`seq`, prev: sql`prev`, kind: sql`${kind}`, body: sql`body`, at: sql`at` });
  return sql`
    audit_head as (
      select seq, hash from audit_heads where cell = ${cell} and exists (select 1 from ${sql.table(of)}) for update
    ), audit_link as (
      select audit_head.seq + 1 as seq, audit_head.hash as prev, ${body} as body, ${now()}::bigint as at from audit_head, ${sql.table(of)}
    ), audit_entry as (
      select *, ${hash} as hash from audit_link
    ), audit_appended as (
      insert into audit (cell, seq, prev, hash, kind, body, at) select ${cell}, seq, prev, hash, ${kind}, body, at from audit_entry
    ), audit_moved as (
      update audit_heads set seq = audit_entry.seq, hash = audit_entry.hash from audit_entry where audit_heads.cell = ${cell}
    )`;
}

export const lockHead = (tx: Tx, cell: string): Promise<{ seq: number; hash: string }> =>
  tx.selectFrom('audit_heads').select(['seq', 'hash']).where('cell', '=', cell).forUpdate().executeTakeFirstOrThrow();

/** Recomputes the chain from the first entry, in one snapshot. */
export async function verifyAudit({ db, cell: own }: Context, cell = own): Promise<AuditVerdict> {
  return await db.transaction().setIsolationLevel('repeatable read').execute(async (tx) => {
    await sql`set transaction read only`.execute(tx);
    let seq = 0;
    let hash = NO_HASH;
    for (;;) {
      const rows = await tx.selectFrom('audit').selectAll().where('cell', '=', cell).where('seq', '>', seq).orderBy('seq').limit(PAGE).execute();
      for (const row of rows) {
        if (row.seq !== seq + 1 || row.prev !== hash || row.hash !== entryHash(row)) return { ok: false, entries: seq, head: hash, firstBad: seq + 1 };
        ({ seq, hash } = row);
      }
      if (rows.length < PAGE) break;
    }
    // Entries cut off at the end leave a fitting chain; the head knows better.
    const head = await tx.selectFrom('audit_heads').select(['seq', 'hash']).where('cell', '=', cell).executeTakeFirst();
    if (head === undefined || head.seq !== seq || head.hash !== hash) return { ok: false, entries: seq, head: hash, firstBad: seq + 1 };
    return { ok: true, entries: seq, head: hash };
  });
}
