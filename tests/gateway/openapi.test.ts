/** The API description: generated from the routes, complete, and well-formed by the rules of OpenAPI 3.1. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PROBLEMS } from '../../workloads/protocol/problem.ts';
import { bareGateway } from './bare.ts';

type Json = Record<string, any>;
let gateway: Awaited<ReturnType<typeof bareGateway>>;
let document: Json;
beforeAll(async () => {
  gateway = await bareGateway();
  const response = await gateway.public.inject('/v1/openapi.json');
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toMatch(/^application\/json/);
  document = response.json();
});
afterAll(() => gateway.close());

const operations = (): [string, string, Json][] => Object.entries(document['paths'] as Json).flatMap(([path, item]) => Object.entries(item as Json).map(([method, op]): [string, string, Json] => [path, method, op as Json]));

test('lists every route of the public listener, and no other', () => {
  const listed = operations().map(([path, method]) => `${method.toUpperCase()} ${path}`).sort();
  expect(listed).toEqual([
    'GET /v1/health', 'GET /v1/jobs', 'GET /v1/jobs/{job_id}', 'GET /v1/jobs/{job_id}/events', 'GET /v1/openapi.json', 'POST /v1/jobs', 'POST /v1/key-manifest',
  ]);
  for (const line of listed) {
    const [method, path] = line.split(' ') as ['GET' | 'POST', string];
    expect(gateway.public.hasRoute({ method, url: path.replace(/\{(\w+)\}/g, ':$1') }), line).toBe(true);
  }
});

test('is OpenAPI 3.1 in its structure', () => {
  expect(document['openapi']).toBe('3.1.0');
  expect(Object.keys(document).sort()).toEqual(['components', 'info', 'jsonSchemaDialect', 'openapi', 'paths', 'servers']);
  expect(document['info']).toMatchObject({ title: expect.any(String), version: expect.any(String) });
  const ids = operations().map(([, , op]) => op['operationId']);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [path, method, op] of operations()) {
    const where = `${method} ${path}`;
    expect(op['summary'], where).toEqual(expect.any(String));
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const inPath = (op['parameters'] ?? []).filter((p: Json) => p['in'] === 'path');
    expect(inPath.map((p: Json) => p['name']), where).toEqual(named);
    for (const parameter of op['parameters'] ?? []) expect(parameter, where).toMatchObject({ name: expect.any(String), in: expect.stringMatching(/^(path|query)$/), required: expect.any(Boolean), schema: expect.any(Object) });
    if (method === 'get') expect(op['requestBody'], where).toBeUndefined();
    expect(Object.keys(op['responses']).length, where).toBeGreaterThan(0);
    for (const [status, response] of Object.entries(op['responses'] as Json)) {
      expect(status, where).toMatch(/^[1-5]\d\d$/);
      expect((response as Json)['description'], where).toEqual(expect.any(String));
    }
  }
});

test('references resolve, and every schema is JSON Schema 2020-12', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  let schemas = 0;
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value as Json)) {
      if (key === '$ref') {
        const target = String(inner).split('/').slice(1).reduce<any>((at, step) => at?.[step], document);
        expect(target, String(inner)).toBeDefined();
      } else if (key === 'schema') {
        const schema = inner as Json;
        if (schema['$ref'] === undefined) {
          expect(ajv.validateSchema({ ...schema, $schema: 'https://json-schema.org/draft/2020-12/schema' }), JSON.stringify(ajv.errors)).toBe(true);
          schemas += 1;
        }
      }
      walk(inner);
    }
  };
  walk(document);
  expect(ajv.validateSchema({ ...document['components']['schemas']['Problem'], $schema: 'https://json-schema.org/draft/2020-12/schema' })).toBe(true);
  expect(schemas).toBeGreaterThan(8);
});

test('says who may call, and what may be refused, in codes of the table', () => {
  for (const [path, method, op] of operations()) {
    const open = path === '/v1/health' || path === '/v1/openapi.json';
    expect(op['security'], `${method} ${path}`).toEqual(open ? [] : [{ apiKey: [] }]);
    for (const response of Object.values(op['responses'] as Json)) {
      const problem = (response as Json)['content']?.['application/problem+json'];
      if (problem === undefined) continue;
      for (const part of String((response as Json)['description']).split('; ')) expect(Object.keys(PROBLEMS)).toContain(part.split(':')[0]);
    }
    if (!open) for (const status of ['401', '403', '429', '503']) expect(op['responses'][status], `${method} ${path} ${status}`).toBeDefined();
  }
  const submit = document['paths']['/v1/jobs']['post'];
  expect(Object.keys(submit['requestBody']['content'])).toEqual(['application/octet-stream']);
  expect(Object.keys(submit['responses']).sort()).toEqual(['202', '400', '401', '403', '404', '408', '409', '413', '415', '422', '429', '500', '503', '507']);
});
