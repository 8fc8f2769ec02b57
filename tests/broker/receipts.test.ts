import { beforeEach, describe, expect, it } from 'vitest';
import { b64u, sha256, utf8 } from '../../attestation/bytes.ts';
import { type ReceiptRow, Receipts, RowsRefused } from '../../workloads/broker/core/receipts.ts';
import { createIdentity, type Identity } from '../../workloads/broker/identity.ts';
import { decodeJwsUnverified } from '../../workloads/protocol/jws.ts';
import type { BrokerReceipt } from '../../workloads/protocol/messages.ts';

let identity: Identity;
let stored: ReceiptRow[];
let store: (rows: readonly ReceiptRow[]) => Promise<void>;
let receipts: Receipts;
const entry = (job: number) => ({ operation: 'released' as const, tenant_id: 'acme', zone: 'here', policy_revision: 1, code: String(job) });

beforeEach(async () => {
  identity = await createIdentity();
  stored = [];
  store = async (rows) => {
    for (const row of rows) {
      const there = stored.find(({ seq }) => seq === row.seq);
      if (there !== undefined && there.jws !== row.jws) throw new Error('conflict');
      if (there === undefined) stored.push(row);
    }
  };
  receipts = new Receipts({ identity, store: (rows) => store(rows), now: () => 1_900_000_000_000 });
});

async function chained(): Promise<string[]> {
  let prev = b64u(new Uint8Array(32));
  for (const [i, { seq, jws }] of stored.entries()) {
    const payload = decodeJwsUnverified(jws).payload as BrokerReceipt;
    expect([seq, payload.seq, payload.prev]).toEqual([i + 1, i + 1, prev]);
    prev = b64u(await sha256(utf8(jws)));
  }
  expect(b64u(receipts.head.digest)).toBe(prev);
  return stored.map(({ jws }) => (decodeJwsUnverified(jws).payload as BrokerReceipt).code as string);
}

describe('the chain of receipts', () => {
  it('holds over many concurrent appends, which share requests', async () => {
    let requests = 0;
    const inner = store;
    store = async (rows) => { requests++; await new Promise((r) => setTimeout(r, 2)); await inner(rows); };
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => receipts.append([entry(2 * i), entry(2 * i + 1)])));
    expect(await chained()).toEqual(Array.from({ length: 80 }, (_, i) => String(i)));
    expect(requests).toBeLessThan(5);
    expect(answers.flat()).toEqual(stored.map(({ jws }) => jws));
  });

  it('refuses while nothing is stored, and goes on without a gap', async () => {
    const working = store;
    store = () => Promise.reject(new Error('down'));
    await expect(receipts.append([entry(1)])).rejects.toMatchObject({ code: 'RECEIPT_NOT_STORED' });
    await expect(receipts.append([entry(2)])).rejects.toMatchObject({ code: 'RECEIPT_NOT_STORED' });
    expect(receipts.head.seq).toBe(0);
    store = working;
    await receipts.append([entry(3)]);
    expect(await chained()).toEqual(['1', '3']); // the second was never signed
  });

  it('stored, but the answer was lost: the same rows again, then the new one', async () => {
    const working = store;
    store = async (rows) => { await working(rows); throw new Error('cut'); };
    await expect(receipts.append([entry(1)])).rejects.toMatchObject({ code: 'RECEIPT_NOT_STORED' });
    store = working;
    await receipts.append([entry(2)]);
    expect(await chained()).toEqual(['1', '2']);
  });

  it('rows that can never be stored are taken back, alone', async () => {
    const working = store;
    store = async (rows) => {
      await new Promise((r) => setTimeout(r, 2));
      if (rows.some(({ jws }) => (decodeJwsUnverified(jws).payload as BrokerReceipt).code === '2')) throw new RowsRefused();
      await working(rows);
    };
    const answers = await Promise.allSettled([1, 2, 3, 4].map((i) => receipts.append([entry(i)])));
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(await chained()).toEqual(['1', '3', '4']);
  });

  it('more than a request takes are several requests', async () => {
    const sizes: number[] = [];
    const working = store;
    store = async (rows) => { sizes.push(rows.length); await working(rows); };
    await Promise.all(Array.from({ length: 6 }, () => receipts.append(Array.from({ length: 64 }, (_, i) => entry(i)))));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(256);
    expect(stored).toHaveLength(384);
    await chained();
    expect(() => receipts.append([])).toThrow(RangeError);
  });
});
