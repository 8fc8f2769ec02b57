/** OpenAPI 3.1 from the routes themselves; its schema dialect is JSON Schema 2020-12, which zod writes. */
import { z } from 'zod';
import { problemSchema } from '../protocol/messages.ts';
import { PROBLEM_MEDIA_TYPE, PROBLEMS, type ProblemCode } from '../protocol/problem.ts';
import type { Core } from './core.ts';
import type { PublicAuth } from './public-routes.ts';
import type { Route } from './route.ts';

type Json = Record<string, unknown>;

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12', io }) as Json;
  return rest;
}

function parameters(route: Route<PublicAuth>): Json[] {
  const of = (schema: z.ZodType | undefined, place: 'path' | 'query'): Json[] => {
    if (schema === undefined) return [];
    const { properties = {}, required = [] } = jsonSchema(schema, 'input') as { properties?: Record<string, Json>; required?: string[] };
    return Object.entries(properties).map(([name, value]) => ({ name, in: place, required: place === 'path' || required.includes(name), schema: value }));
  };
  return [...of(route.params, 'path'), ...of(route.query, 'query')];
}

function body(route: Route<PublicAuth>): Json {
  if (route.stream !== undefined) return { requestBody: { required: true, description: route.stream.description, content: { [route.stream.mediaType]: { schema: { type: 'string', contentMediaType: route.stream.mediaType } } } } };
  if (route.body !== undefined) return { requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(route.body, 'input') } } } };
  return {};
}

function responses(route: Route<PublicAuth>): Json {
  const out: Json = {};
  for (const [status, { description, schema, mediaType, headers }] of Object.entries(route.answers)) {
    out[status] = {
      description,
      ...(schema === undefined ? {} : { content: { [mediaType ?? 'application/json']: { schema: jsonSchema(schema, 'output') } } }),
      ...(headers === undefined ? {} : { headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, { description: text, schema: { type: 'string' } }])) }),
    };
  }
  const byStatus = Map.groupBy(route.errors, (code: ProblemCode) => String(PROBLEMS[code].status));
  for (const [status, codes] of byStatus) {
    const problem = { description: codes.map((code) => `${code}: ${PROBLEMS[code].title}`).join('; '), content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } } };
    // A status that an answer has already (health's 503) keeps that answer.
    out[status] ??= problem;
  }
  return out;
}

export function openApi(core: Core, routes: readonly Route<PublicAuth>[]): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replace(/:([a-z_]+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = {
      operationId: route.operation,
      summary: route.summary,
      ...(route.auth === 'open' ? { security: [] } : { description: `Scope: \`${route.auth.scope}\``, security: [{ apiKey: [] }] }),
      ...(route.params === undefined && route.query === undefined ? {} : { parameters: parameters(route) }),
      ...body(route),
      responses: responses(route),
    };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Confidential Cat Counter', version: '1.0.0', summary: `Cell ${core.cell.cell}${core.cell.simulated ? ' (simulated TEE: proves nothing about hardware)' : ''}`, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema, 'output') },
      securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', bearerFormat: 'ccc_live_<id>_<secret>' } },
    },
  };
}
