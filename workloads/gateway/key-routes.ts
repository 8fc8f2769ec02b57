/**
 * The way of tenant keys from one cell's broker to another's: this cell's broker asks its gateway, that asks the other cell's gateway under this cell's key of the directory, and that
 * asks its broker. Neither gateway can read or change anything: proof, evidence and sealing are between the brokers.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_ATTESTED_BYTES } from '../protocol/messages.ts';
import { seconds } from '../protocol/clock.ts';
import { exchange } from '../protocol/exchange.ts';
import type { SigningKey } from '../protocol/jws.ts';
import { makePop } from '../protocol/pop.ts';
import { CccError, PROBLEM_MEDIA_TYPE } from '../protocol/problem.ts';
import { INNER_POP, INNER_SESSION, keyWantsSchema, type KeyWants, MAX_SHARED_TENANTS, peerBrokerPath, RELAYED, type Relayed, relayPath } from '../protocol/sharing.ts';
import { cellName } from '../protocol/wire.ts';
import type { Core } from './core.ts';
import type { InternalAuth } from './internal-routes.ts';
import type { KeyedTenants } from './keyed.ts';
import { route, type Route } from './route.ts';

export interface KeyRoutesOptions {
  readonly keyed: KeyedTenants;
  readonly key: SigningKey;
  /** Origins of other cells' internal listeners. */
  readonly gateways: Readonly<Record<string, string>>;
}

const NOTHING = new Uint8Array();
const PEER_MS = 8_000;
const what = z.enum(RELAYED);
const inner = (request: FastifyRequest, name: string): string | undefined => (typeof request.headers[name] === 'string' ? request.headers[name] : undefined);

/** Tenants that this cell may have to work for and that lack keys; then, in turn, all others, for keys that were added. */
function wanted(core: Core, { keyed }: KeyRoutesOptions): () => Promise<KeyWants> {
  let turn = 0;
  return async () => {
    const rules = await core.epochs.rules();
    const own = core.cell.cell;
    if (rules === undefined) return { wants: [] };
    const mine = (await core.ledger.tenants()).flatMap(({ id }) => {
      const order = rules.order(id);
      const from = order.filter((name) => name !== own);
      return order.includes(own) && from.length > 0 ? [{ tenant_id: id, from }] : [];
    });
    const missing: typeof mine = [];
    for (const one of mine) {
      if (!await keyed.has(one.tenant_id)) missing.push(one);
      if (missing.length === MAX_SHARED_TENANTS) break;
    }
    const others = missing.length > 0 ? [] : Array.from({ length: Math.min(4, mine.length) }, () => mine[turn++ % mine.length]).filter((one) => one !== undefined);
    return { wants: await Promise.all([...missing, ...new Set(others)].map(async (one) => ({ ...one, have: await keyed.ids(one.tenant_id) }))) };
  };
}

/** For this cell's broker. */
export function relayRoutes(core: Core, options: KeyRoutesOptions): Route<InternalAuth>[] {
  const wants = wanted(core, options);
  return [
    route({
      method: 'GET', path: '/internal/v1/key-wants', operation: 'keyWants', auth: 'broker', summary: 'Tenants whose keys this cell lacks, and which cells to ask.',
      answers: { 200: { description: 'A hint, no decision', schema: keyWantsSchema } }, errors: ['POP_INVALID', 'BROKER_UNVERIFIED', 'BROKER_UNAVAILABLE', 'LEDGER_UNAVAILABLE'],
      handler: wants,
    }),
    route({
      method: 'POST', path: relayPath(':cell', ':what'), operation: 'relay', auth: 'broker', summary: 'Passed to another cell\'s broker as it is.', params: z.strictObject({ cell: cellName, what }), bodyBytes: MAX_ATTESTED_BYTES,
      answers: { 200: { description: 'That broker\'s answer' } }, errors: ['POP_INVALID', 'BROKER_UNVERIFIED', 'BROKER_UNAVAILABLE', 'NOT_FOUND', 'BODY_EMPTY'],
      handler: ({ params, request, reply }) => relay(core, options, params.cell, params.what, request, reply),
    }),
  ];
}

async function relay(core: Core, { key, gateways }: KeyRoutesOptions, cell: string, to: Relayed, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const origin = gateways[cell];
  if (origin === undefined) throw new CccError('NOT_FOUND', 'No such cell is set up here: see peers.json.');
  const body = bodyOf(request);
  const path = peerBrokerPath(to);
  const [session, pop] = [inner(request, INNER_SESSION), inner(request, INNER_POP)];
  const headers = {
    'content-type': 'application/json', 'ccc-cell': core.cell.cell, 'ccc-pop': await makePop({ key: key.privateKey, method: 'POST', path, body: NOTHING, now: seconds(core.now) }),
    ...(session === undefined ? {} : { [INNER_SESSION]: session }), ...(pop === undefined ? {} : { [INNER_POP]: pop }),
  };
  try {
    const answer = await exchange(origin + path, { method: 'POST', headers, body, signal: AbortSignal.timeout(PEER_MS), maxBytes: () => core.limits.brokerAnswerBytes });
    return reply.code(answer.status).type(answer.mediaType?.startsWith(PROBLEM_MEDIA_TYPE) ? PROBLEM_MEDIA_TYPE : 'application/json').send(Buffer.from(answer.body));
  } catch (cause) {
    throw new CccError('BROKER_UNAVAILABLE', 'The other cell does not answer; try again shortly.', { retryAfter: 2, cause });
  }
}

function bodyOf(request: FastifyRequest): Buffer {
  if (request.rawBody === undefined || request.rawBody.length === 0) throw new CccError('BODY_EMPTY', 'Send a JSON body.');
  return request.rawBody;
}

/** For other cells' gateways. */
export function peerKeyRoutes(core: Core): Route<'peer'>[] {
  return [
    route({
      method: 'POST', path: peerBrokerPath(':what'), operation: 'peerBroker', auth: 'peer', summary: 'Passed to the broker as it is.', params: z.strictObject({ what }), bodyBytes: MAX_ATTESTED_BYTES,
      answers: { 200: { description: 'The broker\'s answer' } }, errors: ['POP_INVALID', 'POP_REPLAYED', 'DIRECTORY_EXPIRED', 'NOT_READY', 'BROKER_UNAVAILABLE', 'BODY_EMPTY'],
      handler: async ({ params, request, reply }) => {
        const [session, pop] = [inner(request, INNER_SESSION), inner(request, INNER_POP)];
        const answer = await core.broker.pass(`/v1/${params.what}`, bodyOf(request), session === undefined || pop === undefined ? {} : { 'ccc-session': session, 'ccc-pop': pop });
        return reply.code(answer.status).type(answer.mediaType).send(answer.body);
      },
    }),
  ];
}
