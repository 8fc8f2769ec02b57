import { mkdtemp, open, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { rotateLog } from '../../scripts/cell/rotate.ts';

let folder: string;
beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-rotate-')); });
afterEach(() => rm(folder, { recursive: true, force: true }));

it('a log that is large enough begins anew under the process that writes it, and the one before is kept', async () => {
  const path = join(folder, 'gateway.log');
  expect(await rotateLog(path, 1)).toBe(false); // there is none yet
  const file = await open(path, 'a');
  try {
    await file.write('one\n');
    expect(await rotateLog(path, 5)).toBe(false);
    await file.write('two\n');
    expect(await rotateLog(path, 5)).toBe(true);
    await file.write('three\n');
    expect([await readFile(path, 'utf8'), await readFile(`${path}.1`, 'utf8')]).toEqual(['three\n', 'one\ntwo\n']);
    expect(await rotateLog(path, 5)).toBe(true);
    expect([await readFile(path, 'utf8'), await readFile(`${path}.1`, 'utf8'), (await readdir(folder)).sort()]).toEqual(['', 'three\n', ['gateway.log', 'gateway.log.1']]);
  } finally {
    await file.close();
  }
});
