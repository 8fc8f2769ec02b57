/** What is on disk before a message counts as stored: its bytes, its name, and the names of the folders above it. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';

const done = vi.hoisted((): [what: string, path: string][] => []);
const paths = vi.hoisted(() => new Map<number, string>());
/** Ends of syncs of one folder that are kept back. */
const kept = vi.hoisted(() => ({ folder: '', ends: [] as (() => void)[] }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  type Opened = (error: Error | null, fd: number) => void;
  const open = (path: string, flags: string, mode: number, then: Opened) => real.open(path, flags, mode, (error, fd) => { paths.set(fd, path); then(error, fd); });
  const openSync = (path: string, flags: string) => { const fd = real.openSync(path, flags); paths.set(fd, path); return fd; };
  const fsync = (fd: number, then: (error: Error | null) => void) => real.fsync(fd, (error) => {
    const path = paths.get(fd) ?? 'unknown';
    const end = () => { done.push(['sync', path]); then(error); };
    if (path === kept.folder) kept.ends.push(end);
    else end();
  });
  return { ...real, open, openSync, fsync };
});
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, rename: async (from: string, to: string) => { await real.rename(from, to); done.push(['rename', to]); } };
});

/** Three messages: the second has its folder in common with the first, the third has another. */
function messages(): [Uint8Array, Uint8Array, Uint8Array] {
  const all = Array.from({ length: 2_000 }, (_, i) => Buffer.from(String(i)));
  const first = all[0] as Buffer;
  const alike = (m: Buffer) => digestOf(m).slice(0, 2) === digestOf(first).slice(0, 2);
  return [first, all.find((m) => m !== first && alike(m)) as Buffer, all.find((m) => !alike(m)) as Buffer];
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
  const [one, same, other] = messages();
  const partOf = (message: Uint8Array) => digestOf(message).slice(0, 2);
  const a = partOf(one);
  const named = (message: Uint8Array) => `rename ${partOf(message)}/${digestOf(message)}`;

  it('syncs its bytes, then its name, then that of a folder that is new', async () => {
    expect(await put(one)).toEqual(['sync incoming', named(one), `sync ${a}`, 'sync .']);
    expect(await put(same)).toEqual(['sync incoming', named(same), `sync ${a}`]);
    expect(await put(other)).toEqual(['sync incoming', named(other), `sync ${partOf(other)}`, 'sync .']);
    expect(await put(one)).toEqual([`sync ${a}`]); // there already: its name may be another process's, just made
  });

  it('does not know what another process synced', async () => {
    await put(one);
    blobs = await openBlobs({ folder });
    expect(await put(one)).toEqual([`sync ${a}`, 'sync .']);
  });

  it('syncs the name anew of a folder that was removed', async () => {
    await put(one);
    await rm(join(folder, a), { recursive: true });
    expect(await put(one)).toEqual(['sync incoming', named(one), `sync ${a}`, 'sync .']);
  });

  it('of two at once in a new folder neither relies on what the other has not done', async () => {
    kept.folder = folder;
    const stored: string[] = [];
    const puts = [one, same].map(async (message) => { stored.push(await blobs.put(message)); });
    await vi.waitFor(() => { if (kept.ends.length < 2) throw new Error('not yet'); });
    expect(stored).toEqual([]);
    kept.folder = '';
    for (const end of kept.ends.splice(0)) end();
    await Promise.all(puts);
    expect(stored.sort()).toEqual([digestOf(one), digestOf(same)].sort());
  });

  it('brings up what lies one folder deeper, with its name on disk before the folder goes', async () => {
    const digest = digestOf(one);
    await mkdir(join(folder, a, digest.slice(2, 4)), { recursive: true });
    await writeFile(join(folder, a, digest.slice(2, 4), digest), one);
    done.length = 0;
    blobs = await openBlobs({ folder });
    expect(done.map(([what, path]) => `${what} ${relative(folder, path)}`)).toEqual([named(one), `sync ${a}`]);
    expect(await blobs.list()).toEqual([digest]);
    expect(await readdir(join(folder, a))).toEqual([digest]);
    expect([...await blobs.get(digest)]).toEqual([...one]);
  });
});
