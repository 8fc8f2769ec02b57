/** Server-sent events of one job (HTML standard, section 9.2). */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorFields } from '../protocol/log.ts';
import { type JobEvent, jobEventSchema } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import type { Core } from './core.ts';

const FINAL: ReadonlySet<string> = new Set(['completed', 'rejected', 'failed']);
const open = new WeakMap<Core, Map<string, number>>();

/** @returns its end. @throws CccError BACK_PRESSURE */
function enter(core: Core, keyId: string): () => void {
  const counts = open.get(core) ?? new Map<string, number>();
  open.set(core, counts);
  const held = counts.get(keyId) ?? 0;
  if (held >= core.limits.eventStreamsPerKey) throw new CccError('BACK_PRESSURE', 'Close another event stream first.', { detail: `${held} event streams are open`, retryAfter: core.limits.retryAfterSeconds });
  counts.set(keyId, held + 1);
  let entered = true;
  return () => {
    if (!entered) return;
    entered = false;
    const left = (counts.get(keyId) ?? 1) - 1;
    if (left > 0) counts.set(keyId, left);
    else counts.delete(keyId);
  };
}

/** Rings when there may be something new, when time is up, or when the stream is to end. */
function bell(core: Core, job: { tenantId: string; jobId: string }, ms: number, signal: AbortSignal): { rung: Promise<void>; hangUp: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const ring = (): void => resolve();
  const timer = setTimeout(ring, ms);
  const off = core.ledger.onEvent((at) => { if (at.jobId === job.jobId && at.tenantId === job.tenantId) ring(); });
  signal.addEventListener('abort', ring);
  if (signal.aborted) ring();
  return { rung: promise, hangUp: () => { clearTimeout(timer); off(); signal.removeEventListener('abort', ring); } };
}

async function* frames(core: Core, job: { tenantId: string; jobId: string }, after: number, signal: AbortSignal): AsyncGenerator<string> {
  let last = after;
  // Keeping a connection open is between the machines, so it goes by their clock, not by the ledger's.
  let quietSince = performance.now();
  yield 'retry: 2000\n\n';
  while (!signal.aborted) {
    // Listening begins before the look, so what happens in between rings.
    const { rung, hangUp } = bell(core, job, Math.min(core.limits.eventPollMs, core.limits.eventHeartbeatMs), signal);
    try {
      const events = await core.ledger.events(job.tenantId, job.jobId, last);
      for (const { n, event, at, detail } of events) {
        const data: JobEvent = jobEventSchema.parse({ job_id: job.jobId, n, event, at, ...(detail === undefined ? {} : { detail }) });
        yield `id: ${n}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
        last = n;
        if (FINAL.has(event)) return;
      }
      if (events.length > 0) quietSince = performance.now();
      else if (performance.now() - quietSince >= core.limits.eventHeartbeatMs) {
        quietSince = performance.now();
        yield ': still here\n\n';
      }
      await rung;
    } catch (error) {
      // The stream just ends; the client reconnects with Last-Event-ID.
      core.log.warn('event stream ended', { job_id: job.jobId, ...errorFields(error) });
      return;
    } finally {
      hangUp();
    }
  }
}

export async function eventStream(core: Core, tenantId: string, jobId: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const row = await core.ledger.job(tenantId, jobId);
  if (row === undefined) throw new CccError('NOT_FOUND', 'Check the job id.', { detail: 'Your tenant has no such job' });
  const after = await resumeAfter(core, tenantId, jobId, request.headers['last-event-id']);
  if (row.finishedAt !== undefined && (await core.ledger.events(tenantId, jobId, after)).length === 0) return reply.code(204).send();
  const leave = enter(core, request.apiKey?.id ?? '');
  const gone = new AbortController();
  const end = (): void => { gone.abort(); leave(); };
  reply.raw.once('close', end);
  // Who hung up while the ledger was asked has closed already: nothing else would give the place back.
  if (reply.raw.destroyed) end();
  const stream = Readable.from(frames(core, { tenantId, jobId }, after, AbortSignal.any([gone.signal, core.closing])), { objectMode: false });
  return reply.code(200).header('content-type', 'text/event-stream; charset=utf-8').header('cache-control', 'no-store').header('x-accel-buffering', 'no').send(stream);
}

/** The event after which to go on: one that there is. After any other number, all are told again, so that none is ever missed. */
async function resumeAfter(core: Core, tenantId: string, jobId: string, header: string | string[] | undefined): Promise<number> {
  if (typeof header !== 'string' || !/^[1-9]\d{0,8}$/.test(header)) return 0;
  const n = Number(header);
  return (await core.ledger.events(tenantId, jobId, n - 1)).some((event) => event.n === n) ? n : 0;
}
