import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_ATTESTED_BYTES } from '../../workloads/protocol/messages.ts';
import { post, type RunningBroker, World } from './world.ts';

let world: World;
let broker: RunningBroker;
beforeAll(async () => {
  world = await World.create();
  broker = await world.startBroker();
});
afterAll(() => world.close());

/** Bytes as they are: fetch would tidy them up. */
function raw(request: string | Buffer, waitMs = 3_000): Promise<string> {
  return new Promise((resolve) => {
    const { port } = new URL(broker.origin);
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(request));
    let answer = '';
    const done = () => { socket.destroy(); resolve(answer); };
    socket.setTimeout(waitMs, done).on('error', done).on('close', done);
    socket.on('data', (data) => {
      answer += data.toString('latin1');
      if (/\r\n\r\n[^]*\}$/.test(answer)) done();
    });
  });
}
const status = async (request: string) => Number((await raw(request)).split(' ')[1]);
const alive = async () => expect((await fetch(`${broker.origin}/v1/health`)).status).toBe(200);
const head = (path: string, more = '') => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${more}`;

describe('hostile requests (D54)', () => {
  it('a body of 10 MB, announced or not', async () => {
    const big = 'x'.repeat(10 << 20);
    const answer = await post(broker.origin, '/v1/challenge', big).catch(() => ({ status: 413 }));
    expect(answer.status).toBe(413);
    expect(await status(`${head('/v1/release')}content-length: 10485760\r\n\r\n{`)).toBe(413);
    const chunk = `${(65_536).toString(16)}\r\n${'x'.repeat(65_536)}\r\n`;
    expect(await status(`${head('/v1/attest', 'transfer-encoding: chunked\r\n')}\r\n${chunk.repeat(7)}`)).toBe(413);
    await alive();
  });

  it('evidence up to its limit is read, and a byte more is not', async () => {
    const of = (size: number) => post(broker.origin, '/v1/attest', '{}'.padEnd(size)).then((answer) => answer.status, () => 413);
    expect([await of(MAX_ATTESTED_BYTES), await of(MAX_ATTESTED_BYTES + 1)]).toEqual([400, 413]);
    await alive();
  });

  it('a bomb of headers', async () => {
    expect(await status(`${head('/v1/challenge', `x: ${'y'.repeat(64 * 1024)}\r\n`)}\r\n`)).toBe(431);
    const many = Array.from({ length: 5_000 }, (_, i) => `x-${i}: y\r\n`).join('');
    expect(await status(`${head('/v1/challenge', many)}\r\n`)).toBe(431);
    await alive();
  });

  it('a gzip bomb is not opened', async () => {
    const body = gzipSync(Buffer.alloc(1 << 20));
    const response = await fetch(`${broker.origin}/v1/challenge`, { method: 'POST', body, headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } });
    expect(response.status).toBe(415);
  });

  it.each([
    '/v1/../v1/challenge', '/v1/%63hallenge', '/v1/challenge/', '/v1/challenge?x=1', '//v1/challenge', '/v1/challenge%00', '/V1/CHALLENGE', `/${'a'.repeat(4_000)}`, '/__proto__', '/constructor', '/v1/сhallenge',
  ])('no such route: %s', async (path) => {
    expect(await status(`${head(Buffer.from(path).toString('latin1'))}content-length: 2\r\n\r\n{}`)).toBeOneOf([400, 404]);
  });

  it.each(['../acme', 'acme/../globex', 'ACME', 'аcme', 'acme\u200b', 'a'.repeat(64), '', 'acme.', '-acme', '__proto__', 'acme\0'])('no such tenant: %j', async (tenant) => {
    const { status: code, body } = await post(broker.origin, '/v1/tenant-keys', { tenant_id: tenant, zone: 'here' });
    expect([code, body.code]).toEqual([400, 'VALIDATION']);
    expect(JSON.stringify(body)).not.toContain(tenant === '' ? '\u0000' : JSON.stringify(tenant).slice(1, -1));
  });

  it('wrong method, wrong type, no body, no JSON, bad UTF-8, unknown fields', async () => {
    expect((await fetch(`${broker.origin}/v1/challenge`)).status).toBe(405);
    expect((await post(broker.origin, '/v1/challenge', '{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await post(broker.origin, '/v1/challenge', '')).body.code).toBe('BODY_EMPTY');
    expect((await post(broker.origin, '/v1/challenge', '{"role":')).body.code).toBe('BAD_REQUEST');
    expect((await post(broker.origin, '/v1/challenge', '{"role":"counter","platform":"aws-nitro","__proto__":{}}')).body.code).toBe('VALIDATION');
    const response = await fetch(`${broker.origin}/v1/challenge`, { method: 'POST', body: Buffer.from([0x22, 0xff, 0x22]), headers: { 'content-type': 'application/json' } });
    expect(response.status).toBe(400);
  });

  it('nested a hundred thousand deep', async () => {
    const deep = '['.repeat(30_000) + ']'.repeat(30_000);
    expect((await post(broker.origin, '/v1/attest', deep)).status).toBe(400);
    expect((await post(broker.origin, '/v1/release', '['.repeat(1_000_000))).status).toBe(400);
    await alive();
  });

  it('a header twice is none', async () => {
    const body = '{"items":[{"tenant_id":"acme","job_id":"00000000-0000-4000-8000-000000000000","header":"AA"}]}';
    const answer = await raw(`${head('/v1/release', 'ccc-session: a.b.c\r\nccc-session: a.b.c\r\nccc-pop: a.b.c\r\n')}content-length: ${body.length}\r\n\r\n${body}`);
    expect(answer).toContain('SESSION_INVALID');
  });

  it('any JSON to any route: a problem document with a code of the table, never 500', async () => {
    const routes = ['/v1/challenge', '/v1/attest', '/v1/release', '/v1/manifest', '/v1/evidence', '/v1/tenant-keys'];
    await fc.assert(fc.asyncProperty(fc.constantFrom(...routes), fc.json({ maxDepth: 4 }), async (route, body) => {
      const answer = await post(broker.origin, route, body);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.body.code).toMatch(/^[A-Z_]+$/);
    }), { numRuns: 200 });
  });

  it('any bytes for a request', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const answer = await raw(Buffer.concat([bytes, Buffer.from('\r\n\r\n')]), 200);
      expect(answer === '' || /^HTTP\/1\.1 4\d\d /.test(answer)).toBe(true);
    }), { numRuns: 30 });
    await alive();
  });
});
