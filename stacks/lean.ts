/**
 * Resolution of tokens, without the library's for what holds none. Its own walks every value of every element twice, keys of undefined ones too, and makes
 * closures and regular expressions for each: half of a synthesis. Here it gets what may hold a token, and nothing else. The result is the same to the byte.
 */
import { createRequire } from 'node:module';
import { DefaultTokenResolver, StringConcat, Tokenization } from 'cdktf';
import type { IConstruct } from 'constructs';

const RESOLVER = new DefaultTokenResolver(new StringConcat());

/** No marker of a token, no escape, and nothing that the library would look up as an encoded number. */
const quiet = (text: string): boolean => !/[{}]|[-|\d.+]e[-|\d.eE+]/.test(text);

const plain = (value: object): value is Record<string, unknown> => Object.getPrototypeOf(value) === Object.prototype && !Tokenization.isResolvable(value);

/** What the library makes of the value in `scope`. */
export function resolveLean(scope: IConstruct, value: unknown, preparing = false): unknown {
  if (value === undefined || value === null || typeof value === 'boolean' || (typeof value === 'string' && quiet(value))) return value;
  if (Array.isArray(value)) {
    // One element can stand for a whole list: what may be one goes there with all of it.
    if (value.every((element) => (typeof element === 'string' ? quiet(element) : typeof element !== 'number'))) return value.map((element) => resolveLean(scope, element, preparing)).filter((element) => element !== undefined);
  } else if (typeof value === 'object' && plain(value) && Object.keys(value).every(quiet)) {
    const out: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      const resolved = resolveLean(scope, value[key], preparing);
      if (resolved !== undefined) out[key] = resolved;
    }
    return out;
  }
  return Tokenization.resolve(value, { scope, resolver: RESOLVER, preparing });
}

/** Puts it where the library's stacks look for it; a version of the library that looks elsewhere keeps its own. */
export function resolveLeanly(): void {
  const internal = createRequire(import.meta.resolve('cdktf'))('./_tokens.js') as { resolve: unknown };
  if (typeof internal.resolve === 'function') internal.resolve = resolveLean;
}
