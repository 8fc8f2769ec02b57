/** Dependencies point one way, and the trusted base is a pinned list. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { importClosure } from '../../workloads/protocol/measure.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function sources(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((f) => join(folder, f))
    .filter((f) => /\.(ts|tsx|mjs)$/.test(f) && !f.includes('node_modules') && !f.includes('/dist/') && statSync(join(ROOT, f)).isFile());
}

function relativeImports(file: string): string[] {
  const code = readFileSync(join(ROOT, file), 'utf8');
  return [...code.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)].map(([, s]) => relative(ROOT, resolve(ROOT, dirname(file), s as string)));
}

/** First folder below the root, and the second for workloads. */
const room = (file: string) => file.split('/').slice(0, file.startsWith('workloads/') ? 2 : 1).join('/');

/** What each room may import besides itself. */
const MAY: Record<string, string[]> = {
  attestation: [],
  'workloads/protocol': ['attestation'],
  'workloads/ledger': ['attestation', 'workloads/protocol'],
  'workloads/detectors': ['attestation', 'workloads/protocol'],
  'workloads/client': ['attestation', 'workloads/protocol'],
  'workloads/observer': ['attestation', 'workloads/protocol', 'workloads/ledger', 'workloads/broker'],
  'workloads/gateway': ['attestation', 'workloads/protocol', 'workloads/ledger'],
  'workloads/broker': ['attestation', 'workloads/protocol'],
  'workloads/counter': ['attestation', 'workloads/protocol', 'workloads/detectors'],
  modules: ['attestation'],
  stacks: ['modules'],
};

describe('dependencies point one way', () => {
  for (const [folder, allowed] of Object.entries(MAY)) {
    it(`${folder} imports only ${allowed.join(', ') || 'itself'}`, () => {
      const wrong = sources(folder).flatMap((file) => relativeImports(file).filter((to) => room(to) !== folder && !allowed.includes(room(to))).map((to) => `${file} -> ${to}`));
      expect(wrong).toEqual([]);
    });
  }

  it('an observer takes nothing of broker and ledger but the HTTP server and the connections', () => {
    const taken = sources('workloads/observer').flatMap((file) => relativeImports(file).filter((to) => ['workloads/broker', 'workloads/ledger'].includes(room(to))));
    expect([...new Set(taken)].sort()).toEqual(['workloads/broker/http.ts', 'workloads/ledger/database.ts']);
  });

  it.each([
    ['workloads/broker/main.ts', ['@hpke/core', '@hpke/hybridkem-x-wing', 'aws4fetch', 'cborg', 'jose', 'koffi', 'zod']],
    ['workloads/counter/main.ts', ['@hpke/core', '@hpke/hybridkem-x-wing', 'cborg', 'jose', 'koffi', 'onnxruntime-node', 'sharp', 'zod']],
  ])('the trusted base of %s is these packages', async (entry, packages) => {
    expect((await importClosure(entry)).packages).toEqual(packages);
  });

  it('the process that parses pictures holds neither keys nor a way to ask for them', async () => {
    const { files, packages } = await importClosure('workloads/counter/sandbox-child.ts');
    expect(packages).toEqual(['onnxruntime-node', 'sharp', 'zod']);
    expect(files.filter((f) => /hpke|jws|pop|session|gateway|client|http/.test(f))).toEqual([]);
  });

  it('what runs after `npm ci --omit=dev` names no package of the development alone', async () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<'dependencies' | 'optionalDependencies' | 'devDependencies', Record<string, string>>;
    const installed = new Set(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
    const entries = ['scripts/ccc.ts', 'scripts/fuzz/main.ts', ...sources('workloads').filter((f) => f.endsWith('.ts') && !f.endsWith('.d.ts')), ...sources('attestation')];
    const [seen, wrong] = [new Set<string>(), new Set<string>()];
    for (const entry of entries) {
      if (seen.has(entry)) continue;
      const { files, packages } = await importClosure(entry);
      for (const file of files) seen.add(file);
      // What is no name of a package is prose with the word import in it.
      for (const name of packages) if (/^(?:@[\w.-]+\/)?[\w.-]+$/.test(name) && !installed.has(name)) wrong.add(`${entry}: ${name}`);
    }
    expect(seen.size).toBeGreaterThanOrEqual(entries.length);
    expect([...wrong]).toEqual([]);
    // The list can be failed: the tests' own runner is one of those that are not there.
    expect(installed.has('vitest') || installed.has('execa')).toBe(false);
    expect(Object.keys(manifest.devDependencies).filter((name) => installed.has(name))).toEqual([]);
  });

  it('the verify path holds no Node built-in', async () => {
    const { files } = await importClosure('attestation/registry.ts');
    expect(files.length).toBeGreaterThan(5);
    const wrong = files.filter((file) => /from\s*['"]node:/.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(wrong).toEqual([]);
  });
});
