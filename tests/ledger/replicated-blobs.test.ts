import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';
import { type PeerStore, type ReplicatedBlobs, replicateBlobs } from '../../workloads/ledger/replicated-blobs.ts';
import type { Debts } from '../../workloads/ledger/replication/debts.ts';

const data = (text: string) => new TextEncoder().encode(text);

/** As durable as the test: what a restart finds. */
function memoryDebts(): Debts & { rows: Map<string, Set<string>> } {
  const rows = new Map<string, Set<string>>();
  const of = (peer: string) => rows.get(peer) ?? rows.set(peer, new Set()).get(peer)!;
  return {
    rows,
    owe: async (digest, peers) => { for (const peer of peers) of(peer).add(digest); },
    paid: async (peer, digests) => { for (const digest of digests) of(peer).delete(digest); },
    owed: async (peer, limit) => [...of(peer)].slice(0, limit),
    count: async (peer) => of(peer).size,
  };
}

describe('a store with peers', () => {
  let folder: string;
  let own: Blobs;
  let stores: Blobs[];
  let debts: ReturnType<typeof memoryDebts>;
  let up: boolean[];
  let degraded: boolean;
  let asked: string[];
  let peers: PeerStore[];
  const open = (): ReplicatedBlobs => replicateBlobs({ own, peers, debts, standbys: ['b'], degraded: async () => degraded });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-peers-'));
    own = await openBlobs({ folder: join(folder, 'a') });
    stores = [await openBlobs({ folder: join(folder, 'b') }), await openBlobs({ folder: join(folder, 'c') })];
    [debts, up, degraded, asked] = [memoryDebts(), [true, true], false, []];
    peers = ['b', 'c'].map((name, i) => ({
      name,
      put: async (digest, bytes) => { if (!up[i]) throw new Error('down'); expect(await stores[i]!.put(bytes)).toBe(digest); },
      get: async (digest) => { asked.push(name); if (!up[i]) throw new Error('down'); return await stores[i]!.has(digest) ? await stores[i]!.get(digest) : undefined; },
    }));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('sync: the standby has it before the answer, the others get it as well', async () => {
    const blobs = open();
    const digest = await blobs.put(data('x'), { tier: 'sync' });
    expect(await stores[0]!.has(digest)).toBe(true);
    expect(await blobs.pay()).toBe(0);
    expect(await stores[1]!.has(digest)).toBe(true);
  });

  it('goes to no peer that may not have it, now or later, and sync does not wait for such a one in vain', async () => {
    const blobs = open();
    const digest = await blobs.put(data('x'), { peers: ['c', 'elsewhere'] });
    expect(await blobs.pay()).toBe(0);
    expect(await Promise.all(stores.map((store) => store.has(digest)))).toEqual([false, true]);
    await expect(blobs.put(data('y'), { tier: 'sync', standby: 'b', peers: ['c'] })).rejects.toMatchObject({ code: 'BLOB_PEER' });
    const nowhere = await blobs.put(data('z'), { peers: [] });
    await blobs.pay();
    expect(await Promise.all([own, ...stores].map((store) => store.has(nowhere)))).toEqual([true, false, false]);
  });

  it('sync: is refused while the standby does not confirm, whoever else does, and is owed', async () => {
    up[0] = false;
    const blobs = open();
    await expect(blobs.put(data('x'), { tier: 'sync' })).rejects.toMatchObject({ code: 'BLOB_PEER' });
    await expect(blobs.put(data('x'), { tier: 'sync', standby: 'nobody' })).rejects.toMatchObject({ code: 'BLOB_PEER' });
    expect(debts.rows.get('b')).toEqual(new Set([digestOf(data('x'))]));
    expect(await blobs.put(data('x'), { tier: 'sync', standby: 'c' })).toBe(digestOf(data('x')));
    up[0] = true;
    expect(await blobs.pay()).toBe(0);
    expect(await stores[0]!.has(digestOf(data('x')))).toBe(true);
  });

  it('sync: is refused where no standby is set up, and goes on without one only when degraded', async () => {
    const alone = replicateBlobs({ own, peers, debts, standbys: [], degraded: async () => degraded });
    await expect(alone.put(data('x'), { tier: 'sync' })).rejects.toMatchObject({ code: 'BLOB_PEER' });
    degraded = true;
    up = [false, false];
    expect(await open().put(data('y'), { tier: 'sync' })).toBe(digestOf(data('y')));
    expect(debts.rows.get('b')).toContain(digestOf(data('y')));
  });

  it('async: answers at once, and what a peer did not take is sent after a restart', async () => {
    up = [false, false];
    const first = open();
    const digests = await Promise.all(Array.from({ length: 40 }, (_, i) => first.put(data(`message ${i}`))));
    await first.close();
    up = [true, false];
    const second = open();
    expect(await second.pay()).toBe(40);
    expect(await stores[0]!.list()).toEqual([...digests].sort());
    up = [true, true];
    expect(await second.pay()).toBe(0);
    expect(await stores[1]!.list()).toEqual([...digests].sort());
  });

  it('forgets what it owes of bytes that were swept, and never sends what is no job\'s', async () => {
    up = [false, false];
    const blobs = open();
    const swept = await blobs.put(data('swept'));
    const local = await blobs.put(data('probe'), { local: true });
    await blobs.pay();
    await blobs.delete(swept);
    up = [true, true];
    expect(await blobs.pay()).toBe(0);
    expect([await stores[0]!.list(), await own.list()]).toEqual([[], [local]]);
  });

  it('fetches what is missing or damaged here, from whoever has it, and believes the digest only', async () => {
    const digest = await stores[1]!.put(data('x'));
    const path = join(folder, 'a', digest.slice(0, 2), digest);
    const lying: PeerStore = { name: 'liar', put: async () => {}, get: async () => data('another') };
    peers = [lying, ...peers];
    const blobs = open();
    expect(await blobs.get(digest)).toEqual(await stores[1]!.get(digest));
    expect(await own.has(digest)).toBe(true);
    await writeFile(path, 'damaged');
    expect(await blobs.get(digest)).toEqual(await stores[1]!.get(digest));
    asked = [];
    expect(await blobs.get(digest)).toEqual(await own.get(digest));
    expect(asked).toEqual([]);
    up = [false, false];
    await writeFile(path, 'damaged');
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
    await expect(blobs.get('ab'.repeat(32))).rejects.toMatchObject({ code: 'BLOB_MISSING' });
  });
});
