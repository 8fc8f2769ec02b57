/**
 * Serves the page from the user's own machine, so that its code does not come from the operator whom it checks. The API of the gateway is
 * passed through under the same origin: what goes by is ciphertext and evidence, which the page made and checks itself.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize, sep } from 'node:path';
import { buildPage } from './build.ts';
import { PAGE_HEADERS } from '../../workloads/protocol/page-headers.ts';
import { passThrough } from './proxy.ts';

export interface ServePageOptions {
  /** 0 or absent: any free port. Always on the loopback address. */
  readonly port?: number;
  /** Origin of the cell's gateway, `http://host:port`. */
  readonly gatewayUrl: string;
  /** The owner's raw Ed25519 public key, base64url: the page pins it. */
  readonly ownerKey: string;
  /** What the page is to expect; it asks the user for what is absent. */
  readonly tenant?: string;
  readonly zone?: string;
  readonly cell?: string;
  /** Put into the fragment of the answered address only; never served over HTTP. */
  readonly apiKey?: string;
  readonly onProgress?: (text: string) => void;
  /** A page built already; built when absent. */
  readonly folder?: string;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.json': 'application/json',
};
/** In the built index.html this says that the gateway serves the page; here it is changed. */
const SERVED_BY_GATEWAY = '<meta name="ccc-served-by" content="gateway"';

export async function servePage(options: ServePageOptions): Promise<{ url: string; close: () => Promise<void> }> {
  const gateway = new URL(options.gatewayUrl);
  const folder = options.folder ?? await buildPage({ onProgress: options.onProgress });
  const built = await readFile(join(folder, 'index.html'), 'utf8');
  if (!built.includes(SERVED_BY_GATEWAY)) throw new Error('the built page does not say who serves it');
  const index = Buffer.from(built.replace(SERVED_BY_GATEWAY, SERVED_BY_GATEWAY.replace('"gateway"', '"page-server"')));
  const config = Buffer.from(JSON.stringify({ v: 1, gateway: gateway.origin, owner_key: options.ownerKey, tenant: options.tenant, zone: options.zone, cell: options.cell }));

  let hosts: readonly string[] = [];
  const server = createServer((request, response) => {
    // A name of somebody else that resolves to this machine must not become this origin (DNS rebinding).
    if (!hosts.includes(request.headers.host ?? '')) return plain(response, 421, 'Open the page by the address that was printed.');
    const path = new URL(request.url ?? '/', 'http://page').pathname;
    if (path.startsWith('/v1/')) return passThrough(request, response, gateway);
    if (request.method !== 'GET' && request.method !== 'HEAD') return plain(response, 405, 'Only GET is allowed here.');
    if (path === '/' || path === '/index.html') return send(request, response, index, '.html');
    if (path === '/config.json') return send(request, response, config, '.json');
    return void sendFile(request, response, folder, path);
  });
  // Pictures on a slow line take a while; headers do not.
  server.headersTimeout = 15_000;
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(options.port ?? 0, '127.0.0.1', done);
  });
  const { port } = server.address() as AddressInfo;
  hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  const fragment = options.apiKey === undefined ? '' : `/#${new URLSearchParams({ key: options.apiKey })}`;
  return {
    url: `http://127.0.0.1:${port}${fragment}`,
    close: () => new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    }),
  };
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...PAGE_HEADERS, 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}

function headersFor(extension: string, length: number): Record<string, string | number> {
  return { ...PAGE_HEADERS, 'content-type': TYPES[extension] ?? 'application/octet-stream', 'content-length': length, 'cache-control': 'no-cache' };
}

function send(request: IncomingMessage, response: ServerResponse, body: Buffer, extension: string): void {
  response.writeHead(200, headersFor(extension, body.length)).end(request.method === 'HEAD' ? undefined : body);
}

/** Files of the built page, nothing above it and nothing hidden. */
async function sendFile(request: IncomingMessage, response: ServerResponse, folder: string, path: string): Promise<void> {
  const parts = normalize(path).split(sep).filter(Boolean);
  const file = join(folder, ...parts);
  const found = parts.some((p) => p.startsWith('.')) || path.includes('%') ? undefined : await stat(file).catch(() => undefined);
  if (!found?.isFile()) return plain(response, 404, 'There is no such file.');
  response.writeHead(200, headersFor(extname(file), found.size));
  if (request.method === 'HEAD') return void response.end();
  createReadStream(file).on('error', () => response.destroy()).pipe(response);
}
