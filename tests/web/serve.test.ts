/** The page server: what it serves, what it says about it, what it passes on. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { readdir, readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPage } from '../../scripts/page/build.ts';
import { PAGE_CSP } from '../../workloads/protocol/page-headers.ts';
import { servePage } from '../../scripts/page/serve.ts';

const OWNER = 'A'.repeat(43);
const KEY = 'ccc_live_abcdefghijklmnop_secret';

interface Answer { status: number; headers: IncomingMessage['headers']; body: string }
function ask(url: string, options: { method?: string; headers?: Record<string, string>; path?: string; body?: string } = {}): Promise<Answer> {
  return new Promise((done, failed) => {
    const asked = request(url, { method: options.method ?? 'GET', headers: options.headers, ...(options.path === undefined ? {} : { path: options.path }) }, (got) => {
      const parts: Buffer[] = [];
      got.on('data', (p: Buffer) => parts.push(p)).on('end', () => done({ status: got.statusCode ?? 0, headers: got.headers, body: Buffer.concat(parts).toString() }));
    });
    asked.on('error', failed).end(options.body);
  });
}

describe('page server', () => {
  let folder: string;
  let gateway: Server;
  let served: Awaited<ReturnType<typeof servePage>>;
  let base: string;
  const seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  let release: (() => void) | undefined;

  beforeAll(async () => {
    folder = await buildPage();
    gateway = createServer((asked, answer) => {
      const parts: Buffer[] = [];
      asked.on('data', (p: Buffer) => parts.push(p)).on('end', () => {
        seen.push({ method: asked.method ?? '', url: asked.url ?? '', headers: asked.headers, body: Buffer.concat(parts).toString() });
        if (!asked.url?.endsWith('/events')) return void answer.writeHead(202, { 'content-type': 'application/json', 'retry-after': '3', 'set-cookie': 'a=b' }).end('{"ok":true}');
        answer.writeHead(200, { 'content-type': 'text/event-stream' });
        answer.write('data: one\n\n');
        release = () => answer.end('data: two\n\n');
      });
    });
    await new Promise<void>((done) => gateway.listen(0, '127.0.0.1', done));
    served = await servePage({ gatewayUrl: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`, ownerKey: OWNER, apiKey: KEY, tenant: 'acme', folder });
    base = new URL(served.url).origin;
  });
  afterAll(async () => {
    await served.close();
    gateway.closeAllConnections();
    await new Promise((done) => gateway.close(done));
  });

  it('builds once, and answers the same folder again without building', async () => {
    const said: string[] = [];
    expect(await buildPage({ onProgress: (text) => said.push(text) })).toBe(folder);
    expect(said).toEqual([]);
  });

  it('has no inline script or style, and nothing evaluates text or reaches for a built-in of Node', async () => {
    const html = await readFile(join(folder, 'index.html'), 'utf8');
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
    const assets = (await readdir(join(folder, 'assets'))).filter((f) => f.endsWith('.js'));
    expect(assets.length).toBeGreaterThanOrEqual(2);
    for (const file of assets) {
      const code = await readFile(join(folder, 'assets', file), 'utf8');
      expect(code).not.toMatch(/(?:\bfrom|\bimport\(?)\s*["'](?:node:)?(?:crypto|buffer|fs|util)["']/);
      console.info(`${file}: ${code.length} bytes, ${gzipSync(code).length} compressed`);
      expect(gzipSync(code).length, 'the verifier and the encryption stay small').toBeLessThan(210_000);
    }
  });

  it('sends the policy with each file, and says that it is the page server', async () => {
    const index = await ask(base);
    expect(index.status).toBe(200);
    expect(index.headers['content-security-policy']).toBe(PAGE_CSP);
    expect(index.body).toContain('<meta name="ccc-served-by" content="page-server">');
    const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(index.body)?.[1] ?? '';
    const file = await ask(`${base}/${script}`);
    expect([file.status, file.headers['content-type'], file.headers['content-security-policy']]).toEqual([200, 'text/javascript; charset=utf-8', PAGE_CSP]);
    expect(PAGE_CSP).not.toContain('unsafe');
  });

  it('pins the owner key in its configuration and keeps the API key out of everything it serves', async () => {
    expect(JSON.parse((await ask(`${base}/config.json`)).body)).toEqual({ v: 1, gateway: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`, owner_key: OWNER, tenant: 'acme' });
    expect(new URLSearchParams(new URL(served.url).hash.slice(1)).get('key')).toBe(KEY);
    for (const path of ['/', '/config.json']) expect((await ask(base + path)).body).not.toContain(KEY);
  });

  it('is nobody else\'s origin: another host name is refused, for the API too', async () => {
    for (const path of ['/', '/config.json', '/v1/jobs']) expect((await ask(base, { path, headers: { host: 'evil.example' } })).status, path).toBe(421);
    expect((await ask(base, { headers: { host: `localhost:${new URL(base).port}` } })).status).toBe(200);
  });

  it('serves only the built files', async () => {
    for (const path of ['/.stamp', '/../worker.ts', '/assets/../../worker.ts', '/%2e%2e/worker.ts', '/assets', '/nothing.js', '/assets/%00']) expect((await ask(base, { path })).status, path).toBe(404);
    expect((await ask(base, { method: 'POST' })).status).toBe(405);
  });

  it('passes requests of the API on as they are, without cookies and origin', async () => {
    const answer = await ask(`${base}/v1/jobs?x=1`, { method: 'POST', headers: { authorization: `Bearer ${KEY}`, cookie: 'c=d', origin: base, referer: base, 'content-type': 'application/octet-stream' }, body: 'message' });
    expect([answer.status, answer.body, answer.headers['retry-after'], answer.headers['set-cookie']]).toEqual([202, '{"ok":true}', '3', undefined]);
    const got = seen.at(-1);
    expect(got).toMatchObject({ method: 'POST', url: '/v1/jobs?x=1', body: 'message' });
    expect(got?.headers).toMatchObject({ authorization: `Bearer ${KEY}`, host: `127.0.0.1:${(gateway.address() as AddressInfo).port}` });
    for (const name of ['cookie', 'origin', 'referer']) expect(got?.headers[name], name).toBeUndefined();
  });

  it('streams events as they come', async () => {
    const got: string[] = [];
    await new Promise<void>((done, failed) => {
      request(`${base}/v1/jobs/1/events`, (answer) => {
        answer.on('data', (part: Buffer) => {
          got.push(part.toString());
          // The second event is made only once the first has arrived: a proxy that waits for the end would wait forever.
          release?.();
        }).on('end', done);
      }).on('error', failed).end();
    });
    expect(got).toEqual(['data: one\n\n', 'data: two\n\n']);
  });

  it('says so when the gateway does not answer', async () => {
    const lonely = await servePage({ gatewayUrl: 'http://127.0.0.1:1', ownerKey: OWNER, folder });
    try {
      const answer = await ask(`${lonely.url}/v1/health`);
      expect([answer.status, (JSON.parse(answer.body) as { code: string }).code]).toEqual([502, 'GATEWAY_UNREACHABLE']);
    } finally {
      await lonely.close();
    }
  });
});
