import fc from 'fast-check';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { entryHash, entryHashSql } from '../../../workloads/ledger/audit.ts';
import { openKysely, openPool } from '../../../workloads/ledger/database.ts';
import { openLedger } from '../../../workloads/ledger/ledger.ts';
import { type Engine, newJob, query } from '../engines.ts';
import { ledgers } from './setup.ts';

export function auditTests(engine: () => Engine): void {
  const { fresh, keep } = ledgers(engine);

  describe('audit chain', () => {
    /** Entry 1 is the tenant, entries 2 to 5 are jobs. */
    const filled = async () => {
      const made = await fresh();
      for (let i = 0; i < 4; i++) await made.ledger.accept(newJob());
      expect(await made.ledger.verifyAudit()).toMatchObject({ ok: true, entries: 5 });
      return made;
    };

    it('is empty at first, and grows from zeros', async () => {
      const { ledger, url } = await filled();
      const rows = await query<{ seq: string; prev: string; hash: string }>(url, 'select seq, prev, hash from audit order by seq');
      expect(rows[0]?.prev).toBe('0'.repeat(64));
      expect(rows.slice(1).map((r) => r.prev)).toEqual(rows.slice(0, -1).map((r) => r.hash));
      expect((await ledger.verifyAudit()).head).toBe(rows.at(-1)?.hash);
    });

    it.each([
      ['another body', `update audit set body = replace(body, '1234', '4321') where seq = 3`, 3],
      ['another kind', `update audit set kind = 'job-failed' where seq = 3`, 3],
      ['another time', `update audit set at = at + 1 where seq = 3`, 3],
      ['another hash', `update audit set hash = repeat('0', 64) where seq = 3`, 3],
      ['a removed entry', `delete from audit where seq = 3`, 3],
      ['a removed first entry', `delete from audit where seq = 1`, 1],
      ['a removed last entry', `delete from audit where seq = 5`, 5],
      ['an added entry', `insert into audit select cell, seq + 1, hash, repeat('1', 64), kind, body, at from audit where seq = 5`, 6],
      ['swapped entries', `update audit set seq = case seq when 2 then 103 when 3 then 102 end where seq in (2, 3); update audit set seq = seq - 100 where seq > 100`, 2],
      ['a head that is gone', `delete from audit_heads`, 6],
    ])('finds %s', async (_name, change, firstBad) => {
      const { ledger, url } = await filled();
      await query(url, change);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: false, firstBad });
    });

    it('finds an entry whose own hash was recomputed: the next one does not follow', async () => {
      const { ledger, url } = await filled();
      const [row] = await query<{ cell: string; seq: string; prev: string; kind: string; body: string; at: string }>(url, 'select * from audit where seq = 3');
      const forged = { ...row!, seq: 3, at: Number(row!.at), body: row!.body.replace('1234', '4321') };
      await query(url, 'update audit set body = $1, hash = $2 where seq = 3', [forged.body, entryHash(forged)]);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: false, entries: 3, firstBad: 4 });
    });

    it('finds a truncated chain whose head was set back, by the head that somebody kept outside', async () => {
      const { ledger, url } = await filled();
      const { head } = await ledger.verifyAudit();
      await query(url, 'delete from audit where seq = 5');
      await query(url, 'update audit_heads set seq = 4, hash = (select hash from audit where seq = 4)');
      const verdict = await ledger.verifyAudit();
      expect(verdict.ok).toBe(true);
      expect(verdict.head).not.toBe(head);
    });

    it('is one chain per cell', async () => {
      const { ledger, url } = await filled();
      await query(url, `insert into audit select 'cell-b', seq, prev, hash, kind, body, at from audit where seq = 2`);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 5 });
    });

    it('is hashed by the server as here, whatever the text', async () => {
      const { url } = await fresh();
      const db = openKysely(openPool(url, 1, 5_000));
      const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: fc.constantFrom('"', '\\', '/', '\n', '\t', '\b', '\f', '\r', '\u001f', '\u007f', '\u2028', '\u00e9', '{', '\ud83d\ude00') }))
        .filter((value) => value.isWellFormed() && !value.includes('\0'));
      try {
        await fc.assert(fc.asyncProperty(text, text, fc.maxSafeNat(), fc.maxSafeNat(), async (body, cell, seq, at) => {
          const link = { cell, seq, prev: 'f'.repeat(64), kind: 'job-accepted', body, at };
          const { rows } = await sql<{ hash: string }>`select ${entryHashSql({
            cell: sql`${cell}`, seq: sql`${seq}::bigint`, prev: sql`${link.prev}`, kind: sql`${link.kind}`, body: sql`${body}`, at: sql`${at}::bigint`,
          })} as hash`.execute(db);
          expect(rows[0]?.hash).toBe(entryHash(link));
        }), { numRuns: 200 });
      } finally {
        await db.destroy();
      }
    });

    it('stays whole when everything happens at once, in two gateways', async () => {
      const { ledger, url, clock } = await fresh();
      const other = keep(await openLedger({ url, now: clock.now, cell: 'cell-a' }));
      await Promise.all(Array.from({ length: 30 }, async (_, i) => {
        const mine = i % 2 === 0 ? ledger : other;
        await mine.accept(newJob());
        for (const l of await mine.lease({ max: 3, leaseMs: 1000, sessionId: 's' })) await mine.complete({ ...l, outcome: 'completed', sessionId: 's' });
      }));
      for (const l of await ledger.lease({ max: 64, leaseMs: 1000, sessionId: 's' })) await ledger.complete({ ...l, outcome: 'completed', sessionId: 's' });
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 61 });
    });
  });
}
