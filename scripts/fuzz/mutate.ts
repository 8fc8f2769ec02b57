/** Changes of a tree: parts doubled, dropped, swapped, moved, nested, resized, with lengths that lie and values at their limits. */
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import type { Random } from './random.ts';
import { group, isKept, type Part, sizeOf } from './tree.ts';

type Way = readonly number[];
/** Largest output: what nesting and doubling make is cut off before it gets silly. */
const LIMIT = 300_000;
const MOST_LEVELS = 400;

interface Ways { readonly all: Way[]; readonly below: Way[]; /** Parts without parts. */ readonly leaves: Way[]; /** Parts that say how long they are. */ readonly saying: Way[] }

const known = new WeakMap<Part, Ways>();

function waysOf(root: Part): Ways {
  const found = known.get(root);
  if (found !== undefined) return found;
  const out: Ways = { all: [], below: [], leaves: [], saying: [] };
  const walk = (part: Part, way: Way): void => {
    out.all.push(way);
    if (way.length > 0) out.below.push(way);
    if (part.parts === undefined) out.leaves.push(way);
    if (part.form !== 'none') out.saying.push(way);
    part.parts?.forEach((p, i) => walk(p, [...way, i]));
  };
  walk(root, []);
  if (isKept(root)) known.set(root, out);
  return out;
}

const at = (root: Part, way: Way): Part => way.reduce((p, i) => p.parts?.[i] as Part, root);

function replace(root: Part, way: Way, change: (part: Part) => Part | readonly Part[]): Part {
  const [first, ...rest] = way;
  if (first === undefined) {
    const changed = change(root);
    return Array.isArray(changed) ? group(changed as Part[]) : changed as Part;
  }
  return { ...root, parts: (root.parts ?? []).flatMap((p, i) => (i !== first ? [p] : rest.length > 0 ? [replace(p, rest, change)] : change(p))) };
}

const LENGTHS = [0, 1, 2, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53];
const trueLength = (part: Part): number => (part.unit === 'bytes' ? part.content.length : part.unit === 'pairs' ? (part.parts?.length ?? 0) / 2 : part.parts?.length ?? 0);

/** Values of JSON that readers trip over: limits of numbers, escapes, halves of characters, names of prototypes, literals in other shapes. */
const TOKENS = ['null', 'true', '0', '-0', '1e999', '-1', '0.1', '1e2', '9007199254740993', '01', '""', '"\\u0000"', '"\\ud800"', '"__proto__"', '"constructor"', '"\\u0061"', '[]', '{}', '{"a":1,"a":2}', '"2026-02-30T00:00:00Z"', '"' + 'A'.repeat(5000) + '"', "'a'", 'NaN', '"\u00e9"'].map((t) => utf8(t));

function resized(content: Bytes, random: Random): Bytes {
  const first = content[0] ?? 0;
  // A token of JSON: a string, a number, a literal
  if ((first === 0x22 || (first >= 0x30 && first <= 0x39)) && random.below(2) === 0) return random.pick(TOKENS);
  switch (random.below(8)) {
    case 0: return content.slice(0, random.below(content.length + 1));
    case 1: return concat(content, bytes(Array.from({ length: 1 + random.below(16) }, () => random.below(256))));
    case 2: return new Uint8Array(0);
    case 3: return new Uint8Array(content.length).fill(random.pick([0, 0xff, 0x7f, 0x80]));
    case 4: return concat(content, content);
    case 5: return concat(new Uint8Array(random.pick([1, 8, 64, 4096])), content);
    default: {
      const out = content.slice();
      for (let n = 1 + random.below(3); n > 0 && out.length > 0; n--) out[random.below(out.length)] = random.below(256);
      return out;
    }
  }
}

function nested(part: Part, random: Random): Part {
  const levels = random.below(10) === 0 ? MOST_LEVELS : 1 + random.below(40);
  const around = part.parts === undefined ? undefined : part;
  let out = part;
  // A container around itself keeps its shape; a leaf is put into leaves of its own kind
  for (let i = 0; i < levels; i++) out = { ...(around ?? part), parts: part.unit === 'pairs' ? [around?.parts?.[0] ?? part, out] : [out], unit: part.unit };
  return out;
}

const OPERATIONS = ['double', 'drop', 'swap', 'move', 'copy-over', 'resize', 'resize', 'lie', 'lie', 'nest', 'head'] as const;

/** One change. */
function once(root: Part, random: Random): Part {
  const { all, below, leaves, saying } = waysOf(root);
  const way = random.pick(below.length > 0 ? below : all);
  const other = random.pick(all);
  switch (random.pick(OPERATIONS)) {
    case 'double': return replace(root, way, (p) => Array.from({ length: random.pick([2, 2, 2, 3, 40]) }, () => p));
    case 'drop': return way.length === 0 ? root : replace(root, way, () => []);
    case 'swap': {
      const [last] = way.slice(-1);
      if (last === undefined) return root;
      return replace(root, way.slice(0, -1), (p) => {
        const parts = [...(p.parts ?? [])];
        const with_ = random.below(parts.length);
        [parts[last], parts[with_]] = [parts[with_] as Part, parts[last] as Part];
        return { ...p, parts };
      });
    }
    case 'move': case 'copy-over': return replace(root, way, () => at(root, other));
    case 'resize': return leaves.length === 0 ? root : replace(root, random.pick(leaves), (p) => ({ ...p, content: resized(p.content, random) }));
    case 'lie': return saying.length === 0 ? root : replace(root, random.pick(saying), (p) => ({ ...p, lie: random.below(2) === 0 ? random.pick(LENGTHS) : Math.max(0, trueLength(p) + random.pick([-2, -1, 1, 2])) }));
    case 'nest': return replace(root, way, (p) => nested(p, random));
    case 'head': return replace(root, way, (p) => (p.head.length === 0 ? p : { ...p, head: resized(p.head, random) }));
  }
}

/** One to four changes, one after the other. */
export function mutate(root: Part, random: Random): Part {
  let out = root;
  for (let n = random.pick([1, 1, 1, 2, 3, 4]); n > 0; n--) {
    const next = once(out, random);
    if (sizeOf(next) > LIMIT) break;
    out = next;
  }
  return out;
}
