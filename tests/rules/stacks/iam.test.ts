/** The evaluator itself: what a statement allows, and that it never guesses. */
import { expect, test } from 'vitest';
import { evaluate, type Request } from './iam.ts';
import type { Body, Json } from './template.ts';

const statement = (over: Body = {}): Body => ({ effect: 'Allow', actions: ['kms:Decrypt'], resources: ['*'], principals: [{ type: 'AWS', identifiers: ['role'] }], ...over });
const request = (over: Partial<Request> = {}): Request => ({ principal: 'role', action: 'kms:Decrypt', ...over });
const decide = (statements: Json[], asked = request()) => evaluate({ statement: statements }, asked);
const when = (test: string, variable: string, ...values: string[]): Body => ({ condition: [{ test, variable, values }] });

test('nothing said is nothing allowed; a deny wins in any order', () => {
  expect(decide([])).toBe('implicit-deny');
  expect(decide([statement()])).toBe('allow');
  expect(decide([statement(), statement({ effect: 'Deny' })])).toBe('explicit-deny');
  expect(decide([statement({ effect: 'Deny' }), statement()])).toBe('explicit-deny');
});

test('actions: case, wildcards, exclusion', () => {
  expect(decide([statement()], request({ action: 'KMS:decrypt' }))).toBe('allow');
  expect(decide([statement({ actions: ['kms:GenerateDataKey*'] })], request({ action: 'kms:GenerateDataKeyWithoutPlaintext' }))).toBe('allow');
  expect(decide([statement({ actions: ['kms:GenerateDataKey'] })], request({ action: 'kms:GenerateDataKeyPair' }))).toBe('implicit-deny');
  expect(decide([{ ...statement(), actions: [], not_actions: ['kms:Decrypt'] }])).toBe('implicit-deny');
  expect(decide([{ ...statement(), actions: [], not_actions: ['kms:Encrypt'] }])).toBe('allow');
});

test('principals: type and identifier, everybody, all but one', () => {
  expect(decide([statement()], request({ principal: 'other' }))).toBe('implicit-deny');
  expect(decide([statement({ principals: [{ type: 'AWS', identifiers: ['*'] }] })], request({ principal: 'other' }))).toBe('allow');
  expect(decide([statement({ principals: [{ type: 'Service', identifiers: ['logs.amazonaws.com'] }] })], request({ principal: 'service:logs.amazonaws.com' }))).toBe('allow');
  expect(decide([statement({ principals: [{ type: 'Service', identifiers: ['role'] }] })])).toBe('implicit-deny');
});

test('conditions: all must hold, one value of each suffices, an absent key', () => {
  const pcr = when('StringEqualsIgnoreCase', 'kms:RecipientAttestation:PCR0', 'aa', 'bb');
  expect(decide([statement(pcr)], request({ context: { 'kms:RecipientAttestation:PCR0': 'BB' } }))).toBe('allow');
  expect(decide([statement(pcr)], request({ context: { 'kms:RecipientAttestation:PCR0': 'cc' } }))).toBe('implicit-deny');
  expect(decide([statement(pcr)])).toBe('implicit-deny');
  const absent = statement({ effect: 'Deny', ...when('Null', 'kms:RecipientAttestation:ImageSha384', 'true') });
  expect(decide([statement(), absent])).toBe('explicit-deny');
  expect(decide([statement(), absent], request({ context: { 'kms:RecipientAttestation:ImageSha384': 'aa' } }))).toBe('allow');
  expect(decide([statement({ effect: 'Deny', ...when('StringNotEquals', 'aws:PrincipalArn', 'role') })])).toBe('explicit-deny');
  expect(decide([statement({ effect: 'Deny', ...when('StringNotEqualsIfExists', 'aws:PrincipalArn', 'role') })], request({ context: { 'aws:PrincipalArn': 'role' } }))).toBe('implicit-deny');
});

test('what it does not know is an error', () => {
  expect(() => decide([statement(when('StringEqualz', 'aws:PrincipalArn', 'x'))], request({ context: { 'aws:PrincipalArn': 'x' } }))).toThrow(/operator/);
  expect(() => decide([statement(when('StringEquals', 'kms:RecipientAttestation:PCR99', 'x'))])).toThrow(/unknown key/);
  expect(() => decide([statement({ surprise: true })])).toThrow(/unknown field/);
  expect(() => decide([statement({ effect: 'allow' })])).toThrow(/effect/);
  expect(() => evaluate({ statement: [], source_policy_documents: ['x'] }, request())).toThrow(/merged/);
});
