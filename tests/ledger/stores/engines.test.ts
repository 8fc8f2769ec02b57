import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeConformance } from '../blobs-conformance.ts';
import { type EngineName, here, startStore, type StoreEngine } from './engines.ts';

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

    it('lists more names than one page holds', { timeout: 600_000 }, async () => {
      const { blobs } = await engine.open();
      const count = name === 'azblob' ? 40 : 1_005;
      const puts: string[] = [];
      for (let from = 0; from < count; from += 20) puts.push(...await Promise.all(Array.from({ length: Math.min(20, count - from) }, (_, i) => blobs.put(Buffer.from(`object ${from + i}`)))));
      expect(await blobs.list()).toEqual(puts.sort());
    });
  });
}
