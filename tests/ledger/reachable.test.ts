/** Only root has the problem: its server runs as `nobody`. */
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reachable } from '../../workloads/ledger/embedded/reachable.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('programs that the server\'s user can reach (as root)', () => {
  let scratch: string;
  let before: string | undefined;
  const programs = async (mode: number) => {
    const native = join(scratch, 'closed', 'native');
    await mkdir(join(native, 'bin'), { recursive: true });
    for (const name of ['postgres', 'initdb']) await writeFile(join(native, 'bin', name), `#!${name}`, { mode: 0o755 });
    await chmod(join(scratch, 'closed'), mode);
    return { postgres: join(native, 'bin', 'postgres'), initdb: join(native, 'bin', 'initdb') };
  };

  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'ccc-reach-'));
    await chmod(scratch, 0o755);
    before = process.env['TMPDIR'];
    await mkdir(join(scratch, 'tmp'), { mode: 0o755 });
    process.env['TMPDIR'] = join(scratch, 'tmp');
  });
  afterEach(async () => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    await rm(scratch, { recursive: true, force: true });
  });

  it('leaves programs where they are when everybody may enter', async () => {
    const given = await programs(0o755);
    expect(await reachable(given)).toEqual(given);
  });

  it('copies them once out of a closed folder', async () => {
    const given = await programs(0o700);
    const [first, second] = [await reachable(given), await reachable(given)];
    expect(first.postgres).not.toBe(given.postgres);
    expect(second).toEqual(first);
    expect(await readFile(first.postgres, 'utf8')).toBe('#!postgres');
    expect((await stat(first.initdb)).mode & 0o111).toBe(0o111);
  });

  it.each([['somebody else owns it', async (place: string) => chown(place, 1000, 1000)], ['others may write to it', async (place: string) => chmod(place, 0o777)]])('refuses a prepared place: %s', async (_, spoil) => {
    const given = await programs(0o700);
    const place = dirname(dirname((await reachable(given)).postgres));
    await spoil(place);
    await expect(reachable(given)).rejects.toThrow(/not usable|ENOTEMPTY|EEXIST/);
  });
});
