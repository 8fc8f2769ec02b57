import { expect, it } from 'vitest';
import { digestOf } from '../../../workloads/ledger/blobs.ts';
import { openStore } from '../../../workloads/ledger/stores/open.ts';
import { storeConformance } from '../blobs-conformance.ts';
import type { EngineName } from './engines.ts';
import { smallStore } from './small-store.ts';

const URLS: Readonly<Record<EngineName, string>> = { s3: 's3://bucket-1?region=eu-central-1', azblob: 'azblob://account1/messages', gs: 'gs://bucket-1' };

for (const name of ['s3', 'azblob', 'gs'] as const) {
  const open = async () => {
    const small = smallStore(name);
    return { ...small, blobs: await openStore({ url: URLS[name], folder: '/nowhere', around: { env: {}, fetch: small.fetch, sleep: async () => {} } }) };
  };
  storeConformance(`${name}, by our own reading of its documents`, async () => {
    const { blobs, objects } = await open();
    return { blobs, damage: async (digest, change) => void objects.set(digest, new Uint8Array(change(new Uint8Array(objects.get(digest)!)))), end: async () => {} };
  });

  it(`${name}: bytes that changed on their way are not stored`, async () => {
    const { blobs, objects, mangle } = await open();
    // One bit of the content; Google's form has its metadata before it.
    mangle((data) => { const copy = new Uint8Array(data); const at = name === 'gs' ? Buffer.from(copy).lastIndexOf('message') : 0; copy[at]! ^= 1; return copy; });
    await expect(blobs.put(Buffer.from('a message'))).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    expect(objects.size).toBe(0);
  });

  it(`${name}: what is there, and whole, is not written again`, async () => {
    const { blobs, objects } = await open();
    const first = Buffer.from('a message');
    await blobs.put(first);
    const kept = objects.get(digestOf(first));
    await blobs.put(first);
    expect(objects.get(digestOf(first))).toBe(kept);
  });

  it(`${name}: lists page by page`, async () => {
    const { blobs } = await open();
    const digests = await Promise.all(Array.from({ length: 7 }, (_, n) => blobs.put(Uint8Array.of(n))));
    expect(await blobs.list()).toEqual(digests.sort());
  });
}
