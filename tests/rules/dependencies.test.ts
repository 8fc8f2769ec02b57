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
  'workloads/counter': ['attestation', 'workloads/protocol', 'workloads/detectors', 'workloads/client'],
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

  it('the counter takes nothing of the client but the message format', () => {
    const wrong = sources('workloads/counter').flatMap((file) => relativeImports(file).filter((to) => room(to) === 'workloads/client' && to !== 'workloads/client/esdk-node.ts'));
    expect(wrong).toEqual([]);
  });

  it('an observer takes nothing of broker and ledger but the HTTP server and the connections', () => {
    const taken = sources('workloads/observer').flatMap((file) => relativeImports(file).filter((to) => ['workloads/broker', 'workloads/ledger'].includes(room(to))));
    expect([...new Set(taken)].sort()).toEqual(['workloads/broker/http.ts', 'workloads/ledger/database.ts']);
  });

  it.each([
    ['workloads/broker/main.ts', ['@hpke/core', '@hpke/hybridkem-x-wing', 'cborg', 'jose', 'koffi', 'zod']],
    ['workloads/counter/main.ts', ['@aws-crypto/client-node', '@hpke/core', '@hpke/hybridkem-x-wing', 'cborg', 'jose', 'koffi', 'onnxruntime-node', 'sharp', 'zod']],
  ])('the trusted base of %s is these packages', async (entry, packages) => {
    expect((await importClosure(entry)).packages).toEqual(packages);
  });

  it('the process that parses pictures holds neither keys nor a way to ask for them', async () => {
    const { files, packages } = await importClosure('workloads/counter/sandbox-child.ts');
    expect(packages).toEqual(['onnxruntime-node', 'sharp', 'zod']);
    expect(files.filter((f) => /hpke|jws|pop|session|gateway|client|http/.test(f))).toEqual([]);
  });

  it('the verify path holds no Node built-in', async () => {
    const { files } = await importClosure('attestation/registry.ts');
    expect(files.length).toBeGreaterThan(5);
    const wrong = files.filter((file) => /from\s*['"]node:/.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(wrong).toEqual([]);
  });
});
