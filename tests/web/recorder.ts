/**
 * An HTTP proxy that a browser is told to use for everything, loopback included, and that keeps each byte the browser sent: TCP streams
 * are recorded before anything parses them. It can change answers, to play a hostile gateway.
 */
import { createServer as createHttp, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from 'node:net';

export interface Recorder {
  readonly url: string;
  /** Everything the browser sent, connection by connection. */
  bytes(): Buffer[];
  /** `METHOD host path` of each request. */
  readonly requests: string[];
  /** Replaces the body of answers to this path, from now on. */
  change(path: string, by: ((body: Buffer) => Buffer) | undefined): void;
  close(): Promise<void>;
}

/** Recorded and answered here: a test sends known bytes there, to see that they are found. */
export const SINK = '/recorder/sink';

const listen = (server: Server): Promise<number> => new Promise((done) => server.listen(0, '127.0.0.1', () => done((server.address() as AddressInfo).port)));

export async function startRecorder(): Promise<Recorder> {
  const streams: Buffer[][] = [];
  const requests: string[] = [];
  const changes = new Map<string, (body: Buffer) => Buffer>();
  const sockets = new Set<Socket>();

  const http = createHttp((asked: IncomingMessage, answer: ServerResponse) => {
    const target = new URL(asked.url ?? '');
    if (target.pathname === SINK) return void asked.resume().on('end', () => answer.writeHead(204).end());
    // A browser calls its maker by itself; recorded like all else, and refused.
    if (target.hostname !== '127.0.0.1') return void answer.writeHead(403).end();
    requests.push(`${asked.method} ${target.host} ${target.pathname}`);
    const upstream = request(target, { method: asked.method, headers: asked.headers }, (got) => {
      const change = changes.get(target.pathname);
      if (change === undefined) {
        answer.writeHead(got.statusCode ?? 502, got.headers);
        answer.flushHeaders();
        got.pipe(answer);
        return;
      }
      const parts: Buffer[] = [];
      got.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
        const body = change(Buffer.concat(parts));
        answer.writeHead(got.statusCode ?? 502, { ...got.headers, 'content-length': body.length }).end(body);
      });
    });
    upstream.on('error', () => { if (!answer.headersSent) answer.writeHead(502).end(); else answer.destroy(); });
    answer.on('close', () => upstream.destroy());
    asked.pipe(upstream);
  });
  http.on('connect', (_: IncomingMessage, socket: Socket) => void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
  const inner = await listen(http);

  const tcp = createTcp((socket) => {
    const stream: Buffer[] = [];
    streams.push(stream);
    const onward = connect(inner, '127.0.0.1');
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on('close', () => { sockets.delete(one); socket.destroy(); onward.destroy(); }).on('error', () => {});
    }
    socket.on('data', (part: Buffer) => stream.push(part));
    socket.pipe(onward);
    onward.pipe(socket);
  });
  const outer = await listen(tcp);
  return {
    url: `http://127.0.0.1:${outer}`,
    bytes: () => streams.map((s) => Buffer.concat(s)),
    requests,
    change: (path, by) => void (by === undefined ? changes.delete(path) : changes.set(path, by)),
    async close() {
      for (const socket of sockets) socket.destroy();
      http.closeAllConnections();
      await Promise.all([tcp, http].map((s) => new Promise((done) => s.close(done))));
    },
  };
}
