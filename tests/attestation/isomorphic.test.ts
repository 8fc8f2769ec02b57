/** The verify path runs in browsers: what it imports, all the way down, is its own files and three packages. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { asRefusal, explain, Refusal, REFUSAL_CODES } from '../../attestation/refusal.ts';

const ATTESTATION = fileURLToPath(new URL('../../attestation/', import.meta.url));
const imports = (source: string) => [...source.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm)].map((m) => (m[1] ?? m[2] ?? m[3]) as string);

function closure(...entries: string[]): { files: string[]; packages: string[] } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const queue = entries.map((e) => resolve(ATTESTATION, e));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (files.has(path)) continue;
    files.add(path);
    for (const specifier of imports(readFileSync(path, 'utf8'))) {
      if (specifier.startsWith('.')) queue.push(resolve(dirname(path), specifier));
      else packages.add(specifier);
    }
  }
  return { files: [...files].map((f) => relative(ATTESTATION, f)).sort(), packages: [...packages].sort() };
}

describe('imports', () => {
  test('of the verifier and the appraisal', () => {
    const { files, packages } = closure('registry.ts', 'appraise.ts', 'ear.ts', 'claims-digest.ts', 'trust/roots.ts', 'platforms/aws-nitro/attest.ts', 'platforms/simulated/nsm.ts', 'platforms/simulated/pki.ts');
    expect(packages).toEqual(['cborg', 'jose', 'zod']);
    expect(files).toContain('platforms/aws-nitro/verify.ts');
    expect(files.every((f) => !f.startsWith('..'))).toBe(true);
  });

  test('of the adapter alone: no package', () => {
    const { files, packages } = closure('platforms/aws-nitro/verify.ts');
    expect(packages).toEqual([]);
    expect(files.some((f) => f.startsWith('platforms/simulated'))).toBe(false);
  });

  test('no verifier uses what only Node has, nor does I/O or reads a clock', () => {
    for (const file of closure('registry.ts', 'appraise.ts', 'ear.ts').files) {
      const source = readFileSync(resolve(ATTESTATION, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      expect(source, file).not.toMatch(/\b(?:Buffer|process|performance)\.[a-z]|\b(?:require|fetch|XMLHttpRequest)\(|Date\.now|new Date\(\)/);
    }
  });

  test('every file is shorter than 300 lines and exports nothing by default', () => {
    const all = readdirSync(ATTESTATION, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
    expect(all.length).toBeGreaterThan(20);
    for (const file of all) {
      const source = readFileSync(resolve(ATTESTATION, file), 'utf8');
      expect(source.split('\n').length, file).toBeLessThan(300);
      expect(source, file).not.toMatch(/export default/);
    }
  });
});

describe('refusals', () => {
  test('codes are unique words', () => {
    expect(new Set(REFUSAL_CODES).size).toBe(REFUSAL_CODES.length);
    for (const code of REFUSAL_CODES) expect(code).toMatch(/^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/);
  });

  test('explain themselves, and hide what was not foreseen', () => {
    const refusal = new Refusal([{ code: 'STALE', path: 'a', have: '1', need: '2', next: 'Do it.' }, { code: 'REVOKED', path: 'b', next: 'Stop.' }]);
    expect([refusal.code, refusal.codes]).toEqual(['STALE', ['STALE', 'REVOKED']]);
    expect(refusal.message).toBe('STALE at a, have 1, need 2: Do it.\nREVOKED at b: Stop.');
    expect(explain({ code: 'STALE', path: 'p', next: 'n' })).toBe('STALE at p: n');
    expect(asRefusal(refusal)).toBe(refusal);
    const hidden = asRefusal(new Error('secret'));
    expect(hidden.code).toBe('INTERNAL');
    expect(hidden.message).not.toContain('secret');
  });
});
