/** Logs that do not fill the disk: one file before the current one is kept. */
import { copyFile, rename, stat, truncate } from 'node:fs/promises';

export const MAX_LOG_BYTES = 64 * 2 ** 20;

/**
 * The process goes on writing to the same file, at its end, which is its beginning then. What it writes between copy and cut is lost: these logs are for people;
 * what must not be lost is in the ledger.
 * @returns whether it was time
 */
export async function rotateLog(path: string, maxBytes = MAX_LOG_BYTES): Promise<boolean> {
  const size = await stat(path).then((found) => found.size, () => 0);
  if (size < maxBytes) return false;
  // Whole, or not under its name.
  await copyFile(path, `${path}.new`);
  await rename(`${path}.new`, `${path}.1`);
  await truncate(path, 0);
  return true;
}
