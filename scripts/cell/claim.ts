/** One cell per folder: `running.json` names the process that runs it. */
import { link, rename, rm, writeFile } from 'node:fs/promises';
import { alive, startTime } from '../../workloads/ledger/embedded/orphan.ts';
import { UserError } from '../cli/output.ts';
import { at, readOptional } from './folder.ts';

/** Ids are used again: the start time tells two processes apart. */
interface Owner { readonly pid: number; readonly started?: string }

async function lives({ pid, started }: Owner): Promise<boolean> {
  return alive(pid) && (started === undefined || (await startTime(pid)) === started);
}

/** Refuses a second cell on the same folder while the first one lives. @returns the release */
export async function claimFolder(folder: string): Promise<() => Promise<void>> {
  const path = at(folder).running;
  const mine = `${path}.${process.pid}.${crypto.randomUUID()}`;
  const content = JSON.stringify({ pid: process.pid, started: await startTime(process.pid) } satisfies Owner);
  const taken = (pid: number) => new UserError('CELL_RUNNING', `A cell already runs on ${folder} (process ${pid}).`, `Use it (ccc count --data ${folder} FILE), stop it, or name another folder with --data.`);
  await writeFile(mine, content, { mode: 0o600 });
  try {
    for (;;) {
      // A link is made or is not: of two starts at once one gets it.
      const won = await link(mine, path).then(() => true, (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
        return false;
      });
      if (won) return async () => { if ((await readOptional(path)) === content) await rm(path, { force: true }); };
      const found = await readOptional(path);
      if (found === undefined) continue;
      const owner = JSON.parse(found) as Owner;
      if (await lives(owner)) throw taken(owner.pid);
      await retire(path, found);
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/** Takes the file of a dead owner away, and no other: another start may have put its own there meanwhile. */
async function retire(path: string, dead: string): Promise<void> {
  const aside = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await readOptional(aside)) !== dead) await link(aside, path).catch(() => {});
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}
