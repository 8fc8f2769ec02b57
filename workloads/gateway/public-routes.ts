/** The public interface, /v1: what `GET /v1/openapi.json` describes. */
import { z } from 'zod';
import { b64u } from '../../attestation/bytes.ts';
import { isVendorSigned } from '../../attestation/collateral/collateral.ts';
import { toEvidence } from '../protocol/evidence.ts';
import { errorFields } from '../protocol/log.ts';
import { attestedSchema, jobEventSchema, jobSchema, JOB_STATES, manifestRequestSchema, manifestResponseSchema, MAX_COLLATERAL_BYTES, MAX_COLLATERAL_ITEMS, brokerManifestSchema, type WireCollateral, type WireEvidence } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { compactJws, jobId } from '../protocol/wire.ts';
import type { Scope } from './api-keys.ts';
import type { Core } from './core.ts';
import { eventStream } from './events.ts';
import { healthSchema } from './health.ts';
import { acceptMessage, toJob } from './jobs.ts';
import { openApi } from './openapi.ts';
import { route, type Route } from './route.ts';

export type PublicAuth = { readonly scope: Scope; readonly rate: 'submit' | 'read' | 'manifest' } | 'open';

export const jobListSchema = z.strictObject({
  jobs: z.array(jobSchema.omit({ result: true, counter: true, receipts: true })),
  /** Cursor of the next page; absent on the last. */
  next: jobId.optional(),
});
const digits = (max: number) => z.string().regex(/^[0-9]{1,9}$/).transform(Number).pipe(z.number().int().max(max));
const jobParams = z.strictObject({ job_id: jobId });

const COMMON = ['UNAUTHENTICATED', 'KEY_EXPIRED', 'KEY_REVOKED', 'FORBIDDEN_SCOPE', 'RATE_LIMITED', 'LEDGER_UNAVAILABLE', 'INTERNAL'] as const;

/** Another cell serves the tenant now; `reasons[0].need` names it where it is known. */
const EPOCH = ['EPOCH_FENCED', 'EPOCH_ABSENT', 'EPOCH_EXPIRED', 'EPOCH_QUORUM', 'EPOCH_CELL'] as const;

export function publicRoutes(core: Core): Route<PublicAuth>[] {
  const tenantOf = (request: { apiKey: { tenantId: string } | undefined }): string => {
    if (request.apiKey === undefined) throw new CccError('UNAUTHENTICATED', 'Send an API key.');
    return request.apiKey.tenantId;
  };
  let description: unknown;
  const routes: Route<PublicAuth>[] = [
    route({
      method: 'POST', path: '/v1/key-manifest', operation: 'keyManifest', auth: { scope: 'keys:read', rate: 'manifest' },
      summary: 'The keys to encrypt to, with the broker\'s evidence over your fresh nonce. Verify both before you encrypt.',
      body: manifestRequestSchema,
      answers: { 200: { description: 'Manifest, evidence and the owner\'s documents', schema: manifestResponseSchema } },
      errors: [...COMMON, 'VALIDATION', 'BAD_REQUEST', 'BODY_EMPTY', 'BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'BROKER_UNAVAILABLE', 'POLICY_MISSING', 'POLICY_EXPIRED', 'NOT_READY', 'KEY_SEALER_LOST', ...EPOCH],
      handler: async ({ body, request }) => {
        const { jws: policy } = await core.documents.policy();
        const { jws: directory } = core.documents.directory();
        const { proof } = await core.epochs.require(tenantOf(request));
        const answer = await core.broker.ask('/v1/manifest', { ...body, tenant_id: tenantOf(request), ...(proof === undefined ? {} : { epoch: proof }) }, brokerManifestSchema);
        return { ...answer, policy, directory, ...await carried(core, answer.evidence) };
      },
    }),
    route({
      method: 'POST', path: '/v1/jobs', operation: 'submitJob', auth: { scope: 'jobs:write', rate: 'submit' },
      summary: 'Submit an encrypted picture. The same bytes again get the same answer.',
      stream: { mediaType: 'application/octet-stream', description: `AWS Encryption SDK message, suite 0x0478, at most ${core.limits.messageBytes} bytes` },
      answers: { 202: { description: 'Accepted: this job will reach a final state', schema: jobSchema, headers: { location: 'The job' } } },
      errors: [...COMMON, 'BODY_EMPTY', 'BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'REQUEST_TIMEOUT', 'BAD_REQUEST', 'MESSAGE_FORMAT', 'MESSAGE_SUITE', 'CONTEXT_FORMAT', 'TENANT_MISMATCH',
        'ZONE_DENIED', 'CLASSIFICATION_DENIED', 'KEY_UNKNOWN', 'KEY_STATE', 'JOB_CONFLICT', 'BACK_PRESSURE', 'STORE_UNAVAILABLE', 'STORE_FULL', 'POLICY_MISSING', 'POLICY_EXPIRED', 'TENANT_UNKNOWN', ...EPOCH],
      handler: async ({ request, reply }) => {
        const job = await acceptMessage(core, tenantOf(request), request);
        return reply.code(202).header('location', `/v1/jobs/${job.job_id}`).send(job);
      },
    }),
    route({
      method: 'GET', path: '/v1/jobs', operation: 'listJobs', auth: { scope: 'jobs:read', rate: 'read' },
      summary: 'Your tenant\'s jobs, newest first, without results.',
      query: z.strictObject({ state: z.enum(JOB_STATES).optional(), limit: digits(1000).pipe(z.number().min(1)).optional(), before: jobId.optional() }),
      answers: { 200: { description: 'A page of jobs', schema: jobListSchema } },
      errors: [...COMMON, 'VALIDATION'],
      handler: async ({ query, request }) => {
        const limit = query.limit ?? core.limits.pageSize;
        const rows = await core.ledger.jobs(tenantOf(request), { limit, ...(query.state === undefined ? {} : { state: query.state }), ...(query.before === undefined ? {} : { before: query.before }) });
        const last = rows.at(-1);
        return { jobs: rows.map(toJob), ...(rows.length === limit && last !== undefined ? { next: last.jobId } : {}) };
      },
    }),
    route({
      method: 'GET', path: '/v1/jobs/:job_id', operation: 'getJob', auth: { scope: 'jobs:read', rate: 'read' },
      summary: 'One job: its state, the sealed result, the counter\'s attestation and the broker\'s receipts.',
      params: jobParams,
      answers: { 200: { description: 'The job', schema: jobSchema } },
      errors: [...COMMON, 'VALIDATION', 'NOT_FOUND', 'POLICY_MISSING', ...EPOCH],
      handler: async ({ params, request }) => {
        const row = await core.ledger.job(tenantOf(request), params.job_id);
        // What is not final here may be elsewhere: only the cell that works for the tenant knows.
        if (row?.finishedAt === undefined) await core.epochs.require(tenantOf(request));
        if (row === undefined) throw new CccError('NOT_FOUND', 'Check the job id.', { detail: 'Your tenant has no such job' });
        const final = row.finishedAt !== undefined;
        const [session, receipts] = await Promise.all([
          final && row.sessionId !== undefined ? core.ledger.session(row.sessionId) : undefined,
          core.ledger.receiptsFor(row.tenantId, row.jobId),
        ]);
        const counter = counterSchema.safeParse(session?.evidence);
        return { ...toJob(row), ...(row.result === undefined ? {} : { result: row.result }), ...(counter.success ? { counter: { ...counter.data, ...await carried(core, counter.data.evidence) } } : {}), receipts };
      },
    }),
    route({
      method: 'GET', path: '/v1/jobs/:job_id/events', operation: 'jobEvents', auth: { scope: 'jobs:read', rate: 'read' },
      summary: 'What happens to a job, as server-sent events (data: JobEvent), until its final state. Resumes after Last-Event-ID.',
      params: jobParams,
      answers: {
        200: { description: 'Events, each with its number as id', schema: jobEventSchema, mediaType: 'text/event-stream' },
        204: { description: 'The job is final and there is nothing after Last-Event-ID: do not reconnect' },
      },
      errors: [...COMMON, 'VALIDATION', 'NOT_FOUND', 'BACK_PRESSURE'],
      handler: ({ params, request, reply }) => eventStream(core, tenantOf(request), params.job_id, request, reply),
    }),
    route({
      method: 'GET', path: '/v1/health', operation: 'health', auth: 'open', summary: 'Whether this cell can do its work now.',
      answers: { 200: { description: 'Ready', schema: healthSchema }, 503: { description: 'Not ready', schema: healthSchema } },
      errors: ['INTERNAL'],
      handler: async ({ reply }) => {
        const report = await core.health.report();
        return reply.code(report.status === 'ready' ? 200 : 503).send(report);
      },
    }),
    route({
      method: 'GET', path: '/v1/openapi.json', operation: 'openapi', auth: 'open', summary: 'This description.',
      answers: { 200: { description: 'OpenAPI 3.1' } },
      errors: ['INTERNAL'],
      handler: async () => (description ??= openApi(core, routes)),
    }),
  ];
  return routes;
}

/** What `POST /internal/v1/sessions` keeps of a counter. */
export const counterSchema = attestedSchema.extend({ ear: compactJws });

/** What vendors signed and a client needs to verify this evidence, for those that reach no vendor, as a page does not. Clients believe it for the vendors' signatures only. */
async function carried(core: Core, evidence: WireEvidence): Promise<{ collateral?: WireCollateral }> {
  // An answer without it is one that some clients refuse; a disk that is full must not be no answer at all.
  const supplied = await core.collateral?.(toEvidence(evidence)).catch((error: unknown) => core.log.warn('collateral not carried', errorFields(error)));
  const items = (supplied?.items ?? []).filter(({ kind, bytes }) => isVendorSigned(kind) && bytes.length <= MAX_COLLATERAL_BYTES).slice(0, MAX_COLLATERAL_ITEMS);
  return items.length === 0 ? {} : { collateral: items.map(({ kind, key, bytes }) => ({ kind, key, bytes: b64u(bytes) })) };
}
