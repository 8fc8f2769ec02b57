/** Files of simulated TEEs, secrets among them. Node only. */
import { chmod, rename, writeFile } from 'node:fs/promises';
import { hex, randomBytes } from '../../bytes.ts';

/** All or nothing: readers never see half a file, and a secret is never readable by others, not even for a moment. */
export async function writeWhole(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const temporary = `${path}.${hex(randomBytes(4))}`;
  await writeFile(temporary, content, { mode });
  await chmod(temporary, mode);
  await rename(temporary, path);
}
