/** Counter and broker under leased epochs: each judges the promises itself; a result carries the epoch, and there is none without one. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { b64u, text, utf8 } from '../../attestation/bytes.ts';
import { type Counter, startCounter } from '../../workloads/counter/counter.ts';
import { counterGateway } from '../../workloads/counter/gateway-client.ts';
import { createCounterKeys } from '../../workloads/counter/keys.ts';
import { SessionKeeper } from '../../workloads/counter/session.ts';
import { EpochJudge } from '../../workloads/protocol/epoch-judge.ts';
import { signPromise } from '../../workloads/protocol/epoch.ts';
import { open } from '../../workloads/protocol/hpke.ts';
import { decodeJwsUnverified, generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import type { CountResult, ResultPayload, TenantEpoch, TenantKey } from '../../workloads/protocol/messages.ts';
import { type CellDirectory, DIRECTORY_TYPE } from '../../workloads/protocol/owner.ts';
import { PolicySource } from '../../workloads/protocol/policy-source.ts';
import { DETECTOR, makeMessage, type RunningBroker, tenantKeys, World } from '../broker/world.ts';
import { FakeQueue, type QueuedJob } from './fake-queue.ts';

const CELLS = ['test', 'other', 'third'];
let world: World;
let queue: FakeQueue;
let broker: RunningBroker;
let keys: TenantKey[];
let observers: Record<string, SigningKey>;
let counter: Counter | undefined;
const run = vi.fn(async (): Promise<CountResult> => ({ count: 1, method: 'test', model: DETECTOR }));

const promises = async (epoch: number, change: object = {}): Promise<TenantEpoch[]> => [{
  tenant_id: 'acme', promises: await Promise.all(CELLS.slice(0, 2).map((observer) => signPromise({ tenant: 'acme', cell: 'test', epoch, instance: 'i', observer, iat: world.time / 1000, exp: world.time / 1000 + 10, ...change }, observers[observer]?.privateKey as CryptoKey))),
}];

beforeAll(async () => {
  world = await World.create();
  observers = Object.fromEntries(await Promise.all(CELLS.map(async (cell) => [cell, await generateSigningKey()] as const)));
  const directory: CellDirectory = {
    revision: 5, notAfter: world.time / 1000 + 86_400, deployment: 'test', leaseSeconds: 10, clockBoundSeconds: 1, tenants: [{ tenant: '*', order: ['test'], tier: 'async' }],
    cells: CELLS.map((name) => ({ name, cloud: 'local', region: 'test-1', url: 'http://127.0.0.1:1', configDigest: 'aa'.repeat(32), epoch: 1, key: b64u(observers[name]?.publicKey as Uint8Array), observer: { url: 'http://127.0.0.1:2', key: b64u(observers[name]?.publicKey as Uint8Array) } })),
  };
  const jws = await signJws(DIRECTORY_TYPE, directory, world.owner.privateKey);
  world.gateway.routes.set('GET /directory', async () => ({ directory: jws }));
  await world.setPolicy({ revision: 2, directoryRevision: 5 });
  broker = await world.startBroker();
  keys = await tenantKeys(broker.origin);
});
afterEach(async () => {
  await counter?.stop();
  counter = undefined;
  run.mockClear();
});
afterAll(() => world.close());

async function start(): Promise<void> {
  queue = new FakeQueue(world);
  const own = await createCounterKeys();
  const log = createLog('counter-1', { now: world.now, write: (line) => void world.lines.push(line) });
  const gateway = counterGateway({ origin: world.gateway.origin, now: world.now, timeoutMs: 2_000, onEpochs: (shown) => epochs.show(shown) });
  const epochs = new EpochJudge({ cell: 'test', epoch: 1, ownerKey: world.owner.publicKey, fetch: gateway.directory, now: world.now, log });
  const policy = new PolicySource({ fetch: gateway.policy, ownerKey: world.owner.publicKey, now: world.now, log });
  const sessions = new SessionKeeper({ gateway, attester: await world.attester('counter'), keys: own, policy, cell: 'test', platform: 'aws-nitro', configDigest: world.configDigest, now: world.now, log });
  counter = startCounter({ cell: world.cell, gateway, sessions, keys: own, epochs, sandbox: { run, modelDigest: DETECTOR.digest, atOnce: 1 }, now: world.now, log, waitMs: 100, pauseMs: 5 });
}
const submit = async () => {
  const message = await makeMessage(keys, {}, utf8('a picture'));
  return { ...message, job: await queue.add(message.bytes, message.context) };
};
const until = (check: () => boolean) => vi.waitFor(() => { if (!check()) throw new Error(`not yet: ${world.lines.slice(-8).join('')}`); }, { timeout: 60_000, interval: 10 });
async function epochIn({ job, result, context }: Awaited<ReturnType<typeof submit>>): Promise<number> {
  const plaintext = await open(result.privateKey, resultInfo(), resultAad(context.tenant_id, context.job_id), job.result as never);
  return (decodeJwsUnverified(text(plaintext).trimEnd()).payload as ResultPayload).epoch;
}
const ended = (job: QueuedJob): boolean => !['accepted', 'leased'].includes(job.state);

describe('under leased epochs', () => {
  it('the result and the receipt carry the epoch of the promises', async () => {
    await start();
    queue.epochs = () => promises(7);
    const one = await submit();
    await until(() => ended(one.job));
    expect([one.job.state, await epochIn(one)]).toEqual(['completed', 7]);
    expect(world.gateway.stored(broker.identity.instance).at(-1)).toMatchObject({ operation: 'released', epoch: 7 });
  });

  it('what the gateway shows is judged by the broker: no key, no count, the job waits', async () => {
    await start();
    queue.epochs = async () => [];
    const one = await submit();
    await until(() => one.job.gaveBack.includes('EPOCH_ABSENT'));
    queue.epochs = () => promises(8, { cell: 'other' });
    await until(() => one.job.gaveBack.includes('EPOCH_CELL'));
    queue.epochs = () => promises(8, { iat: world.time / 1000 - 9, exp: world.time / 1000 + 1 });
    await until(() => one.job.gaveBack.includes('EPOCH_EXPIRED'));
    queue.epochs = () => promises(6);
    await until(() => one.job.gaveBack.includes('EPOCH_FENCED'));
    expect(run).not.toHaveBeenCalled();
    queue.epochs = () => promises(8);
    await until(() => ended(one.job));
    expect(await epochIn(one)).toBe(8);
  });

  it('a key that is not here may be on its way from another cell: the job waits', async () => {
    await start();
    queue.epochs = () => promises(8);
    const message = await makeMessage(keys.map((key) => ({ ...key, id: `${key.id}9` })), {}, utf8('a picture'));
    const job = await queue.add(message.bytes, message.context);
    await until(() => job.gaveBack.includes('KEY_UNKNOWN'));
    expect(ended(job)).toBe(false);
    expect(run).not.toHaveBeenCalled();
  });

  it('an epoch that ended while the picture was counted: the newest is asked for, and without one nothing is completed', async () => {
    await start();
    queue.epochs = () => promises(9);
    run.mockImplementationOnce(async () => { world.time += 9_000; queue.epochs = () => promises(10); return { count: 1, method: 'test', model: DETECTOR }; });
    const one = await submit();
    await until(() => ended(one.job));
    expect(await epochIn(one)).toBe(10);

    run.mockImplementationOnce(async () => { world.time += 9_000; queue.epochs = async () => []; return { count: 1, method: 'test', model: DETECTOR }; });
    const two = await submit();
    await until(() => world.lines.some((line) => line.includes('completion-failed') && line.includes(two.context.job_id) && line.includes('EPOCH_EXPIRED')));
    expect([two.job.state, two.job.result]).toEqual(['leased', undefined]);
  });
});
