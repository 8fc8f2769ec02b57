/** What only real connections show: uploads that are too large or too slow, event streams, the page, the admin socket, a whole life of a job. */
import { spawn } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { b64u, bytes, randomBytes } from '../../attestation/bytes.ts';
import { unbundle } from '../../workloads/protocol/bundle.ts';
import { createApi } from '../../workloads/client/api.ts';
import { LIMITS } from '../../workloads/gateway/limits.ts';
import { PAGE_CSP } from '../../workloads/protocol/page-headers.ts';
import type { Gateway } from '../../workloads/gateway/server.ts';
import { jobSchema, type JobEvent, problemSchema, type TenantKey } from '../../workloads/protocol/messages.ts';
import { bearer, contextOf, type Counter, freePort, makeWorld, messageFor, octets, type World } from './fixture.ts';

let world: World;
let acme: TenantKey;
let key: string;
beforeAll(async () => {
  world = await makeWorld({ uploadIdleMs: 300, uploadMs: 900, lingerMs: 300, eventHeartbeatMs: 150 });
  acme = await world.tenant('acme');
  key = (await world.apiKey('acme')).key;
});
afterAll(() => world?.close());

interface Answer { status: number; headers: Record<string, unknown>; body: string }
/** Writes `pieces` with `pause` between them; `announce` sends Content-Length. */
function upload(url: string, pieces: Iterable<Uint8Array>, options: { pause?: number; announce?: number; end?: boolean } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(`${url}/v1/jobs`, { method: 'POST', agent: false, headers: { ...octets(key), ...(options.announce === undefined ? {} : { 'content-length': options.announce }) } });
    let answered = false;
    call.on('response', (response) => {
      answered = true;
      const chunks: Buffer[] = [];
      response.on('data', (c: Buffer) => chunks.push(c)).on('end', () => { call.destroy(); resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }); });
    }).on('error', (error) => { if (!answered) reject(error); });
    void (async () => {
      for (const piece of pieces) {
        if (call.destroyed || answered) return;
        if (!call.write(piece)) await Promise.race([new Promise((drained) => call.once('drain', drained)), delay(2_000)]);
        if (options.pause !== undefined) await delay(options.pause);
      }
      if (options.end !== false) call.end();
    })();
  });
}
const code = (answer: Answer) => problemSchema.parse(JSON.parse(answer.body)).code;
function* pieces(total: number, size = 256 * 1024): Generator<Uint8Array> {
  for (let left = total; left > 0; left -= size) yield new Uint8Array(Math.min(size, left));
}

describe('uploads', () => {
  // Read by a gateway with the time limits of production: it is about bytes, and a busy machine may take long for them.
  let patient: string;
  beforeAll(async () => { patient = await (await world.another({ limits: { uploadMs: LIMITS.uploadMs, uploadIdleMs: LIMITS.uploadIdleMs } })).public.listen({ port: 0, host: '127.0.0.1' }); });

  test('20 MiB and one byte are too much, announced or not; the caller reads why', async () => {
    expect(LIMITS.messageBytes).toBe(20 * 1024 * 1024);
    for (const announce of [LIMITS.messageBytes + 1, undefined]) {
      const answer = await upload(patient, pieces(LIMITS.messageBytes + 1), announce === undefined ? {} : { announce });
      expect([answer.status, code(answer)]).toEqual([413, 'BODY_TOO_LARGE']);
    }
  });

  test('exactly 20 MiB are read', async () => {
    const answer = await upload(patient, pieces(LIMITS.messageBytes), { announce: LIMITS.messageBytes });
    expect([answer.status, code(answer)]).toEqual([400, 'MESSAGE_FORMAT']);
  });

  test('a pause longer than the limit ends the upload', async () => {
    const answer = await upload(world.publicUrl, [randomBytes(10)], { end: false });
    expect([answer.status, code(answer)]).toEqual([408, 'REQUEST_TIMEOUT']);
  });

  test('a trickle that never pauses ends as well', async () => {
    // Five times as long as an upload may last.
    const answer = await upload(world.publicUrl, Array.from({ length: 100 }, () => randomBytes(1)), { pause: 50 });
    expect([answer.status, code(answer)]).toEqual([408, 'REQUEST_TIMEOUT']);
  });

  test('who goes on sending after a refusal is cut off', async () => {
    const socket = connect(world.cell.gateway.public.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${LIMITS.messageBytes + 1}\r\n\r\n`);
    const pump = setInterval(() => socket.write('x'), 20);
    const closed = await Promise.race([new Promise((resolve) => socket.once('close', () => resolve(true))), delay(60_000, false, { ref: false })]);
    clearInterval(pump);
    socket.destroy();
    expect(closed).toBe(true);
  });

  test('a cut connection leaves no job, frees its memory, and the gateway goes on', async () => {
    const context = contextOf();
    const message = await messageFor(acme, context);
    const socket = connect(world.cell.gateway.public.port, '127.0.0.1');
    socket.write(`POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${message.length}\r\n\r\n`);
    socket.write(message.subarray(0, 100));
    await delay(50);
    socket.destroy();
    await expect.poll(async () => (await world.gateway.admin.inject('/status')).json().uploading_bytes).toBe(0);
    expect(await world.ledger.job('acme', context.job_id)).toBeUndefined();
    expect((await upload(world.publicUrl, [message])).status).toBe(202);
  });

  test('bytes that are no HTTP get a problem, and headers have a limit', async () => {
    const raw = (text: string) => new Promise<string>((resolve) => {
      const socket = connect(world.cell.gateway.public.port, '127.0.0.1', () => socket.write(text));
      let answer = '';
      socket.on('data', (chunk) => { answer += chunk; }).on('close', () => resolve(answer)).on('error', () => {});
    });
    const bad = await raw('NONSENSE\r\n\r\n');
    expect(bad).toMatch(/^HTTP\/1\.1 400 /);
    expect(problemSchema.parse(JSON.parse(bad.split('\r\n\r\n')[1] as string)).code).toBe('BAD_REQUEST');
    const large = await raw(`GET /v1/health HTTP/1.1\r\nhost: x\r\nx-large: ${'a'.repeat(64 * 1024)}\r\n\r\n`);
    expect(problemSchema.parse(JSON.parse(large.split('\r\n\r\n')[1] as string))).toMatchObject({ code: 'HEADERS_TOO_LARGE', status: 431 });
    expect((await fetch(`${world.publicUrl}/v1/health`)).status).toBe(200);
  });
});

describe('a job\'s life', () => {
  let counter: Counter;
  beforeAll(async () => {
    counter = await world.counter();
    await counter.register();
  });

  test('is told as it happens, and may be resumed', async () => {
    // Whatever earlier tests left is not in the way.
    for (const job of (await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json().jobs) {
      await counter.call('POST', '/internal/v1/complete', { jobs: [{ tenant_id: job.tenant_id, job_id: job.job_id, lease_token: job.lease_token, outcome: 'failed', code: 'TEST' }] });
    }
    const api = createApi({ url: world.publicUrl, apiKey: key });
    const waiting = counter.call('POST', '/internal/v1/lease', { max: 4, wait_ms: 5_000 });
    const context = contextOf();
    const message = await messageFor(acme, context);
    expect((await api.submit(message)).state).toBe('accepted');
    const heard: JobEvent[] = [];
    const listening = (async () => { for await (const event of api.events(context.job_id, 0)) heard.push(event); })();
    const lease = (await waiting).json().jobs[0];
    expect(lease).toMatchObject({ job_id: context.job_id, tenant_id: 'acme', attempt: 1, size: message.length });

    const mine = { tenant_id: 'acme', job_id: context.job_id, lease_token: lease.lease_token };
    const fetched = await counter.call('POST', '/internal/v1/messages', { jobs: [mine] });
    expect(unbundle(bytes(fetched.rawPayload), 1)).toEqual([{ message: bytes(message) }]);
    const header = message.subarray(0, message.length - (64 + 12 + 16 + 4 + 4 + 4));
    const released = await counter.call('POST', '/internal/v1/release', { items: [{ tenant_id: 'acme', job_id: context.job_id, header: b64u(header) }] });
    expect([released.statusCode, released.json().items?.[0].ok], released.body).toEqual([200, true]);
    await expect.poll(() => heard.map((e) => e.event)).toEqual(['accepted', 'leased', 'released']);

    const beat = await counter.call('POST', '/internal/v1/heartbeat', { jobs: [mine] });
    expect(beat.json()).toMatchObject({ lost: [] });
    const result = { enc: b64u(randomBytes(1120)), ct: b64u(randomBytes(4112)) };
    const completion = { jobs: [{ ...mine, outcome: 'completed', result }] };
    const stands = { jobs: [{ job_id: context.job_id, recorded: true, state: 'completed' }] };
    expect((await counter.call('POST', '/internal/v1/complete', completion)).json()).toEqual(stands);
    expect((await counter.call('POST', '/internal/v1/complete', completion)).json()).toEqual(stands);
    await listening;
    expect(heard.map((e) => e.event)).toEqual(['accepted', 'leased', 'released', 'counted', 'completed']);
    expect(heard.map((e) => e.n)).toEqual([1, 2, 3, 4, 5]);

    const job = jobSchema.parse(await api.job(context.job_id));
    expect(job).toMatchObject({ state: 'completed', result, counter: { evidence: counter.attested.evidence, binding: counter.attested.binding, ear: counter.session.ear } });
    expect(job.receipts).toEqual([released.json().items[0].receipt]);

    const resumed: JobEvent[] = [];
    for await (const event of api.events(context.job_id, 3)) resumed.push(event);
    expect(resumed.map((e) => e.n)).toEqual([4, 5]);
    const after = await fetch(`${world.publicUrl}/v1/jobs/${context.job_id}/events`, { headers: { ...bearer(key), 'last-event-id': '5' } });
    expect(after.status).toBe(204);
    const beyond: JobEvent[] = [];
    for await (const event of api.events(context.job_id, 0)) beyond.push(event);
    const lost = await fetch(`${world.publicUrl}/v1/jobs/${context.job_id}/events`, { headers: { ...bearer(key), 'last-event-id': '99' } });
    expect((await lost.text()).match(/^id: \d+$/gm)).toEqual(beyond.map((e) => `id: ${e.n}`));
    const stale = await counter.call('POST', '/internal/v1/messages', { jobs: [mine] });
    expect(unbundle(bytes(stale.rawPayload), 1)).toEqual([{ code: 'LEASE_STALE' }]);
  });

  test('a quiet stream says that it is alive, and ends when the gateway stops', async () => {
    const gateway: Gateway = await world.another({});
    const url = await gateway.public.listen({ host: '127.0.0.1', port: 0 });
    const context = contextOf();
    await createApi({ url, apiKey: key }).submit(await messageFor(acme, context));
    const response = await fetch(`${url}/v1/jobs/${context.job_id}/events`, { headers: bearer(key) });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    let text = '';
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    while (!text.includes(': still here')) text += (await reader?.read())?.value ?? '';
    expect(text).toContain('event: accepted');
    const closing = gateway.close();
    for (;;) if ((await reader?.read())?.done ?? true) break;
    await closing;
    await expect(fetch(url)).rejects.toThrow();
  });

  test('event streams have a limit per key', async () => {
    const gateway = await world.another({ limits: { eventStreamsPerKey: 2 } });
    const url = await gateway.public.listen({ host: '127.0.0.1', port: 0 });
    const context = contextOf();
    await createApi({ url, apiKey: key }).submit(await messageFor(acme, context));
    const open = () => fetch(`${url}/v1/jobs/${context.job_id}/events`, { headers: bearer(key) });
    const streams = [await open(), await open()];
    expect(streams.map((s) => s.status)).toEqual([200, 200]);
    const third = await open();
    expect([third.status, (await third.json() as { code: string }).code]).toEqual([503, 'BACK_PRESSURE']);
    await streams[0]?.body?.cancel();
    await expect.poll(async () => { const again = await open(); await again.body?.cancel(); return again.status; }).toBe(200);
    await streams[1]?.body?.cancel();
  });

  test('a counter that went away while it waited takes no job with it', async () => {
    const { makePop } = await import('../../workloads/protocol/pop.ts');
    for (;;) {
      const { jobs } = (await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json();
      if (jobs.length === 0) break;
    }
    const body = JSON.stringify({ max: 64, wait_ms: 20_000 });
    const pop = await makePop({ key: counter.key, method: 'POST', path: '/internal/v1/lease', body: new TextEncoder().encode(body), session: counter.session.session, now: Math.floor(world.clock.now() / 1000) });
    const call = httpRequest(`${world.internalUrl}/internal/v1/lease`, { method: 'POST', agent: false, headers: { 'content-type': 'application/json', 'ccc-session': counter.session.session, 'ccc-pop': pop } });
    call.on('error', () => {});
    call.end(body);
    await delay(150);
    call.destroy();
    await delay(50);
    const context = contextOf();
    await createApi({ url: world.publicUrl, apiKey: key }).submit(await messageFor(acme, context));
    await delay(250);
    expect(await world.ledger.job('acme', context.job_id)).toMatchObject({ state: 'accepted', attempts: 0 });
  });
});

describe('the page', () => {
  test('is served under a strict policy; nothing beside its files is', async () => {
    const folder = join(world.folder, 'page');
    await mkdir(join(folder, 'assets'), { recursive: true });
    await writeFile(join(folder, 'index.html'), '<!doctype html><title>page</title>');
    await writeFile(join(folder, 'assets', 'index-abc.js'), 'export {};');
    await writeFile(join(folder, '.secret'), 'hunter2');
    await writeFile(join(world.folder, 'outside'), 'hunter2');
    const { public: app } = await world.another({ pageFolder: folder });
    const page = await app.inject('/');
    expect([page.statusCode, page.body]).toEqual([200, '<!doctype html><title>page</title>']);
    expect(page.headers['content-security-policy']).toBe(PAGE_CSP);
    expect(PAGE_CSP).not.toMatch(/unsafe|\*|https?:/);
    const script = await app.inject('/assets/index-abc.js');
    expect(script.headers['content-type']).toMatch(/javascript/);
    expect(script.headers['cache-control']).toContain('immutable');
    for (const path of ['/.secret', '/../outside', '/assets/../../outside', '/%2e%2e/outside', '/assets/..%2f..%2foutside', '/assets']) {
      const response = await app.inject(path);
      expect(response.statusCode, path).toBeGreaterThanOrEqual(400);
      expect(response.body, path).not.toContain('hunter2');
    }
    expect((await app.inject('/v1/health')).headers['content-security-policy']).toContain("default-src 'none'");
  });

  test('without one, there is none', async () => {
    expect((await world.gateway.public.inject('/')).statusCode).toBe(404);
  });
});

describe('the process', () => {
  const MAIN = fileURLToPath(new URL('../../workloads/gateway/main.ts', import.meta.url));
  const start = (args: string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env['PATH'] ?? '', ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk; });
    return { child, stderr: () => stderr, ended: new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code))) };
  };

  test('does not start without database, data folder or a sound cell.json', async () => {
    const folder = join(world.folder, 'bad');
    await mkdir(folder);
    await writeFile(join(folder, 'cell.json'), '{"cell":"local"}');
    const none = start([]);
    const noDatabase = start(['--data', folder]);
    const bad = start(['--data', folder], { DATABASE_URL: world.databaseUrl });
    expect(await Promise.all([none.ended, noDatabase.ended, bad.ended])).toEqual([2, 2, 1]);
    expect(bad.stderr()).toContain('did not start');
  });

  test('listens on its ports and its socket, and ends at once when told, with a poll under way', async () => {
    const folder = join(world.folder, 'process');
    await mkdir(folder);
    const [here, internal] = [await freePort(), await freePort()];
    const cell = { ...world.cell, gateway: { public: { host: '127.0.0.1', port: here }, internal: { host: '127.0.0.1', port: internal } } };
    await writeFile(join(folder, 'cell.json'), JSON.stringify(cell));
    await writeFile(join(folder, 'directory.jws'), world.directory);
    const { child, stderr, ended } = start(['--data', folder], { DATABASE_URL: world.databaseUrl });
    await expect.poll(() => stderr()).toContain('"event":"listening"');
    expect((await stat(join(folder, 'admin.sock'))).mode & 0o777).toBe(0o600);
    const health = await fetch(`http://127.0.0.1:${here}/v1/health`);
    // Its configuration is not the one that the broker vouches for: it says so, and nothing else is wrong.
    expect([health.status, await health.json()]).toMatchObject([503, { checks: { ledger: 'ok', store: 'ok', policy: 'ok', broker: 'failing' } }]);
    const context = contextOf();
    const api = createApi({ url: `http://127.0.0.1:${here}`, apiKey: key, attempts: 1 });
    await api.submit(await messageFor(acme, context));
    const stream = await fetch(`${api.url}/v1/jobs/${context.job_id}/events`, { headers: bearer(key) });
    const reading = stream.text();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(await reading).toContain('event: accepted');
    for (const line of stderr().trim().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });
});

test('the admin socket is for its owner only', async () => {
  const { listenAdmin } = await import('../../workloads/gateway/admin-socket.ts');
  const gateway = await world.another({});
  const path = join(world.folder, 'admin.sock');
  // What a crash left is no obstacle; a gateway that answers is.
  await writeFile(path, '');
  await listenAdmin(gateway.admin, path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const status = await new Promise<number>((resolve, reject) => { httpRequest({ socketPath: path, path: '/status' }, (response) => { response.resume(); resolve(response.statusCode ?? 0); }).on('error', reject).end(); });
  expect(status).toBe(200);
  await expect(listenAdmin((await world.another({})).admin, path)).rejects.toMatchObject({ code: 'ADMIN_SOCKET_TAKEN' });
});
