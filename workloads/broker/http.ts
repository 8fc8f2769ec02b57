/** The little HTTP that the broker needs, over node:http: exact routes, bounded bodies, strict JSON, problem documents. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import { type Bytes, concat, text } from '../../attestation/bytes.ts';
import { type Log, errorFields } from '../protocol/log.ts';
import { CccError, PROBLEM_MEDIA_TYPE, toProblem } from '../protocol/problem.ts';

export interface RouteRequest<T> {
  readonly input: T;
  /** The bytes that a proof is over. */
  readonly body: Bytes;
  header(name: string): string | undefined;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  /** Bytes. */
  readonly maxBody: number;
  handle(request: RouteRequest<undefined>): Promise<object>;
}

/** A route whose body is JSON of the schema. */
export function jsonRoute<T>(schema: z.ZodType<T>, maxBody: number, handle: (request: RouteRequest<T>) => Promise<object>): Route {
  return {
    method: 'POST',
    maxBody,
    handle: (request) => handle({ ...request, input: parseInput(schema, request.body) }),
  };
}

const MAX_URL = 256;
const MAX_HEADERS = 32 * 1024;
const REQUEST_MS = 30_000;

/** @throws CccError VALIDATION, BODY_EMPTY, BAD_REQUEST */
function parseInput<T>(schema: z.ZodType<T>, body: Bytes): T {
  if (body.length === 0) throw new CccError('BODY_EMPTY', 'Send a JSON object.');
  let value: unknown;
  try {
    value = JSON.parse(text(body));
  } catch (cause) {
    throw new CccError('BAD_REQUEST', 'Send JSON in UTF-8.', { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.map(String).join('.').slice(0, 100) || 'body'}: ${issue.code}`).join('; ');
  throw new CccError('VALIDATION', 'Send the message as its schema says.', { detail: where });
}

export function httpServer(routes: Readonly<Record<string, Route>>, log: Log): Server {
  const table = new Map(Object.entries(routes));
  const server = createServer({ maxHeaderSize: MAX_HEADERS, requestTimeout: REQUEST_MS, headersTimeout: 10_000, keepAliveTimeout: 60_000, connectionsCheckingInterval: 5_000 }, (request, response) => {
    void serve(table, request, response, log);
  });
  server.maxRequestsPerSocket = 0;
  server.on('clientError', refuseRaw);
  return server;
}

async function serve(table: ReadonlyMap<string, Route>, request: IncomingMessage, response: ServerResponse, log: Log): Promise<void> {
  const { method = '', url = '' } = request;
  const route = url.length <= MAX_URL ? table.get(url) : undefined;
  try {
    if (route === undefined) throw new CccError('NOT_FOUND', 'See docs/protocol.md for the routes of the broker.');
    if (method !== route.method) throw new CccError('METHOD_NOT_ALLOWED', `Use ${route.method}.`);
    const body = await readBody(request, route);
    const answer = await route.handle({ input: undefined, body, header: (name) => single(request, name) });
    reply(response, 200, 'application/json', answer);
  } catch (error) {
    const problem = toProblem(error);
    // Names of unknown routes are the caller's text: not logged.
    const at = { method: method.slice(0, 8), ...(route === undefined ? {} : { route: url }), status: problem.status, code: problem.code };
    if (problem.code === 'INTERNAL') log.error('request-failed', { ...at, ...causeFields(error) });
    else log.info('request-refused', at);
    // What was not read of the body is not worth reading.
    if (!request.complete) response.setHeader('connection', 'close');
    reply(response, problem.status, PROBLEM_MEDIA_TYPE, problem);
  }
}

const causeFields = (error: unknown) => errorFields(error instanceof Error && error.cause !== undefined ? error.cause : error);

function single(request: IncomingMessage, name: string): string | undefined {
  const values = request.headersDistinct[name];
  return values?.length === 1 ? values[0] : undefined;
}

/** @throws CccError BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, BAD_REQUEST */
async function readBody(request: IncomingMessage, { method, maxBody }: Route): Promise<Bytes> {
  // Compressed bodies could grow without bound; a proof is over the bytes as sent.
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new CccError('UNSUPPORTED_MEDIA_TYPE', 'Send the body uncompressed.');
  if (method === 'POST' && request.headers['content-type'] !== 'application/json') throw new CccError('UNSUPPORTED_MEDIA_TYPE', 'Send application/json.');
  const limit = method === 'GET' ? 0 : maxBody;
  const tooLarge = () => new CccError('BODY_TOO_LARGE', `Send at most ${limit} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > limit) throw tooLarge();
      parts.push(part);
    }
  } catch (cause) {
    if (cause instanceof CccError) throw cause;
    throw new CccError('BAD_REQUEST', 'Send the whole body.', { cause });
  }
  return concat(...parts);
}

function reply(response: ServerResponse, status: number, type: string, body: object): void {
  if (response.destroyed || response.headersSent) return;
  const text_ = JSON.stringify(body);
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text_), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  response.end(text_);
}

/** Bytes that are no HTTP request, or headers beyond the limit. */
function refuseRaw(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [code, reason] = error.code === 'HPE_HEADER_OVERFLOW' ? ['HEADERS_TOO_LARGE' as const, 'Request Header Fields Too Large'] : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? ['REQUEST_TIMEOUT' as const, 'Request Timeout'] : ['BAD_REQUEST' as const, 'Bad Request'];
  const problem = toProblem(new CccError(code, 'Send a well-formed request.'));
  const body = JSON.stringify(problem);
  socket.end(`HTTP/1.1 ${problem.status} ${reason}\r\ncontent-type: ${PROBLEM_MEDIA_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
}
