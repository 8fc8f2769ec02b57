import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';

const run = promisify(execFile);
const MODULE = new URL('../../workloads/ledger/blobs.ts', import.meta.url).href;

describe('ciphertext store', () => {
  let folder: string;
  let blobs: Blobs;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-blobs-'));
    blobs = await openBlobs({ folder });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const pathOf = (digest: string) => join(folder, digest.slice(0, 2), digest.slice(2, 4), digest);

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
    expect(await readdir(join(folder, 'incoming'))).toEqual([]);
    expect((await stat(pathOf(digests[0]!))).mode & 0o777).toBe(0o600);
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
    const path = pathOf(digest);
    for (const damage of [
      async () => { const file = await readFile(path); file[500]! ^= 1; await writeFile(path, file); },
      () => truncate(path, 999),
      () => writeFile(path, ''),
    ]) {
      await damage();
      await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
      await blobs.put(data);
      expect((await blobs.get(digest)).length).toBe(1000);
    }
  });

  it.each(['', '..', 'AB'.repeat(32), 'ab'.repeat(31), `../../${'a'.repeat(58)}`, `${'ab'.repeat(32)}\n`])('takes no name that is not a digest: %j', async (name) => {
    for (const call of [blobs.get, blobs.has, blobs.delete]) await expect((async () => await call(name))()).rejects.toMatchObject({ code: 'BLOB_DIGEST' });
  });

  it('removes what an interrupted write left, and keeps the rest', async () => {
    const digest = await blobs.put(Uint8Array.of(1));
    await writeFile(join(folder, 'incoming', 'half'), 'x');
    const again = await openBlobs({ folder });
    expect(await readdir(join(folder, 'incoming'))).toEqual([]);
    expect(await again.list()).toEqual([digest]);
  });

  // A limit on the size of files is the full disk that a test can have without a file system of its own.
  it.skipIf(process.platform === 'win32')('says that the store is full, and leaves nothing under the name', async () => {
    const script = `
      import { openBlobs } from ${JSON.stringify(MODULE)};
      const blobs = await openBlobs({ folder: ${JSON.stringify(folder)} });
      const code = await blobs.put(new Uint8Array(1_000_000)).then(() => 'stored', (error) => error.code);
      console.log(code, (await blobs.list()).length);`;
    const { stdout } = await run('/bin/sh', ['-c', 'ulimit -f 64; exec "$0" --input-type=module -e "$1"', process.execPath, script]);
    expect(stdout.trim()).toBe('BLOB_NO_SPACE 0');
    expect(await readdir(join(folder, 'incoming'))).toEqual([]);
  });

  it('says that the store is unavailable when it is no folder any more', async () => {
    await rm(folder, { recursive: true });
    await writeFile(folder, 'a file');
    await expect(blobs.put(Uint8Array.of(1))).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
  });
});
