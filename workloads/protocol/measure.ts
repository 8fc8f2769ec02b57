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

const sha384 = (data: Uint8Array | string): string => createHash('sha384').update(data).digest('hex');

/** 120 MB: SHA-256 of the file, which processors have instructions for, and SHA-384 of that for a register's width. Once in a process. */
async function hashRuntime(): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(process.execPath, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return sha384(hash.digest());
}
let runtime: Promise<string> | undefined;

/** SHA-384 values in lower-case hex; deterministic for the same tree and runtime. */
export async function measureRole(role: Role, root = ROOT): Promise<Registers> {
  runtime ??= hashRuntime();
  const { files } = await importClosure(`workloads/${role}/main.ts`, root);
  const hashes = await Promise.all(files.map(async (file) => `${file}\0${sha384(await readFile(resolve(root, file)))}\n`));
  return { PCR0: sha384(hashes.join('')), PCR1: await runtime, PCR2: sha384(await readFile(resolve(root, 'package-lock.json'))) };
}
