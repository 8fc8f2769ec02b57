/**
 * JSON objects of which a part is signed as text (RFC 8259): members with their values and the exact text of each. What a signature covers must
 * not pass through a parser and back. Strict: no duplicate names anywhere, nothing but white space around, depth and size bounded.
 */
import { type Bytes, text } from '../bytes.ts';
import { type RefusalCode, refuse } from '../refusal.ts';

export interface JsonMember {
  /** The value's text, from its first to its last character. */
  readonly source: string;
  readonly value: unknown;
}
export interface JsonLimits { readonly maxBytes: number; readonly maxDepth: number; readonly code: RefusalCode; readonly next: string }

const TOKEN = /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null))/y;
const SPACE = /[ \t\n\r]*/y;

interface Open { readonly close: '}' | ']'; readonly names: Set<string> }

/** The members of one object, in order. @throws Refusal with `limits.code` */
export function readJsonObject(data: Bytes | string, path: string, limits: JsonLimits): ReadonlyMap<string, JsonMember> {
  const bad = (have: string, need?: string): never => refuse(limits.code, path, limits.next, need === undefined ? { have } : { have, need });
  if (data.length > limits.maxBytes) bad(`${data.length} bytes`, `at most ${limits.maxBytes}`);
  let source: string;
  try {
    source = typeof data === 'string' ? data : text(data);
  } catch {
    return bad('bytes that are not UTF-8');
  }

  let at = 0;
  let start = 0;
  const next = (): { punct: string | undefined; string: string | undefined } => {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(source);
    if (match === null) return bad(`no JSON at character ${at}`);
    at = TOKEN.lastIndex;
    start = at - (match[1] ?? match[2] ?? match[3] as string).length;
    return { punct: match[1], string: match[2] };
  };

  const out = new Map<string, JsonMember>();
  const stack: Open[] = [];
  let name: string | undefined;
  let valueStart = 0;
  /** What may come: a value, a name, either with the end of its container, or what follows a value. */
  let state: 'value' | 'value-or-end' | 'name' | 'name-or-end' | 'after' = 'value';
  const keep = (): 'after' => {
    if (stack.length === 1 && name !== undefined) out.set(name, { source: source.slice(valueStart, at), value: JSON.parse(source.slice(valueStart, at)) as unknown });
    return 'after';
  };
  do {
    const { punct, string } = next();
    const top = stack.at(-1);
    if (punct !== undefined && punct === top?.close && (state === 'after' || state === 'value-or-end' || state === 'name-or-end')) {
      stack.pop();
      state = keep();
    } else if (state === 'after') {
      if (punct !== ',') bad(`no comma at character ${start}`);
      state = top?.close === '}' ? 'name' : 'value';
    } else if (state === 'name' || state === 'name-or-end') {
      if (string === undefined) bad(`no name at character ${start}`);
      const decoded = JSON.parse(string as string) as string;
      if (top?.names.has(decoded) === true) bad('a name twice in one object', 'once');
      top?.names.add(decoded);
      if (next().punct !== ':') bad(`no colon at character ${start}`);
      if (stack.length === 1) name = decoded;
      state = 'value';
      if (stack.length === 1) {
        SPACE.lastIndex = at;
        SPACE.exec(source);
        valueStart = SPACE.lastIndex;
      }
    } else if (punct === '{' || punct === '[') {
      if (stack.length === 0 && punct !== '{') bad('no object');
      if (stack.length === limits.maxDepth) bad(`more than ${limits.maxDepth} levels`);
      stack.push({ close: punct === '{' ? '}' : ']', names: new Set() });
      state = punct === '{' ? 'name-or-end' : 'value-or-end';
    } else if (punct !== undefined || stack.length === 0) bad(`no value at character ${start}`);
    else state = keep();
  } while (stack.length > 0);
  SPACE.lastIndex = at;
  SPACE.exec(source);
  if (SPACE.lastIndex !== source.length) bad('text after the object', 'none');
  return out;
}
