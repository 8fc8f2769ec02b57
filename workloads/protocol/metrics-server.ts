/**
 * What whoever runs a process may ask it, on a port of its own: `METRICS_ADDRESS=HOST:PORT`. Nothing is read of a request but its first line.
 *
 * | path | 200 means | otherwise |
 * |---|---|---|
 * | `/v1/live` | the process answers: starting it anew would change nothing | no answer: kill it |
 * | `/v1/health` | it can do its work now | 503: give it nothing new, but let it be: what it waits for may come back |
 * | `/metrics` | what happened so far (metrics.ts) | |
 */
import { createServer, type Server } from 'node:http';
import type { Metrics } from './metrics.ts';

export interface MetricsServerOptions {
  readonly metrics: Metrics;
  /** Brings gauges up to date. A failure leaves them as they are. */
  readonly collect?: () => Promise<void>;
  readonly ready: () => boolean | Promise<boolean>;
}

const REQUEST_MS = 5_000;
const MAX_CONNECTIONS = 32;
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

export function metricsServer({ metrics, collect = async () => {}, ready }: MetricsServerOptions): Server {
  let collecting: Promise<void> | undefined;
  const collected = (): Promise<void> => (collecting ??= collect().catch(() => {}).finally(() => { collecting = undefined; }));
  const routes: Readonly<Record<string, () => Promise<readonly [number, string, string]>>> = {
    '/v1/live': async () => [200, 'application/json', '{"live":true}'],
    '/v1/health': async () => {
      const ok = await Promise.resolve().then(ready).catch(() => false);
      return [ok ? 200 : 503, 'application/json', JSON.stringify({ status: ok ? 'ready' : 'not-ready' })];
    },
    '/metrics': async () => {
      await collected();
      return [200, TEXT, metrics.text()];
    },
  };
  const server = createServer({ maxHeaderSize: 8_192, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: REQUEST_MS, connectionsCheckingInterval: 1_000 }, (request, response) => {
    const route = request.method === 'GET' && request.url !== undefined && Object.hasOwn(routes, request.url) ? routes[request.url] : undefined;
    void (route?.() ?? Promise.resolve([request.method === 'GET' ? 404 : 405, 'text/plain', ''] as const)).then(([status, type, body]) => {
      if (!request.complete) response.setHeader('connection', 'close');
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
      response.end(body);
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', (_error, socket) => socket.destroy());
  return server;
}

/** @throws Error: an address that was given and is none keeps the process from starting */
export function metricsAddress(text: string | undefined): { readonly host: string; readonly port: number } | undefined {
  if (text === undefined || text === '') return undefined;
  const [, host, port] = /^(\[[0-9a-fA-F:]{2,39}\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) throw new Error('METRICS_ADDRESS is HOST:PORT');
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** Listens where METRICS_ADDRESS says, if it says so; a port that is taken ends the start. Never keeps a process running. */
export async function serveMetrics(options: MetricsServerOptions, address: string | undefined): Promise<Server | undefined> {
  const at = metricsAddress(address);
  if (at === undefined) return undefined;
  const server = metricsServer(options);
  await new Promise<void>((resolve, reject) => { server.once('error', reject).listen(at.port, at.host, resolve); });
  return server.unref();
}
