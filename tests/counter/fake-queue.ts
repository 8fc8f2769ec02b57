/** The part of a gateway that counters see, in memory: leases with fencing tokens, messages, completions. A session is checked by its proof; the broker checks the rest. */
import type { IncomingMessage } from 'node:http';
import { type Bytes, b64u, concat, fromB64u, hex, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { bundleHead } from '../../workloads/protocol/bundle.ts';
import { decodeJwsUnverified } from '../../workloads/protocol/jws.ts';
import {
  type RegisterSession, type Sealed, type SessionPayload, type TenantEpoch, completeRequestSchema, giveBackRequestSchema, heartbeatRequestSchema, leaseRequestSchema, messagesRequestSchema, registerSessionSchema,
} from '../../workloads/protocol/messages.ts';
import { JtiStore, verifyPop } from '../../workloads/protocol/pop.ts';
import { CccError } from '../../workloads/protocol/problem.ts';
import type { Handler } from '../broker/fake-gateway.ts';
import type { World } from '../broker/world.ts';

export interface QueuedJob {
  readonly tenant_id: string; readonly job_id: string; bytes: Bytes; readonly message_digest: string;
  state: string; code?: string; result?: Sealed; token?: string; leaseUntil: number; attempts: number; readonly gaveBack: string[]; sessionId?: string;
}

export class FakeQueue {
  readonly jobs: QueuedJob[] = [];
  readonly registered = new Map<string, RegisterSession>();
  /** Messages in each answer with messages. */
  readonly fetched: number[] = [];
  /** Jobs in each request that ended some. */
  readonly completed: number[] = [];
  /** What leases say of every message. */
  sizes: number | undefined;
  leaseMs = 30_000;
  /** What it shows of its epochs. */
  epochs: (() => Promise<TenantEpoch[]>) | undefined;
  /** Answers 401 to this many requests of counters that carry a session. */
  refuseSessions = 0;
  readonly #world: World;
  readonly #seen = new JtiStore();
  readonly #waiting = new Set<() => void>();

  constructor(world: World) {
    this.#world = world;
    const route = (name: string, handler: Handler) => world.gateway.routes.set(name, handler);
    const json = (body: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(body));
    for (const path of ['challenge', 'attest']) route(`POST /${path}`, ({ body }) => this.#pass(`/v1/${path}`, body, {}));
    route('POST /release', async (request) => {
      await this.#proven(request);
      return this.#pass('/v1/release', request.body, { 'ccc-session': String(request.headers['ccc-session']), 'ccc-pop': String(request.headers['ccc-pop']) });
    });
    route('POST /sessions', async (request) => {
      const sid = await this.#proven(request);
      this.registered.set(sid, registerSessionSchema.parse(json(request.body)));
      return undefined;
    });
    route('POST /lease', async (request) => {
      const sid = await this.#proven(request);
      const { max, wait_ms } = leaseRequestSchema.parse(json(request.body));
      let taken = this.#take(max, sid);
      if (taken.length === 0 && wait_ms > 0) {
        await new Promise<void>((resolve) => { this.#waiting.add(resolve); setTimeout(resolve, Math.min(wait_ms, 300)); });
        taken = this.#take(max, sid);
      }
      return {
        lease_ms: this.leaseMs, ...(this.epochs === undefined ? {} : { epochs: await this.epochs() }),
        jobs: taken.map((job) => ({
          tenant_id: job.tenant_id, job_id: job.job_id, lease_token: job.token, lease_until: job.leaseUntil, attempt: job.attempts, message_digest: job.message_digest, size: this.sizes ?? job.bytes.length,
        })),
      };
    });
    route('POST /messages', async (request) => {
      await this.#proven(request);
      const { jobs } = messagesRequestSchema.parse(json(request.body));
      this.fetched.push(jobs.length);
      return concat(...jobs.flatMap((each) => {
        const job = this.#held(each);
        const part = job?.bytes ?? utf8('LEASE_STALE');
        return [bundleHead(job === undefined ? 'code' : 'message', part.length), part];
      }));
    });
    route('POST /heartbeat', async (request) => {
      await this.#proven(request);
      const { jobs } = heartbeatRequestSchema.parse(json(request.body));
      const lease_until = world.now() + this.leaseMs;
      return { lost: jobs.filter((each) => this.#held(each)?.state !== 'leased').map(({ job_id }) => job_id), lease_until, ...(this.epochs === undefined ? {} : { epochs: await this.epochs() }) };
    });
    route('POST /give-back', async (request) => {
      await this.#proven(request);
      const { jobs, code } = giveBackRequestSchema.parse(json(request.body));
      for (const each of jobs) {
        const job = this.#held(each);
        if (job === undefined) continue;
        job.gaveBack.push(code);
        job.state = 'accepted';
        delete job.token;
      }
      return undefined;
    });
    route('POST /complete', async (request) => {
      const sid = await this.#proven(request);
      const { jobs } = completeRequestSchema.parse(json(request.body));
      this.completed.push(jobs.length);
      return {
        jobs: jobs.map(({ outcome, code, result, ...lease }) => {
          const job = this.#held(lease);
          if (job === undefined || job.state !== 'leased') return { job_id: lease.job_id, recorded: false, state: 'stale' };
          Object.assign(job, { state: outcome, sessionId: sid, ...(code === undefined ? {} : { code }), ...(result === undefined ? {} : { result }) });
          return { job_id: lease.job_id, recorded: true, state: outcome };
        }),
      };
    });
  }

  async add(bytes: Bytes, context: { tenant_id: string; job_id: string }): Promise<QueuedJob> {
    const job: QueuedJob = { tenant_id: context.tenant_id, job_id: context.job_id, bytes, message_digest: hex(await sha256(bytes)), state: 'accepted', leaseUntil: 0, attempts: 0, gaveBack: [] };
    this.jobs.push(job);
    for (const wake of this.#waiting) wake();
    return job;
  }

  #held({ tenant_id, job_id, lease_token }: { tenant_id: string; job_id: string; lease_token: string }): QueuedJob | undefined {
    return this.jobs.find((job) => job.tenant_id === tenant_id && job.job_id === job_id && job.token === lease_token);
  }

  #take(max: number, sid: string): QueuedJob[] {
    const free = this.jobs.filter(({ state }) => state === 'accepted').slice(0, max);
    for (const job of free) Object.assign(job, { state: 'leased', token: b64u(randomBytes(16)), leaseUntil: this.#world.now() + this.leaseMs, attempts: job.attempts + 1, sessionId: sid });
    return free;
  }

  async #pass(path: string, body: Bytes, headers: Record<string, string>): Promise<object> {
    const response = await fetch(this.#world.gateway.broker + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } }).catch((cause: unknown) => {
      throw new CccError('BROKER_UNAVAILABLE', 'Down.', { cause });
    });
    const answer = await response.json() as { code: 'INTERNAL' };
    if (!response.ok) throw new CccError(answer.code, 'The broker refused.');
    return answer;
  }

  /** The session's id. */
  async #proven({ method, path, query, body, headers }: { method: string; path: string; query: URLSearchParams; body: Bytes; headers: IncomingMessage['headers'] }): Promise<string> {
    if (this.refuseSessions > 0) {
      this.refuseSessions--;
      throw new CccError('SESSION_EXPIRED', 'Attest again.');
    }
    const session = String(headers['ccc-session']);
    const payload = decodeJwsUnverified(session).payload as SessionPayload;
    const search = query.size === 0 ? '' : `?${query}`;
    await verifyPop({
      pop: String(headers['ccc-pop']), publicKey: fromB64u(payload.cnf.jwk.x), method, path: `/internal/v1${path}${search}`, body, session, now: Math.floor(this.#world.now() / 1000), seen: this.#seen,
    });
    if (path !== '/sessions' && !this.registered.has(payload.sid)) throw new CccError('SESSION_INVALID', 'Register it first.');
    return payload.sid;
  }
}
