/** The gateway's public API, typed. Nothing that comes back is believed here: signatures and evidence are checked by whoever calls. */
import { z } from 'zod';
import { visible } from '../../attestation/refusal.ts';
import {
  type Job, jobEventSchema, type JobEvent, jobSchema, type JobState, type ManifestResponse, manifestRequestSchema, manifestResponseSchema, type Problem, problemSchema,
} from '../protocol/messages.ts';
import { serverEvents } from './sse.ts';

/** What went wrong with a request: the code of the gateway's problem document, or one of ours (NETWORK, ANSWER_FORMAT). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: string;
  /** HTTP status, 0 when there was no answer. */
  readonly status: number;
  readonly problem: Problem | undefined;
  /** Milliseconds that the gateway asks to wait. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, detail: { status?: number; problem?: Problem | undefined; retryAfter?: number | undefined; cause?: unknown } = {}) {
    // A gateway's words end up on terminals.
    super(visible(`${code}: ${message}`), detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.status = detail.status ?? 0;
    this.problem = detail.problem;
    this.retryAfter = detail.retryAfter;
  }

  /** Worth the same request again: each request of this API may be repeated. */
  get passing(): boolean {
    return this.code === 'NETWORK' || [408, 425, 429, 502, 503, 504].includes(this.status);
  }
}

export interface ApiOptions {
  /** Origin of the gateway, or of a proxy to it. */
  readonly url: string;
  /** `ccc_live_...`; absent where a proxy adds it. */
  readonly apiKey?: string | undefined;
  readonly fetch?: typeof fetch;
  /** Waits; injected by tests. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Tries of one request in all; 1 never repeats. */
  readonly attempts?: number;
  readonly timeoutMs?: number;
}

export interface Api {
  readonly url: string;
  keyManifest(request: z.infer<typeof manifestRequestSchema>, signal?: AbortSignal): Promise<ManifestResponse>;
  /** The same bytes under the same job may be sent again and again: the first one counts. */
  submit(message: Uint8Array, signal?: AbortSignal): Promise<Job>;
  job(jobId: string, signal?: AbortSignal): Promise<Job>;
  jobs(query?: { limit?: number; state?: string }, signal?: AbortSignal): Promise<Job[]>;
  /** Ends when the job is final or the stream breaks; resume after the last `n`. */
  events(jobId: string, after: number, signal?: AbortSignal): AsyncGenerator<JobEvent>;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const FINAL: readonly JobState[] = ['completed', 'rejected', 'failed'];
/** Largest answer that is read: a job with its result, evidence and receipts. */
const MAX_ANSWER = 4 * 1024 * 1024;
const FIRST_WAIT = 250;
const LONGEST_WAIT = 15_000;

const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;

const jobList = z.object({ jobs: z.array(jobSchema) });

async function sleepFor(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((done, stop) => {
    const aborted = () => { clearTimeout(timer); stop(signal?.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener('abort', aborted); done(); }, ms);
    signal?.addEventListener('abort', aborted, { once: true });
  });
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d{1,6}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, Math.min(ms, 300_000)) : undefined;
}

async function read(response: Response, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const next = await reader?.read();
    if (next === undefined || next.done) break;
    size += next.value.length;
    if (size > limit) {
      await reader?.cancel();
      throw new ApiError('ANSWER_FORMAT', `an answer of more than ${limit} bytes`, { status: response.status });
    }
    parts.push(next.value);
  }
  const out = new Uint8Array(size);
  parts.reduce((at, part) => { out.set(part, at); return at + part.length; }, 0);
  return out;
}

async function failure(response: Response): Promise<ApiError> {
  let problem: Problem | undefined;
  try {
    problem = problemSchema.parse(JSON.parse(new TextDecoder().decode(await read(response, 65_536))));
  } catch { /* a proxy's page, say */ }
  const code = problem !== undefined && CODE.test(problem.code) ? problem.code : 'HTTP';
  return new ApiError(code, problem?.detail ?? problem?.title ?? `status ${response.status}`, {
    status: response.status, problem, retryAfter: retryAfter(response.headers.get('retry-after')),
  });
}

export function createApi(options: ApiOptions): Api {
  const doFetch = options.fetch ?? ((input, init) => fetch(input, init));
  const sleep = options.sleep ?? sleepFor;
  const attempts = options.attempts ?? 8;
  const base = options.url.replace(/\/+$/, '');

  const send = async (path: string, init: RequestInit, signal: AbortSignal | undefined, limitMs: number | undefined): Promise<Response> => {
    const signals = [...(signal === undefined ? [] : [signal]), ...(limitMs === undefined ? [] : [AbortSignal.timeout(limitMs)])];
    const headers = { accept: 'application/json', ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }), ...init.headers };
    try {
      const response = await doFetch(base + path, { ...init, headers, redirect: 'error', credentials: 'omit', signal: AbortSignal.any(signals) });
      if (!response.ok) throw await failure(response);
      return response;
    } catch (cause) {
      if (cause instanceof ApiError) throw cause;
      signal?.throwIfAborted();
      throw new ApiError('NETWORK', `no answer from ${base}`, { cause });
    }
  };

  /** Repeats what is worth it; waits grow, are spread, and are never shorter than the gateway asks. */
  const persist = async <T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof ApiError) || !error.passing || attempt >= attempts) throw error;
        const backOff = Math.min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT);
        await sleep(Math.max(error.retryAfter ?? 0, backOff * (0.5 + Math.random() / 2)), signal);
      }
    }
  };

  const json = <T>(schema: z.ZodType<T>, path: string, init: RequestInit, signal?: AbortSignal): Promise<T> => persist(signal, async () => {
    const response = await send(path, init, signal, options.timeoutMs ?? 60_000);
    let body: Uint8Array;
    try {
      body = await read(response, MAX_ANSWER);
    } catch (cause) {
      if (cause instanceof ApiError) throw cause;
      signal?.throwIfAborted();
      throw new ApiError('NETWORK', 'the answer broke off', { cause });
    }
    try {
      return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)));
    } catch (cause) {
      throw new ApiError('ANSWER_FORMAT', `${init.method ?? 'GET'} ${path}: not the answer that this version understands`, { status: response.status, cause });
    }
  });

  return {
    url: base,
    sleep,
    keyManifest: (request, signal) => json(manifestResponseSchema, '/v1/key-manifest', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request) }, signal),
    submit: (message, signal) => json(jobSchema, '/v1/jobs', { method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body: message as Uint8Array<ArrayBuffer> }, signal),
    job: (jobId, signal) => json(jobSchema, `/v1/jobs/${encodeURIComponent(jobId)}`, {}, signal),
    jobs: async (query = {}, signal) => {
      const search = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined).map(([k, v]) => [k, String(v)])).toString();
      return (await json(jobList, `/v1/jobs${search === '' ? '' : `?${search}`}`, {}, signal)).jobs;
    },
    async* events(jobId, after, signal) {
      const headers: Record<string, string> = { accept: 'text/event-stream', ...(after > 0 ? { 'last-event-id': String(after) } : {}) };
      const response = await send(`/v1/jobs/${encodeURIComponent(jobId)}/events`, { headers }, signal, undefined);
      if (response.body === null) return;
      for await (const { data } of serverEvents(response.body)) {
        const parsed = jobEventSchema.safeParse(safeJson(data));
        if (!parsed.success || parsed.data.job_id !== jobId || parsed.data.n <= after) continue;
        const { detail, ...event } = parsed.data;
        yield detail === undefined ? event : { ...event, detail: visible(detail) };
      }
    },
  };
}

function safeJson(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
