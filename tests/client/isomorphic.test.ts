import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const ENTRIES = ['count', 'manifest', 'result', 'receipt', 'api', 'submit', 'picture', 'seen', 'store', 'esdk-browser'].map((name) => join(root, 'workloads/client', `${name}.ts`));
/** Packages that the page is built from. */
const PACKAGES = new Set(['zod', 'jose', 'cborg', '@hpke/core', '@hpke/hybridkem-x-wing', '@aws-crypto/client-browser']);

async function closure(entries: string[]): Promise<{ files: Map<string, string>; packages: Set<string> }> {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    if (files.has(path)) return;
    const source = await readFile(path, 'utf8');
    files.set(path, source);
    // Type imports vanish when types are stripped.
    for (const [, typed, from] of source.matchAll(/^(?:import|export) (type )?[^;]*?from '([^']+)';/gm)) {
      if (typed !== undefined || from === undefined) continue;
      if (from.startsWith('.')) await visit(resolve(dirname(path), from));
      else packages.add(from);
    }
  };
  for (const entry of entries) await visit(entry);
  return { files, packages };
}

describe('the client\'s import closure', () => {
  it('runs in browsers: no built-ins of Node, no process, no Buffer, known packages only', async () => {
    const { files, packages } = await closure(ENTRIES);
    expect(files.size).toBeGreaterThan(30);
    expect([...packages].filter((name) => !PACKAGES.has(name) && !name.startsWith('cborg'))).toEqual([]);
    for (const [path, source] of files) {
      // Neither comments nor texts.
      const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '').replace(/'(?:[^'\\\n]|\\.)*'/g, "''");
      expect([relative(root, path), /(?<!\.)\b(?:process|Buffer|require|__dirname|setImmediate)\b[.(]/.exec(code)?.[0]]).toEqual([relative(root, path), undefined]);
    }
  });

  it('sees the built-ins where they are', async () => {
    const { packages } = await closure([join(root, 'workloads/client/store-node.ts')]);
    expect([...packages].some((name) => name.startsWith('node:'))).toBe(true);
  });
});
