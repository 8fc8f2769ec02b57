/**
 * Brings a job to a step and holds it there, so that a fault hits that step for certain:
 *
 * | phase | what is under way | held by |
 * |---|---|---|
 * | upload | half of the message is sent, or its acceptance is not committed | the client, or the audit head |
 * | lease | the lease is committed, its answer unread | stopped counters |
 * | release | the broker's receipt is not stored, the key not released | the audit head |
 * | count | the picture lies in front of the detector | stopped sandboxes |
 * | complete | the counter sent its result, which is not committed | the audit head |
 */
import { request } from 'node:http';
import { admin } from '../../../scripts/cell/admin.ts';
import { processOf, type TestCell, type TestClient } from '../harness.ts';
import { descendants, signal, until } from '../processes.ts';
import { holdAudit, isHeld, lastEvent, type Look } from './database.ts';

export const PHASES = ['upload', 'lease', 'release', 'count', 'complete'] as const;
export type Phase = (typeof PHASES)[number];

export interface Job { readonly jobId: string; readonly message: Uint8Array }
export interface Bench {
  readonly cell: TestCell;
  readonly client: TestClient;
  readonly look: Look;
  /** A job that is prepared and not sent. */
  next(): Promise<Job>;
  /** Sends it, several times at once, until each copy is acknowledged. Never throws: see `settled`. */
  send(job: Job): void;
}
export interface Held {
  readonly job: Job;
  /** Whether the job still is at that step. */
  still(): Promise<boolean>;
  /** Lets everything go on. */
  release(): Promise<void>;
}

const REACH_MS = 15_000;
/** Below the time after which the gateway calls the ledger absent. */
const TRY_MS = 1_500;
const MAX_TRIES = 8;
const counterNames = (cell: TestCell) => cell.processes.map((p) => p.name).filter((name) => name.startsWith('counter-'));

export async function counterPids(cell: TestCell): Promise<number[]> {
  return Promise.all(counterNames(cell).map((name) => until(`${name} runs`, REACH_MS, () => processOf(cell, name).pid())));
}

/** Each counter's one child. */
async function sandboxPids(cell: TestCell): Promise<number[]> {
  const children = await Promise.all((await counterPids(cell)).map((pid) => until('a sandbox runs', REACH_MS, () => descendants(pid)[0])));
  return children;
}

const signalAll = (pids: readonly number[], name: NodeJS.Signals): void => { for (const pid of pids) signal(pid, name); };

async function halfUpload(bench: Bench): Promise<Held> {
  const { cell } = bench;
  const job = await bench.next();
  const call = request(`${cell.url}/v1/jobs`, {
    method: 'POST', headers: { authorization: `Bearer ${cell.apiKey}`, 'content-type': 'application/octet-stream', 'content-length': job.message.length },
  });
  const over = new Promise<void>((done) => {
    call.once('error', () => done()).once('response', (response) => void response.resume().once('close', done));
  });
  call.write(job.message.subarray(0, job.message.length / 2));
  // Others may be uploading as well, and are done sooner or later.
  const uploading = async () => ((await admin<{ uploading_bytes: number }>(cell.folder, 'GET', '/status').catch(() => undefined))?.uploading_bytes ?? 0) >= job.message.length;
  await until('the gateway reads the upload', REACH_MS, uploading);
  return {
    job, still: uploading,
    async release() {
      call.end(job.message.subarray(job.message.length / 2));
      // What became of this attempt is open; the client sends the job again either way.
      void over.then(() => bench.send(job));
    },
  };
}

async function uncommitted(bench: Bench): Promise<Held> {
  const job = await bench.next();
  return holdingAudit(bench, async (release) => {
    bench.send(job);
    const still = () => isHeld(bench.look, 'usage');
    await until('the acceptance waits', TRY_MS, still);
    return { job, still, release };
  });
}

/** A counter that waits for work gets a lease even while it is stopped: the gateway's answer lies in its socket. */
async function leased(bench: Bench): Promise<Held> {
  const job = await bench.next();
  const pids = await counterPids(bench.cell);
  return holding(() => signalAll(pids, 'SIGSTOP'), async () => signalAll(pids, 'SIGCONT'), async (release) => {
    bench.send(job);
    const still = async () => (await lastEvent(bench.look, job.jobId)) === 'leased';
    await until('a stopped counter was leased the job', TRY_MS, still);
    return { job, still, release };
  });
}

async function releasing(bench: Bench): Promise<Held> {
  const { job, release: cont } = await leased(bench);
  return holdingAudit(bench, async (release) => {
    await cont();
    const still = async () => (await lastEvent(bench.look, job.jobId)) === 'leased' && isHeld(bench.look, 'receipts');
    await until('the receipt waits', TRY_MS, still);
    return { job, still, release };
  }, cont);
}

async function counting(bench: Bench): Promise<Held> {
  const job = await bench.next();
  const sandboxes = await sandboxPids(bench.cell);
  return holding(() => signalAll(sandboxes, 'SIGSTOP'), async () => signalAll(sandboxes, 'SIGCONT'), async (release) => {
    bench.send(job);
    const still = async () => (await lastEvent(bench.look, job.jobId)) === 'released';
    await until('the key was released', TRY_MS, still);
    return { job, still, release };
  });
}

async function completing(bench: Bench): Promise<Held> {
  const { job, release: cont } = await counting(bench);
  return holdingAudit(bench, async (release) => {
    await cont();
    const still = async () => (await lastEvent(bench.look, job.jobId)) === 'released' && isHeld(bench.look, 'results');
    await until('the completion waits', TRY_MS, still);
    return { job, still, release };
  }, cont);
}

/** Whatever is not reached is let go. */
async function holding(hold: () => void, release: () => Promise<void>, work: (release: () => Promise<void>) => Promise<Held>): Promise<Held> {
  hold();
  try {
    return await work(release);
  } catch (error) {
    await release();
    throw error;
  }
}

async function holdingAudit(bench: Bench, work: (release: () => Promise<void>) => Promise<Held>, otherwise: () => Promise<void> = async () => {}): Promise<Held> {
  let letGo = otherwise;
  try {
    letGo = await holdAudit(bench.cell.databaseUrl);
    return await work(letGo);
  } catch (error) {
    await letGo();
    await otherwise();
    throw error;
  }
}

/**
 * A counter that is not waiting just now, or must attest anew because the broker was hit a moment ago, does not get there: then the job
 * is one more of the history, and the next one is for the fault.
 */
export async function reach(phase: Phase, bench: Bench, variant: boolean): Promise<Held> {
  const way = { upload: variant ? halfUpload : uncommitted, lease: leased, release: releasing, count: counting, complete: completing }[phase];
  for (let tries = 1; ; tries++) {
    try {
      return await way(bench);
    } catch (error) {
      if (tries >= MAX_TRIES) throw error;
      // Once nothing is due the counters work again, and wait for more.
      await until('all work is done', REACH_MS, async () => (await bench.look.rows('select 1 from jobs where due_at is not null limit 1')).length === 0, 50);
    }
  }
}
