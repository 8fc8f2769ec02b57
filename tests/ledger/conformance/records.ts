import { describe, expect, it } from 'vitest';
import type { StoredKey } from '../../../workloads/protocol/messages.ts';
import { type Engine, TENANT, newJob } from '../engines.ts';
import { ledgers } from './setup.ts';

const key = (over: Partial<StoredKey> = {}): StoredKey => ({
  id: 'acme.x-wing.1', alg: 'X-Wing', state: 'active', public: 'AAAA', not_after: 1_900_000_000, tenant_id: TENANT, zone: 'eu', cell: 'cell-a', sealed: 'BBBB', created_at: 1_800_000_000, ...over,
});
const receipt = (seq: number, over: object = {}) => ({ instance: 'broker-1', seq, jws: `a.b.${seq}`, tenantId: TENANT, ...over });

export function recordTests(engine: () => Engine): void {
  const { fresh } = ledgers(engine);

  describe('tenants and API keys', () => {
    it('never changes a tenant\'s zone', async () => {
      const { ledger, clock } = await fresh();
      expect(await ledger.addTenant({ id: TENANT, zone: 'eu' })).toBe('same');
      expect(await ledger.addTenant({ id: TENANT, zone: 'us' })).toBe('conflict');
      expect(await ledger.addTenant({ id: 'zeta', zone: 'us' })).toBe('stored');
      expect(await ledger.tenant(TENANT)).toEqual({ id: TENANT, zone: 'eu', createdAt: clock.at });
      expect(await ledger.tenant('nobody')).toBeUndefined();
      expect((await ledger.tenants()).map((t) => t.id)).toEqual([TENANT, 'zeta']);
    });

    it('keeps and revokes API keys', async () => {
      const { ledger, clock } = await fresh();
      const made = { id: 'k1', tenantId: TENANT, hash: 'ff'.repeat(32), scopes: ['jobs:write', 'jobs:read'], expiresAt: clock.at + 1000 };
      expect(await ledger.addApiKey(made)).toBe('stored');
      expect(await ledger.addApiKey(made)).toBe('same');
      expect(await ledger.addApiKey({ ...made, hash: '00'.repeat(32) })).toBe('conflict');
      await expect(ledger.addApiKey({ ...made, id: 'k2', tenantId: 'nobody' })).rejects.toMatchObject({ code: 'TENANT_UNKNOWN' });
      expect(await ledger.apiKey('k1')).toEqual({ ...made, scopes: ['jobs:read', 'jobs:write'], createdAt: clock.at });
      expect(await ledger.apiKey('k2')).toBeUndefined();
      clock.advance(10);
      expect(await ledger.revokeApiKey('k1')).toBe(true);
      clock.advance(10);
      expect(await ledger.revokeApiKey('k1')).toBe(true);
      expect((await ledger.apiKey('k1'))?.revokedAt).toBe(clock.at - 10);
      expect(await ledger.revokeApiKey('k2')).toBe(false);
    });
  });

  it('a note is an entry of the audit chain, and is given back whole', async () => {
    const { ledger, clock } = await fresh();
    const before = await ledger.verifyAudit();
    const entry = await ledger.addNote({ kind: 'drill-report', body: { scenario: 'kill', digest: 'ab' } });
    expect(entry).toMatchObject({ seq: before.entries + 1, prev: before.head, kind: 'drill-report', body: '{"digest":"ab","scenario":"kill"}', at: clock.at });
    expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: entry.seq, head: entry.hash });
  });

  it('a tenant is undrained while a job of that time or before is not over', async () => {
    const { ledger, clock } = await fresh();
    await ledger.addTenant({ id: 'zeta', zone: 'eu' });
    await ledger.accept(newJob());
    const at = clock.at;
    clock.advance(10);
    const of = (...list: [string, number][]) => ledger.undrained(list.map(([tenantId, time]) => ({ tenantId, at: time })));
    expect(await of()).toEqual([]);
    expect(await of([TENANT, at], ['zeta', at])).toEqual([TENANT]);
    expect(await of([TENANT, at - 1])).toEqual([]);
  });

  describe('tenant keys', () => {
    it('are insert-only', async () => {
      const { ledger } = await fresh();
      expect(await ledger.putTenantKey(key())).toBe('stored');
      expect(await ledger.putTenantKey(key())).toBe('same');
      expect(await ledger.putTenantKey(key({ sealed: 'CCCC' }))).toBe('conflict');
      expect(await ledger.tenantKeys(TENANT)).toEqual([key()]);
      expect(await ledger.tenantKeys('nobody')).toEqual([]);
      await expect(ledger.putTenantKey(key({ id: 'nobody.x-wing.1', tenant_id: 'nobody' }))).rejects.toMatchObject({ code: 'TENANT_UNKNOWN' });
    });

    it('come all or none', async () => {
      const { ledger } = await fresh();
      await ledger.putTenantKey(key());
      const rsa = key({ id: 'acme.rsa.1', alg: 'RSA-OAEP-SHA256' });
      expect(await ledger.putTenantKeys([rsa, key({ sealed: 'CCCC' })])).toBe('conflict');
      expect(await ledger.tenantKeyCount()).toBe(1);
      expect(await ledger.putTenantKeys([key(), rsa])).toBe('stored');
      expect(await ledger.putTenantKeys([rsa, key()])).toBe('same');
      expect(await ledger.tenantKeyCount()).toBe(2);
    });

    it('are born once when two brokers make them at once', async () => {
      const { ledger } = await fresh();
      const pair = (sealed: string) => [key({ sealed }), key({ id: 'acme.rsa.1', sealed })];
      const outcomes = await Promise.all(['AAAA', 'BBBB', 'CCCC', 'DDDD'].map((sealed, i) => ledger.putTenantKeys(i % 2 === 0 ? pair(sealed) : pair(sealed).reverse())));
      expect(outcomes.sort()).toEqual(['conflict', 'conflict', 'conflict', 'stored']);
      expect(new Set((await ledger.tenantKeys(TENANT)).map((k) => k.sealed)).size).toBe(1);
    });
  });

  describe('receipts', () => {
    it('are a chain without gaps, per instance', async () => {
      const { ledger } = await fresh();
      const { jobId } = newJob();
      expect(await ledger.appendReceipt(receipt(2))).toBe('conflict');
      expect(await ledger.appendReceipt(receipt(1, { jobId }))).toBe('stored');
      expect(await ledger.appendReceipt(receipt(1, { jobId }))).toBe('same');
      expect(await ledger.appendReceipt(receipt(1, { jobId, jws: 'x.y.z' }))).toBe('conflict');
      expect(await ledger.appendReceipt(receipt(1))).toBe('conflict'); // same bytes for another job
      expect(await ledger.appendReceipt(receipt(3))).toBe('conflict');
      expect(await ledger.appendReceipt(receipt(2))).toBe('stored');
      expect(await ledger.appendReceipt(receipt(1, { instance: 'broker-2', jobId, jws: 'c.d.e' }))).toBe('stored');
      expect(await ledger.receiptsFor(TENANT, jobId)).toEqual(['a.b.1', 'c.d.e']);
      expect(await ledger.receiptsFor('other', jobId)).toEqual([]);
    });

    it('come all or none', async () => {
      const { ledger } = await fresh();
      expect(await ledger.appendReceipts([receipt(1), receipt(3)])).toBe('conflict');
      expect(await ledger.appendReceipt(receipt(2))).toBe('conflict');
      expect(await ledger.appendReceipts([receipt(2), receipt(1), receipt(1, { instance: 'broker-2' })])).toBe('stored');
      expect(await ledger.appendReceipts([receipt(2), receipt(3)])).toBe('stored');
      expect(await ledger.appendReceipts([receipt(2), receipt(3)])).toBe('same');
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 5 });
    });

    it('stay a chain when stored at once', async () => {
      const { ledger } = await fresh();
      const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => ledger.appendReceipt(receipt(1, { jws: `a.b.${i}` }))));
      expect(outcomes.filter((o) => o === 'stored')).toHaveLength(1);
      expect(outcomes.filter((o) => o === 'conflict')).toHaveLength(7);
    });
  });

  describe('sessions and policy', () => {
    it('keeps a session as it was, and while a result rests on it', async () => {
      const { ledger, clock } = await fresh();
      const made = { id: 's1', role: 'counter', evidence: { ear: 'a.b.c', attested: [1, null, 'x'] }, expiresAt: clock.at + 600_000 };
      expect(await ledger.putSession(made)).toBe('stored');
      expect(await ledger.putSession(made)).toBe('same');
      expect(await ledger.putSession({ ...made, role: 'broker' })).toBe('conflict');
      expect(await ledger.session('s1')).toEqual(made);
      await ledger.putSession({ ...made, id: 's2' });
      await ledger.putSession({ ...made, id: 's3' });
      await ledger.accept(newJob());
      const [lease] = await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's1' });
      await ledger.complete({ ...lease!, outcome: 'completed', sessionId: 's1' });
      await ledger.accept(newJob());
      await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's3' });
      expect(await ledger.sweep()).toMatchObject({ sessions: 0 });
      clock.advance(25 * 3_600_000);
      expect(await ledger.sweep()).toEqual({ exhausted: 0, sessions: 1, due: 1 });
      expect(await ledger.session('s1')).toEqual(made);
      expect(await ledger.session('s2')).toBeUndefined();
      expect(await ledger.session('s3')).toBeDefined();
    });

    it('never goes back to a lower policy', async () => {
      const { ledger } = await fresh();
      expect(await ledger.policy()).toBeUndefined();
      expect(await ledger.putPolicy(2, 'a.b.2')).toBe('stored');
      expect(await ledger.putPolicy(2, 'a.b.2')).toBe('same');
      expect(await ledger.putPolicy(2, 'a.b.x')).toBe('conflict');
      expect(await ledger.putPolicy(1, 'a.b.1')).toBe('conflict');
      expect(await ledger.putPolicy(5, 'a.b.5')).toBe('stored');
      expect(await ledger.putPolicy(2, 'a.b.2')).toBe('conflict');
      expect(await ledger.policy()).toEqual({ revision: 5, jws: 'a.b.5' });
      await Promise.all([6, 7, 8, 9].map((r) => ledger.putPolicy(r, `a.b.${r}`)));
      expect(await ledger.policy()).toEqual({ revision: 9, jws: 'a.b.9' });
    });
  });
}
