/**
 * A route is one description: the schemas that check what comes in and pick what goes out, and that the API description
 * is generated from. What a response schema does not declare does not leave.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, preValidationAsyncHookHandler, onRequestAsyncHookHandler } from 'fastify';
import { z } from 'zod';
import { CccError, type ProblemCode } from '../protocol/problem.ts';

export interface Answer { readonly description: string; readonly schema?: z.ZodType; readonly mediaType?: string; readonly headers?: Readonly<Record<string, string>> }
export interface Input<P, Q, B> { readonly params: P; readonly query: Q; readonly body: B; readonly request: FastifyRequest; readonly reply: FastifyReply }

export interface RouteSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, A> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Parameters as `:name`. */
  readonly path: string;
  readonly operation: string;
  readonly summary: string;
  /** Who may call: the listener knows what it means. */
  readonly auth: A;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** The body is not JSON: the handler gets the stream. */
  readonly stream?: { readonly mediaType: string; readonly description: string };
  /** Largest body, where it is less than the listener's. */
  readonly bodyBytes?: number;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly errors: readonly ProblemCode[];
  readonly handler: (input: Input<z.output<P>, z.output<Q>, z.output<B>>) => Promise<unknown>;
}
/** The table holds routes of any types. */
export type Route<A> = Omit<RouteSpec<z.ZodType, z.ZodType, z.ZodType, A>, 'handler'> & { readonly handler: (input: Input<never, never, never>) => Promise<unknown> };

export const route = <A, P extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = z.ZodUndefined, B extends z.ZodType = z.ZodUndefined>(spec: RouteSpec<P, Q, B, A>): Route<A> =>
  spec as unknown as Route<A>;

const MAX_ISSUES = 8;

function invalid(part: string, error: z.ZodError): CccError {
  const issues = error.issues.slice(0, MAX_ISSUES).map((issue) => `${[part, ...issue.path.map(String)].join('.').slice(0, 100)}: ${issue.message.slice(0, 200)}`);
  return new CccError('VALIDATION', 'See the schema in /v1/openapi.json.', { detail: issues.join('; ') });
}

/** UTF-8 JSON. @throws CccError BODY_EMPTY, BAD_REQUEST */
export function parseJson(raw: Uint8Array | undefined): unknown {
  if (raw === undefined || raw.length === 0) throw new CccError('BODY_EMPTY', 'Send a JSON body.');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch (cause) {
    throw new CccError('BAD_REQUEST', 'Send well-formed JSON in UTF-8.', { cause });
  }
}

const parsesJson: preValidationAsyncHookHandler = async (request) => {
  // A stream that another route takes: not read here, so its connection is not worth keeping.
  if (request.rawBody === undefined && request.body !== undefined) {
    request.raw.resume();
    throw new CccError('UNSUPPORTED_MEDIA_TYPE', 'Send application/json.');
  }
  request.body = parseJson(request.rawBody);
};

/** JSON Schema for the serializer: it writes declared fields only. */
const outgoing = (schema: z.ZodType) => z.toJSONSchema(schema, { target: 'draft-07', io: 'output' });

export interface Hooks { readonly onRequest?: onRequestAsyncHookHandler[]; readonly preValidation?: preValidationAsyncHookHandler[] }

export function addRoutes<A>(app: FastifyInstance, routes: readonly Route<A>[], hooksFor: (route: Route<A>) => Hooks): void {
  app.setValidatorCompiler<z.ZodType>(({ schema, httpPart }) => (data: unknown) => {
    const parsed = schema.safeParse(data);
    return parsed.success ? { value: parsed.data } : { error: invalid(httpPart === 'querystring' ? 'query' : (httpPart ?? 'request'), parsed.error) };
  });
  for (const spec of routes) {
    const hooks = hooksFor(spec);
    const response = Object.fromEntries(Object.entries(spec.answers).flatMap(([status, { schema, mediaType }]) =>
      schema === undefined ? [] : [[status, { content: { [mediaType ?? 'application/json']: { schema: outgoing(schema) } } }]]));
    app.route({
      method: spec.method,
      url: spec.path,
      ...(spec.bodyBytes === undefined ? {} : { bodyLimit: spec.bodyBytes }),
      schema: {
        ...(spec.params === undefined ? {} : { params: spec.params }),
        ...(spec.query === undefined ? {} : { querystring: spec.query }),
        ...(spec.body === undefined ? {} : { body: spec.body }),
        response,
      },
      onRequest: hooks.onRequest ?? [],
      preValidation: [...(hooks.preValidation ?? []), ...(spec.body === undefined ? [] : [parsesJson])],
      handler: (request, reply) => spec.handler({ params: request.params as never, query: request.query as never, body: request.body as never, request, reply }),
    });
  }
}
