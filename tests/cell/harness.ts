/** A whole cell of real processes in a temporary folder, and a client of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addKey, addTenant } from '../../scripts/cell/admin.ts';
import { at } from '../../scripts/cell/folder.ts';
import { type RunningCell, startCell, type StartOptions } from '../../scripts/cell/start.ts';
import { type Api, createApi } from '../../workloads/client/api.ts';
import { type ClientOptions, countPicture } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { requestManifest, type VerifiedManifest } from '../../workloads/client/manifest.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { memoryJobs } from '../../workloads/client/store.ts';
import { createLog } from '../../workloads/protocol/log.ts';

export interface TestCell extends RunningCell {
  readonly tenant: string;
  readonly zone: string;
  readonly apiKey: string;
  /** The end of each process's log, for a failing test's message. */
  logs(): Promise<string>;
  close(): Promise<void>;
}

export async function testCell(counters = 1, options: Partial<StartOptions> = {}): Promise<TestCell> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-cell-'));
  const cell = await startCell(folder, { counters, log: createLog('test', { write: () => {} }), ...options });
  try {
    await addTenant(folder, 'acme', 'local');
    const { key } = await addKey(folder, 'acme', ['jobs:write', 'jobs:read', 'keys:read']);
    return {
      ...cell,
      tenant: 'acme', zone: 'local', apiKey: key,
      async logs() {
        const tails = await Promise.all(cell.processes.map(async (p) => `--- ${p.name}\n${(await readFile(join(at(folder).logs, `${p.name}.log`), 'utf8').catch(() => '')).split('\n').slice(-15).join('\n')}`));
        return tails.join('\n');
      },
      async close() {
        await cell.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await cell.stop();
    throw error;
  }
}

/** A process by the name that the supervisor gives it. */
export function processOf(cell: RunningCell, name: string) {
  const found = cell.processes.find((p) => p.name === name);
  if (found === undefined) throw new Error(`no process ${name}`);
  return found;
}

/** Its log so far, one object a line. */
export async function logOf(cell: RunningCell, name: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(at(cell.folder).logs, `${name}.log`), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
}

export interface TestClient extends Omit<ClientOptions, 'onStep'> {
  manifest(): Promise<VerifiedManifest>;
  /** Encrypts a picture and keeps what a resume needs, like a client that is stopped just before it sends. */
  prepare(picture: Uint8Array, manifest: VerifiedManifest): Promise<{ jobId: string; message: Uint8Array }>;
}

class Unsent extends Error {}

export function clientOf(cell: TestCell, api: Partial<Parameters<typeof createApi>[0]> = {}): TestClient {
  const options = {
    api: createApi({ url: cell.url, apiKey: cell.apiKey, ...api }), seen: memorySeen(), jobs: memoryJobs(), audience: 'ccc-test', now: Date.now,
    ownerKey: cell.ownerKey, tenant: cell.tenant, zone: cell.zone, cell: cell.cell.cell,
  };
  return {
    ...options,
    manifest: () => requestManifest({ ...options, now: Math.floor(Date.now() / 1000) }),
    async prepare(picture, manifest) {
      let message: Uint8Array | undefined;
      const unsent: Api = { ...options.api, submit: async (bytes) => { message = bytes; throw new Unsent(); } };
      const before = new Set(await options.jobs.pending());
      let jobId: string | undefined;
      const jobs = { ...options.jobs, put: async (job: Parameters<typeof options.jobs.put>[0], bytes: Uint8Array) => { jobId = job.job_id; await options.jobs.put(job, bytes); } };
      await countPicture({ ...options, jobs, api: unsent, esdk, manifest, classification: 'internal', bytes: picture }).catch((error: unknown) => {
        if (!(error instanceof Unsent)) throw error;
      });
      if (jobId === undefined || message === undefined || before.has(jobId)) throw new Error('nothing was prepared');
      return { jobId, message };
    },
  };
}
