/** Changed code is a changed measurement: what a process really loads is what is measured, and policy and lock file say the same. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { prepareCell } from '../../scripts/cell/prepare.ts';
import { importClosure, measureRole, ROOT } from '../../workloads/protocol/measure.ts';
import type { OwnerPolicy } from '../../workloads/protocol/owner.ts';
import { payloadOf } from './forge.ts';

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-measured-')); });
afterAll(() => rm(folder, { recursive: true, force: true }));

const ENTRIES = ['workloads/broker/main.ts', 'workloads/counter/main.ts', 'workloads/counter/sandbox-child.ts'];

describe('a file of the closure', () => {
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  beforeAll(async () => {
    await write('package-lock.json', '{}');
    await write('workloads/broker/main.ts', [
      'import type { T } from \'./types.ts\'', // no semicolon: the next line is still an import
      'import \'./next.ts\';', 'export type { U } from \'./types.ts\'', 'export { a } from \'./again.ts\'', 'const b = await import(\'./later.ts\');', 'new URL(\'./worker.ts\', import.meta.url);', 'import { type V, v } from \'./mixed.ts\';',
    ].join('\n'));
    for (const file of ['types', 'next', 'again', 'later', 'worker', 'mixed', 'stranger']) await write(`workloads/broker/${file}.ts`, 'export {};\n');
  });

  it('is in it however it is loaded; what is only a type is not', async () => {
    const { files } = await importClosure('workloads/broker/main.ts', folder);
    expect(files).toEqual(['again', 'later', 'main', 'mixed', 'next', 'worker'].map((file) => `workloads/broker/${file}.ts`));
  });
  it('changed by one byte is another measurement; a stranger is none; the packages are another register', async () => {
    const before = await measureRole('broker', folder);
    await write('workloads/broker/stranger.ts', 'changed');
    await write('workloads/broker/worker.ts', 'export {};\n ');
    await write('package-lock.json', '{}');
    const changed = await measureRole('broker', folder);
    expect([changed.PCR0 === before.PCR0, changed.PCR1 === before.PCR1, changed.PCR2 === before.PCR2]).toEqual([false, true, true]);
    await write('workloads/broker/worker.ts', 'export {};\n');
    await write('package-lock.json', '{ }');
    const packages = await measureRole('broker', folder);
    expect([packages.PCR0 === before.PCR0, packages.PCR2 === before.PCR2]).toEqual([true, false]);
  });
  it('that is missing: no measurement', async () => {
    await rm(join(folder, 'workloads/broker/later.ts'));
    await expect(measureRole('broker', folder)).rejects.toThrow('ENOENT');
  });
});

describe('this tree', () => {
  it.each(['broker', 'counter'])('what %s really loads is in its closure', async (role) => {
    const hook = join(folder, 'hook.mjs');
    const list = join(folder, `${role}.txt`);
    await writeFile(hook, `import { registerHooks } from 'node:module';\nimport { appendFileSync } from 'node:fs';\nregisterHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(list)}, url + '\\n'); return next(url, context); } });\n`);
    // Without arguments it says how it is used, once everything is loaded.
    const exit = await new Promise((done) => { execFile(process.execPath, ['--import', hook, join(ROOT, `workloads/${role}/main.ts`)], { timeout: 30_000 }, (error) => done(error?.code ?? 0)); });
    expect(exit).toBe(2);
    const loaded = [...new Set((await readFile(list, 'utf8')).trim().split('\n'))].filter((url) => url.startsWith('file:')).map((url) => relative(ROOT, fileURLToPath(url))).filter((file) => !file.startsWith('..') && !file.includes('node_modules'));
    const { files } = await importClosure(`workloads/${role}/main.ts`);
    expect(loaded.length).toBeGreaterThan(20);
    expect(loaded.filter((file) => !files.includes(file))).toEqual([]);
  });

  it('loads code in no way that the measurement does not see', async () => {
    for (const entry of ENTRIES) {
      for (const file of (await importClosure(entry)).files) {
        const code = (await readFile(join(ROOT, file), 'utf8')).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
        expect([file, /\bimport\(\s*[^'"\s]|\bcreateRequire\b|\brequire\(|\bnew Worker\(|\beval\(|\bnew Function\(|\bgetBuiltinModule\b|\bnode:vm\b|\bprocess\.dlopen\b/.exec(code)?.[0]]).toEqual([file, undefined]);
      }
    }
  });

  it('policy, lock file and processes have one source of measurements', async () => {
    const cell = join(folder, 'cell');
    await prepareCell(cell);
    const lock = JSON.parse(await readFile(join(cell, 'measurements.lock.json'), 'utf8')) as { roles: Record<string, object> };
    const policy = payloadOf<OwnerPolicy>((await readFile(join(cell, 'policy.jws'), 'utf8')).trim());
    for (const role of ['broker', 'counter'] as const) {
      const measured = await measureRole(role);
      expect(policy.roles[role].references.map(({ registers }) => registers)).toEqual([measured]);
      expect(lock.roles[role]).toEqual(measured);
    }
  });
});
