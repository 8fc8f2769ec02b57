import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../attestation/bytes.ts';
import { ApiError, createApi } from '../../workloads/client/api.ts';
import { serverEvents } from '../../workloads/client/sse.ts';
import { waitForJob } from '../../workloads/client/submit.ts';
import type { Job, JobEvent } from '../../workloads/protocol/messages.ts';

const ID = '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11';
const job = (state: Job['state'] = 'accepted'): Job => ({ job_id: ID, state, message_digest: '0'.repeat(64), size: 3, accepted_at: 1, attempts: 0 });
type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** One handler per request, in order; the last one stays. */
let script: Handler[] = [];
let requests: { method: string; path: string; headers: IncomingMessage['headers']; body: Buffer }[] = [];
let waits: number[] = [];
let url: string;
const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
    const body = Buffer.concat(parts);
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers, body });
    const handler = script.length > 1 ? script.shift() : script[0];
    handler?.(request, response, body);
  });
});
beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => { server.closeAllConnections(); server.close(); });
beforeEach(() => { [script, requests, waits] = [[], [], []]; });

const api = (more: Partial<Parameters<typeof createApi>[0]> = {}) => createApi({ url, apiKey: 'ccc_live_a_b', sleep: async (ms) => void waits.push(ms), ...more });
const json = (body: unknown, status = 200, headers: Record<string, string> = {}): Handler => (_, response) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
const problem = (code: string, status: number, headers = {}): Handler => json({ type: 'about:blank', title: code, status, code, detail: 'what to do' }, status, headers);
const cut: Handler = (request) => request.socket.destroy();
const events = (list: [number, JobEvent['event']][], end = true): Handler => (_, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(':\n\n');
  for (const [n, event] of list) response.write(`id: ${n}\nevent: ${event}\ndata: ${JSON.stringify({ job_id: ID, n, event, at: 1 })}\n\n`);
  if (end) response.end();
  // Once the events are on their way: a connection that breaks before any answer is what fetch repeats by itself.
  else response.write(':\n\n', () => setTimeout(() => response.destroy(), 50));
};
const failed = async (work: Promise<unknown>): Promise<ApiError> => work.then(() => { throw new Error('it did not fail'); }, (e: unknown) => { if (!(e instanceof ApiError)) throw e; return e; });

describe('API', () => {
  it('sends key, method, path and bytes, and reads the answer', async () => {
    script = [json(job(), 202)];
    expect(await api().submit(utf8('abc'))).toEqual(job());
    expect(requests[0]).toMatchObject({ method: 'POST', path: '/v1/jobs', body: Buffer.from('abc') });
    expect(requests[0]?.headers).toMatchObject({ authorization: 'Bearer ccc_live_a_b', 'content-type': 'application/octet-stream' });
    script = [json({ jobs: [job('completed')] })];
    expect(await api().jobs({ limit: 5, state: 'completed' })).toEqual([job('completed')]);
    expect(requests[1]?.path).toBe('/v1/jobs?limit=5&state=completed');
  });

  it('tries the same bytes again after 503, 429 and broken connections, and waits as long as it is asked to', async () => {
    script = [problem('BACK_PRESSURE', 503, { 'retry-after': '7' }), problem('RATE_LIMITED', 429, { 'retry-after': '0' }), cut, json(job(), 202)];
    expect(await api().submit(utf8('abc'))).toEqual(job());
    expect(requests.map((r) => r.body.toString())).toEqual(['abc', 'abc', 'abc', 'abc']);
    expect(waits[0]).toBe(7000);
    expect(waits[1]).toBeGreaterThanOrEqual(250);
    expect(waits[1]).toBeLessThanOrEqual(500);
    expect(waits[2]).toBeGreaterThanOrEqual(500);
    expect(waits[2]).toBeLessThanOrEqual(1000);
  });

  it('gives up after its attempts, with the last code', async () => {
    script = [problem('BROKER_UNAVAILABLE', 503)];
    expect(await failed(api({ attempts: 3 }).job(ID))).toMatchObject({ code: 'BROKER_UNAVAILABLE', status: 503, passing: true });
    expect(requests.length).toBe(3);
    script = [cut];
    expect(await failed(api({ attempts: 2 }).job(ID))).toMatchObject({ code: 'NETWORK', status: 0 });
  });

  it('does not repeat what is refused', async () => {
    for (const [code, status] of [['JOB_CONFLICT', 409], ['UNAUTHENTICATED', 401], ['TENANT_MISMATCH', 403], ['MESSAGE_FORMAT', 422], ['INTERNAL', 500]] as const) {
      [script, requests] = [[problem(code, status)], []];
      const error = await failed(api().submit(utf8('x')));
      expect([error.code, error.status, error.problem?.detail, requests.length]).toEqual([code, status, 'what to do', 1]);
    }
  });

  it('refuses answers that it does not understand, that are too large, or that lead elsewhere', async () => {
    script = [json({ ...job(), more: 1 })];
    expect((await failed(api().job(ID))).code).toBe('ANSWER_FORMAT');
    script = [(_, response) => response.end('<html>')];
    expect((await failed(api().job(ID))).code).toBe('ANSWER_FORMAT');
    script = [(_, response) => response.end(Buffer.alloc(5_000_000, 'x'))];
    expect((await failed(api().job(ID))).code).toBe('ANSWER_FORMAT');
    script = [(_, response) => response.writeHead(307, { location: `${url}/elsewhere` }).end()];
    expect((await failed(api({ attempts: 1 }).job(ID))).code).toBe('NETWORK');
    expect(requests.at(-1)?.path).toBe(`/v1/jobs/${ID}`);
    script = [(_, response) => response.writeHead(502).end('<h1>Bad gateway</h1>')];
    expect(await failed(api({ attempts: 1 }).job(ID))).toMatchObject({ code: 'HTTP', status: 502 });
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    script = [() => stop.abort(new Error('stopped'))];
    await expect(api().job(ID, stop.signal)).rejects.toThrow('stopped');
    expect(requests.length).toBe(1);
  });
});

describe('waiting for a job', () => {
  it('follows the events, goes on where the stream broke, and believes the job', async () => {
    const seen: string[] = [];
    script = [events([[1, 'accepted'], [2, 'leased']], false), json(job('leased')), events([[2, 'leased'], [3, 'released'], [4, 'counted'], [5, 'completed']]), json(job('completed'))];
    const final = await waitForJob(api(), ID, { onEvent: (e) => seen.push(e.event) });
    expect([final.state, seen]).toEqual(['completed', ['accepted', 'leased', 'released', 'counted', 'completed']]);
    expect(requests[2]?.headers['last-event-id']).toBe('2');
  });

  it('falls back to polling when there are no events', async () => {
    script = [problem('NOT_FOUND', 404), json(job('accepted')), json(job('leased')), json(job('rejected'))];
    expect((await waitForJob(api(), ID)).state).toBe('rejected');
    expect(requests.map((r) => r.path.endsWith('/events'))).toEqual([true, false, false, false]);
  });

  it('does not believe an event that the job does not bear out', async () => {
    script = [events([[1, 'completed']]), json(job('leased')), events([]), json(job('leased')), events([]), json(job('leased')), events([]), json(job('leased')), json(job('failed'))];
    expect((await waitForJob(api(), ID)).state).toBe('failed');
  });

  it('ignores events of other jobs and what is no event', async () => {
    const seen: number[] = [];
    script = [(_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: x\n\ndata: {}\n\ndata: ${JSON.stringify({ job_id: ID.replace('0b', '1b'), n: 1, event: 'leased', at: 1 })}\n\n`), json(job('completed'))];
    await waitForJob(api(), ID, { onEvent: (e) => seen.push(e.n) });
    expect(seen).toEqual([]);
  });
});

describe('event stream', () => {
  const read = async (chunks: Uint8Array[]) => {
    const out = [];
    for await (const event of serverEvents(new ReadableStream({ start(c) { chunks.forEach((chunk) => c.enqueue(chunk)); c.close(); } }))) out.push(event);
    return out;
  };
  it('is the same however it is cut', async () => {
    const stream = utf8('id: 1\nevent: leased\ndata: {"a":1}\n\n: comment\r\n\r\ndata:two\rdata: lines ä\r\n\r\nid: 2\ndata\n\nevent: lost\ndata: incomplete');
    const expected = [{ id: '1', event: 'leased', data: '{"a":1}' }, { id: '1', event: 'message', data: 'two\nlines ä' }, { id: '2', event: 'message', data: '' }];
    expect(await read([stream])).toEqual(expected);
    await fc.assert(fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 20 }), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
      expect(await read(at.slice(1).map((end, i) => stream.subarray(at[i], end)))).toEqual(expected);
    }), { numRuns: 100 });
  });
  it('is bounded', async () => {
    await expect(read([utf8('data: '), new Uint8Array(70_000).fill(0x61)])).rejects.toThrow(RangeError);
    await expect(read(Array.from({ length: 70 }, () => utf8(`data: ${'a'.repeat(1000)}\n`)))).rejects.toThrow(RangeError);
  });
});
