import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { REFUSAL_CODES, Refusal } from '../../attestation/refusal.ts';
import { problemSchema } from '../../workloads/protocol/messages.ts';
import { CccError, PROBLEMS, isProblemCode, problemType, toProblem } from '../../workloads/protocol/problem.ts';

test('every refusal code is in the table', () => {
  for (const code of REFUSAL_CODES) expect(PROBLEMS, code).toHaveProperty(code);
  expect(Object.keys(PROBLEMS).length).toBeGreaterThan(REFUSAL_CODES.length);
});

test('statuses say what kind of error it is', () => {
  for (const [code, { status, title }] of Object.entries(PROBLEMS)) {
    expect(status, code).toBeGreaterThanOrEqual(400);
    expect(status, code).toBeLessThan(600);
    expect(title, code).toMatch(/^[A-Z].*[^.]$/);
    if (code.startsWith('FMT_')) expect(status, code).toBe(400);
    if (/^(CHAIN_|BINDING_|SIG_|NONCE_)/.test(code)) expect(status, code).toBe(422);
    if (code.startsWith('CHALLENGE_')) expect(status, code).toBe(409);
    if (/^(MEASUREMENT_|DEBUG_|ANCHOR_|APPRAISAL_)/.test(code)) expect(status, code).toBe(403);
  }
  const unauthenticated = Object.entries(PROBLEMS).filter(([, p]) => p.status === 401).map(([code]) => code);
  expect(unauthenticated.sort()).toEqual(['KEY_EXPIRED', 'KEY_REVOKED', 'POP_INVALID', 'POP_REPLAYED', 'SESSION_EXPIRED', 'SESSION_INVALID', 'UNAUTHENTICATED']);
  expect(Object.entries(PROBLEMS).filter(([, p]) => p.status === 500).map(([code]) => code)).toEqual(['INTERNAL']);
});

test('types are unique URIs', () => {
  const types = Object.keys(PROBLEMS).map((code) => problemType(code as keyof typeof PROBLEMS));
  expect(new Set(types).size).toBe(types.length);
  for (const type of types) expect(URL.canParse(type)).toBe(true);
});

test('a refusal becomes a problem with all its reasons', () => {
  const problem = toProblem(new Refusal([
    { code: 'MEASUREMENT_MISMATCH', path: 'measurements.PCR0', have: 'aa', need: 'bb', next: 'Build the image again.' },
    { code: 'STALE', path: 'time', next: 'Attest again.' },
  ]));
  expect(problemSchema.parse(problem)).toEqual(problem);
  expect(problem).toMatchObject({ status: 403, code: 'MEASUREMENT_MISMATCH', detail: 'Build the image again.' });
  expect(problem.reasons).toEqual([
    { code: 'MEASUREMENT_MISMATCH', path: 'measurements.PCR0', have: 'aa', need: 'bb', next: 'Build the image again.' },
    { code: 'STALE', path: 'time', next: 'Attest again.' },
  ]);
});

test('an error with a code keeps detail and status', () => {
  const problem = toProblem(new CccError('JOB_CONFLICT', 'Use a new job_id.', { detail: 'The first message had digest ab', cause: new Error('secret') }));
  expect(problemSchema.parse(problem)).toMatchObject({ status: 409, code: 'JOB_CONFLICT', detail: 'The first message had digest ab. Use a new job_id.' });
  expect(JSON.stringify(problem)).not.toContain('secret');
});

test.each([new Error('password=hunter2'), 'hunter2', undefined, { code: 'JOB_CONFLICT', message: 'hunter2' }])('the text of an unforeseen error stays inside (%#)', (thrown) => {
  const problem = toProblem(thrown);
  expect(problem).toMatchObject({ code: 'INTERNAL', status: 500 });
  expect(JSON.stringify(problem)).not.toContain('hunter2');
});

test('codes are own properties of the table', () => {
  expect(isProblemCode('INTERNAL')).toBe(true);
  expect(isProblemCode('toString')).toBe(false);
  expect(isProblemCode('constructor')).toBe(false);
});

test('the table runs in browsers: it imports nothing of Node or Fastify', () => {
  const source = readFileSync(new URL('../../workloads/protocol/problem.ts', import.meta.url), 'utf8');
  for (const [, from] of source.matchAll(/from '([^']+)'/g)) expect(from).toMatch(/^\.\.?\//);
});
