/**
 * The highest policy revision that was ever in force here, over restarts: without it, a gateway could show a broker that was just started an older policy until
 * that ends. Worth as much as the disk it lies on: an operator who can change that takes it away, so a TEE without an own disk has none.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { RevisionMark, SeenRevision } from '../protocol/policy-source.ts';
import { writeWhole } from '../protocol/whole-file.ts';

const seenSchema = z.strictObject({ deployment: z.string().min(1).max(128), revision: z.number().int().min(1) });

export const fileMark = (path: string): RevisionMark => ({
  /** @throws for a file that is not what was written: nothing is in force until somebody has looked */
  async read(): Promise<SeenRevision | undefined> {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    });
    return text === undefined ? undefined : seenSchema.parse(JSON.parse(text));
  },
  async write(seen) {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeWhole(path, JSON.stringify(seen));
  },
});
