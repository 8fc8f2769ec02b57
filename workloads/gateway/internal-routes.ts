/** The internal listener, /internal/v1, for counters. No counter holds a database credential: this is all it can do. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import { verifyEar } from '../../attestation/ear.ts';
import { fromB64u, utf8 } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import type { CompleteAnswer, JobRecord, LeaseRef } from '../ledger/ledger.ts';
import { bundleHead } from '../protocol/bundle.ts';
import { seconds } from '../protocol/clock.ts';
import { errorFields } from '../protocol/log.ts';
import {
  completeRequestSchema, completeResponseSchema, giveBackRequestSchema, heartbeatRequestSchema, heartbeatResponseSchema, leaseRequestSchema, leaseResponseSchema,
  MAX_ATTESTED_BYTES, messagesRequestSchema, registerSessionSchema, RELEASE_PATH, type SessionPayload, type TenantEpoch,
} from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { tenantId } from '../protocol/wire.ts';
import type { Core } from './core.ts';
import type { Served } from './epochs.ts';
import { longLease } from './lease.ts';
import { counterSchema } from './public-routes.ts';
import { parseJson, route, type Route } from './route.ts';

/** `anonymous`: before a session; the broker judges what is passed on. `public`: what it answers is public. */
export type InternalAuth = 'counter' | 'broker' | 'anonymous' | 'public';

const MAX_KNOWN = 10_000;
const empty = { description: 'Done' };
const COUNTER = ['SESSION_INVALID', 'SESSION_EXPIRED', 'SESSION_ROLE', 'POP_INVALID', 'POP_REPLAYED', 'BROKER_UNAVAILABLE', 'BROKER_UNVERIFIED', 'LEDGER_UNAVAILABLE', 'VALIDATION'] as const;

const toRef = (wire: { tenant_id: string; job_id: string; lease_token: string }): LeaseRef => ({ tenantId: wire.tenant_id, jobId: wire.job_id, leaseToken: wire.lease_token });

export function sessionOf(request: { session: SessionPayload | undefined }): SessionPayload {
  return request.session ?? refuse('SESSION_INVALID', 'ccc-session', 'Attest first.', { have: 'no session' });
}

export function counterRoutes(core: Core): Route<InternalAuth>[] {
  /** Jobs name the session that counted them, and clients verify its evidence: so there is no work before it is registered. */
  const known = new Set<string>();
  const registered = async (session: SessionPayload): Promise<string> => {
    if (known.has(session.sid)) return session.sid;
    if (await core.ledger.session(session.sid) === undefined) refuse('SESSION_INVALID', 'ccc-session.sid', 'Register the session first: POST /internal/v1/sessions.', { have: 'not registered' });
    if (known.size >= MAX_KNOWN) known.clear();
    known.add(session.sid);
    return session.sid;
  };

  return [
    route({
      method: 'POST', path: '/internal/v1/sessions', operation: 'registerSession', auth: 'counter', summary: 'Registers a counter\'s session with the evidence that clients verify.',
      body: registerSessionSchema, answers: { 204: empty }, errors: COUNTER,
      handler: async ({ body, request, reply }) => {
        const session = sessionOf(request);
        if (body.session !== request.headers['ccc-session']) refuse('SESSION_INVALID', 'session', 'Register the session that you call with.', { have: 'another session' });
        if (body.binding.signing_key !== session.cnf.jwk.x) refuse('BINDING_KEY', 'binding.signing_key', 'Send the evidence of this session.', { have: body.binding.signing_key, need: session.cnf.jwk.x });
        if (body.binding.role !== session.role) refuse('BINDING_ROLE', 'binding.role', 'Send the evidence of this session.', { have: body.binding.role, need: session.role });
        if (body.binding.cell !== session.cell) refuse('BINDING_CELL', 'binding.cell', 'Send the evidence of this session.', { have: body.binding.cell, need: session.cell });
        if (body.binding.policy_digest !== session.policy_digest) refuse('BINDING_POLICY', 'binding.policy_digest', 'Send the evidence of this session.', { have: body.binding.policy_digest, need: session.policy_digest });
        const broker = request.brokerInstance;
        if (broker === undefined) throw new CccError('BROKER_UNVERIFIED', 'Attest again.');
        const ear = await verifyEar(body.ear, Uint8Array.from(broker.signingKey), seconds(core.now));
        if (ear.cnf.jwk.x !== session.cnf.jwk.x || ear.eat_nonce !== body.binding.nonce) refuse('BINDING_KEY', 'ear.cnf', 'Send the attestation result of this session.', { have: ear.cnf.jwk.x, need: session.cnf.jwk.x });
        const { evidence, binding } = body;
        const outcome = await core.ledger.putSession({ id: session.sid, role: session.role, evidence: { evidence, binding, ear: body.ear }, expiresAt: session.exp * 1000 });
        if (outcome === 'conflict') refuse('SESSION_INVALID', 'ccc-session.sid', 'Attest again.', { have: 'registered with other evidence' });
        core.log.info('counter registered', { session: session.sid, platform: evidence.platform });
        return reply.code(204).send();
      },
    }),
    route({
      method: 'POST', path: '/internal/v1/lease', operation: 'lease', auth: 'counter', summary: 'Takes due jobs; waits for some if there are none.',
      body: leaseRequestSchema, answers: { 200: { description: 'Leases, none when time is up', schema: leaseResponseSchema } }, errors: COUNTER,
      handler: async ({ body, request }) => longLease(core, await registered(sessionOf(request)), sessionOf(request).exp * 1000, body, request),
    }),
    route({
      method: 'POST', path: '/internal/v1/heartbeat', operation: 'heartbeat', auth: 'counter', summary: 'Renews leases.',
      body: heartbeatRequestSchema, answers: { 200: { description: 'Which are lost', schema: heartbeatResponseSchema } }, errors: COUNTER,
      handler: async ({ body }) => {
        const until = core.now() + core.limits.leaseMs;
        const { mine, others, epochs } = await split(core, body.jobs);
        const lost = mine.length === 0 ? [] : await core.ledger.heartbeat(mine.map(toRef), core.limits.leaseMs);
        return { lost: [...lost, ...others.map(({ job_id }) => job_id)], lease_until: until, ...(epochs === undefined ? {} : { epochs }) };
      },
    }),
    route({
      method: 'POST', path: '/internal/v1/give-back', operation: 'giveBack', auth: 'counter', summary: 'Puts jobs back into the queue.',
      body: giveBackRequestSchema, answers: { 204: empty }, errors: COUNTER,
      handler: async ({ body, reply }) => {
        const { mine } = await split(core, body.jobs);
        if (mine.length > 0) await core.ledger.giveBack(mine.map(toRef), body.code, core.limits.giveBackDelayMs);
        return reply.code(204).send();
      },
    }),
    route({
      method: 'POST', path: '/internal/v1/complete', operation: 'complete', auth: 'counter', summary: 'Ends jobs, each once, in one transaction. A tenant whose epoch is not held here refuses the whole: send its jobs apart.',
      body: completeRequestSchema.refine(({ jobs }) => new Set(jobs.map(({ tenant_id, job_id }) => `${tenant_id}/${job_id}`)).size === jobs.length, { path: ['jobs'], message: 'each job once' })
        .refine(({ jobs }) => jobs.every((c) => c.outcome !== 'completed' || (c.result !== undefined && c.code === undefined)), { path: ['jobs'], message: 'a completed job has a result and no code' })
        .refine(({ jobs }) => jobs.every((c) => c.outcome === 'completed' || c.code !== undefined), { path: ['jobs'], message: 'a job that was not completed has a code' }),
      answers: { 200: { description: 'What stands', schema: completeResponseSchema } }, errors: COUNTER,
      handler: async ({ body: { jobs }, request }) => {
        const sessionId = await registered(sessionOf(request));
        const served = new Map<string, Served>();
        for (const { tenant_id } of jobs) if (!served.has(tenant_id)) served.set(tenant_id, await core.epochs.require(tenant_id));
        const answers = await core.ledger.completeAll(jobs.map(({ outcome, code, result, ...wire }) => {
          const { until, epoch } = served.get(wire.tenant_id) as Served;
          return { ...toRef(wire), ...(until === undefined ? {} : { epoch }), outcome, counted: outcome === 'completed', sessionId, ...(code === undefined ? {} : { code }), ...(result === undefined ? {} : { result }) };
        }));
        for (const one of served.values()) await core.epochs.requireStill(one);
        return {
          jobs: jobs.map(({ job_id, tenant_id, code }, i) => {
            const { recorded, state } = answers[i] as CompleteAnswer;
            core.log.info('job ended', { job_id, tenant_id, state, ...(code === undefined ? {} : { code }) });
            return { job_id, recorded, state };
          }),
        };
      },
    }),
    route({
      method: 'POST', path: '/internal/v1/messages', operation: 'messages', auth: 'counter', summary: 'The messages of leased jobs, byte for byte, one after the other.',
      body: messagesRequestSchema, answers: { 200: { description: 'Per job its message, or the code of why not (LEASE_STALE, STORE_UNAVAILABLE)', mediaType: 'application/octet-stream' } }, errors: COUNTER,
      handler: async ({ body, request, reply }) => {
        const session = sessionOf(request);
        const jobs = await core.ledger.leasedJobs(body.jobs.map(toRef));
        const mine = await Promise.all(jobs.map(async (job) => (job !== undefined && await leasedBy(core, job.sessionId, session) ? job : undefined)));
        return reply.code(200).header('content-type', 'application/octet-stream').send(Readable.from(bundle(core, mine), { objectMode: false }));
      },
    }),
    route({
      method: 'POST', path: RELEASE_PATH, operation: 'release', auth: 'counter', summary: 'Has data keys released: passed to the broker as it is, which checks the same proof itself.',
      answers: { 200: { description: 'The broker\'s answer' } }, errors: COUNTER,
      handler: async ({ request, reply }) => {
        await registered(sessionOf(request));
        const tenants = await core.epochs.rules() === undefined ? [] : releaseTenants(request.rawBody);
        const served: Served[] = [];
        for (const tenant of tenants) served.push(await core.epochs.require(tenant));
        return pass(core, '/v1/release', request, reply, { 'ccc-session': String(request.headers['ccc-session']), 'ccc-pop': String(request.headers['ccc-pop']) }, async () => { for (const one of served) await core.epochs.requireStill(one); });
      },
    }),
    ...(['challenge', 'attest'] as const).map((what) => route<InternalAuth>({
      method: 'POST', path: `/internal/v1/${what}`, operation: what, auth: 'anonymous', summary: 'Passed to the broker as it is.',
      // Nobody has proven anything yet: no more than the broker would read
      bodyBytes: MAX_ATTESTED_BYTES,
      answers: { 200: { description: 'The broker\'s answer' } }, errors: ['BROKER_UNAVAILABLE', 'RATE_LIMITED'],
      handler: async ({ request, reply }) => pass(core, `/v1/${what}`, request, reply),
    })),
  ];
}

/** Jobs of tenants whose epoch this cell holds, and the others, which are lost to it. */
async function split<J extends { readonly tenant_id: string }>(core: Core, jobs: readonly J[]): Promise<{ mine: readonly J[]; others: readonly J[]; epochs: TenantEpoch[] | undefined }> {
  const epochs = await core.epochs.proofs(jobs.map(({ tenant_id }) => tenant_id));
  if (epochs === undefined) return { mine: jobs, others: [], epochs };
  const held = new Set(epochs.map(({ tenant_id }) => tenant_id));
  return { mine: jobs.filter(({ tenant_id }) => held.has(tenant_id)), others: jobs.filter(({ tenant_id }) => !held.has(tenant_id)), epochs };
}

/** The broker judges the body; here only the tenants matter. */
function releaseTenants(raw: Uint8Array | undefined): string[] {
  const parsed = z.object({ items: z.array(z.object({ tenant_id: tenantId })).max(64) }).safeParse(parseJson(raw));
  return parsed.success ? [...new Set(parsed.data.items.map(({ tenant_id }) => tenant_id))] : [];
}

/** One message in memory at a time: the next is read when the counter has taken the one before. */
async function* bundle({ store, log }: Core, jobs: readonly (JobRecord | undefined)[]): AsyncGenerator<Uint8Array, void> {
  for (const job of jobs) {
    const message = job === undefined ? 'LEASE_STALE' : await store.read(job.messageDigest).catch((error: unknown) => {
      log.warn('message not read', { job_id: job.jobId, tenant_id: job.tenantId, ...errorFields(error) });
      return error instanceof CccError ? error.code : 'INTERNAL';
    });
    const bytes = typeof message === 'string' ? utf8(message) : message;
    yield bundleHead(typeof message === 'string' ? 'code' : 'message', bytes.length);
    if (bytes.length > 0) yield bytes;
  }
}

type Reply = Parameters<Route<InternalAuth>['handler']>[0]['reply'];
type Request = Parameters<Route<InternalAuth>['handler']>[0]['request'];

async function pass(core: Core, path: string, request: Request, reply: Reply, headers: Record<string, string> = {}, still: () => Promise<void> = async () => {}): Promise<Reply> {
  const raw = request.rawBody;
  if (raw === undefined || raw.length === 0) throw new CccError('BODY_EMPTY', 'Send a JSON body.');
  const answer = await core.broker.pass(path, raw, headers);
  await still();
  return reply.code(answer.status).type(answer.mediaType).send(answer.body);
}

/** The lease's own session, or another one of the same attested key: a counter renews its session while it works. */
async function leasedBy(core: Core, holder: string | undefined, session: SessionPayload): Promise<boolean> {
  if (holder === undefined) return false;
  if (holder === session.sid) return true;
  const counter = counterSchema.safeParse((await core.ledger.session(holder))?.evidence);
  return counter.success && counter.data.binding.signing_key === session.cnf.jwk.x && fromB64u(session.cnf.jwk.x).length === 32;
}
