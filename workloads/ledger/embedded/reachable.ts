/**
 * Root starts the server as `nobody`, who cannot enter a checkout under /root. A capability does not help there: initdb and postgres look for each
 * other with access(2), which ignores capabilities. So the programs (61 MB) are copied once to a folder of root's that everybody may enter.
 */
import { cp, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { LedgerError } from '../errors.ts';
import type { Binaries } from './binaries.ts';
import { closedParents } from './identity.ts';

/** The same programs, where the server's user can run them. @throws LedgerError POSTGRES_FOLDER */
export async function reachable(binaries: Binaries): Promise<Binaries> {
  if (process.getuid?.() !== 0 || (await closedParents([binaries.postgres, binaries.initdb])).length === 0) return binaries;
  const native = dirname(dirname(binaries.postgres));
  // Another build of the programs is another folder.
  const { size, mtimeMs } = await stat(binaries.postgres);
  const place = join(tmpdir(), `ccc-postgres-${size}-${Math.floor(mtimeMs)}`);
  if (!(await isOurs(place))) {
    const fresh = await mkdtemp(join(tmpdir(), 'ccc-postgres-new-'));
    try {
      await cp(native, join(fresh, 'native'), { recursive: true, verbatimSymlinks: true, mode: 0 });
      await rename(join(fresh, 'native'), place);
    } catch (error) {
      // Another start may have been first; whatever stands there now is judged below.
      if (!(await isOurs(place))) throw error;
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
  }
  const closed = await closedParents([join(place, 'bin', 'postgres')]);
  if (closed.length > 0 || !(await isOurs(place))) {
    throw new LedgerError('POSTGRES_FOLDER', `PostgreSQL's programs are copied to ${place} for a user that may not enter the checkout, and that place is not usable. Set TMPDIR to a folder that everybody may enter, remove ${place}, or start as another user.`);
  }
  return { postgres: join(place, 'bin', basename(binaries.postgres)), initdb: join(place, 'bin', basename(binaries.initdb)) };
}

/** Whole (it came by a rename), root's, and nobody else may write there. */
const isOurs = (place: string): Promise<boolean> => stat(place).then((s) => s.isDirectory() && s.uid === 0 && (s.mode & 0o022) === 0, () => false);
