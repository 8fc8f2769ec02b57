/** The internal and the admin listener: each check in a test in which only that check fails. */
import { createServer } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { b64u, bytes, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { unbundle } from '../../workloads/protocol/bundle.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { type BrokerReceipt, type Lease, MAX_ATTESTED_BYTES, problemSchema, type SessionPayload, type StoredKey, type TenantKey } from '../../workloads/protocol/messages.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { PROBLEMS, type ProblemCode } from '../../workloads/protocol/problem.ts';
import type { Gateway } from '../../workloads/gateway/server.ts';
import { contextOf, type Counter, makeWorld, messageFor, octets, owner, type World } from './fixture.ts';

let world: World;
let acme: TenantKey;
let key: string;
let counter: Counter;
beforeAll(async () => {
  world = await makeWorld({ leaseMs: 30_000 });
  acme = await world.tenant('acme');
  key = (await world.apiKey('acme')).key;
  counter = await world.counter();
  await counter.register();
});
afterAll(() => world?.close());

const nowSeconds = () => Math.floor(world.clock.now() / 1000);
const messages = async (who: Counter, ...leases: Lease[]) => unbundle(bytes((await who.call('POST', '/internal/v1/messages', { jobs: leases.map(ref) })).rawPayload), leases.length);
function refused(response: { statusCode: number; body: string }, code: ProblemCode): void {
  const problem = problemSchema.parse(JSON.parse(response.body));
  expect([problem.code, response.statusCode]).toEqual([code, PROBLEMS[code].status]);
}
async function submit(): Promise<string> {
  const context = contextOf();
  const response = await world.gateway.public.inject({ method: 'POST', url: '/v1/jobs', headers: octets(key), payload: Buffer.from(await messageFor(acme, context)) });
  expect(response.statusCode).toBe(202);
  return context.job_id;
}
async function leaseOne(who = counter): Promise<Lease> {
  await submit();
  const { jobs } = (await who.call('POST', '/internal/v1/lease', { max: 1, wait_ms: 0 })).json<{ jobs: Lease[] }>();
  return jobs[0] as Lease;
}
const ref = ({ tenant_id, job_id, lease_token }: Lease) => ({ tenant_id, job_id, lease_token });

/** A session as the broker would sign it, changed. */
const sessionWith = (changed: Partial<SessionPayload>, signer = world.identity.signing.privateKey, typ = 'ccc-session+jwt') => {
  const payload = JSON.parse(Buffer.from(counter.session.session.split('.')[1] as string, 'base64url').toString()) as SessionPayload;
  return signJws(typ, { ...payload, ...changed }, signer);
};
const LEASE = { max: 1, wait_ms: 0 };

describe('sessions', () => {
  const withSession = async (session: string) => counter.call('POST', '/internal/v1/lease', LEASE, { session });

  test('a session that the broker signed anew is taken (the others below differ in one thing each)', async () => {
    expect((await withSession(await sessionWith({}))).statusCode).toBe(200);
  });
  test('no session, no proof', async () => {
    refused(await world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/lease', payload: LEASE }), 'SESSION_INVALID');
    refused(await world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/lease', payload: LEASE, headers: { 'ccc-session': counter.session.session } }), 'POP_INVALID');
  });
  test('signed by another key', async () => refused(await withSession(await sessionWith({}, (await generateSigningKey()).privateKey)), 'SESSION_INVALID'));
  test('of another type', async () => refused(await withSession(await sessionWith({}, undefined, 'ccc-broker-receipt+jws')), 'SESSION_INVALID'));
  test('of another issuer', async () => refused(await withSession(await sessionWith({ iss: 'broker-of-mallory' })), 'SESSION_INVALID'));
  test('of another cell', async () => refused(await withSession(await sessionWith({ cell: 'elsewhere' })), 'SESSION_INVALID'));
  test('expired', async () => refused(await withSession(await sessionWith({ exp: nowSeconds() })), 'SESSION_EXPIRED'));
  test('of another policy', async () => refused(await withSession(await sessionWith({ policy_revision: 7 })), 'SESSION_EXPIRED'));
  test('of a broker, not a counter', async () => refused(await withSession(await sessionWith({ role: 'broker' })), 'SESSION_ROLE'));
  test('of another attested key', async () => {
    const stranger = await generateSigningKey();
    refused(await withSession(await sessionWith({ cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: b64u(stranger.publicKey) } } })), 'POP_INVALID');
  });
  test('not registered', async () => refused(await withSession(await sessionWith({ sid: b64u(randomBytes(16)) })), 'SESSION_INVALID'));
  test.each(['x', 'a.b.c', `${'a'.repeat(9000)}.b.c`])('garbage %#', async (session) => refused(await withSession(session), 'SESSION_INVALID'));
});

describe('proofs of possession', () => {
  const path = '/internal/v1/lease';
  const body = utf8(JSON.stringify(LEASE));
  const proof = (changed: Partial<Parameters<typeof makePop>[0]> = {}) => makePop({ key: counter.key, method: 'POST', path, body, session: counter.session.session, now: nowSeconds(), ...changed });
  const call = async (pop: string) => counter.call('POST', path, LEASE, { pop });

  test('is accepted once', async () => {
    const pop = await proof();
    expect((await call(pop)).statusCode).toBe(200);
    refused(await call(pop), 'POP_REPLAYED');
  });
  test('other method', async () => refused(await call(await proof({ method: 'PUT' })), 'POP_INVALID'));
  test('other path', async () => refused(await call(await proof({ path: '/internal/v1/complete' })), 'POP_INVALID'));
  test('other body', async () => refused(await call(await proof({ body: utf8('{"max":2,"wait_ms":0}') })), 'POP_INVALID'));
  test('other session', async () => refused(await call(await proof({ session: await sessionWith({ iat: 1 }) })), 'POP_INVALID'));
  test('no session', async () => refused(await call(await proof({ session: undefined })), 'POP_INVALID'));
  test('too old, too new', async () => {
    refused(await call(await proof({ now: nowSeconds() - 120 })), 'POP_INVALID');
    refused(await call(await proof({ now: nowSeconds() + 120 })), 'POP_INVALID');
  });
  test('other key', async () => refused(await call(await proof({ key: (await generateSigningKey()).privateKey })), 'POP_INVALID'));
  test('the same JSON in other bytes is another body', async () => {
    refused(await counter.call('POST', path, undefined, { payload: `${JSON.stringify(LEASE)} `, pop: await proof() }), 'POP_INVALID');
  });
  test('a query is part of the path', async () => {
    const url = `${path}?again=1`;
    refused(await counter.call('POST', url, LEASE, { pop: await proof() }), 'POP_INVALID');
    expect((await counter.call('POST', url, LEASE)).statusCode).toBe(200);
  });
});

describe('registering a session', () => {
  let fresh: Counter;
  beforeEach(async () => { fresh = await world.counter(); });
  const register = (changed: object) => fresh.call('POST', '/internal/v1/sessions', { ...fresh.attested, session: fresh.session.session, ear: fresh.session.ear, ...changed });
  const binding = (changed: object) => ({ binding: { ...fresh.attested.binding, ...changed } });

  test('is idempotent; nothing is leased before', async () => {
    refused(await fresh.call('POST', '/internal/v1/lease', LEASE), 'SESSION_INVALID');
    await fresh.register();
    await fresh.register();
    expect((await fresh.call('POST', '/internal/v1/lease', LEASE)).statusCode).toBe(200);
    refused(await register({ evidence: { platform: 'aws-nitro', document: b64u(randomBytes(64)) } }), 'SESSION_INVALID');
  });
  test('another key', async () => refused(await register(binding({ signing_key: b64u(randomBytes(32)) })), 'BINDING_KEY'));
  test('another role', async () => refused(await register(binding({ role: 'broker' })), 'BINDING_ROLE'));
  test('another cell', async () => refused(await register(binding({ cell: 'elsewhere' })), 'BINDING_CELL'));
  test('another policy', async () => refused(await register(binding({ policy_digest: b64u(randomBytes(32)) })), 'BINDING_POLICY'));
  test('another session', async () => refused(await register({ session: counter.session.session }), 'SESSION_INVALID'));
  test('the EAR of another counter', async () => refused(await register({ ear: counter.session.ear }), 'BINDING_KEY'));
  test('an EAR that the broker did not sign', async () => {
    const [h, p] = fresh.session.ear.split('.') as [string, string];
    refused(await register({ ear: `${h}.${p}.${b64u(randomBytes(64))}` }), 'SIG_INVALID');
  });
});

describe('hostile bodies of a counter that proved itself', () => {
  const wire = fc.record({ tenant_id: fc.constantFrom('acme', 'other', '../x'), job_id: fc.oneof(fc.uuid({ version: 4 }), fc.string()), lease_token: fc.constantFrom(b64u(randomBytes(16)), 'x') });
  const bodies = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.record({ jobs: fc.array(wire, { maxLength: 3 }), code: fc.string({ maxLength: 70 }) }).map((v) => JSON.stringify(v)), fc.record({ max: fc.integer(), wait_ms: fc.constantFrom(0, -1, 1e9) }).map((v) => JSON.stringify(v)));
  const paths = ['sessions', 'lease', 'messages', 'heartbeat', 'give-back', 'complete', 'release'] as const;
  test('are answered, with a problem where they are wrong', () => fc.assert(fc.asyncProperty(fc.constantFrom(...paths), bodies, async (path, payload) => {
    const response = await counter.call('POST', `/internal/v1/${path}`, undefined, { payload });
    expect(response.statusCode, response.body).toBeLessThan(500);
    if (response.statusCode >= 300) problemSchema.parse(JSON.parse(response.body));
  }), { numRuns: 150 }));
});

describe('leases', () => {
  test('nothing due: the poll ends empty when its time is up', async () => {
    while ((await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json<{ jobs: Lease[] }>().jobs.length > 0);
    const started = performance.now();
    expect((await counter.call('POST', '/internal/v1/lease', { max: 1, wait_ms: 300 })).json()).toEqual({ jobs: [], lease_ms: 30_000 });
    expect(performance.now() - started).toBeGreaterThanOrEqual(290);
  });

  test('a lease that ran out goes to another, and the first one\'s completion is stale', async () => {
    const second = await world.counter();
    await second.register();
    const first = await leaseOne();
    world.clock.advance(31_000);
    const again = (await second.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json<{ jobs: Lease[] }>().jobs.find((j) => j.job_id === first.job_id) as Lease;
    expect(again.attempt).toBe(2);
    expect((await counter.call('POST', '/internal/v1/heartbeat', { jobs: [ref(first)] })).json()).toMatchObject({ lost: [first.job_id] });
    expect((await counter.call('POST', '/internal/v1/complete', { jobs: [{ ...ref(first), outcome: 'failed', code: 'TEST' }] })).json()).toEqual({ jobs: [{ job_id: first.job_id, recorded: false, state: 'stale' }] });
    expect(await messages(counter, first)).toEqual([{ code: 'LEASE_STALE' }]);
    // The token alone is not enough: it is the other counter's.
    expect(await messages(counter, again)).toEqual([{ code: 'LEASE_STALE' }]);
    expect(await messages(second, again)).toEqual([{ message: bytes(await world.blobs.get(again.message_digest)) }]);
    expect((await second.call('POST', '/internal/v1/complete', { jobs: [{ ...ref(again), outcome: 'rejected', code: 'PICTURE_FORMAT' }] })).json()).toEqual({ jobs: [{ job_id: first.job_id, recorded: true, state: 'rejected' }] });
    expect(await world.ledger.job('acme', first.job_id)).toMatchObject({ state: 'rejected', code: 'PICTURE_FORMAT', attempts: 2 });
  });

  test('given back, a job is due again', async () => {
    const lease = await leaseOne();
    expect((await counter.call('POST', '/internal/v1/give-back', { jobs: [ref(lease)], code: 'BUSY' })).statusCode).toBe(204);
    world.clock.advance(5_000);
    const { jobs } = (await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json<{ jobs: Lease[] }>();
    expect(jobs.map((j) => j.job_id)).toContain(lease.job_id);
  });

  test('a completed job has a result, any other a code, and each ends once', async () => {
    const lease = await leaseOne();
    const failed = { ...ref(lease), outcome: 'failed', code: 'TEST' };
    refused(await counter.call('POST', '/internal/v1/complete', { jobs: [{ ...ref(lease), outcome: 'completed' }] }), 'VALIDATION');
    refused(await counter.call('POST', '/internal/v1/complete', { jobs: [{ ...ref(lease), outcome: 'rejected' }] }), 'VALIDATION');
    refused(await counter.call('POST', '/internal/v1/complete', { jobs: [failed, failed] }), 'VALIDATION');
    refused(await counter.call('POST', '/internal/v1/complete', { jobs: [] }), 'VALIDATION');
    expect(await world.ledger.job('acme', lease.job_id)).toMatchObject({ state: 'leased' });
  });

  test('a stale completion leaves no event, and is not the fault of those beside it', async () => {
    const lease = await leaseOne();
    const result = { enc: b64u(randomBytes(1120)), ct: b64u(randomBytes(4112)) };
    const other = await leaseOne();
    const answer = await counter.call('POST', '/internal/v1/complete', { jobs: [{ ...ref(lease), lease_token: b64u(randomBytes(16)), outcome: 'completed', result }, { ...ref(other), outcome: 'completed', result }] });
    expect(answer.json()).toEqual({ jobs: [{ job_id: lease.job_id, recorded: false, state: 'stale' }, { job_id: other.job_id, recorded: true, state: 'completed' }] });
    expect((await world.ledger.events('acme', lease.job_id, 0)).map((e) => e.event)).toEqual(['accepted', 'leased']);
    expect((await world.ledger.events('acme', other.job_id, 0)).map((e) => e.event)).toEqual(['accepted', 'leased', 'counted', 'completed']);
  });

  test('bytes that the store lost are said to be, not made up', async () => {
    const lease = await leaseOne();
    const other = await leaseOne();
    await world.blobs.delete(lease.message_digest);
    expect(await messages(counter, lease, other)).toEqual([{ code: 'STORE_UNAVAILABLE' }, { message: bytes(await world.blobs.get(other.message_digest)) }]);
  });
});

describe('messages', () => {
  test('of several jobs come in the order asked for, each with its own lease judged', async () => {
    const [one, two, three] = [await leaseOne(), await leaseOne(), await leaseOne()];
    const of = async (lease: Lease) => ({ message: bytes(await world.blobs.get(lease.message_digest)) });
    expect(await messages(counter, two, one)).toEqual([await of(two), await of(one)]);
    const stale = { code: 'LEASE_STALE' };
    expect(await messages(counter, { ...one, lease_token: two.lease_token }, two, { ...three, tenant_id: 'other' }, { ...three, job_id: one.job_id }, three)).toEqual([stale, await of(two), stale, stale, await of(three)]);
  });
  test('are asked for 16 at most, and for one at least', async () => {
    const lease = await leaseOne();
    refused(await counter.call('POST', '/internal/v1/messages', { jobs: [] }), 'VALIDATION');
    expect((await messages(counter, ...Array<Lease>(16).fill(lease))).length).toBe(16);
    refused(await counter.call('POST', '/internal/v1/messages', { jobs: Array(17).fill(ref(lease)) }), 'VALIDATION');
  });
  test('are for whoever has a session', async () => {
    const lease = await leaseOne();
    refused(await counter.call('POST', '/internal/v1/messages', { jobs: [ref(lease)] }, { pop: 'x' }), 'POP_INVALID');
  });
});

let seq = 100;
const chain = `chain-${Date.now()}`;
const asBroker = async (gateway: Gateway, method: 'GET' | 'PUT' | 'POST', url: string, body?: object, changed: { instance?: string; key?: CryptoKey } = {}) => {
  const payload = body === undefined ? '' : JSON.stringify(body);
  const pop = await makePop({ key: changed.key ?? world.identity.signing.privateKey, method, path: url, body: utf8(payload), now: nowSeconds() });
  return gateway.internal.inject({ method, url, headers: { 'ccc-broker': changed.instance ?? world.identity.instance, 'ccc-pop': pop, ...(payload === '' ? {} : { 'content-type': 'application/json' }) }, ...(payload === '' ? {} : { payload }) });
};
const receipt = async (changed: Partial<BrokerReceipt> = {}, signer = world.identity.signing.privateKey) => {
  const payload: BrokerReceipt = { v: 'ccc-broker-receipt/v1', instance: world.identity.instance, seq: ++seq, prev: b64u(randomBytes(32)), operation: 'refused', tenant_id: 'acme', zone: 'eu', policy_revision: 1, at: nowSeconds(), ...changed };
  return { instance: world.identity.instance, seq: payload.seq, jws: await signJws('ccc-broker-receipt+jws', payload, signer) };
};
const storedKey = (n: number): StoredKey => ({ id: `vault.x-wing.${n}`, alg: 'X-Wing', state: 'active', public: b64u(randomBytes(1216)), not_after: 4_000_000_000, tenant_id: 'vault', zone: 'eu', cell: 'local', sealed: b64u(randomBytes(64)), created_at: 1 });


describe('the broker\'s side', () => {
  test('the policy is public', async () => {
    const response = await world.gateway.internal.inject('/internal/v1/policy');
    expect(response.json()).toEqual({ policy: (await world.ledger.policy())?.jws });
  });

  test('a proof by the attested key, and by no other', async () => {
    const url = '/internal/v1/tenant-keys?tenant=acme';
    const response = await asBroker(world.gateway, 'GET', url);
    expect(response.statusCode).toBe(200);
    expect(response.json<{ keys: StoredKey[]; sealed_total: number }>().keys.map((k) => k.id)).toContain(acme.id);
    expect(response.json<{ sealed_total: number }>().sealed_total).toBeGreaterThanOrEqual(2);
    refused(await asBroker(world.gateway, 'GET', url, undefined, { key: (await generateSigningKey()).privateKey }), 'POP_INVALID');
    refused(await asBroker(world.gateway, 'GET', url, undefined, { key: counter.key }), 'POP_INVALID');
    refused(await asBroker(world.gateway, 'GET', url, undefined, { instance: 'another' }), 'BROKER_UNVERIFIED');
    refused(await world.gateway.internal.inject(url), 'POP_INVALID');
    // A counter's session is not a broker's proof.
    refused(await counter.call('GET', url), 'POP_INVALID');
  });

  test('keys are put once; other bytes under an id are a conflict, and then none is put', async () => {
    // Keys that no broker made, so of a tenant that no broker is asked about.
    await world.ledger.addTenant({ id: 'vault', zone: 'eu' });
    const [one, two] = [storedKey(801), storedKey(802)];
    const put = (keys: StoredKey[]) => asBroker(world.gateway, 'PUT', '/internal/v1/tenant-keys', { keys });
    expect((await put([one])).statusCode).toBe(204);
    expect((await put([one])).statusCode).toBe(204);
    refused(await put([two, { ...one, sealed: b64u(randomBytes(64)) }]), 'KEY_CONFLICT');
    expect((await world.ledger.tenantKeys('vault')).map((k) => k.id)).toEqual([one.id]);
    refused(await put([{ ...two, tenant_id: 'nobody' }]), 'TENANT_UNKNOWN');
  });

});

describe('the broker\'s evidence', () => {
  const listen = async (answer: (body: string) => Promise<{ status: number; body: string }>) => {
    let calls = 0;
    const server = createServer((request, response) => {
      calls += 1;
      const chunks: Buffer[] = [];
      request.on('data', (c: Buffer) => chunks.push(c)).on('end', () => void answer(Buffer.concat(chunks).toString()).then(({ status, body }) => response.writeHead(status, { 'content-type': 'application/json' }).end(body)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { origin: `http://127.0.0.1:${(server.address() as { port: number }).port}`, calls: () => calls, close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }) };
  };
  const genuine = async (body: string, url = '/v1/evidence') => {
    const response = await fetch(`http://127.0.0.1:${world.cell.broker.port}${url}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    return { status: response.status, body: await response.text() };
  };
  const leaseAt = async (origin: string, limits = {}) => {
    const gateway = await world.another({ broker: { origin }, limits });
    return { gateway, response: await counter.call('POST', '/internal/v1/lease', LEASE, { gateway }) };
  };

  test('a proxy to the genuine broker is as good as the broker', async () => {
    const fake = await listen(genuine);
    const { gateway, response } = await leaseAt(fake.origin);
    expect(response.statusCode).toBe(200);
    await counter.call('POST', '/internal/v1/lease', LEASE, { gateway });
    expect(fake.calls()).toBe(1);
    await fake.close();
  });

  test.each([
    ['a replayed answer', (() => { let old: Promise<{ status: number; body: string }> | undefined; return () => (old ??= genuine(JSON.stringify({ challenge_id: b64u(new Uint8Array(16)), nonce: b64u(new Uint8Array(32)), audience: world.internalUrl }))); })()],
    ['another signing key in the binding', async (body: string) => {
      const answer = JSON.parse((await genuine(body)).body) as { binding: object };
      return { status: 200, body: JSON.stringify({ ...answer, binding: { ...answer.binding, signing_key: b64u(randomBytes(32)) } }) };
    }],
    ['a counter\'s evidence', async () => ({ status: 200, body: JSON.stringify({ instance: world.identity.instance, ...counter.attested }) })],
    ['a counter that says it is a broker', async (body: string) => {
      const { challenge_id, nonce, audience } = JSON.parse(body) as { challenge_id: string; nonce: string; audience: string };
      const { fromBinding, fromEvidence } = await import('../../workloads/protocol/evidence.ts');
      const binding = {
        platform: 'aws-nitro', role: 'broker', cell: 'local', challengeId: new Uint8Array(Buffer.from(challenge_id, 'base64url')), nonce: new Uint8Array(Buffer.from(nonce, 'base64url')), audience,
        receivingKey: new Uint8Array(1216), signingKey: world.identity.signing.publicKey, tlsSpkiSha256: new Uint8Array(0),
        policyDigest: await sha256(utf8((await world.ledger.policy())?.jws ?? '')), configDigest: world.configDigest, payloadDigest: new Uint8Array(32),
      } as const;
      const evidence = await (await world.attester('counter')).attest({ binding });
      return { status: 200, body: JSON.stringify({ instance: world.identity.instance, evidence: fromEvidence(evidence), binding: fromBinding(binding) }) };
    }],
  ] as const)('%s is refused', async (_name, answer) => {
    const fake = await listen(answer as (body: string) => Promise<{ status: number; body: string }>);
    refused((await leaseAt(fake.origin)).response, 'BROKER_UNVERIFIED');
    await fake.close();
  });

  test.each([['no JSON', 200, 'hello'], ['another shape', 200, '{}'], ['an error', 500, '{}']])('%s is no broker', async (_name, status, body) => {
    const fake = await listen(async () => ({ status, body }));
    refused((await leaseAt(fake.origin)).response, 'BROKER_UNAVAILABLE');
    await fake.close();
  });

  test('a broker that is just starting is waited for, by all callers together; nobody is told that the cell is ready before', async () => {
    let started = false;
    const fake = await listen(async (body) => (body === '' ? { status: 200, body: '{}' } : started ? genuine(body) : { status: 503, body: '{}' }));
    const gateway = await world.another({ broker: { origin: fake.origin }, limits: { brokerRetryMs: 300 } });
    const health = await gateway.public.inject('/v1/health');
    expect([health.statusCode, health.json().checks.broker]).toEqual([503, 'failing']);
    started = true;
    const before = fake.calls();
    const answers = await Promise.all(Array.from({ length: 5 }, () => counter.call('POST', '/internal/v1/lease', LEASE, { gateway })));
    expect(answers.map((a) => a.statusCode)).toEqual([200, 200, 200, 200, 200]);
    expect(fake.calls() - before).toBe(1);
    expect((await gateway.public.inject('/v1/health')).json().checks.broker).toBe('ok');
    await fake.close();
  });

  test('garbage from outside does not make the broker work: one attempt, then a floor', async () => {
    const fake = await listen(genuine);
    const now = world.clock.now();
    const gateway = await world.another({ broker: { origin: fake.origin }, now: () => now, limits: { brokerRetryMs: 60_000 } });
    const session = await sessionWith({ iss: 'broker-of-mallory' });
    const answers = await Promise.all(Array.from({ length: 10 }, () => counter.call('POST', '/internal/v1/lease', LEASE, { session, gateway })));
    for (const answer of answers) refused(answer, 'SESSION_INVALID');
    expect(fake.calls()).toBe(1);
    await fake.close();
  });
});

describe('what is passed on', () => {
  test('a broker that is down', async () => {
    await world.stopBroker();
    refused(await world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/challenge', payload: { role: 'counter', platform: 'aws-nitro' } }), 'BROKER_UNAVAILABLE');
    refused(await counter.call('POST', '/internal/v1/release', { items: [] }), 'BROKER_UNAVAILABLE');
    await world.startBroker();
    expect((await world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/challenge', payload: { role: 'counter', platform: 'aws-nitro' } })).statusCode).toBe(200);
  });
  test('the broker\'s own refusals come through with their codes', async () => {
    const response = await world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/attest', payload: counter.attested });
    const problem = problemSchema.parse(response.json());
    expect([response.statusCode, problem.code]).toEqual([409, expect.stringMatching(/^CHALLENGE_/)]);
  });
  test('evidence as large as the broker reads, and no larger', async () => {
    const of = async (size: number) => world.gateway.internal.inject({ method: 'POST', url: '/internal/v1/attest', headers: { 'content-type': 'application/json' }, payload: '{}'.padEnd(size) });
    const fits = await of(MAX_ATTESTED_BYTES);
    expect([fits.statusCode, problemSchema.parse(fits.json()).code]).toEqual([400, 'VALIDATION']);
    refused(await of(MAX_ATTESTED_BYTES + 1), 'BODY_TOO_LARGE');
  });
  test('challenges are limited by address', async () => {
    const gateway = await world.another({ limits: { challenge: { burst: 2, perSecond: 0.001 } } });
    const ask = () => gateway.internal.inject({ method: 'POST', url: '/internal/v1/challenge', payload: { role: 'counter', platform: 'aws-nitro' } });
    expect([(await ask()).statusCode, (await ask()).statusCode]).toEqual([200, 200]);
    refused(await ask(), 'RATE_LIMITED');
  });
});

describe('admin', () => {
  const admin = (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: object) => world.gateway.admin.inject({ method, url, ...(payload === undefined ? {} : { payload }) });

  test('the digest of a drill\'s report is an entry of the audit chain; anything else is refused', async () => {
    const drill = { digest: 'ab'.repeat(32), scenario: 'kill', ok: true };
    const response = await admin('POST', '/audit/drills', drill);
    expect([response.statusCode, response.json()]).toEqual([201, expect.objectContaining({ kind: 'drill-report', body: JSON.stringify({ digest: drill.digest, ok: true, scenario: 'kill' }) })]);
    const { audit } = (await admin('GET', '/status')).json() as { audit: object };
    expect(audit).toMatchObject({ ok: true, entries: response.json().seq, head: response.json().hash });
    for (const change of [{ digest: 'AB'.repeat(32) }, { digest: 'ab' }, { scenario: 'a secret of many words' }, { ok: 'yes' }, { more: 1 }]) refused(await admin('POST', '/audit/drills', { ...drill, ...change }), 'VALIDATION');
  });
  test('a tenant again is the same; another zone is a conflict; a zone that is not allowed is refused', async () => {
    const again = await admin('POST', '/tenants', { id: 'acme', zone: 'eu' });
    expect(again.statusCode, again.body).toBe(201);
    expect(again.json<{ keys: TenantKey[] }>().keys.map((k) => k.id)).toContain(acme.id);
    refused(await admin('POST', '/tenants', { id: 'acme', zone: 'us' }), 'TENANT_CONFLICT');
    refused(await admin('POST', '/tenants', { id: 'new', zone: 'closed' }), 'ZONE_DENIED');
    refused(await admin('POST', '/tenants', { id: 'new', zone: 'mars' }), 'ZONE_DENIED');
    refused(await admin('POST', '/tenants', { id: 'NEW', zone: 'eu' }), 'VALIDATION');
    expect(await world.ledger.tenant('new')).toBeUndefined();
  });
  test('keys', async () => {
    refused(await admin('POST', '/keys', { tenant_id: 'nobody', scopes: ['jobs:read'] }), 'TENANT_UNKNOWN');
    refused(await admin('POST', '/keys', { tenant_id: 'acme', scopes: ['root'] }), 'VALIDATION');
    refused(await admin('POST', '/keys', { tenant_id: 'acme', scopes: [] }), 'VALIDATION');
    refused(await admin('DELETE', `/keys/${'a'.repeat(16)}`), 'NOT_FOUND');
    refused(await admin('DELETE', '/keys/x'), 'VALIDATION');
  });
  test('status', async () => {
    const status = (await admin('GET', '/status')).json();
    expect(status).toMatchObject({ cell: 'local', simulated: true, policy_revision: 1, audit: { ok: true }, queue_limit: 10_000 });
    expect(status.tenants).toContainEqual({ id: 'acme', zone: 'eu' });
    expect(status.audit.entries).toBeGreaterThan(0);
    expect(status.counters.map((c: { session: string }) => c.session)).toContain(JSON.parse(Buffer.from(counter.session.session.split('.')[1] as string, 'base64url').toString()).sid);
    expect(status.brokers).toMatchObject([{ instance: world.identity.instance, policy_revision: 1 }]);
  });
});

describe('orphans', () => {
  test('bytes without a job go after their time, and no others', async () => {
    const job = await submit();
    const { messageDigest } = await world.ledger.job('acme', job) as { messageDigest: string };
    const orphan = await world.blobs.put(randomBytes(99));
    let at = world.clock.now();
    const gateway = await world.another({ now: () => at });
    expect(await gateway.sweepOrphans()).toBe(0);
    at += 3_599_000;
    expect(await gateway.sweepOrphans()).toBe(0);
    at += 2_000;
    expect(await gateway.sweepOrphans()).toBe(1);
    expect([await world.blobs.has(orphan), await world.blobs.has(messageDigest)]).toEqual([false, true]);
  });

  test('bytes that are being accepted are not swept, however old', async () => {
    const context = contextOf();
    const message = await messageFor(acme, context);
    const digest = await world.blobs.put(message);
    let at = world.clock.now();
    let accepting: () => void = () => {};
    let go: () => void = () => {};
    const started = new Promise<void>((resolve) => { accepting = resolve; });
    const gate = new Promise<void>((resolve) => { go = resolve; });
    const gateway = await world.another({ now: () => at, ledger: { ...world.ledger, accept: async (job) => { accepting(); await gate; return world.ledger.accept(job); } } });
    await gateway.sweepOrphans();
    at += 7_200_000;
    const answer = gateway.public.inject({ method: 'POST', url: '/v1/jobs', headers: octets(key), payload: Buffer.from(message) });
    await started;
    expect(await gateway.sweepOrphans()).toBe(0);
    go();
    expect((await answer).statusCode).toBe(202);
    expect(await world.blobs.has(digest)).toBe(true);
  });
});

// After what needs the broker's own chain: this takes numbers of it.
test('receipts are stored when answered; a taken number is a conflict; foreign and false ones are refused', async () => {
  const job = await submit();
  const lease = (await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json<{ jobs: Lease[] }>().jobs.find((j) => j.job_id === job) as Lease;
  const fresh = await world.another({});
  const send = async (rows: object[]) => asBroker(fresh, 'POST', '/internal/v1/receipts', { receipts: rows });
  let first: Awaited<ReturnType<typeof receipt>> | undefined;
  for (seq = 0; seq < 20;) {
    const row = await receipt({ operation: 'released', job_id: job });
    const response = await send([row]);
    if (response.statusCode === 204) { first = row; break; }
    refused(response, 'RECEIPT_CONFLICT');
  }
  if (first === undefined) throw new Error('no free number');
  expect(await world.ledger.receiptsFor('acme', job)).toEqual([first.jws]);
  expect((await world.ledger.events('acme', job, 0)).map((e) => e.event)).toEqual(['accepted', 'leased', 'released']);
  expect((await send([first])).statusCode).toBe(204);
  expect((await world.ledger.events('acme', job, 0)).map((e) => e.event)).toEqual(['accepted', 'leased', 'released']);
  refused(await send([{ ...(await receipt({ seq: first.seq })) }]), 'RECEIPT_CONFLICT');
  refused(await send([await receipt({}, (await generateSigningKey()).privateKey)]), 'RECEIPT_FORMAT');
  refused(await send([await receipt({ instance: chain })]), 'RECEIPT_FORMAT');
  refused(await send([{ ...(await receipt()), seq: 999 }]), 'RECEIPT_FORMAT');
  refused(await send([{ ...(await receipt()), instance: chain }]), 'RECEIPT_FORMAT');
  expect(lease.job_id).toBe(job);
});

describe('a new policy (last: it ends everything)', () => {
  const put = async (policy: string, directory?: string) => world.gateway.admin.inject({ method: 'PUT', url: '/policy', payload: { policy, ...(directory === undefined ? {} : { directory }) } });

  test('only the owner\'s, only newer, only well-formed', async () => {
    const mallory = await generateSigningKey();
    const payload = JSON.parse(Buffer.from((await world.policyOf({ revision: 2 })).split('.')[1] as string, 'base64url').toString()) as object;
    refused(await put(await signJws('ccc-policy+jws', payload, mallory.privateKey)), 'POLICY_SIGNATURE');
    refused(await put(await signJws('ccc-policy+jws', { ...payload, surprise: 1 }, owner.privateKey)), 'POLICY_FORMAT');
    refused(await put(await world.policyOf({ revision: 2, notAfter: nowSeconds() - 1 })), 'POLICY_EXPIRED');
    refused(await put(await world.policyOf({ revision: 1, deployment: 'other' })), 'POLICY_ROLLBACK');
    refused(await put(await world.policyOf({ revision: 2 }), await world.policyOf()), 'DIRECTORY_SIGNATURE');
    const newer = await signJws('ccc-directory+jws', { ...JSON.parse(Buffer.from(world.directory.split('.')[1] as string, 'base64url').toString()) as object, revision: 2 }, owner.privateKey);
    // One that names an older directory lets that be shown; one that names a newer, which nobody has, stops everything.
    refused(await put(await world.policyOf({ revision: 2 }), newer), 'DIRECTORY_ROLLBACK');
    refused(await put(await world.policyOf({ revision: 2, directoryRevision: 2 })), 'DIRECTORY_ROLLBACK');
    expect((await put((await world.ledger.policy())?.jws ?? '')).json()).toEqual({ revision: 1 });
    expect((await world.ledger.policy())?.revision).toBe(1);
  });

  test('ends all sessions; a counter that attests again works under the new one', async () => {
    expect((await counter.call('POST', '/internal/v1/lease', LEASE)).statusCode).toBe(200);
    expect((await put(await world.policyOf({ revision: 2 }))).json()).toEqual({ revision: 2 });
    refused(await counter.call('POST', '/internal/v1/lease', LEASE), 'SESSION_EXPIRED');
    world.clock.advance(2_000);
    const renewed = await world.counter();
    await renewed.register();
    expect((await renewed.call('POST', '/internal/v1/lease', LEASE)).statusCode).toBe(200);
    refused(await put(await world.policyOf({ revision: 1 })), 'POLICY_ROLLBACK');
  });

  test('another gateway on the same ledger learns it', async () => {
    const gateway = await world.another({});
    await world.ledger.putPolicy(3, await world.policyOf({ revision: 3 }));
    world.clock.advance(3_000);
    expect((await gateway.internal.inject('/internal/v1/policy')).json()).toEqual({ policy: (await world.ledger.policy())?.jws });
    expect((await gateway.admin.inject('/status')).json()).toMatchObject({ policy_revision: 3 });
  });
});
