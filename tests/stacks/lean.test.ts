/** Resolution without the library's walk: the same value, whatever is in it. */
import './light.ts';
import { App, DefaultTokenResolver, Fn, Lazy, StringConcat, TerraformLocal, TerraformStack, Token, Tokenization } from 'cdktf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resolveLean } from '../../stacks/lean.ts';

const stack = new TerraformStack(new App({ skipValidation: true, outdir: '/nowhere' }), 'lean');
const local = new TerraformLocal(stack, 'local', 'value');
const theirs = (value: unknown): unknown => Tokenization.resolve(value, { scope: stack, resolver: new DefaultTokenResolver(new StringConcat()), preparing: false });
/** A value, or the message of the refusal. */
const outcome = (resolve: () => unknown): unknown => {
  try {
    return { value: resolve() };
  } catch (error) {
    return { refused: (error as Error).message.split('\n')[0] };
  }
};

const leaf = fc.oneof(
  fc.string(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constantFrom(null, undefined, '', '${', '$${x}', '%{ if a }', '}', '3e4', '-1.5e+10', 'a-e1', '#{TfToken[none]}'),
  fc.constantFrom<unknown>(
    local.fqn, `before ${local.expression} after`, Fn.jsonencode({ a: local.fqn }), Lazy.stringValue({ produce: () => 'late' }), Lazy.anyValue({ produce: () => ({ b: local.fqn, c: undefined }) }), Token.asNumber(local.expression),
    Token.asList(local.expression), `port ${Token.asNumber(local.expression)}`, Token.asStringMap(local.expression), Token.asNumberList(local.expression), Lazy.listValue({ produce: () => ['x', local.fqn] }),
  ),
);
const key = fc.oneof(fc.constantFrom('a', 'b', 'tags', '//', 'e-e1'), fc.constantFrom(Token.asString(local.expression)), fc.string());
const value = fc.letrec<{ any: unknown }>((tie) => ({ any: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('any'), { maxLength: 4 }), fc.dictionary(key, tie('any'), { maxKeys: 4, noNullPrototype: true })) })).any;

test('any value: what the library makes of it, or its refusal', () => {
  fc.assert(fc.property(value, (any) => { expect(JSON.stringify(outcome(() => resolveLean(stack, any)))).toBe(JSON.stringify(outcome(() => theirs(any)))); }), { numRuns: 500 });
});

test('undefined members and elements leave, null stays', () => {
  expect(resolveLean(stack, { a: undefined, b: null, c: [undefined, null, 'x'], d: { e: undefined } })).toEqual({ b: null, c: [null, 'x'], d: {} });
});

test('what may hold a token is resolved', () => {
  expect(resolveLean(stack, { a: [local.fqn], b: Token.asList('${local.l}'), [Token.asString('k')]: 1 })).toEqual({ a: ['${local.local}'], b: '${local.l}', k: 1 });
});
