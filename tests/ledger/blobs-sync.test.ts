/** What is on disk before a message counts as stored: its bytes, its name, and the names of the folders above it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';

const done = vi.hoisted((): [what: string, path: string][] => []);
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      const file = await real.open(...args);
      const sync = file.sync.bind(file);
      file.sync = async () => { await sync(); done.push(['sync', String(args[0])]); };
      return file;
    },
    rename: async (from: string, to: string) => { await real.rename(from, to); done.push(['rename', to]); },
  };
});

/** Three messages: the second has its first folder in common with the first, the third both. */
function messages(): Uint8Array[] {
  const all = Array.from({ length: 200_000 }, (_, i) => Buffer.from(String(i)));
  const first = all[0] as Buffer;
  const like = (length: number, but: number) => all.find((m) => m !== first && digestOf(m).slice(0, length) === digestOf(first).slice(0, length) && digestOf(m).slice(0, but) !== digestOf(first).slice(0, but));
  return [first, like(2, 4) as Buffer, like(4, 64) as Buffer];
}

describe.skipIf(process.platform === 'win32')('the store, before it says that a message is stored', () => {
  let folder: string;
  let blobs: Blobs;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-blobs-'));
    blobs = await openBlobs({ folder });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  /** Of one put, paths from the store's folder. */
  async function put(message: Uint8Array): Promise<string[]> {
    done.length = 0;
    await blobs.put(message);
    return done.map(([what, path]) => `${what} ${relative(folder, path).replace(/^incoming\/.*/, 'incoming') || '.'}`);
  }
  const [one, sameFirst, sameBoth] = messages() as [Uint8Array, Uint8Array, Uint8Array];
  const folders = (message: Uint8Array) => [digestOf(message).slice(0, 2), `${digestOf(message).slice(0, 2)}/${digestOf(message).slice(2, 4)}`] as const;
  const [a, ab] = folders(one);
  const ac = folders(sameFirst)[1];
  const named = (message: Uint8Array) => `rename ${folders(message)[1]}/${digestOf(message)}`;

  it('syncs its bytes, then its name, then those of folders that are new', async () => {
    expect(await put(one)).toEqual(['sync incoming', named(one), `sync ${ab}`, `sync ${a}`, 'sync .']);
    expect(await put(sameFirst)).toEqual(['sync incoming', named(sameFirst), `sync ${ac}`, `sync ${a}`]);
    expect(await put(sameBoth)).toEqual(['sync incoming', named(sameBoth), `sync ${ab}`]);
    expect(await put(one)).toEqual([`sync ${ab}`]); // there already: its name may be another process's, just made
  });

  it('does not know what another process synced', async () => {
    await put(one);
    blobs = await openBlobs({ folder });
    expect(await put(one)).toEqual([`sync ${ab}`, `sync ${a}`, 'sync .']);
  });

  it('syncs the names anew of folders that were removed', async () => {
    await put(one);
    await rm(join(folder, ab), { recursive: true });
    expect(await put(one)).toEqual(['sync incoming', named(one), `sync ${ab}`, `sync ${a}`]);
    await rm(join(folder, a), { recursive: true });
    expect(await put(one)).toEqual(['sync incoming', named(one), `sync ${ab}`, `sync ${a}`, 'sync .']);
  });

  it('of two at once in a new folder neither relies on the other', async () => {
    done.length = 0;
    await Promise.all([blobs.put(one), blobs.put(sameBoth)]);
    expect(done.filter(([what, path]) => what === 'sync' && path === folder)).toHaveLength(2);
  });
});
