/** The ground of all three listeners: request ids, security headers, problem documents, one log line for each request. */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Clock } from '../protocol/clock.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { CccError, PROBLEM_MEDIA_TYPE, type ProblemCode, toProblem } from '../protocol/problem.ts';
import type { Limits } from './limits.ts';

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'cache-control': 'no-store',
} as const;

/** Fastify's own errors, in codes of the table. */
const FRAMEWORK: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['UNSUPPORTED_MEDIA_TYPE', 'Send the media type that the API description names.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['BODY_TOO_LARGE', 'Send a smaller body.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['BODY_EMPTY', 'Send a body.'],
};

/** Any error as one with a code; a client's fault that Fastify found is never an INTERNAL. */
export function known(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CccError) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  const named = code === undefined ? undefined : FRAMEWORK[code];
  if (named !== undefined) return new CccError(named[0], named[1], { cause: error });
  if (code?.startsWith('FST_') && statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new CccError('BAD_REQUEST', 'Send a well-formed HTTP request.', { cause: error });
  // The caller went away in the middle of its body.
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') return new CccError('BAD_REQUEST', 'Send the whole body.', { cause: error });
  return error;
}

export function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const problem = { ...toProblem(error), instance: `urn:uuid:${reply.request.id}` };
  if (error instanceof CccError && error.retryAfter !== undefined) reply.header('retry-after', String(error.retryAfter));
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(problem.status).type(PROBLEM_MEDIA_TYPE).serializer((value: unknown) => JSON.stringify(value)).send(problem);
}

const CLIENT_ERRORS: Readonly<Record<string, ProblemCode>> = { ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT', HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE' };

/** Bytes that are no HTTP request never reach a route: answered on the bare socket. */
function onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) { socket.destroy(); return; }
  const problem = toProblem(new CccError(CLIENT_ERRORS[error.code ?? ''] ?? 'BAD_REQUEST', 'Send a well-formed HTTP/1.1 request, without pausing.'));
  const body = JSON.stringify(problem);
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\ncontent-type: ${PROBLEM_MEDIA_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
}

export interface AppOptions { readonly listener: 'public' | 'internal' | 'admin'; readonly limits: Limits; readonly log: Log; readonly now: Clock; readonly bodyBytes: number }

export function createApp({ listener, limits, log, now, bodyBytes }: AppOptions): FastifyInstance {
  const app = Fastify({
    logger: false,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: bodyBytes,
    requestTimeout: limits.requestMs,
    routerOptions: { maxParamLength: 128 },
    exposeHeadRoutes: false,
    // What is under way may end; server.ts cuts what does not.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    http: { maxHeaderSize: limits.headerBytes },
    clientErrorHandler: onClientError,
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => { void sendProblem(reply, known(error)); },
  });
  app.decorateRequest('rawBody', undefined);
  app.decorateRequest('apiKey', undefined);
  app.decorateRequest('session', undefined);
  app.decorateRequest('brokerInstance', undefined);
  app.decorateRequest('startedAt', 0);

  // Bytes first: proofs cover them, and whoever has no key gets nothing parsed.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    request.rawBody = body as Buffer;
    done(null, body);
  });

  app.addHook('onRequest', async (request, reply) => {
    request.startedAt = now();
    reply.headers(SECURITY_HEADERS).header('x-request-id', request.id);
  });
  app.addHook('onResponse', async (request, reply) => {
    log.info('request', { where: listener, method: request.method, route: request.routeOptions.url ?? 'none', status: reply.statusCode, ms: now() - request.startedAt });
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = known(thrown);
    if (toProblem(error).code === 'INTERNAL') log.error('unforeseen error', { where: listener, method: request.method, route: request.routeOptions.url ?? 'none', ...errorFields(error) });
    return sendProblem(reply, error);
  });
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, new CccError('NOT_FOUND', 'See /v1/openapi.json for what there is.')));
  return app;
}
