/** What every store behind `Blobs` does, whatever it is made of. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Blobs, digestOf } from '../../workloads/ledger/blobs.ts';

export interface StoreUnderTest {
  /** Of an empty store. */
  readonly blobs: Blobs;
  /** Writes over an object, past the port. */
  damage(digest: string, change: (data: Uint8Array) => Uint8Array): Promise<void>;
  end(): Promise<void>;
}

export function storeConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store conformance: ${name}`, () => {
    let store: StoreUnderTest;
    let blobs: Blobs;
    beforeEach(async () => {
      store = await open();
      ({ blobs } = store);
    });
    afterEach(() => store.end());

    it('gives back any bytes under their SHA-256', async () => {
      await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 5_000 }), async (data) => {
        const digest = await blobs.put(data);
        expect(digest).toBe(digestOf(data));
        expect(Buffer.from(await blobs.get(digest)).equals(Buffer.from(data))).toBe(true);
      }), { numRuns: 25 });
    });

    it('stores the same bytes once, for 10 writers at once', async () => {
      const data = new Uint8Array(100_000).fill(7);
      const digests = await Promise.all(Array.from({ length: 10 }, () => blobs.put(data)));
      expect(new Set(digests).size).toBe(1);
      expect(await blobs.list()).toEqual([digests[0]]);
    });

    it('takes a message of the largest size', async () => {
      const data = new Uint8Array(20 * 2 ** 20).fill(3);
      const digest = await blobs.put(data);
      expect(digestOf(await blobs.get(digest))).toBe(digest);
    });

    it('lists and deletes', async () => {
      const digests = (await Promise.all([1, 2, 3].map((n) => blobs.put(Uint8Array.of(n))))).sort();
      expect(await blobs.list()).toEqual(digests);
      expect(await blobs.has(digests[0]!)).toBe(true);
      expect(await blobs.delete(digests[0]!)).toBe(true);
      expect(await blobs.delete(digests[0]!)).toBe(false);
      expect(await blobs.has(digests[0]!)).toBe(false);
      expect(await blobs.list()).toEqual(digests.slice(1));
      await expect(blobs.get(digests[0]!)).rejects.toMatchObject({ code: 'BLOB_MISSING' });
    });

    it('refuses damaged bytes, and a new put repairs them', async () => {
      const data = new Uint8Array(1000).fill(9);
      const digest = await blobs.put(data);
      for (const change of [
        (b: Uint8Array) => { b[500]! ^= 1; return b; },
        (b: Uint8Array) => b.subarray(0, 999),
        () => new Uint8Array(0),
      ]) {
        await store.damage(digest, change);
        await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
        await blobs.put(data);
        expect((await blobs.get(digest)).length).toBe(1000);
      }
    });

    it.each(['', '..', 'AB'.repeat(32), 'ab'.repeat(31), `../../${'a'.repeat(58)}`, `${'ab'.repeat(32)}\n`])('takes no name that is not a digest: %j', async (wrong) => {
      for (const call of [blobs.get, blobs.has, blobs.delete]) await expect((async () => await call(wrong))()).rejects.toMatchObject({ code: 'BLOB_DIGEST' });
    });

    it('shows by a probe that it works, and has nothing to list afterwards', async () => {
      if (blobs.probe === undefined) return expect(name).toBe('folder');
      expect(await blobs.probe()).toBe(true);
      expect(await blobs.probe()).toBe(true);
      expect(await blobs.list()).toEqual([]);
    });
  });
}
