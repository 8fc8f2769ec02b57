import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeConformance } from '../blobs-conformance.ts';
import { openStore } from '../../../workloads/ledger/stores/open.ts';
import { type EngineName, here, iamKeys, startStore, type StoreEngine } from './engines.ts';

const ENGINES: readonly [EngineName, string][] = [['s3', 'S3 (moto)'], ['azblob', 'Azure Blob (Azurite)'], ['gs', 'Google Cloud Storage (fake-gcs-server)']];

for (const [name, title] of ENGINES) {
  if (!here(name)) {
    it.skipIf(process.env['REQUIRE_STORES'] !== '1')(`${title} is not installed: see engines.ts`, () => expect.fail(`REQUIRE_STORES=1, and ${title} is not installed`));
    continue;
  }
  describe(title, () => {
    let engine: StoreEngine;
    beforeAll(async () => { engine = await startStore(name); });
    afterAll(() => engine?.stop());
    storeConformance(title, () => engine.open());

    it.runIf(name === 's3')('its own reckoning of signatures agrees with ours, and with no other', async () => {
      const keys = await iamKeys(engine.base);
      const url = await engine.bucket();
      // From here on every request is checked: who, whether they may, and the signature over method, path, query, headers and the payload's digest.
      await fetch(`${engine.base}/moto-api/reset-auth`, { method: 'POST', body: '0' });
      try {
        const open = (secret: string) => openStore({ url, folder: '/nowhere', around: { env: { AWS_ACCESS_KEY_ID: keys.id, AWS_SECRET_ACCESS_KEY: secret } } });
        const blobs = await open(keys.secret);
        const digest = await blobs.put(Uint8Array.of(1, 2, 3));
        expect(await blobs.list()).toEqual([digest]);
        expect(await blobs.get(digest)).toEqual(Uint8Array.of(1, 2, 3));
        expect(await blobs.delete(digest)).toBe(true);
        const other = await open(`${keys.secret.slice(0, -1)}!`);
        await expect(other.put(Uint8Array.of(4))).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE', message: 'The store failed: 403 SignatureDoesNotMatch.' });
      } finally {
        await fetch(`${engine.base}/moto-api/reset-auth`, { method: 'POST', body: 'inf' });
      }
    });

    // A minute of small objects, and Azurite's page is not to be filled in that.
    it.skipIf(process.env['REQUIRE_STORES'] !== '1' || name === 'azblob')('lists more names than one page holds', { timeout: 600_000 }, async () => {
      const { blobs } = await engine.open();
      const count = 1_005;
      const puts: string[] = [];
      for (let from = 0; from < count; from += 20) puts.push(...await Promise.all(Array.from({ length: Math.min(20, count - from) }, (_, i) => blobs.put(Buffer.from(`object ${from + i}`)))));
      expect(await blobs.list()).toEqual(puts.sort());
    });
  });
}
