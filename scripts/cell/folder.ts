/** Where a cell keeps what: one folder, `.ccc` unless told otherwise. */
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

export { writeWhole } from '../../workloads/protocol/whole-file.ts';

export const DEFAULT_FOLDER = '.ccc';

export function cellFolder(named: string | undefined): string {
  const value = named ?? process.env['CCC_HOME'] ?? DEFAULT_FOLDER;
  return isAbsolute(value) ? value : resolve(value.replace(/^~(?=\/|$)/, homedir()));
}

export const at = (folder: string) => ({
  /** Of several in one folder. */
  cellOf: (name: string) => join(folder, name),
  cell: join(folder, 'cell.json'),
  policy: join(folder, 'policy.jws'),
  directory: join(folder, 'directory.jws'),
  lock: join(folder, 'measurements.lock.json'),
  ownerKey: join(folder, 'owner', 'owner.jwk'),
  ownerPublic: join(folder, 'owner', 'public.txt'),
  simulated: join(folder, 'simulated'),
  sealer: join(folder, 'broker', 'sealer.key'),
  postgres: join(folder, 'pg'),
  store: join(folder, 'store'),
  logs: join(folder, 'logs'),
  admin: join(folder, 'admin.sock'),
  profile: join(folder, 'client', 'profile.json'),
  jobs: join(folder, 'client', 'jobs'),
  clientDirectory: join(folder, 'client', 'directory.jws'),
  seen: join(folder, 'client', 'seen.json'),
  running: join(folder, 'running.json'),
});

/** Secrets lie in folders of mode 0700; the folder itself stays traversable for the database's own user. */
export async function makeFolders(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
  for (const sub of ['owner', 'simulated', 'broker', 'client']) await mkdir(join(folder, sub), { recursive: true, mode: 0o700 });
  for (const sub of ['store', 'logs']) await mkdir(join(folder, sub), { recursive: true, mode: 0o700 });
}

export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
