import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

async function flushed(file: FileHandle, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Replaces the file as a whole: a reader sees the old or the new one, and so does whoever comes after a power failure. On disk when it
 * resolves. The folder must be there.
 * @param mode of the new file, less the umask
 */
export async function writeWhole(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.new`;
  try {
    const file = await open(temporary, 'wx', mode);
    await flushed(file, () => file.writeFile(content));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  // The name must last, too. Not every system opens or flushes folders; those that do not journal names.
  await open(dirname(path), 'r').then((folder) => flushed(folder, async () => {})).catch(() => {});
}
