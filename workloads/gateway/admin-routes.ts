/** The admin listener: whoever can open its Unix socket (mode 0600) is the operator. The operator cannot decide what code gets keys: the owner's policy does. */
import { z } from 'zod';
import { createdTenantKeysSchema, JOB_STATES, tenantKeySchema } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { cellName, compactJws, hexText, tenantId, zoneName } from '../protocol/wire.ts';
import { newApiKey, SCOPES } from './api-keys.ts';
import type { Core } from './core.ts';
import { requireZone } from './policy.ts';
import { route, type Route } from './route.ts';

const DAY_MS = 86_400_000;
const count = z.number().int();
const statusSchema = z.strictObject({
  cell: cellName,
  simulated: z.boolean(),
  policy_revision: count,
  jobs: z.strictObject(Object.fromEntries(JOB_STATES.map((state) => [state, count])) as Record<(typeof JOB_STATES)[number], typeof count>),
  due: count,
  queue_limit: count,
  uploading_bytes: count,
  tenants: z.array(z.strictObject({ id: tenantId, zone: zoneName })),
  brokers: z.array(z.strictObject({ instance: z.string(), policy_revision: count, verified_at: z.number() })),
  counters: z.array(z.strictObject({ session: z.string(), seen_at: z.number(), expires_at: z.number() })),
  node: z.string(),
  audit: z.strictObject({ ok: z.boolean(), entries: count, head: z.string(), first_bad: count.optional() }),
});
const keySchema = z.strictObject({ id: z.string(), key: z.string(), tenant_id: tenantId, scopes: z.array(z.enum(SCOPES)), expires_at: z.number().optional() });

export function adminRoutes(core: Core): Route<'operator'>[] {
  return [
    route({
      method: 'POST', path: '/tenants', operation: 'addTenant', auth: 'operator', summary: 'Adds a tenant and has the broker make its keys. Again: the same answer.',
      body: z.strictObject({ id: tenantId, zone: zoneName }),
      answers: { 201: { description: 'The tenant', schema: z.strictObject({ id: tenantId, zone: zoneName, keys: z.array(tenantKeySchema) }) } },
      errors: ['ZONE_DENIED', 'TENANT_CONFLICT', 'BROKER_UNAVAILABLE', 'POLICY_MISSING'],
      handler: async ({ body, reply }) => {
        const { policy } = await core.documents.policy();
        requireZone(policy, body.id, body.zone);
        if (await core.ledger.addTenant(body) === 'conflict') throw new CccError('TENANT_CONFLICT', 'A tenant\'s zone never changes; choose another id.');
        const { keys } = await core.broker.ask('/v1/tenant-keys', { tenant_id: body.id, zone: body.zone }, createdTenantKeysSchema);
        core.log.info('tenant added', { tenant_id: body.id });
        return reply.code(201).send({ ...body, keys });
      },
    }),
    route({
      method: 'POST', path: '/keys', operation: 'addKey', auth: 'operator', summary: 'Makes an API key: shown here, once.',
      body: z.strictObject({ tenant_id: tenantId, scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length), expires_in_days: z.number().int().min(1).max(3650).optional() }),
      answers: { 201: { description: 'The key', schema: keySchema } }, errors: ['TENANT_UNKNOWN', 'VALIDATION'],
      handler: async ({ body, reply }) => {
        const { id, key, hash } = newApiKey();
        const scopes = [...new Set(body.scopes)];
        const expiry = body.expires_in_days === undefined ? {} : { expiresAt: core.now() + body.expires_in_days * DAY_MS };
        await core.ledger.addApiKey({ id, tenantId: body.tenant_id, hash, scopes, ...expiry });
        core.log.info('key added', { tenant_id: body.tenant_id, key_id: id });
        return reply.code(201).send({ id, key, tenant_id: body.tenant_id, scopes, ...(expiry.expiresAt === undefined ? {} : { expires_at: expiry.expiresAt }) });
      },
    }),
    route({
      method: 'DELETE', path: '/keys/:id', operation: 'revokeKey', auth: 'operator', summary: 'Revokes an API key, at once.',
      params: z.strictObject({ id: z.string().regex(/^[a-z2-7]{16}$/) }),
      answers: { 204: { description: 'Revoked' } }, errors: ['NOT_FOUND', 'VALIDATION'],
      handler: async ({ params, reply }) => {
        if (!(await core.ledger.revokeApiKey(params.id))) throw new CccError('NOT_FOUND', 'Check the id: it is the part between `ccc_live_` and the second underscore.');
        core.log.info('key revoked', { key_id: params.id });
        return reply.code(204).send();
      },
    }),
    route({
      method: 'GET', path: '/status', operation: 'status', auth: 'operator', summary: 'What the operator may know; the audit chain is verified on the way.',
      answers: { 200: { description: 'Status', schema: statusSchema } }, errors: ['LEDGER_UNAVAILABLE'],
      handler: async () => {
        const [counts, tenants, audit] = await Promise.all([core.ledger.counts(), core.ledger.tenants(), core.ledger.verifyAudit()]);
        return {
          cell: core.cell.cell, simulated: core.cell.simulated, policy_revision: core.documents.revision,
          jobs: counts.jobs, due: counts.due, queue_limit: core.limits.queueDepth, uploading_bytes: core.load.uploadingBytes,
          tenants: tenants.map(({ id, zone }) => ({ id, zone })),
          brokers: core.trust.known.map((b) => ({ instance: b.instance, policy_revision: b.policyRevision, verified_at: b.verifiedAt })),
          counters: core.sessions.active(), node: process.version,
          audit: { ok: audit.ok, entries: audit.entries, head: audit.head, ...(audit.firstBad === undefined ? {} : { first_bad: audit.firstBad }) },
        };
      },
    }),
    route({
      method: 'GET', path: '/epochs', operation: 'epochs', auth: 'operator', summary: 'Tenants whose epoch this cell holds now.',
      answers: { 200: { description: 'Epochs', schema: z.strictObject({ held: z.array(z.strictObject({ tenant: tenantId, epoch: count, until: z.number() })) }) } }, errors: [],
      handler: async () => ({ held: await core.epochs.status() }),
    }),
    route({
      method: 'POST', path: '/epochs/give-back', operation: 'giveBackEpochs', auth: 'operator', summary: 'Planned failover: this cell stops working for these tenants at once, and `to` has the first turn.',
      body: z.strictObject({ tenants: z.array(tenantId).min(1).max(10_000), to: cellName.optional() }), answers: { 204: { description: 'Given back' } }, errors: ['VALIDATION', 'LEDGER_UNAVAILABLE'],
      handler: async ({ body, reply }) => {
        await core.epochs.giveBack(body.tenants, body.to);
        core.log.info('epochs given back', { count_jobs: body.tenants.length, ...(body.to === undefined ? {} : { cell: body.to }) });
        return reply.code(204).send();
      },
    }),
    route({
      method: 'POST', path: '/epochs/grant', operation: 'grantEpoch', auth: 'operator', summary: 'The owner\'s grant of an epoch to this cell: stands in for one observer.',
      body: z.strictObject({ grant: compactJws }), answers: { 204: { description: 'Used from now on' } }, errors: ['EPOCH_SIGNATURE', 'EPOCH_FORMAT', 'EPOCH_DEPLOYMENT', 'EPOCH_CELL', 'EPOCH_EXPIRED'],
      handler: async ({ body, reply }) => {
        await core.epochs.grant(body.grant);
        return reply.code(204).send();
      },
    }),
    route({
      method: 'POST', path: '/audit/drills', operation: 'recordDrill', auth: 'operator', summary: 'The digest of a drill\'s signed report, in the audit chain.',
      body: z.strictObject({ digest: hexText(32), scenario: cellName, ok: z.boolean() }),
      answers: { 201: { description: 'The entry', schema: z.strictObject({ cell: cellName, seq: count, prev: z.string(), kind: z.string(), body: z.string(), at: z.number(), hash: z.string() }) } }, errors: ['LEDGER_UNAVAILABLE', 'VALIDATION'],
      handler: async ({ body, reply }) => {
        const entry = await core.ledger.addNote({ kind: 'drill-report', body });
        core.log.info('drill recorded', { seq: entry.seq });
        return reply.code(201).send(entry);
      },
    }),
    route({
      method: 'PUT', path: '/policy', operation: 'putPolicy', auth: 'operator', summary: 'A new revision of the owner\'s documents. It ends all sessions.',
      body: z.strictObject({ policy: compactJws, directory: compactJws.optional() }),
      answers: { 200: { description: 'In force', schema: z.strictObject({ revision: count }) } }, errors: ['POLICY_SIGNATURE', 'POLICY_FORMAT', 'POLICY_EXPIRED', 'POLICY_ROLLBACK', 'DIRECTORY_SIGNATURE', 'DIRECTORY_ROLLBACK'],
      handler: async ({ body }) => {
        const answer = await core.documents.put(body);
        await core.keepDocuments(body);
        core.log.info('policy in force', { revision: answer.revision });
        return answer;
      },
    }),
  ];
}
