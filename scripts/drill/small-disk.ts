/**
 * A disk of a cell's own that can really be filled: a file system in memory (tmpfs, mount(8)), mounted where the cell's folder will be. It needs Linux and
 * the right to mount. Where there is neither, the drill says that it cannot be done: a limit on one process's files is no full disk.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EXIT, UserError } from '../cli/output.ts';

/** Code of what this machine cannot play. */
export const UNPLAYABLE = 'DRILL_UNPLAYABLE';

const run = promisify(execFile);

/** Twice what a cell has at the end of a drill: a database, ciphertext, logs. Pages are taken only as they are written. */
const MEGABYTES = 1_024;
const FILLER = 'somebody-elses-file';
const CHUNKS = [8 << 20, 64 << 10, 4 << 10] as const;
/** What others delete is taken again as fast. */
const AGAIN_MS = 50;

export interface SmallDisk {
  /** Until nothing more can be written, and then whatever becomes free. */
  fill(): Promise<void>;
  /** The code that a write of one page fails with; `undefined`: there is room. */
  refusal(): Promise<string | undefined>;
  free(): Promise<void>;
  remove(): Promise<void>;
}

/** @throws UserError DRILL_UNPLAYABLE */
export async function smallDisk(folder: string, megabytes = MEGABYTES): Promise<SmallDisk> {
  await mkdir(folder, { recursive: true });
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0711`, 'ccc-drill', folder], { timeout: 10_000 }).catch((error: Error & { stderr?: string }) => {
    throw new UserError(UNPLAYABLE, `A disk cannot be filled here: no file system can be mounted (${(error.stderr ?? '').trim().split('\n')[0] || error.message.split('\n')[0]}).`, 'Run it as root on Linux, in a container with CAP_SYS_ADMIN; or choose another --scenario.', EXIT.unavailable);
  });
  const path = join(folder, FILLER);
  let filler: FileHandle | undefined;
  let size = 0;
  let timer: NodeJS.Timeout | undefined;
  let topping: Promise<void> | undefined;

  const top = async (file: FileHandle): Promise<void> => {
    for (const chunk of CHUNKS) {
      const zeros = new Uint8Array(chunk);
      for (let written = chunk; written === chunk; size += written) written = await file.write(zeros, 0, chunk, size).then(({ bytesWritten }) => bytesWritten, () => 0);
    }
  };
  const quiet = async (): Promise<void> => {
    clearInterval(timer);
    await topping;
    await filler?.close();
    filler = undefined;
    size = 0;
  };
  return {
    async fill() {
      const file = filler ??= await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
      await top(file);
      timer = setInterval(() => { topping ??= top(file).finally(() => { topping = undefined; }); }, AGAIN_MS);
    },
    async refusal() {
      const probe = join(folder, 'probe');
      try {
        const file = await open(probe, 'w', 0o600);
        try {
          await file.write(new Uint8Array(4_096));
          await file.sync();
        } finally {
          await file.close();
        }
        return undefined;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
      } finally {
        await rm(probe, { force: true });
      }
    },
    async free() {
      await quiet();
      await rm(path, { force: true });
    },
    async remove() {
      await quiet();
      // Lazily where a process that was killed still lets go of it.
      await run('umount', [folder], { timeout: 10_000 }).catch(() => run('umount', ['-l', folder], { timeout: 10_000 }));
    },
  };
}
