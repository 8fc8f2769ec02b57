/** A hostile gateway in front of a real counter: it plays the queue and the broker's messenger, and may seal whatever it likes to the counter's public key. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Bytes, concat, fromB64u, randomBytes, text, utf8 } from '../../attestation/bytes.ts';
import { startCounter } from '../../workloads/counter/counter.ts';
import { counterGateway } from '../../workloads/counter/gateway-client.ts';
import { type CounterKeys, createCounterKeys } from '../../workloads/counter/keys.ts';
import { SessionKeeper } from '../../workloads/counter/session.ts';
import { bundleHead } from '../../workloads/protocol/bundle.ts';
import { open, seal } from '../../workloads/protocol/hpke.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { releaseAad, releaseInfo, resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import { EpochJudge } from '../../workloads/protocol/epoch-judge.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import type { CountResult, Lease, ReleaseResponse, Session, TenantKey } from '../../workloads/protocol/messages.ts';
import { PolicySource } from '../../workloads/protocol/policy-source.ts';
import type { Handler } from '../broker/fake-gateway.ts';
import { DETECTOR, makeMessage, type RunningBroker, tenantKeys, World } from '../broker/world.ts';
import { FakeQueue, type QueuedJob } from '../counter/fake-queue.ts';
import { payloadOf } from './forge.ts';

let world: World;
let queue: FakeQueue;
let broker: RunningBroker;
let keys: TenantKey[];
let stop: (() => Promise<void>) | undefined;
const run = vi.fn<(bytes: Uint8Array) => Promise<CountResult>>();
beforeAll(async () => {
  world = await World.create();
  broker = await world.startBroker();
  keys = await tenantKeys(broker.origin);
});
beforeEach(() => {
  world.gateway.reset();
  world.lines.length = 0;
  queue = new FakeQueue(world);
  run.mockReset().mockImplementation(async () => ({ count: 1, method: 'test', model: DETECTOR }));
});
afterEach(async () => {
  await stop?.();
  stop = undefined;
});
afterAll(() => world.close());

async function start(): Promise<CounterKeys> {
  const own = await createCounterKeys();
  const gateway = counterGateway({ origin: world.gateway.origin, now: world.now, timeoutMs: 2_000 });
  const log = createLog('counter-1', { now: world.now, write: (line) => void world.lines.push(line) });
  const epochs = new EpochJudge({ cell: 'test', epoch: world.cell.epoch, ownerKey: world.owner.publicKey, fetch: gateway.directory, now: world.now, log });
  const policy = new PolicySource({ fetch: gateway.policy, ownerKey: world.owner.publicKey, now: world.now, log });
  const sessions = new SessionKeeper({ gateway, attester: await world.attester('counter'), keys: own, policy, cell: 'test', platform: 'aws-nitro', configDigest: world.configDigest, now: world.now, log });
  const counter = startCounter({ cell: world.cell, gateway, sessions, keys: own, epochs, sandbox: { run, modelDigest: DETECTOR.digest, atOnce: 2 }, now: world.now, log, waitMs: 200, pauseMs: 5 });
  stop = () => counter.stop();
  return own;
}
const submit = async () => {
  const message = await makeMessage(keys);
  return { ...message, job: await queue.add(message.bytes, message.context) };
};
const until = (check: () => boolean) => vi.waitFor(() => { if (!check()) throw new Error(`not yet: ${world.lines.slice(-12).join('')}`); }, { timeout: 60_000, interval: 10 });
/** Given back with this code, twice and more, and nothing was counted or said about it. */
async function givenBack(jobs: readonly QueuedJob[], code: string): Promise<void> {
  await until(() => jobs.every((job) => job.gaveBack.length >= 2));
  for (const job of jobs) expect([job.result, new Set(job.gaveBack)]).toEqual([undefined, new Set([code])]);
  expect(run).not.toHaveBeenCalled();
}
/** Runs before the honest route and changes its answer. */
function twist<T>(name: string, change: (answer: T) => T | Promise<T>): void {
  const honest = world.gateway.routes.get(name) as Handler;
  world.gateway.routes.set(name, async (request) => change(await honest(request) as T) as Promise<object>);
}

describe('released keys', () => {
  const answers = (change: (items: ReleaseResponse['items']) => ReleaseResponse['items'] | Promise<ReleaseResponse['items']>) => twist<ReleaseResponse>('POST /release', async ({ items }) => ({ items: await change(items) }));
  const pair = async () => { const two = [await submit(), await submit()]; return two.map(({ job }) => job); };

  it('swapped between two jobs of a batch', async () => {
    answers((items) => items.toReversed());
    const jobs = await pair();
    await start();
    await givenBack(jobs, 'RELEASE_ANSWER');
  });

  it('swapped, and relabelled to hide it', async () => {
    answers((items) => items.map((item, i) => ({ ...(items[items.length - 1 - i] as typeof item), job_id: item.job_id })));
    const jobs = await pair();
    await start();
    await givenBack(jobs, 'SEAL_OPEN');
  });

  it('fewer or more than asked for', async () => {
    answers((items) => items.slice(0, -1));
    const { job } = await submit();
    await start();
    await givenBack([job], 'RELEASE_ANSWER');
  });

  it('chosen by the gateway and sealed to the counter as the broker would: no verdict is signed over its lie', async () => {
    const own = await start();
    const one = await submit();
    answers(async (items) => Promise.all(items.map(async (item) => {
      if (!item.ok) return item;
      const session = [...queue.registered.values()].at(-1) as { session: string };
      const { claims_digest, policy_digest } = payloadOf<{ claims_digest: string; policy_digest: string }>(session.session);
      const { messageId } = parseMessage(one.bytes);
      const data_key = await seal(own.receiving.publicKey, releaseInfo(claims_digest, policy_digest), releaseAad('acme', item.job_id, messageId), randomBytes(32));
      return { ...item, data_key };
    })));
    await givenBack([one.job], 'MESSAGE_COMMITMENT');
    expect(one.job.state).not.toBe('rejected');
  });

  it('refused by the broker and announced as permanent: ends without a verdict, so no client believes it', async () => {
    answers((items) => items.map(({ job_id }) => ({ job_id, ok: false, permanent: true, problem: { type: 'x', title: 'x', status: 422, code: 'MESSAGE_COMMITMENT' } })));
    const { job } = await submit();
    await start();
    await until(() => job.state === 'rejected');
    expect([job.code, job.result]).toEqual(['MESSAGE_COMMITMENT', undefined]);
  });
});

describe('leases and messages', () => {
  const bundleOf = (messages: readonly Bytes[]): Bytes => concat(...messages.flatMap((message) => [bundleHead('message', message.length), message]));

  it('of two jobs, their messages swapped', async () => {
    const [one, two] = [await submit(), await submit()];
    const honest = world.gateway.routes.get('POST /messages') as Handler;
    world.gateway.routes.set('POST /messages', async (request) => {
      await honest(request);
      return bundleOf((JSON.parse(text(request.body)) as { jobs: { job_id: string }[] }).jobs.map(({ job_id }) => (job_id === one.context.job_id ? two.bytes : one.bytes)));
    });
    await start();
    await givenBack([one.job, two.job], 'MESSAGE_DIGEST');
  });

  it('swapped, with a digest to fit: the message says whose it is', async () => {
    const [one, two] = [await submit(), await submit()];
    const [a, b] = [one.job.bytes, two.job.bytes];
    Object.assign(one.job, { bytes: b, message_digest: two.job.message_digest });
    Object.assign(two.job, { bytes: a, message_digest: queue.jobs[0]?.message_digest });
    await start();
    await until(() => one.job.state === 'rejected');
    expect([one.job.code, one.job.result]).toEqual(['CONTEXT_MISMATCH', undefined]);
    expect(run).not.toHaveBeenCalled();
  });

  it('naming another tenant', async () => {
    twist<{ jobs: Lease[]; lease_ms: number }>('POST /lease', (answer) => ({ ...answer, jobs: answer.jobs.map((job) => ({ ...job, tenant_id: 'globex' })) }));
    world.gateway.routes.set('POST /messages', async () => bundleOf([(queue.jobs[0] as { bytes: Bytes }).bytes]));
    const completed = vi.fn();
    const complete = world.gateway.routes.get('POST /complete') as Handler;
    world.gateway.routes.set('POST /complete', async (request) => { completed(JSON.parse(text(request.body))); return complete(request); });
    await submit();
    await start();
    await until(() => completed.mock.calls.length > 0);
    expect(completed.mock.calls[0]?.[0]).toMatchObject({ jobs: [{ tenant_id: 'globex', outcome: 'rejected', code: 'TENANT_MISMATCH' }] });
    expect(completed.mock.calls[0]?.[0].jobs[0]).not.toHaveProperty('result');
    expect(run).not.toHaveBeenCalled();
  });

  it('more than were asked for: none is fetched', async () => {
    twist<{ jobs: Lease[]; lease_ms: number }>('POST /lease', (answer) => ({ ...answer, jobs: answer.jobs.flatMap((job) => Array.from({ length: 500 }, () => ({ ...job, size: 1 }))) }));
    await submit();
    await start();
    await until(() => world.lines.some((line) => line.includes('lease-failed') && line.includes('RangeError')));
    expect(world.gateway.calls).not.toContain('POST /messages');
  });

  it('of a size that the message has not, or longer than any message', async () => {
    twist<{ jobs: Lease[]; lease_ms: number }>('POST /lease', (answer) => ({ ...answer, jobs: answer.jobs.map((job) => ({ ...job, size: job.size + 1 })) }));
    const { job } = await submit();
    await start();
    await givenBack([job], 'MESSAGE_DIGEST');
  });
});

describe('a gateway that plays the broker', () => {
  it('with claims of its own: the broker\'s seal does not open under them', async () => {
    twist<Session>('POST /attest', (session) => ({ ...session, claims_digest: '00'.repeat(32) }));
    const { job } = await submit();
    await start();
    await givenBack([job], 'SEAL_OPEN');
  });

  it('with a policy that the owner did not sign, or that the broker does not obey: no evidence is made', async () => {
    const attested = vi.fn();
    twist<Session>('POST /attest', (session) => { attested(); return session; });
    const honest = world.gateway.policy;
    try {
      world.gateway.policy = await signJws('ccc-policy+jws', { ...world.policy, revision: 99 }, (await generateSigningKey()).privateKey);
      await start();
      await until(() => world.lines.some((line) => line.includes('lease-failed') && line.includes('Refusal')));
      await stop?.();
      world.gateway.policy = honest;
      twist<{ policy_digest: string }>('POST /challenge', (challenge) => ({ ...challenge, policy_digest: 'A'.repeat(43) }));
      world.lines.length = 0;
      await start();
      await until(() => world.lines.some((line) => line.includes('lease-failed') && line.includes('BINDING_POLICY')));
      expect(attested).not.toHaveBeenCalled();
    } finally {
      world.gateway.policy = honest;
    }
  });

  it('cannot have a result sealed to a key that the client did not name', async () => {
    const one = await submit();
    await start();
    await until(() => one.job.state === 'completed');
    const sealed = one.job.result as NonNullable<QueuedJob['result']>;
    const aad = resultAad('acme', one.context.job_id);
    await expect(open(one.result.privateKey, resultInfo(), aad, sealed)).resolves.toBeDefined();
    const other = await makeMessage(keys);
    await expect(open(other.result.privateKey, resultInfo(), aad, sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(open(one.result.privateKey, resultInfo(), resultAad('acme', other.context.job_id), sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(open(one.result.privateKey, utf8('ccc/release/v1'), aad, sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    expect(fromB64u(sealed.ct).length % 4096).toBe(16);
  });
});
