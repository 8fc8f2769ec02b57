/** Heirs with real observers, over HTTP and from their databases: what was named is signed, kept over a restart, and binds. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeJwsUnverified } from '../../workloads/protocol/jws.ts';
import { parseJson, request } from '../../workloads/protocol/http-client.ts';
import { EPOCHS_PATH, observerAnswerSchema, type ObserverRequest } from '../../workloads/protocol/observer.ts';
import { CELLS, LEASE_SECONDS, type Observers, startObservers, until } from '../gateway/cells.ts';

let observers: Observers;
beforeAll(async () => { observers = await startObservers({ tenants: [{ tenant: '*', order: [...CELLS], tier: 'sync' }] }); }, 120_000);
afterAll(() => observers?.close());

async function ask(cell: string, epoch: number, heirs?: ObserverRequest['ask'][number]['heirs'], observer = 'gcp') {
  const body: ObserverRequest = { observer, cell, instance: `${cell}-1`, ask: [{ tenant: 't', epoch, ...(heirs === undefined ? {} : { heirs }) }], release: [], look: [] };
  const { promises: [jws], denied: [denied] } = parseJson(observerAnswerSchema, await request(observers.urls[observer] as string, {
    method: 'POST', path: EPOCHS_PATH, body, now: Math.floor(Date.now() / 1000), timeoutMs: 20_000, maxBytes: 1 << 20, proof: { key: (observers.keys[cell] as { privateKey: CryptoKey }).privateKey },
  }));
  return { heirs: jws === undefined ? undefined : (decodeJwsUnverified(jws).payload as { heirs?: unknown }).heirs, promised: jws !== undefined, code: denied?.code, may: denied?.heirs };
}

it('a third cell gets no promise, before and after a restart of the observer; the heir does', async () => {
  expect(await ask('aws', 1)).toMatchObject({ promised: true, heirs: undefined });
  expect(await ask('aws', 1, { n: 1, cells: ['azure'], since: 0 })).toMatchObject({ promised: true, heirs: { n: 1, cells: ['azure'] } });
  await observers.stop('gcp');
  await observers.start('gcp');
  // Once the promise has ended, by the observer's clock.
  expect(await until(async () => { const answer = await ask('gcp', 2); return answer.code !== 'EPOCH_HELD' && answer; }, (LEASE_SECONDS + 30) * 1_000)).toMatchObject({ promised: false, code: 'EPOCH_HEIR', may: ['aws', 'azure'] });
  expect(await ask('azure', 2)).toMatchObject({ promised: true, heirs: { n: 0, cells: ['azure'] } });
}, 120_000);
