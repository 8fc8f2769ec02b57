/**
 * What a simulated TEE measures: the code that the role really runs. PCR0 is the hash of the role's import closure, PCR1 that of
 * the runtime's binary, PCR2 that of the lock file that pins every package. A changed file is a changed measurement, so changed
 * code is refused for real. On hardware the image build writes these registers instead.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Role } from '../../attestation/evidence.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Registers { readonly PCR0: string; readonly PCR1: string; readonly PCR2: string }

/** Static and dynamic imports, and files started by URL (a worker, a child process). */
const REFERENCES = [
  /\b(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/g,
  /\bimport\s*\(?\s*['"]([^'"]+)['"]/g,
  /\bnew URL\(\s*['"](\.[^'"]+\.(?:ts|mjs))['"]\s*,\s*import\.meta\.url\s*\)/g,
];

/** Up to its own specifier and no further: without a semicolon the next line is an import that runs. */
const TYPE_ONLY = /\b(?:import|export)\s+type\b[^;'"]*?\bfrom\s*['"][^'"]+['"]/g;

export interface Closure {
  /** Own files, relative to the root, sorted. */
  readonly files: readonly string[];
  /** Packages named by those files, sorted; Node's own modules are left out. */
  readonly packages: readonly string[];
}

/** Type-only imports are left out: they are erased before anything runs. */
export async function importClosure(entry: string, root = ROOT): Promise<Closure> {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const queue = [resolve(root, entry)];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (files.has(path)) continue;
    const source = await readFile(path, 'utf8');
    files.set(path, source);
    const code = source.replace(/^\s*\/\*\*[\s\S]*?\*\//gm, '').replace(TYPE_ONLY, '');
    for (const pattern of REFERENCES) {
      for (const [, specifier] of code.matchAll(pattern) as Iterable<[string, string]>) {
        if (specifier.startsWith('.')) queue.push(resolve(dirname(path), specifier));
        else if (!specifier.startsWith('node:')) packages.add(specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/'));
      }
    }
  }
  return { files: [...files.keys()].map((f) => relative(root, f)).sort(), packages: [...packages].sort() };
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha384');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** SHA-384 values in lower-case hex; deterministic for the same tree and runtime. */
export async function measureRole(role: Role, root = ROOT): Promise<Registers> {
  const { files } = await importClosure(`workloads/${role}/main.ts`, root);
  const code = createHash('sha384');
  for (const file of files) code.update(`${file}\0${await fileHash(resolve(root, file))}\n`);
  const [runtime, lock] = await Promise.all([fileHash(process.execPath), fileHash(resolve(root, 'package-lock.json'))]);
  return { PCR0: code.digest('hex'), PCR1: runtime, PCR2: lock };
}
