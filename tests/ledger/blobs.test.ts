import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Blobs, openBlobs } from '../../workloads/ledger/blobs.ts';
import { storeConformance } from './blobs-conformance.ts';

const run = promisify(execFile);
const MODULE = new URL('../../workloads/ledger/blobs.ts', import.meta.url).href;

storeConformance('folder', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-blobs-'));
  const pathOf = (digest: string) => join(folder, digest.slice(0, 2), digest);
  return {
    blobs: await openBlobs({ folder }),
    damage: async (digest, change) => writeFile(pathOf(digest), change(new Uint8Array(await readFile(pathOf(digest))))),
    end: () => rm(folder, { recursive: true, force: true }),
  };
});

describe('ciphertext in a folder', () => {
  let folder: string;
  let blobs: Blobs;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-blobs-'));
    blobs = await openBlobs({ folder });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const pathOf = (digest: string) => join(folder, digest.slice(0, 2), digest);

  it('leaves one file that only we may read, for 10 writers at once', async () => {
    const data = new Uint8Array(100_000).fill(7);
    const digests = await Promise.all(Array.from({ length: 10 }, () => blobs.put(data)));
    expect(new Set(digests).size).toBe(1);
    expect(await blobs.list()).toEqual([digests[0]]);
    expect(await readdir(join(folder, 'incoming'))).toEqual([]);
    expect((await stat(pathOf(digests[0]!))).mode & 0o777).toBe(0o600);
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
