/**
 * As whom the server runs. PostgreSQL refuses root, so for root it runs as `nobody` (65534), who must be able to reach its files:
 * every parent folder needs the search permission for others. Where one lacks it (a checkout under /root), the server keeps the one
 * capability that replaces that permission, if `setpriv` (util-linux) is there to hand it over.
 */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { LedgerError } from '../errors.ts';

const NOBODY = 65_534;

export interface Identity {
  /** Owner of the data folder; undefined: the caller's own. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** The program and arguments that run `file` under this identity, and the options of `spawn`. */
  command(file: string, args: readonly string[]): { file: string; args: string[]; uid?: number; gid?: number };
}

/** @throws LedgerError POSTGRES_FOLDER when the server could not reach one of `paths` */
export async function serverIdentity(paths: readonly string[]): Promise<Identity> {
  if (process.getuid?.() !== 0) return { command: (file, args) => ({ file, args: [...args] }) };
  const owner = { uid: NOBODY, gid: NOBODY };
  const closed = await closedParents(paths);
  if (closed.length === 0) return { owner, command: (file, args) => ({ file, args: [...args], ...owner }) };
  const flags = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all,+dac_override', '--ambient-caps=-all,+dac_override', '--bounding-set=-all,+dac_override', '--no-new-privs'];
  if (await promisify(execFile)('setpriv', [...flags, 'true']).then(() => true, () => false)) {
    return { owner, command: (file, args) => ({ file: 'setpriv', args: [...flags, '--', file, ...args] }) };
  }
  throw new LedgerError('POSTGRES_FOLDER',
    `PostgreSQL does not run as root; it runs as user ${NOBODY} here, and that user may not enter ${closed.join(', ')}. `
    + `Choose a folder elsewhere, allow it (chmod o+x ${closed.join(' ')}), or start as another user.`);
}

/** Parent folders that `nobody` may not enter. */
export async function closedParents(paths: readonly string[]): Promise<string[]> {
  const closed = new Set<string>();
  for (const path of paths) {
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      const info = await stat(folder);
      const search = info.uid === NOBODY ? 0o100 : info.gid === NOBODY ? 0o010 : 0o001;
      if ((info.mode & search) === 0) closed.add(folder);
      if (folder === dirname(folder)) break;
    }
  }
  return [...closed].sort();
}
