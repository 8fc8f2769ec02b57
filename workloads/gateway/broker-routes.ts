/** The internal listener, for the broker: it keeps here what it has sealed and signed, and trusts nothing that it reads back. */
import { z } from 'zod';
import type { NewReceipt } from '../ledger/ledger.ts';
import { verifyJws } from '../protocol/jws.ts';
import { errorFields } from '../protocol/log.ts';
import { type BrokerReceipt, brokerReceiptSchema, directoryResponseSchema, policyResponseSchema, putTenantKeysSchema, receiptsRequestSchema, tenantKeysResponseSchema } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { tenantId } from '../protocol/wire.ts';
import type { Core } from './core.ts';
import type { InternalAuth } from './internal-routes.ts';
import { route, type Route } from './route.ts';

export const RECEIPT_TYPE = 'ccc-broker-receipt+jws';
const BROKER = ['POP_INVALID', 'POP_REPLAYED', 'BROKER_UNAVAILABLE', 'BROKER_UNVERIFIED', 'LEDGER_UNAVAILABLE', 'VALIDATION'] as const;

export function brokerRoutes(core: Core): Route<InternalAuth>[] {
  return [
    route({
      method: 'GET', path: '/internal/v1/policy', operation: 'policy', auth: 'public', summary: 'The owner\'s policy as signed.',
      answers: { 200: { description: 'The policy', schema: policyResponseSchema } }, errors: ['POLICY_MISSING', 'POLICY_EXPIRED', 'LEDGER_UNAVAILABLE'],
      handler: async () => ({ policy: (await core.documents.policy()).jws }),
    }),
    route({
      method: 'GET', path: '/internal/v1/directory', operation: 'directory', auth: 'public', summary: 'The owner\'s cell directory as signed.',
      answers: { 200: { description: 'The cell directory', schema: directoryResponseSchema } }, errors: ['NOT_READY', 'DIRECTORY_EXPIRED'],
      handler: async () => ({ directory: core.documents.directory().jws }),
    }),
    route({
      method: 'GET', path: '/internal/v1/tenant-keys', operation: 'tenantKeys', auth: 'broker', summary: 'A tenant\'s sealed keys.',
      query: z.strictObject({ tenant: tenantId }),
      answers: { 200: { description: 'Rows, as they were put', schema: tenantKeysResponseSchema } }, errors: BROKER,
      handler: async ({ query }) => ({ keys: await core.ledger.tenantKeys(query.tenant), sealed_total: await core.ledger.tenantKeyCount() }),
    }),
    route({
      method: 'PUT', path: '/internal/v1/tenant-keys', operation: 'putTenantKeys', auth: 'broker', summary: 'Keeps new sealed keys: all or none.',
      body: putTenantKeysSchema, answers: { 204: { description: 'Stored' } }, errors: [...BROKER, 'KEY_CONFLICT', 'TENANT_UNKNOWN'],
      handler: async ({ body, reply }) => {
        if (await core.ledger.putTenantKeys(body.keys) === 'conflict') throw new CccError('KEY_CONFLICT', 'Read the tenant\'s keys again: it has some.');
        return reply.code(204).send();
      },
    }),
    route({
      method: 'POST', path: '/internal/v1/receipts', operation: 'receipts', auth: 'broker', summary: 'Keeps receipts: answered once all are stored.',
      body: receiptsRequestSchema, answers: { 204: { description: 'Stored' } }, errors: [...BROKER, 'RECEIPT_CONFLICT', 'RECEIPT_FORMAT', 'TENANT_UNKNOWN'],
      handler: async ({ body, request, reply }) => {
        const broker = request.brokerInstance;
        if (broker === undefined) throw new CccError('BROKER_UNVERIFIED', 'Only the broker of this cell may call this.');
        const receipts: BrokerReceipt[] = [];
        const rows: NewReceipt[] = [];
        for (const { instance, seq, jws } of body.receipts) {
          const receipt = await verifyJws(jws, RECEIPT_TYPE, broker.signingKey, brokerReceiptSchema, 'RECEIPT_FORMAT');
          if (instance !== broker.instance || receipt.instance !== instance || receipt.seq !== seq) throw new CccError('RECEIPT_FORMAT', 'Send your own receipts, each under its own number.');
          receipts.push(receipt);
          rows.push({ instance, seq, jws, tenantId: receipt.tenant_id, ...(receipt.job_id === undefined ? {} : { jobId: receipt.job_id }) });
        }
        const outcome = await core.ledger.appendReceipts(rows);
        if (outcome === 'conflict') throw new CccError('RECEIPT_CONFLICT', 'Send the receipts from the last stored number on, as they were signed.');
        // The receipts are what counts and they are stored; events only tell watchers, so their loss is no failure.
        if (outcome === 'stored') await tellReleased(core, receipts);
        return reply.code(204).send();
      },
    }),
  ];
}

async function tellReleased(core: Core, receipts: readonly BrokerReceipt[]): Promise<void> {
  const released = receipts.flatMap(({ operation, tenant_id, job_id }) => (operation === 'released' && job_id !== undefined ? [{ tenantId: tenant_id, jobId: job_id }] : []));
  for (const { tenantId } of released) core.phases.first('release', tenantId);
  await core.ledger.recordEvents(released, 'released').catch((error: unknown) => core.log.warn('events not recorded', { count_jobs: released.length, ...errorFields(error) }));
}
