/** Whatever is sent: a problem document with a status of 400 to 499, or 503 where a part is absent. Never 500, never a crash. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { b64u, concat, randomBytes } from '../../attestation/bytes.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { problemSchema, type TenantKey } from '../../workloads/protocol/messages.ts';
import { bareGateway, bareKey } from './bare.ts';
import { contextOf, messageFor } from './fixture.ts';

let gateway: Awaited<ReturnType<typeof bareGateway>>;
let message: Uint8Array;
beforeAll(async () => {
  gateway = await bareGateway();
  const key: TenantKey = { id: 'acme.x-wing.1', alg: 'X-Wing', state: 'active', public: b64u((await generateReceivingKey()).publicKey), not_after: 4_000_000_000 };
  message = await messageFor(key, contextOf());
});
afterAll(() => gateway.close());

const authorization = `Bearer ${bareKey.key}`;
type Response = { statusCode: number; headers: Record<string, unknown>; body: string };

function expectProblem(response: Response, allowed: readonly number[] = []): string {
  expect(response.statusCode === 503 && allowed.includes(503) ? 400 : response.statusCode, response.body).toSatisfy((status: number) => status >= 400 && status < 500);
  expect(String(response.headers['content-type'])).toMatch(/^application\/problem\+json/);
  const problem = problemSchema.parse(JSON.parse(response.body));
  expect(problem.status).toBe(response.statusCode);
  expect(response.body.length).toBeLessThan(16_384);
  return problem.code;
}
const submit = (payload: Uint8Array) => gateway.public.inject({ method: 'POST', url: '/v1/jobs', headers: { authorization, 'content-type': 'application/octet-stream' }, payload: Buffer.from(payload) });
const RUNS = { numRuns: 300 };

describe('messages', () => {
  test('random bytes', () => fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (bytes) => { expectProblem(await submit(bytes)); }), RUNS));
  test('truncated messages', () => fc.assert(fc.asyncProperty(fc.nat({ max: message.length - 1 }), async (length) => { expectProblem(await submit(message.subarray(0, length))); }), RUNS));
  // A flip in the ciphertext is for the counter to find: here it only gets as far as the tenant's keys, of which there are none.
  test('bit flips', () => fc.assert(fc.asyncProperty(fc.nat({ max: message.length - 1 }), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
    const flipped = Uint8Array.from(message);
    flipped[at] = (flipped[at] as number) ^ (1 << bit);
    const code = expectProblem(await submit(flipped));
    expect(code).toMatch(/^(MESSAGE_|CONTEXT_|TENANT_MISMATCH|ZONE_DENIED|CLASSIFICATION_DENIED|KEY_UNKNOWN)/);
  }), RUNS));
  test('spliced and extended messages', () => fc.assert(fc.asyncProperty(fc.nat({ max: message.length }), fc.uint8Array({ minLength: 1, maxLength: 64 }), async (at, extra) => {
    expectProblem(await submit(concat(message.subarray(0, at), extra, message.subarray(at))));
  }), RUNS));
  test('the message itself gets past the parser', async () => { expect(expectProblem(await submit(message))).toBe('KEY_UNKNOWN'); });
});

describe('JSON', () => {
  const hostile = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.constantFrom('', '{', '[[[[', '{"__proto__":{"a":1}}', '{"constructor":1}', '\u0000', '"\\ud800"', '1e999', '-0', '{"nonce":"x","nonce":"y"}', '['.repeat(20_000)));
  const send = (app: 'public' | 'internal' | 'admin', method: 'POST' | 'PUT', url: string, payload: string) =>
    gateway[app].inject({ method, url, headers: { authorization, 'content-type': 'application/json' }, payload });
  const cases = [
    ['public', 'POST', '/v1/key-manifest'], ['admin', 'POST', '/tenants'], ['admin', 'POST', '/keys'], ['admin', 'PUT', '/policy'],
    ['internal', 'POST', '/internal/v1/lease'], ['internal', 'POST', '/internal/v1/complete'], ['internal', 'PUT', '/internal/v1/tenant-keys'], ['internal', 'POST', '/internal/v1/receipts'],
  ] as const;
  test.each(cases)('%s %s %s', (app, method, url) => fc.assert(fc.asyncProperty(hostile, async (payload) => { expectProblem(await send(app, method, url, payload), [503]); }), { numRuns: 100 }));

  const near = fc.record({ challenge_id: fc.oneof(fc.constant(b64u(randomBytes(16))), fc.string(), fc.anything()), nonce: fc.oneof(fc.constant(b64u(randomBytes(32))), fc.base64String()), audience: fc.oneof(fc.constant('x'), fc.string(), fc.integer()) }, { requiredKeys: [] });
  test('almost a manifest request', () => fc.assert(fc.asyncProperty(near, async (value) => { expectProblem(await send('public', 'POST', '/v1/key-manifest', JSON.stringify(value) ?? ''), [503]); }), { numRuns: 200 }));
  test('bytes that are not UTF-8', () => fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
    expectProblem(await gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: { authorization, 'content-type': 'application/json' }, payload: Buffer.from(bytes) }), [503]);
  }), { numRuns: 100 }));
  test('prototypes stay clean', async () => {
    await send('admin', 'POST', '/tenants', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe('addresses and headers', () => {
  test('any path', () => fc.assert(fc.asyncProperty(fc.webPath(), fc.webQueryParameters(), async (path, query) => {
    const response = await gateway.public.inject({ method: 'GET', url: `/x${path}?${query}`, headers: { authorization } });
    expect(expectProblem(response)).toMatch(/^(NOT_FOUND|BAD_REQUEST)$/);
  }), { numRuns: 200 }));
  test.each(['/%', '/%ff', '/v1/jobs/%00', '/v1/jobs/%2e%2e', `/v1/jobs/${'a'.repeat(500)}`, '/v1/jobs/%c0%ae', '//v1//jobs', '/v1/jobs/'])('%s', async (url) => {
    expectProblem(await gateway.public.inject({ method: 'GET', url, headers: { authorization } }));
  });
  test('any query of a list', () => fc.assert(fc.asyncProperty(fc.webQueryParameters(), async (query) => {
    const response = await gateway.public.inject({ method: 'GET', url: `/v1/jobs?${query}`, headers: { authorization } });
    if (response.statusCode !== 200) expectProblem(response);
  }), { numRuns: 200 }));
  test('any authorization', () => fc.assert(fc.asyncProperty(fc.string({ unit: 'grapheme-ascii', maxLength: 300 }), async (value) => {
    expect(expectProblem(await gateway.public.inject({ method: 'GET', url: '/v1/jobs', headers: { authorization: value } }))).toBe('UNAUTHENTICATED');
  }), { numRuns: 200 }));
  test('any session and proof', () => fc.assert(fc.asyncProperty(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 300 }), fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 300 }), async (session, pop) => {
    expect(expectProblem(await gateway.internal.inject({ method: 'POST', url: '/internal/v1/lease', headers: { 'ccc-session': session, 'ccc-pop': pop }, payload: { max: 1, wait_ms: 0 } }), [503])).toMatch(/^(SESSION_|POP_)/);
  }), { numRuns: 200 }));
});
