import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { b64u, hex, randomBytes, sha256 } from '../../attestation/bytes.ts';
import { jobSchema, manifestResponseSchema, manifestSchema, problemSchema, type TenantKey } from '../../workloads/protocol/messages.ts';
import { PROBLEMS } from '../../workloads/protocol/problem.ts';
import { bearer, contextOf, LOG_LINES, makeWorld, messageFor, octets, owner, type World } from './fixture.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';

let world: World;
let acme: TenantKey;
let other: TenantKey;
let key: string;
let otherKey: string;
beforeAll(async () => {
  world = await makeWorld();
  acme = await world.tenant('acme');
  other = await world.tenant('other', 'us');
  key = (await world.apiKey('acme')).key;
  otherKey = (await world.apiKey('other')).key;
});
afterAll(() => world?.close());

const submit = (payload: Uint8Array, headers: Record<string, string> = octets(key), gateway = world.gateway) =>
  gateway.public.inject({ method: 'POST', url: '/v1/jobs', headers, payload: Buffer.from(payload) });
const get = (url: string, apiKey = key, headers: Record<string, string> = {}) => world.gateway.public.inject({ method: 'GET', url, headers: { ...bearer(apiKey), ...headers } });

/** The answer is a problem document of exactly this code. */
function refused(response: { statusCode: number; headers: Record<string, unknown>; body: string }, code: keyof typeof PROBLEMS): void {
  expect(String(response.headers['content-type'])).toMatch(/^application\/problem\+json/);
  const problem = problemSchema.parse(JSON.parse(response.body));
  expect(problem).toMatchObject({ code, status: PROBLEMS[code].status });
  expect(response.statusCode).toBe(PROBLEMS[code].status);
  expect(problem.instance).toBe(`urn:uuid:${String(response.headers['x-request-id'])}`);
}

describe('submitting', () => {
  test('answers 202 with the job, and where it is', async () => {
    const context = contextOf();
    const message = await messageFor(acme, context);
    const response = await submit(message);
    expect(response.statusCode).toBe(202);
    const job = jobSchema.parse(response.json());
    expect(job).toMatchObject({ job_id: context.job_id, state: 'accepted', size: message.length, message_digest: hex(await sha256(message)) });
    expect(response.headers['location']).toBe(`/v1/jobs/${context.job_id}`);
    expect(await world.blobs.get(job.message_digest)).toEqual(message);
  });

  test('the same bytes twenty times at once are one job; other bytes are a conflict that names the first', async () => {
    const context = contextOf();
    const message = await messageFor(acme, context);
    const before = (await world.ledger.usage('acme')).jobs;
    const answers = await Promise.all(Array.from({ length: 20 }, () => submit(message)));
    expect(answers.map((a) => a.statusCode)).toEqual(Array(20).fill(202));
    expect(new Set(answers.map((a) => a.body)).size).toBe(1);
    expect((await world.ledger.usage('acme')).jobs).toBe(before + 1);
    const conflict = await submit(await messageFor(acme, context));
    refused(conflict, 'JOB_CONFLICT');
    expect(conflict.json<{ detail: string }>().detail).toContain(hex(await sha256(message)));
  });

  test('another tenant\'s message is refused', async () => {
    refused(await submit(await messageFor(other, contextOf({ tenant_id: 'other', compliance_zone: 'us' }))), 'TENANT_MISMATCH');
  });

  test('a zone that is not the tenant\'s is refused', async () => {
    refused(await submit(await messageFor(acme, contextOf({ compliance_zone: 'us' }))), 'ZONE_DENIED');
  });

  test('a classification that the policy does not allow is refused', async () => {
    refused(await submit(await messageFor(acme, contextOf({ data_classification: 'restricted' }))), 'CLASSIFICATION_DENIED');
  });

  test('a key that this tenant does not have is refused', async () => {
    const stranger = { ...acme, public: b64u((await generateReceivingKey()).publicKey), id: 'acme.x-wing.9' };
    refused(await submit(await messageFor(stranger, contextOf())), 'KEY_UNKNOWN');
    refused(await submit(await messageFor({ ...acme, id: other.id }, contextOf())), 'KEY_UNKNOWN');
  });

  test('a key that is retired is refused', async () => {
    const retired = { ...acme, id: 'acme.x-wing.7', state: 'retired' as const };
    await world.ledger.putTenantKey({ ...retired, tenant_id: 'acme', zone: 'eu', cell: 'local', sealed: b64u(randomBytes(64)), created_at: 1 });
    refused(await submit(await messageFor({ ...retired, state: 'active' }, contextOf())), 'KEY_STATE');
  });

  test('nothing is accepted that is no message', async () => {
    refused(await submit(new Uint8Array(0)), 'BODY_EMPTY');
    refused(await submit(randomBytes(100)), 'MESSAGE_FORMAT');
    const message = await messageFor(acme, contextOf());
    refused(await submit(message.subarray(0, -1)), 'MESSAGE_FORMAT');
    refused(await submit(message, { ...bearer(key), 'content-type': 'image/png' }), 'UNSUPPORTED_MEDIA_TYPE');
    refused(await submit(message, { ...bearer(key), 'content-type': 'application/json' }), 'UNSUPPORTED_MEDIA_TYPE');
    const suite = Uint8Array.from(message);
    suite[2] = 0x14;
    refused(await submit(suite), 'MESSAGE_SUITE');
    const jobs = await get('/v1/jobs?limit=1000');
    expect(jobs.json<{ jobs: { message_digest: string }[] }>().jobs.map((j) => j.message_digest)).not.toContain(hex(await sha256(message)));
  });

  test('back-pressure: over the depth of the queue the answer is 503 and when to come back', async () => {
    await submit(await messageFor(acme, contextOf()));
    const full = await world.another({ limits: { queueDepth: 1, queueCheckMs: 0 } });
    const response = await submit(await messageFor(acme, contextOf()), octets(key), full);
    refused(response, 'BACK_PRESSURE');
    expect(response.headers['retry-after']).toBe('2');
    const busy = await world.another({ limits: { uploadBudgetBytes: 10 } });
    refused(await submit(await messageFor(acme, contextOf()), octets(key), busy), 'BACK_PRESSURE');
  });

  test('a ledger that does not answer in time is absent; nothing was acknowledged, and a repetition succeeds', async () => {
    const slow = await world.another({ ledger: { ...world.ledger, accept: async (job) => { await world.ledger.accept(job); return new Promise<never>(() => {}); } }, limits: { ledgerMs: 400 } });
    const message = await messageFor(acme, contextOf());
    const response = await submit(message, octets(key), slow);
    refused(response, 'LEDGER_UNAVAILABLE');
    expect(response.headers['retry-after']).toBe('2');
    expect((await submit(message)).statusCode).toBe(202);
  });

  test('a store that fails or is full', async () => {
    const failing = (code: string) => world.another({ blobs: { ...world.blobs, put: async () => { throw new (await import('../../workloads/ledger/errors.ts')).LedgerError(code, 'test'); } } });
    refused(await submit(await messageFor(acme, contextOf()), octets(key), await failing('BLOB_NO_SPACE')), 'STORE_FULL');
    refused(await submit(await messageFor(acme, contextOf()), octets(key), await failing('BLOB_UNAVAILABLE')), 'STORE_UNAVAILABLE');
  });

  test('an unforeseen error is INTERNAL and keeps its text', async () => {
    const broken = await world.another({ ledger: { ...world.ledger, accept: async () => { throw new Error('password=hunter2'); } } });
    const response = await submit(await messageFor(acme, contextOf()), octets(key), broken);
    refused(response, 'INTERNAL');
    expect(response.body).not.toContain('hunter2');
  });
});

describe('API keys', () => {
  test.each([undefined, 'Bearer', 'Bearer x', 'Basic abc', `Bearer ccc_live_${'a'.repeat(16)}_${'A'.repeat(43)}`])('no valid key: %s', async (authorization) => {
    const response = await world.gateway.public.inject({ method: 'GET', url: '/v1/jobs', ...(authorization === undefined ? {} : { headers: { authorization } }) });
    refused(response, 'UNAUTHENTICATED');
    expect(response.headers['www-authenticate']).toBe('Bearer');
  });

  test('a right id with a wrong secret, and another key\'s secret', async () => {
    const [, , id] = key.split('_');
    refused(await get('/v1/jobs', `ccc_live_${id}_${'A'.repeat(43)}`), 'UNAUTHENTICATED');
    refused(await get('/v1/jobs', `ccc_live_${id}_${otherKey.slice(-43)}`), 'UNAUTHENTICATED');
  });

  test('scopes', async () => {
    const reader = (await world.apiKey('acme', ['jobs:read'])).key;
    const writer = (await world.apiKey('acme', ['jobs:write'])).key;
    refused(await submit(await messageFor(acme, contextOf()), octets(reader)), 'FORBIDDEN_SCOPE');
    for (const url of ['/v1/jobs', `/v1/jobs/${randomUUID()}`, `/v1/jobs/${randomUUID()}/events`]) refused(await get(url, writer), 'FORBIDDEN_SCOPE');
    refused(await world.gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: bearer(reader), payload: {} }), 'FORBIDDEN_SCOPE');
    expect((await get('/v1/jobs', reader)).statusCode).toBe(200);
  });

  test('an expired and a revoked key', async () => {
    const { id, key: revoked } = await world.apiKey('acme');
    expect((await get('/v1/jobs', revoked)).statusCode).toBe(200);
    expect((await world.gateway.admin.inject({ method: 'DELETE', url: `/keys/${id}` })).statusCode).toBe(204);
    refused(await get('/v1/jobs', revoked), 'KEY_REVOKED');
    let at = world.clock.now();
    const later = await world.another({ now: () => at });
    const { key: short } = await world.apiKey('acme', ['jobs:read'], 1);
    const ask = () => later.public.inject({ method: 'GET', url: '/v1/jobs', headers: bearer(short) });
    expect((await ask()).statusCode).toBe(200);
    at += 86_400_000 + 60_000;
    refused(await ask(), 'KEY_EXPIRED');
  });

  test('only the hash of a secret is stored', async () => {
    const { id, key: secret } = await world.apiKey('acme');
    expect(JSON.stringify(await world.ledger.apiKey(id))).not.toContain(secret.slice(-43));
  });

  test('rate limits are per key, on the injected clock', async () => {
    let at = world.clock.now();
    const limited = await world.another({ now: () => at, limits: { rates: { submit: { burst: 1, perSecond: 1 }, read: { burst: 3, perSecond: 0.5 }, manifest: { burst: 1, perSecond: 1 } } } });
    const ask = (apiKey: string) => limited.public.inject({ method: 'GET', url: '/v1/jobs', headers: bearer(apiKey) });
    for (let i = 0; i < 3; i++) expect((await ask(key)).statusCode).toBe(200);
    const response = await ask(key);
    refused(response, 'RATE_LIMITED');
    expect(response.headers['retry-after']).toBe('2');
    expect((await ask(otherKey)).statusCode).toBe(200);
    at += 2_000;
    expect((await ask(key)).statusCode).toBe(200);
    refused(await ask(key), 'RATE_LIMITED');
  });
});

describe('reading', () => {
  test('two tenants do not see each other\'s jobs', async () => {
    const context = contextOf();
    await submit(await messageFor(acme, context));
    for (const url of [`/v1/jobs/${context.job_id}`, `/v1/jobs/${context.job_id}/events`]) {
      refused(await get(url, otherKey), 'NOT_FOUND');
    }
    expect((await get(`/v1/jobs/${context.job_id}`)).statusCode).toBe(200);
    const theirs = (await get('/v1/jobs?limit=1000', otherKey)).json<{ jobs: { job_id: string }[] }>().jobs;
    expect(theirs.map((j) => j.job_id)).not.toContain(context.job_id);
    // The same job id under another tenant is another job.
    const twin = await submit(await messageFor(other, contextOf({ tenant_id: 'other', compliance_zone: 'us', job_id: context.job_id })), octets(otherKey));
    expect(twin.statusCode).toBe(202);
  });

  test('pages', async () => {
    const tenant = await world.tenant('pages');
    const { key: apiKey } = await world.apiKey('pages');
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      world.clock.advance(1);
      const context = contextOf({ tenant_id: 'pages' });
      ids.unshift(context.job_id);
      expect((await submit(await messageFor(tenant, context), octets(apiKey))).statusCode).toBe(202);
    }
    const seen: string[] = [];
    let url: string | undefined = '/v1/jobs?limit=2';
    for (let page = 0; url !== undefined && page < 5; page++) {
      const { jobs, next }: { jobs: { job_id: string }[]; next?: string } = (await get(url, apiKey)).json();
      seen.push(...jobs.map((j) => j.job_id));
      url = next === undefined ? undefined : `/v1/jobs?limit=2&before=${next}`;
    }
    expect(seen).toEqual(ids);
    expect((await get('/v1/jobs?state=completed', apiKey)).json()).toEqual({ jobs: [] });
  });

  test.each(['/v1/jobs?limit=0', '/v1/jobs?limit=1001', '/v1/jobs?limit=x', '/v1/jobs?state=lost', '/v1/jobs?before=1', '/v1/jobs?foo=1', '/v1/jobs/not-a-uuid', '/v1/jobs?limit=1&limit=2'])('%s is refused', async (url) => {
    refused(await get(url), 'VALIDATION');
  });

  test('what is not there', async () => {
    refused(await get(`/v1/jobs/${randomUUID()}`), 'NOT_FOUND');
    refused(await get('/v2/jobs'), 'NOT_FOUND');
    refused(await get('/internal/v1/policy'), 'NOT_FOUND');
    refused(await get('/status'), 'NOT_FOUND');
  });

  test('undeclared fields do not leave', async () => {
    const leaking = await world.another({ ledger: { ...world.ledger, job: async (t, j) => { const row = await world.ledger.job(t, j); return row === undefined ? undefined : { ...row, secret: 'hunter2', result: { enc: 'A', ct: 'B', plaintext: 'hunter2' } } as never; } } });
    const context = contextOf();
    await submit(await messageFor(acme, context));
    const response = await leaking.public.inject({ method: 'GET', url: `/v1/jobs/${context.job_id}`, headers: bearer(key) });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({ result: { enc: 'A', ct: 'B' } });
    expect(response.body).not.toContain('hunter2');
  });

  test('security headers and a request id on every answer', async () => {
    for (const response of [await get('/v1/jobs'), await get('/nowhere'), await get('/v1/health', 'x')]) {
      expect(response.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' });
      expect(response.headers['content-security-policy']).toContain("default-src 'none'");
      expect(response.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});

describe('key manifest', () => {
  const request = () => ({ challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'https://client.example' });
  const ask = (payload: unknown, apiKey = key, gateway = world.gateway) =>
    gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: { ...bearer(apiKey), 'content-type': 'application/json' }, payload: typeof payload === 'string' ? payload : JSON.stringify(payload) });

  test('is the API key\'s tenant\'s, with the owner\'s documents', async () => {
    for (const [apiKey, tenant] of [[key, 'acme'], [otherKey, 'other']] as const) {
      const nonce = request();
      const response = await ask(nonce, apiKey);
      expect(response.statusCode).toBe(200);
      const answer = manifestResponseSchema.parse(response.json());
      const manifest = manifestSchema.parse(JSON.parse(Buffer.from(answer.manifest, 'base64url').toString()));
      expect(manifest.tenant_id).toBe(tenant);
      expect(answer.binding).toMatchObject({ ...nonce, role: 'broker' });
      expect(answer.directory).toBe(world.directory);
    }
  });

  test('nobody chooses a tenant', async () => {
    refused(await ask({ ...request(), tenant_id: 'other' }), 'VALIDATION');
  });

  test.each([['', 'BODY_EMPTY'], ['{', 'BAD_REQUEST'], ['[]', 'VALIDATION'], ['null', 'VALIDATION'], ['{"nonce":1}', 'VALIDATION'], [' '.repeat(70_000), 'BODY_TOO_LARGE']] as const)('body %#', async (payload, code) => {
    refused(await ask(payload), code);
  });

  test('another media type', async () => {
    for (const type of ['application/octet-stream', 'text/plain', 'application/jsonx']) {
      refused(await world.gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: { ...bearer(key), 'content-type': type }, payload: JSON.stringify(request()) }), 'UNSUPPORTED_MEDIA_TYPE');
    }
  });

  test('without a broker, a policy, a directory', async () => {
    refused(await ask(request(), key, await world.another({ broker: { origin: 'http://127.0.0.1:1' } })), 'BROKER_UNAVAILABLE');
    const none = { ...world.ledger, policy: async () => undefined };
    refused(await ask(request(), key, await world.another({ ledger: none, documents: { directory: world.directory } })), 'POLICY_MISSING');
    refused(await ask(request(), key, await world.another({ documents: {} })), 'NOT_READY');
    const now = world.clock.now();
    const ended = await world.another({ now: () => now, ledger: none, documents: { policy: await world.policyOf({ revision: 50, notAfter: Math.floor(now / 1000) - 1 }), directory: world.directory } });
    refused(await ask(request(), key, ended), 'POLICY_MISSING');
  });

  test('a policy of somebody else is none', async () => {
    const { signJws, generateSigningKey } = await import('../../workloads/protocol/jws.ts');
    const mallory = await generateSigningKey();
    const [, payload] = (await world.policyOf({ revision: 99 })).split('.') as [string, string];
    const forged = await signJws('ccc-policy+jws', JSON.parse(Buffer.from(payload, 'base64url').toString()), mallory.privateKey);
    const gateway = await world.another({ ledger: { ...world.ledger, policy: async () => ({ revision: 99, jws: forged }) }, documents: { policy: forged, directory: world.directory } });
    refused(await ask(request(), key, gateway), 'POLICY_MISSING');
    expect(owner.publicKey).toHaveLength(32);
  });
});

describe('health', () => {
  const ask = (gateway = world.gateway) => gateway.public.inject({ method: 'GET', url: '/v1/health' });
  test('ready', async () => {
    const response = await ask();
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({ status: 'ready', cell: 'local', simulated: true, policy_revision: 1, checks: { ledger: 'ok', broker: 'ok', store: 'ok', policy: 'ok' } });
  });
  test.each([
    ['broker', () => ({ broker: { origin: 'http://127.0.0.1:1' } })],
    ['ledger', () => ({ ledger: { ...world.ledger, policy: (() => { let first = true; return async () => { if (first) { first = false; return world.ledger.policy(); } throw new Error('down'); }; })() } })],
    ['store', () => ({ blobs: { ...world.blobs, put: async () => { throw new Error('down'); } } })],
    ['policy', () => ({ documents: {} })],
  ] as const)('without %s it is not ready', async (part, options) => {
    const response = await ask(await world.another(options()));
    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({ status: 'not-ready', checks: { [part]: 'failing' } });
  });
});

test('logs hold neither keys nor messages (last: over all that was logged before)', async () => {
  const context = contextOf();
  const message = await messageFor(acme, context);
  await submit(message);
  expect(LOG_LINES.some((line) => line.includes(context.job_id))).toBe(true);
  const all = LOG_LINES.join('');
  for (const secret of [key, otherKey].map((k) => k.slice(-43))) expect(all).not.toContain(secret);
  for (const text of [Buffer.from(message.subarray(0, 48)).toString('base64'), Buffer.from(message.subarray(0, 48)).toString('hex'), context.result_key.slice(0, 40), 'hunter2']) expect(all).not.toContain(text);
});
