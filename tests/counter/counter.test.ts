import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { b64u, fromB64u, hex, sha256, text, utf8 } from '../../attestation/bytes.ts';
import { type CounterOptions, startCounter } from '../../workloads/counter/counter.ts';
import { counterGateway } from '../../workloads/counter/gateway-client.ts';
import { portions } from '../../workloads/counter/prepare.ts';
import { createCounterKeys } from '../../workloads/counter/keys.ts';
import { WorkRejected } from '../../workloads/counter/rejected.ts';
import { SessionKeeper } from '../../workloads/counter/session.ts';
import { open } from '../../workloads/protocol/hpke.ts';
import { verifyJws } from '../../workloads/protocol/jws.ts';
import { resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import { EpochJudge } from '../../workloads/protocol/epoch-judge.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import { type CountResult, type Lease, type TenantKey, completeRequestSchema, resultPayloadSchema } from '../../workloads/protocol/messages.ts';
import { PolicySource } from '../../workloads/protocol/policy-source.ts';
import { CccError } from '../../workloads/protocol/problem.ts';
import type { Handler } from '../broker/fake-gateway.ts';
import { DETECTOR, makeMessage, newJobId, OTHER_REGISTERS, REGISTERS, type RunningBroker, tenantKeys, World } from '../broker/world.ts';
import { FakeQueue, type QueuedJob } from './fake-queue.ts';

let world: World;
let queue: FakeQueue;
let broker: RunningBroker;
let keys: TenantKey[];
const stops: (() => Promise<void>)[] = [];
beforeAll(async () => {
  world = await World.create();
  broker = await world.startBroker();
  keys = await tenantKeys(broker.origin);
});
beforeEach(() => {
  world.gateway.reset();
  world.lines.length = 0;
  queue = new FakeQueue(world);
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(() => world.close());

const RESULT: CountResult = { count: 2, method: 'test', model: DETECTOR, boxes: [{ x: 1, y: 2, w: 3, h: 4, score: 0.9 }, { x: 5, y: 6, w: 7, h: 8, score: 0.8 }], image: { width: 10, height: 10 } };

async function start(more: { run?: (bytes: Uint8Array) => Promise<CountResult>; registers?: typeof OTHER_REGISTERS; atOnce?: number } & Partial<CounterOptions> = {}) {
  const { run = async () => RESULT, registers = REGISTERS.counter, atOnce = 1, ...options } = more;
  const counterKeys = await createCounterKeys();
  const gateway = counterGateway({ origin: world.gateway.origin, now: world.now, timeoutMs: 2_000 });
  const log = createLog('counter-1', { now: world.now, write: (line) => void world.lines.push(line) });
  const epochs = new EpochJudge({ cell: 'test', epoch: world.cell.epoch, ownerKey: world.owner.publicKey, fetch: gateway.directory, now: world.now, log });
  const policy = new PolicySource({ fetch: gateway.policy, ownerKey: world.owner.publicKey, now: world.now, log });
  const sessions = new SessionKeeper({ gateway, attester: await world.attester('counter', registers), keys: counterKeys, policy, cell: 'test', platform: 'aws-nitro', configDigest: world.configDigest, now: world.now, log });
  const counter = startCounter({ cell: world.cell, gateway, sessions, keys: counterKeys, epochs, sandbox: { run, modelDigest: DETECTOR.digest, atOnce }, now: world.now, log, waitMs: 200, pauseMs: 5, ...options });
  const stop = () => counter.stop();
  stops.push(stop);
  return { counter, keys: counterKeys, sessions };
}

const submit = async (change: Parameters<typeof makeMessage>[1] = {}, plaintext = utf8('a picture')) => {
  const message = await makeMessage(keys, change, plaintext);
  return { ...message, job: await queue.add(message.bytes, message.context) };
};
const until = (check: () => boolean | undefined) => vi.waitFor(() => { if (check() !== true) throw new Error(`not yet: ${world.lines.slice(-12).join('')}${world.gateway.calls.join(' ')}`); }, { timeout: 60_000, interval: 10 });
const ended = (job: QueuedJob) => until(() => !['accepted', 'leased'].includes(job.state));

/** The verdict as a client reads it. */
async function verdict({ job, result, context }: Awaited<ReturnType<typeof submit>>) {
  if (job.result === undefined) throw new Error(`no result: ${job.state} ${job.code}`);
  const plaintext = await open(result.privateKey, resultInfo(), resultAad(context.tenant_id, context.job_id), job.result);
  expect(plaintext.length % 4096).toBe(0);
  const session = queue.registered.get(job.sessionId as string);
  return verifyJws(text(plaintext).trimEnd(), 'ccc-result+jws', fromB64u(session?.binding.signing_key as string), resultPayloadSchema, 'RESULT_SIGNATURE');
}

describe('a picture', () => {
  it('is decrypted, counted, guarded, signed and sealed; the client can verify all of it', async () => {
    const seen: string[] = [];
    await start({ run: async (bytes) => { seen.push(text(bytes)); return RESULT; } });
    const one = await submit();
    await ended(one.job);
    expect(seen).toEqual(['a picture']);
    const parsed = parseMessage(one.bytes);
    const said = await verdict(one);
    expect(said).toMatchObject({
      outcome: 'completed', tenant_id: 'acme', job_id: one.context.job_id, message_id: b64u(parsed.messageId), commitment: b64u(parsed.commitment),
      body_digest: hex(await sha256(parsed.body)), model_digest: DETECTOR.digest, cell: 'test', epoch: 1, policy_revision: world.policy.revision,
    });
    // The tenant's policy lets out count and boxes: no scores, no image size.
    expect(said.result).toEqual({ count: 2, method: 'test', model: DETECTOR, boxes: [{ x: 1, y: 2, w: 3, h: 4 }, { x: 5, y: 6, w: 7, h: 8 }] });
    expect(world.lines.join('')).not.toContain('a picture');
  });

  it('many pictures: each once, in batches, the next prepared while one is counted', async () => {
    let running = 0;
    const jobs = await Promise.all(Array.from({ length: 12 }, () => submit()));
    await start({ run: async () => { expect(++running).toBe(1); await new Promise((r) => setTimeout(r, 5)); running--; return RESULT; } });
    for (const { job } of jobs) await ended(job);
    expect(jobs.map(({ job }) => [job.state, job.attempts])).toEqual(jobs.map(() => ['completed', 1]));
    expect(world.gateway.calls.filter((call) => call === 'POST /release').length).toBeLessThan(12);
    expect([queue.fetched.reduce((sum, n) => sum + n, 0), queue.fetched.length < 12]).toEqual([12, true]);
    expect([queue.completed.reduce((sum, n) => sum + n, 0), queue.completed.length < 12, Math.max(...queue.completed) <= 8]).toEqual([12, true, true]);
  });

  it('a verdict waits for others while there is something to count, and for nothing else', async () => {
    const [first, second] = [await submit(), await submit()];
    let counted = 0;
    let goOn = (): void => {};
    await start({ run: async () => { if (counted++ > 0) await new Promise<void>((resolve) => { goOn = resolve; }); return RESULT; } });
    // Nothing but time ends the wait of the first: the second is being counted.
    await until(() => first.job.state === 'completed');
    expect(second.job.state).toBe('leased');
    goOn();
    await until(() => second.job.state === 'completed');
    expect(queue.completed).toEqual([1, 1]);
  });

  it('one that the gateway refuses does not keep back the others', async () => {
    const jobs = await Promise.all(Array.from({ length: 3 }, () => submit()));
    const bad = jobs[1]?.job.job_id;
    const complete = world.gateway.routes.get('POST /complete') as Handler;
    const sent: number[] = [];
    world.gateway.routes.set('POST /complete', async (request) => {
      const { jobs: some } = completeRequestSchema.parse(JSON.parse(text(request.body)));
      sent.push(some.length);
      if (some.some(({ job_id }) => job_id === bad)) throw new CccError('EPOCH_FENCED', 'Another cell has it.');
      return complete(request);
    });
    await start();
    await until(() => jobs.filter(({ job }) => job.state === 'completed').length === 2 && world.lines.some((line) => line.includes('completion-failed') && line.includes(String(bad))));
    expect(jobs[1]?.job.state).toBe('leased');
    expect(sent.filter((n) => n > 1).length).toBeLessThanOrEqual(1);
  });

  it('no more messages in memory than fit: the others stay leased until there is room', async () => {
    const jobs = await Promise.all(Array.from({ length: 4 }, () => submit()));
    let go: (() => void) | undefined;
    const { counter } = await start({ maxAhead: 2, maxBytes: 1, run: () => new Promise((resolve) => { go = () => resolve(RESULT); }) });
    const leased = () => jobs.filter(({ job }) => job.state !== 'accepted').length;
    await until(() => go !== undefined && leased() === 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(queue.fetched).toEqual([2]);
    for (const ending of [1, 2]) {
      go?.();
      await until(() => jobs.filter(({ job }) => job.state === 'completed').length === ending);
    }
    await until(() => queue.fetched.length === 2);
    const stopped = counter.stop();
    const nudge = setInterval(() => go?.(), 5);
    await stopped;
    clearInterval(nudge);
    expect(jobs.every(({ job }) => job.state === 'completed' || (job.state === 'accepted' && job.gaveBack.every((code) => code === 'STOPPING')))).toBe(true);
  });

  it('messages are fetched together up to the size of the largest, and 16 at most', () => {
    const held = (size: number) => ({ lost: false, lease: { size } as Lease });
    const sizes = (...of: number[]) => portions(of.map((mib) => held(mib << 20))).map((some) => some.map(({ lease }) => lease.size >> 20));
    expect(sizes()).toEqual([]);
    expect(sizes(10, 10, 10, 24, 1, 23, 1)).toEqual([[10, 10], [10], [24], [1, 23], [1]]);
    expect(sizes(...Array<number>(33).fill(0)).map((some) => some.length)).toEqual([16, 16, 1]);
  });

  it('a lease of a message that none can be: nothing is fetched', async () => {
    const { job } = await submit();
    queue.sizes = 25 << 20;
    await start();
    await until(() => world.lines.some((line) => line.includes('lease-failed')));
    expect([queue.fetched, job.state]).toEqual([[], 'leased']);
  });

  it('plaintext and data key are wiped', async () => {
    let held: Uint8Array | undefined;
    await start({ run: async (bytes) => { held = bytes; return RESULT; } });
    await ended((await submit()).job);
    expect(held?.every((byte) => byte === 0)).toBe(true);
  });
});

describe('never a result', () => {
  it.each(['MESSAGE_FORMAT', 'MESSAGE_HEADER_TAG', 'MESSAGE_COMMITMENT'] as const)('%s: rejected, no verdict', async (code) => {
    const message = await makeMessage(keys);
    const bytes = message.bytes.slice();
    const { header } = parseMessage(bytes);
    const at = { MESSAGE_FORMAT: 0, MESSAGE_HEADER_TAG: header.length - 1, MESSAGE_COMMITMENT: header.length - 17 }[code];
    bytes[at] = (bytes[at] as number) ^ 4;
    const job = await queue.add(bytes, message.context);
    const run = vi.fn(async () => RESULT);
    await start({ run });
    await ended(job);
    expect([job.state, job.code, job.result]).toEqual(['rejected', code, undefined]);
    expect(run).not.toHaveBeenCalled();
  });

  it('a body that was altered: rejected, and the client is told under signature', async () => {
    const message = await makeMessage(keys);
    const bytes = message.bytes.slice();
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    const job = await queue.add(bytes, message.context);
    await start();
    await ended(job);
    const said = await verdict({ ...message, job });
    expect(said).toMatchObject({ outcome: 'rejected', code: 'MESSAGE_BODY' });
    expect(said).not.toHaveProperty('result');
  });

  it('another message than the one leased: given back, never counted', async () => {
    const one = await submit();
    one.job.bytes = (await makeMessage(keys, { job_id: one.context.job_id })).bytes;
    const run = vi.fn(async () => RESULT);
    await start({ run });
    await until(() => one.job.gaveBack.length >= 2);
    expect(new Set(one.job.gaveBack)).toEqual(new Set(['MESSAGE_DIGEST']));
    expect(run).not.toHaveBeenCalled();
  });

  it('a message replayed under another job, or another tenant', async () => {
    const { bytes, context } = await makeMessage(keys);
    const other = await queue.add(bytes, { tenant_id: 'acme', job_id: newJobId() });
    const foreign = await queue.add(bytes, { tenant_id: 'globex', job_id: context.job_id });
    await start();
    await ended(other);
    await ended(foreign);
    expect([other.code, other.result, foreign.code, foreign.result]).toEqual(['CONTEXT_MISMATCH', undefined, 'TENANT_MISMATCH', undefined]);
  });

  it('what the policy refuses is rejected with its code; what another counter could do is given back', async () => {
    const denied = await submit({ data_classification: 'restricted' });
    const elsewhere = await submit({ compliance_zone: 'elsewhere' });
    await start();
    await ended(denied.job);
    expect([denied.job.state, denied.job.code, denied.job.result]).toEqual(['rejected', 'CLASSIFICATION_DENIED', undefined]);
    await until(() => elsewhere.job.gaveBack.includes('CLOUD_ORIGIN'));
    expect(elsewhere.job.result).toBeUndefined();
  });

  it('the broker is down: the job waits, is not leased over and over, and is counted once it is back', async () => {
    const { sessions } = await start();
    await sessions.current();
    await broker.stop();
    const { job } = await submit();
    await until(() => job.gaveBack.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(job.attempts).toBe(1);
    expect(job.result).toBeUndefined();
    broker = await world.startBroker();
    await ended(job);
    expect([job.state, job.attempts]).toEqual(['completed', 2]);
  });

  it('receipts are not stored: the job waits', async () => {
    world.gateway.down.add('POST /receipts');
    const { job } = await submit();
    await start();
    await until(() => job.gaveBack.includes('RECEIPT_NOT_STORED'));
    world.gateway.down.clear();
    await ended(job);
    expect(job.state).toBe('completed');
  });

  it('code that is not in the policy: no session, no lease', async () => {
    const { job } = await submit();
    await start({ registers: OTHER_REGISTERS });
    await until(() => world.lines.some((line) => line.includes('MEASUREMENT_MISMATCH')));
    expect([job.state, job.attempts]).toEqual(['accepted', 0]);
    expect(world.gateway.calls).not.toContain('POST /lease');
  });

  it('a picture at fault: rejected under signature, no count', async () => {
    const one = await submit();
    await start({ run: async () => { throw new WorkRejected('IMAGE_TOO_LARGE'); } });
    await ended(one.job);
    const said = await verdict(one);
    expect([one.job.state, said.outcome, said.code, said.result]).toEqual(['rejected', 'rejected', 'IMAGE_TOO_LARGE', undefined]);
  });

  it('a workload that fails: given back, counted by the next try', async () => {
    const one = await submit();
    let tries = 0;
    await start({ run: async () => { if (++tries === 1) throw new Error('crash'); return RESULT; } });
    await ended(one.job);
    expect([one.job.gaveBack, one.job.state]).toEqual([['WORK_FAILED'], 'completed']);
  });

  it.each([
    ['another schema', { ...RESULT, note: 'smuggled' }, 'EGRESS_SCHEMA'],
    ['another model', { ...RESULT, model: { ...DETECTOR, digest: 'e'.repeat(64) } }, 'EGRESS_MODEL'],
    ['nothing', undefined, 'EGRESS_SCHEMA'],
  ])('a workload that returns %s', async (_, result, code) => {
    const one = await submit();
    await start({ run: async () => result as never });
    await ended(one.job);
    const said = await verdict(one);
    expect([one.job.state, said.code, said.result]).toEqual(['failed', code, undefined]);
  });
});

describe('leases and sessions', () => {
  it('a lost lease: no completion', async () => {
    queue.leaseMs = 150;
    const one = await submit();
    let go: (() => void) | undefined;
    await start({ run: () => new Promise((resolve) => { go = () => resolve(RESULT); }) });
    await until(() => go !== undefined);
    one.job.token = b64u(new Uint8Array(16)); // somebody else has it now
    await until(() => world.lines.some((line) => line.includes('lease-lost')));
    go?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(world.gateway.calls).not.toContain('POST /complete');
    expect(one.job.result).toBeUndefined();
  });

  it('heartbeats keep a lease while a picture takes long', async () => {
    queue.leaseMs = 150;
    const beats = () => world.gateway.calls.filter((call) => call === 'POST /heartbeat').length;
    const one = await submit();
    await start({ run: async () => { await until(() => beats() >= 3); return RESULT; } });
    await ended(one.job);
    expect(beats()).toBeGreaterThanOrEqual(3);
  });

  it('a session that is refused is made anew, once, and the request repeated', async () => {
    const { sessions } = await start();
    await sessions.current();
    queue.refuseSessions = 1;
    const one = await submit();
    await ended(one.job);
    expect(one.job.state).toBe('completed');
    expect(queue.registered.size).toBe(2);
  });

  it('a new policy: attests again, and the result names its revision and the new session', async () => {
    const { sessions } = await start();
    await sessions.current();
    await world.setPolicy({ revision: 2 });
    await broker.broker.policy.refresh();
    const one = await submit();
    await ended(one.job);
    expect((await verdict(one)).policy_revision).toBe(2);
    expect(queue.registered.size).toBe(2);
  });

  it('a session is renewed before its end', async () => {
    const { sessions } = await start();
    const first = await sessions.current();
    world.time += 301_000;
    expect(await sessions.current()).toBe(first); // still good, renewed beside the work
    await vi.waitFor(async () => expect((await sessions.current()).expiresAt).toBe(first.expiresAt + 301));
    expect(queue.registered.size).toBe(2);
  });

  it('the answer to a completion is lost: sent again, recorded once', async () => {
    world.gateway.cut.add('POST /complete');
    const one = await submit();
    await start();
    await ended(one.job);
    world.gateway.cut.clear();
    await until(() => world.lines.some((line) => line.includes('completion-stale') || line.includes('"completed"')));
    expect((await verdict(one)).result?.count).toBe(2);
  });

  it('two in the sandbox: the second is there before the first is counted, no third is, and each ends as it was judged', async () => {
    const jobs = await Promise.all(Array.from({ length: 4 }, () => submit()));
    const under: { resolve(result: CountResult): void; reject(error: unknown): void }[] = [];
    let most = 0;
    let inside = 0;
    await start({
      atOnce: 2,
      run: () => {
        most = Math.max(most, ++inside);
        return new Promise<CountResult>((resolve, reject) => { under.push({ resolve, reject }); }).finally(() => { inside--; });
      },
    });
    await until(() => under.length === 2);
    const [first, second] = under.splice(0) as [typeof under[0], typeof under[0]];
    second.reject(new WorkRejected('WORK_CRASHED')); // it waits for its turn
    first.reject(new Error('ours'));
    await until(() => under.length === 2);
    for (const each of under.splice(0)) each.resolve(RESULT);
    await until(() => under.length === 1); // the one that was given back
    under[0]?.resolve(RESULT);
    await Promise.all(jobs.map(({ job }) => ended(job)));
    expect(jobs.map(({ job }) => [job.state, job.code ?? '', job.gaveBack.join()]).sort()).toEqual([['completed', '', ''], ['completed', '', ''], ['completed', '', 'WORK_FAILED'], ['rejected', 'WORK_CRASHED', '']]);
    expect(most).toBe(2);
  });

  it('stopping with two in the sandbox: both are finished, the others go back', async () => {
    const jobs = await Promise.all(Array.from({ length: 5 }, () => submit()));
    const go: (() => void)[] = [];
    const { counter } = await start({ atOnce: 2, maxAhead: 3, run: () => new Promise((resolve) => { go.push(() => resolve(RESULT)); }) });
    await until(() => go.length === 2 && jobs.filter(({ job }) => job.state === 'leased').length >= 3);
    const stopped = counter.stop();
    for (const each of go) each();
    await stopped;
    expect(go.length).toBe(2);
    expect(jobs.map(({ job }) => job.state).sort()).toEqual(['accepted', 'accepted', 'accepted', 'completed', 'completed']);
    expect(new Set(jobs.flatMap(({ job }) => job.gaveBack))).toEqual(new Set(['STOPPING']));
  });

  it('stopping: the picture under way is finished, the others go back', async () => {
    const jobs = await Promise.all(Array.from({ length: 5 }, () => submit()));
    let go: (() => void) | undefined;
    const { counter } = await start({ maxAhead: 2, run: () => new Promise((resolve) => { go = () => resolve(RESULT); }) });
    await until(() => go !== undefined && jobs.filter(({ job }) => job.state === 'leased').length >= 3);
    const stopped = counter.stop();
    await new Promise((resolve) => setTimeout(resolve, 50));
    go?.();
    await stopped;
    expect(jobs.map(({ job }) => job.state).sort()).toEqual(['accepted', 'accepted', 'accepted', 'accepted', 'completed']);
    expect(jobs.flatMap(({ job }) => job.gaveBack)).toEqual(['STOPPING', 'STOPPING']);
  });
});
