/**
 * A client's folder, mode 0700: `seen.json` (revisions seen), `jobs/ID.json` and `jobs/ID.message` (mode 0600) until a result was verified,
 * `receipts/ID.json` from then on. Files are written whole: a new file, flushed, renamed.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { writeWhole } from '../protocol/whole-file.ts';
import { jobId as jobIdSchema } from '../protocol/wire.ts';
import type { SeenStore } from './seen.ts';
import type { JobStore } from './store.ts';

async function put(path: string, data: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeWhole(path, data);
}

async function optional(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

const seenSchema = z.record(z.string(), z.string());

/** A file that is there and unreadable is an error, never an empty memory. */
export function fileSeen(folder: string): SeenStore {
  const path = join(folder, 'seen.json');
  const load = async () => new Map(Object.entries(seenSchema.parse(JSON.parse((await optional(path))?.toString('utf8') ?? '{}'))));
  let last: Promise<unknown> = Promise.resolve();
  return {
    get: async (key) => (await load()).get(key),
    set(key, value) {
      const next = last.catch(() => undefined).then(async () => {
        const map = await load();
        await put(path, `${JSON.stringify(Object.fromEntries(map.set(key, value)), null, 2)}\n`);
      });
      last = next;
      return next;
    },
  };
}

export function fileJobs(folder: string): JobStore & { receiptPath(jobId: string): string } {
  const named = (kind: 'jobs' | 'receipts', id: string, extension: string) => join(folder, kind, `${jobIdSchema.parse(id)}.${extension}`);
  return {
    receiptPath: (id) => named('receipts', id, 'json'),
    async put(job, message) {
      // The message first: a job that is listed has everything it needs.
      await put(named('jobs', job.job_id, 'message'), message);
      await put(named('jobs', job.job_id, 'json'), JSON.stringify(job));
    },
    async get(id) {
      const job = await optional(named('jobs', id, 'json'));
      if (job === undefined) return undefined;
      const message = await optional(named('jobs', id, 'message'));
      return { job: JSON.parse(job.toString('utf8')) as unknown, ...(message === undefined ? {} : { message }) };
    },
    async pending() {
      const names = await readdir(join(folder, 'jobs')).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return []; throw error; });
      return names.filter((n) => n.endsWith('.json')).map((n) => n.slice(0, -5)).filter((id) => jobIdSchema.safeParse(id).success).sort();
    },
    async done(id, receipt) {
      await put(named('receipts', id, 'json'), `${JSON.stringify(receipt, null, 2)}\n`);
      await rm(named('jobs', id, 'json'), { force: true });
      await rm(named('jobs', id, 'message'), { force: true });
    },
  };
}
