/** What only sockets show, at the gateway's listeners and the broker's: requests that two parsers could read in two ways, bodies without end, callers that hang up. */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { httpServer, jsonRoute } from '../../workloads/broker/http.ts';
import type { Core } from '../../workloads/gateway/core.ts';
import { longLease } from '../../workloads/gateway/lease.ts';
import { Load } from '../../workloads/gateway/load.ts';
import { LIMITS } from '../../workloads/gateway/limits.ts';
import type { Gateway } from '../../workloads/gateway/server.ts';
import type { JobRecord } from '../../workloads/ledger/ledger.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { close, listen } from '../broker/world.ts';
import { bareGateway, bareKey } from '../gateway/bare.ts';
import { raw, request } from './raw.ts';

const MIB = 1024 * 1024;
const host = { host: 'x' };
const authorization = `Bearer ${bareKey.key}`;
const row = { tenantId: 'acme', jobId: 'x', state: 'accepted', messageDigest: 'a'.repeat(64), size: 1, zone: 'eu', classification: 'public', keyId: 'k', acceptedAt: 1, attempts: 0 } as JobRecord;
let gateway: Gateway;
let port: number;
let internal: number;
let slow = 0;
beforeAll(async () => {
  gateway = await bareGateway({ uploadIdleMs: 250, uploadMs: 800, lingerMs: 200, eventStreamsPerKey: 4, uploadTenantBytes: 45 * MIB }, {
    job: async () => { if (slow > 0) await delay(slow); return row; }, events: async () => [], onEvent: () => () => {},
  });
  port = Number(new URL(await gateway.public.listen({ port: 0, host: '127.0.0.1' })).port);
  internal = Number(new URL(await gateway.internal.listen({ port: 0, host: '127.0.0.1' })).port);
});
afterAll(() => gateway.close());

const healthy = async () => expect([200, 503]).toContain((await fetch(`http://127.0.0.1:${port}/v1/openapi.json`)).status);

describe('a request that two parsers could cut differently is no request', () => {
  const smuggled = request('GET /v1/jobs', host);
  const bodies: [string, [string, string | number][], string][] = [
    ['length and chunked', [['host', 'x'], ['content-length', 6], ['transfer-encoding', 'chunked']], `0\r\n\r\n${smuggled}`],
    ['chunked and length', [['host', 'x'], ['transfer-encoding', 'chunked'], ['content-length', 3]], `0\r\n\r\n${smuggled}`],
    ['two lengths', [['host', 'x'], ['content-length', 2], ['content-length', 40]], `{}${smuggled}`],
    ['a list of lengths', [['host', 'x'], ['content-length', '2, 40']], `{}${smuggled}`],
    ['a signed length', [['host', 'x'], ['content-length', '+2']], `{}${smuggled}`],
    ['a length of 2^64', [['host', 'x'], ['content-length', '18446744073709551618']], `{}${smuggled}`],
    ['an unknown coding', [['host', 'x'], ['transfer-encoding', 'chunked, identity']], `0\r\n\r\n${smuggled}`],
    ['a misspelled coding', [['host', 'x'], ['transfer-encoding', 'xchunked']], `0\r\n\r\n${smuggled}`],
    ['a space before the colon', [['host', 'x'], ['transfer-encoding ', 'chunked']], `0\r\n\r\n${smuggled}`],
    ['a folded header', [['host', 'x'], ['x', 'a\r\n content-length: 2']], `{}${smuggled}`],
    ['a bare line feed', [['host', 'x\ncontent-length: 2']], `{}${smuggled}`],
  ];
  it.each(bodies)('%s', async (_, headers, body) => {
    for (const at of [port, internal]) {
      const { statuses, text } = await raw(at, [request('POST /v1/key-manifest', [...headers, ['content-type', 'application/json'], ['authorization', authorization], ['connection', 'keep-alive']], body)], { wait: 600 });
      // At most one answer, and that a refusal: what was smuggled behind it is never a request of its own.
      expect(statuses.length, text).toBeLessThanOrEqual(1);
      for (const status of statuses) expect(status, text).toBeGreaterThanOrEqual(400);
    }
  });

  it('nor at the broker', async () => {
    let calls = 0;
    const server = httpServer({ '/v1/x': jsonRoute(z.strictObject({}), 64, async () => { calls++; return { ok: true }; }) }, createLog('x', { write: () => {} }));
    const at = Number(new URL(await listen(server)).port);
    for (const [, headers, body] of bodies) {
      const { statuses } = await raw(at, [request('POST /v1/x', [...headers, ['content-type', 'application/json']], body.replace(smuggled, request('POST /v1/x', { host: 'x', 'content-type': 'application/json', 'content-length': 2 }, '{}')))], { wait: 400 });
      expect(statuses.filter((s) => s === 200), JSON.stringify(headers)).toEqual([]);
    }
    expect(calls).toBe(0);
    expect((await fetch(`http://127.0.0.1:${at}/v1/x`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).status).toBe(200);
    await close(server);
  });

  it('an upgrade, a tunnel, a trace, HTTP/2 with prior knowledge, an absolute address', async () => {
    for (const piece of [
      request('GET /v1/health', { host: 'x', connection: 'upgrade', upgrade: 'websocket' }), request('CONNECT evil.example:443', host), request('TRACE /v1/jobs', host), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      request('GET http://evil.example/v1/jobs', { host: 'evil.example' }), 'GET /v1/health HTTP/9.9\r\n\r\n', '\0\0\0\0\0\0\0\0',
    ]) {
      const { statuses } = await raw(port, [piece], { wait: 300 });
      for (const status of statuses) expect([200, 400, 401, 404, 405, 501, 503, 505]).toContain(status);
      expect(statuses.length).toBeLessThanOrEqual(1);
    }
    await healthy();
  });
});

describe('headers', () => {
  it('a bomb of names, of one value, of an address: 431, the connection is closed', async () => {
    for (const piece of [
      request('GET /v1/jobs', Object.fromEntries([['host', 'x'], ...Array.from({ length: 3_000 }, (_, i) => [`h${i}`, 'v'.repeat(20)])])),
      request('GET /v1/jobs', { host: 'x', cookie: 'c'.repeat(200_000) }), request(`GET /${'a'.repeat(100_000)}`, host),
    ]) {
      const { statuses, codes } = await raw(port, [piece]);
      expect([statuses, codes]).toEqual([[431], ['HEADERS_TOO_LARGE']]);
    }
  });

  it('twice: two keys are not one, two proofs are none, two types are not two', async () => {
    const twice = async (at: number, line: string, headers: [string, string][], body = '') => raw(at, [request(line, [['host', 'x'], ['connection', 'close'], ['content-length', String(body.length)], ...headers], body)]);
    const bad = `Bearer ${bareKey.key.slice(0, -1)}${bareKey.key.endsWith('A') ? 'B' : 'A'}`;
    expect((await twice(port, 'GET /v1/jobs', [['authorization', bad], ['authorization', authorization]])).codes).toEqual(['UNAUTHENTICATED']);
    const session: [string, string][] = [['ccc-session', 'a.b.c'], ['ccc-session', 'a.b.c'], ['ccc-pop', 'a.b.c']];
    expect((await twice(internal, 'POST /internal/v1/lease', session)).codes).toEqual(['SESSION_INVALID']);
    expect((await twice(internal, 'GET /internal/v1/tenant-keys?tenant=acme', [['ccc-broker', 'a'], ['ccc-broker', 'b'], ['ccc-pop', 'x']])).codes[0]).toMatch(/^(BROKER_|POP_)/);
    expect((await twice(port, 'POST /v1/jobs', [['authorization', authorization], ['content-type', 'application/json'], ['content-type', 'application/octet-stream']], '{}')).codes).toEqual(['UNSUPPORTED_MEDIA_TYPE']);
  });

  it('a compressed message is taken for the bytes that it is, and is none', async () => {
    const bomb = gzipSync(Buffer.alloc(50 * MIB));
    const response = await fetch(`http://127.0.0.1:${port}/v1/jobs`, { method: 'POST', headers: { authorization, 'content-type': 'application/octet-stream', 'content-encoding': 'gzip' }, body: bomb });
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, 'MESSAGE_FORMAT']);
  });

  it('paths that lead elsewhere', async () => {
    for (const path of ['/v1/jobs/../../internal/v1/policy', '/v1/jobs/..%2f..%2fetc%2fpasswd', '/..%5c..%5cetc', '/internal/v1/policy', '/v1/jobs/%00', '/v1//../tenants', '/tenants', '/status', '//evil.example/', '/v1/jobs/%2e%2e%2f%2e%2e']) {
      const { statuses, text } = await raw(port, [request(`GET ${path}`, { host: 'x', authorization, connection: 'close' })]);
      expect([400, 404], `${path}: ${text.slice(0, 200)}`).toContain(statuses[0]);
    }
  });
});

describe('bodies', () => {
  const upload = { host: 'x', authorization, 'content-type': 'application/octet-stream' };
  it('0 bytes; 20 MB and one more, promised or chunked; a chunk that promises 4 GB', async () => {
    expect((await raw(port, [request('POST /v1/jobs', { ...upload, 'content-length': 0, connection: 'close' })])).codes).toEqual(['BODY_EMPTY']);
    expect((await raw(port, [request('POST /v1/jobs', { ...upload, 'content-length': 20 * MIB + 1 })])).codes).toEqual(['BODY_TOO_LARGE']);
    const piece = new Uint8Array(MIB);
    const chunks = function* () { yield request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }); for (let i = 0; i < 200; i++) { yield '100000\r\n'; yield piece; yield '\r\n'; } };
    expect((await raw(port, chunks())).codes).toEqual(['BODY_TOO_LARGE']);
    expect((await raw(port, [request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }, 'ffffffff\r\nabc')])).codes).toEqual(['REQUEST_TIMEOUT']);
    expect((await raw(port, [request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }, 'fffffffffffffffff\r\nabc')])).codes).toEqual(['BAD_REQUEST']);
    await healthy();
  });

  it('drop by drop, without end, in chunks of one byte with extensions', async () => {
    const drops = function* () { yield request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }); for (let i = 0; i < 200; i++) yield '1;x=y\r\na\r\n'; };
    const { codes } = await raw(port, drops(), { pause: 20 });
    expect(codes).toEqual(['REQUEST_TIMEOUT']);
    // A bomb of chunk extensions is cut off by the parser (CVE-2024-22019).
    const long = await raw(port, [request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }, `1;${'x'.repeat(40_000)}\r\na\r\n`)]);
    expect(long.statuses.every((s) => s >= 400)).toBe(true);
    await healthy();
  });

  it('slow ones of one tenant leave room for the others', async () => {
    const holds = Array.from({ length: 3 }, () => raw(port, [request('POST /v1/jobs', { ...upload, 'transfer-encoding': 'chunked' }, '1\r\na\r\n')]));
    const answers = await Promise.all(holds);
    expect(answers.flatMap(({ codes }) => codes).sort()).toEqual(['BACK_PRESSURE', 'REQUEST_TIMEOUT', 'REQUEST_TIMEOUT']);

    const load = new Load({ ledger: { counts: async () => { throw new Error('not asked'); } }, limits: LIMITS, now: () => 0 });
    const releases: (() => void)[] = [];
    expect(() => { for (;;) releases.push(load.reserve(20 * MIB, 'acme')); }).toThrow('BACK_PRESSURE');
    expect(() => releases.push(load.reserve(20 * MIB, 'globex'))).not.toThrow();
    for (const release of releases) { release(); release(); }
    expect(load.uploadingBytes).toBe(0);
    expect(() => load.reserve(20 * MIB, 'acme')).not.toThrow();
  });
});

describe('callers that hang up', () => {
  it('while their event stream is being opened give its place back', async () => {
    slow = 60;
    try {
      for (let i = 0; i < 8; i++) {
        const socket = connect(port, '127.0.0.1').on('error', () => {});
        socket.write(request(`GET /v1/jobs/${crypto.randomUUID()}/events`, { host: 'x', authorization }));
        await delay(20);
        socket.destroy();
      }
      await delay(150);
    } finally {
      slow = 0;
    }
    const response = await fetch(`http://127.0.0.1:${port}/v1/jobs/${crypto.randomUUID()}/events`, { headers: { authorization } });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  it('before their lease was looked for get none', async () => {
    let asked = 0;
    const core = { ledger: { lease: async () => { asked++; return []; }, onWork: () => () => {} }, limits: LIMITS, closing: new AbortController().signal, now: () => 0, documents: { revision: 1 }, epochs: { heldTenants: async () => undefined } } as unknown as Core;
    const socket = (destroyed: boolean) => ({ raw: { socket: { destroyed, once: () => {}, off: () => {} } } }) as never;
    expect((await longLease(core, 's', 1, { max: 1, wait_ms: 0 }, socket(true))).jobs).toEqual([]);
    expect(asked).toBe(0);
    await longLease(core, 's', 1, { max: 1, wait_ms: 0 }, socket(false));
    expect(asked).toBe(1);
  });
});
