/** The commit that is checked out, for a record of what was promoted from it. */
import { execFile } from 'node:child_process';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { UserError } from '../cli/output.ts';

/** @throws UserError when `file` is not as it was committed: a record would name a commit that does not hold it */
export async function headCommit(file: string): Promise<string> {
  const git = async (...args: string[]): Promise<string> => (await promisify(execFile)('git', ['-C', dirname(file), ...args], { encoding: 'utf8' })).stdout.trim();
  const answer = await Promise.all([git('rev-parse', 'HEAD'), git('ls-files', '--error-unmatch', '--', basename(file)), git('status', '--porcelain', '--', basename(file))]).catch(() => undefined);
  if (answer === undefined) throw new UserError('NO_COMMIT', `${file}: have no commit that holds it, need one.`, 'Run this in a checkout of the repository.');
  const [commit, , changed] = answer;
  if (changed !== '') throw new UserError('LOCK_UNCOMMITTED', `${file}: have changes that no commit holds, need the file as committed.`, 'Commit the lock file, then promote.');
  return commit;
}
