import { mkdir, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeWhole } from '../../workloads/protocol/whole-file.ts';

/** What was opened, flushed and renamed, in that order. */
const done = vi.hoisted((): string[] => []);
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      const file = await real.open(...args);
      const sync = file.sync.bind(file);
      file.sync = async () => { done.push(`sync ${String(args[0])}`); await sync(); };
      return file;
    },
    rename: async (from: string, to: string) => { done.push(`rename ${to}`); await real.rename(from, to); },
  };
});

describe('a file written whole', () => {
  let folder: string;
  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-whole-')); done.length = 0; });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('has its content, its mode, and nothing beside it', async () => {
    const path = join(folder, 'file');
    await writeWhole(path, 'one');
    await writeWhole(path, new Uint8Array([1, 2, 3]), 0o640);
    expect([...await readFile(path)]).toEqual([1, 2, 3]);
    expect(await readdir(folder)).toEqual(['file']);
    if (process.platform !== 'win32') expect((await stat(path)).mode & 0o777 & ~0o640).toBe(0);
    await writeWhole(join(folder, 'secret'), 'x');
    if (process.platform !== 'win32') expect((await stat(join(folder, 'secret'))).mode & 0o777).toBe(0o600);
  });

  it.skipIf(process.platform === 'win32')('is on disk before it has its name, and so is the name in the end', async () => {
    await writeWhole(join(folder, 'file'), 'one');
    expect(done.map((each) => each.replace(/[0-9a-f-]{36}/, 'ID'))).toEqual([`sync ${folder}/file.ID.new`, `rename ${folder}/file`, `sync ${folder}`]);
  });

  it('leaves what was there, and nothing else, when it fails', async () => {
    const path = join(folder, 'taken');
    await mkdir(join(path, 'by a folder'), { recursive: true });
    await expect(writeWhole(path, 'one')).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['taken']);
    await expect(writeWhole(join(folder, 'none', 'file'), 'one')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('ten writers at once: one of them wins, whole', async () => {
    const path = join(folder, 'file');
    await Promise.all(Array.from({ length: 10 }, (_, i) => writeWhole(path, String(i).repeat(10_000))));
    expect(await readFile(path, 'utf8')).toMatch(/^(\d)\1{9999}$/);
    expect(await readdir(folder)).toEqual(['file']);
  });
});
