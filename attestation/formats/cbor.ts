/**
 * Strict CBOR (RFC 8949) for evidence: one spelling per value, and nothing that the formats of this project do not use.
 *
 *   | accepted                                          | refused                                                    |
 *   |---------------------------------------------------|------------------------------------------------------------|
 *   | integers up to 2^53 - 1, shortest form             | longer forms, larger integers                              |
 *   | byte strings, UTF-8 text, shortest length          | indefinite strings, malformed UTF-8                        |
 *   | arrays and maps of definite length                 | indefinite ones, except the map below                      |
 *   | keys: text or integer, each once                   | other keys, duplicates                                     |
 *   | false, true, null                                  | undefined, other simple values, floats, tags               |
 *   | exactly one item                                   | bytes after it, nesting deeper than the limit, more items announced than bytes left |
 *
 * One exception: `indefiniteTopMap`. The NSM of AWS wrote its payload as a definite map until 2025; since December 2025 genuine
 * documents hold an indefinite-length map (0xbf ... 0xff). It is accepted as the outermost item only, nowhere else.
 *
 * Written here, because a general decoder would be a tenth of the verifier's bundle and takes more than this: one pass, without recursion (5,000 nested
 * arrays overflow no stack), that builds nothing larger than the bytes announce. Tests hold it against cborg.
 */
import { type Bytes, text } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export type CborKey = string | number;
export type CborMap = Map<CborKey, CborValue>;
export type CborValue = null | boolean | number | string | Bytes | CborValue[] | CborMap;

export interface CborOptions {
  /** Where the bytes come from, for refusals. */
  readonly path: string;
  readonly maxBytes: number;
  /** Levels of arrays and maps; 1 allows one array of scalars. Default 4. */
  readonly maxDepth?: number;
  readonly indefiniteTopMap?: boolean;
}

const DEFAULT_DEPTH = 4;
const BREAK = 0xff;
const NEXT = 'Send the bytes exactly as the security module made them.';

/** @throws Refusal FMT_SIZE, FMT_CBOR, FMT_CBOR_DEPTH, FMT_CBOR_DUPLICATE, FMT_CBOR_TRAILING */
export function decodeCbor(data: Bytes, options: CborOptions): CborValue {
  const { path, maxBytes } = options;
  if (data.length === 0 || data.length > maxBytes) {
    refuse('FMT_SIZE', path, NEXT, { have: `${data.length} bytes`, need: `1 to ${maxBytes} bytes` });
  }
  return read(data, options);
}

/** An open array or map: `left` items to come, `Infinity` until the break; `key`: the next one is a key; `name`: the key of a value to come. */
interface Frame { left: number; readonly into: CborValue[] | CborMap; readonly map: boolean; key: boolean; name: CborKey }

function read(data: Bytes, options: CborOptions): CborValue {
  const maxDepth = options.maxDepth ?? DEFAULT_DEPTH;
  const open: Frame[] = [];
  let at = 0;
  let root: CborValue = null;
  let twice = false;

  const bad = (have: string): never => refuse('FMT_CBOR', `${options.path}@${at}`, NEXT, { have });

  /** The argument of an initial byte (RFC 8949, section 3), in its shortest form. */
  const argument = (info: number): number => {
    if (info < 24) return info;
    const size = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : info === 27 ? 8 : bad(`additional information ${info}`);
    if (at + size > data.length) bad('a head cut off');
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + (data[at + i] as number);
    if (value > Number.MAX_SAFE_INTEGER) bad('an integer above 2^53 - 1');
    const least = size === 1 ? 24 : size === 2 ? 0x100 : size === 4 ? 0x1_0000 : 0x1_0000_0000;
    if (value < least) bad('an integer or length not in its shortest form');
    at += size;
    return value;
  };

  /** An item into its parent. */
  const put = (value: CborValue): void => {
    const frame = open.at(-1);
    if (frame === undefined) root = value;
    else if (Array.isArray(frame.into)) frame.into.push(value);
    else if (frame.key) {
      frame.name = value as CborKey;
      twice ||= frame.into.has(frame.name);
    } else frame.into.set(frame.name, value);
  };

  do {
    if (at >= data.length) bad('the end of the bytes inside an item');
    const frame = open.at(-1);
    const initial = data[at] as number;
    at += 1;
    const [major, info] = [initial >> 5, initial & 31];

    if (initial === BREAK) {
      if (frame?.left !== Infinity || !frame.key) bad('a break where none belongs');
      open.pop();
      close(open);
      continue;
    }
    if (frame?.map === true && frame.key && major !== 0 && major !== 1 && major !== 3) bad('a map key that is neither text nor integer');

    if (major === 0 || major === 1) {
      const value = argument(info);
      if (major === 1 && value === Number.MAX_SAFE_INTEGER) bad('an integer below -2^53 + 1');
      put(major === 0 ? value : -1 - value);
    } else if (major === 2 || major === 3) {
      const length = argument(info);
      if (length > data.length - at) bad(`a string of ${length} bytes with ${data.length - at} left`);
      const content = data.subarray(at, at + length);
      put(major === 2 ? new Uint8Array(content) : decodeText(content) ?? bad('text that is not UTF-8'));
      at += length;
    } else if (major === 4 || major === 5) {
      if (open.length >= maxDepth) refuse('FMT_CBOR_DEPTH', `${options.path}@${at - 1}`, NEXT, { have: `more than ${maxDepth} levels`, need: `at most ${maxDepth}` });
      const map = major === 5;
      const indefinite = info === 31 && map && options.indefiniteTopMap === true && open.length === 0 && at === 1;
      const count = indefinite ? Infinity : argument(info) * (map ? 2 : 1);
      if (!indefinite && count > data.length - at) bad(`${count} items announced with ${data.length - at} bytes left`);
      const into: CborValue[] | CborMap = map ? new Map() : [];
      put(into);
      open.push({ left: count, into, map, key: map, name: '' });
      if (count === 0) { open.pop(); close(open); }
      continue;
    } else if (major === 6) {
      bad('a tag');
    } else if (initial !== 0xf4 && initial !== 0xf5 && initial !== 0xf6) {
      bad(info >= 25 && info <= 27 ? 'a float' : 'a simple value other than false, true, null');
    } else {
      put(initial === 0xf6 ? null : initial === 0xf5);
    }
    close(open);
  } while (open.length > 0);

  if (at !== data.length) refuse('FMT_CBOR_TRAILING', `${options.path}@${at}`, NEXT, { have: `${data.length - at} bytes after the item`, need: 'none' });
  if (twice) refuse('FMT_CBOR_DUPLICATE', options.path, NEXT, { have: 'a key twice' });
  return root;
}

/** An item has ended: count it in its parent, which may end with it. */
function close(open: Frame[]): void {
  for (let frame = open.at(-1); frame !== undefined; frame = open.at(-1)) {
    frame.left -= 1;
    if (frame.map) frame.key = !frame.key;
    if (frame.left > 0) return;
    open.pop();
  }
}

function decodeText(data: Uint8Array): string | undefined {
  try {
    return text(data);
  } catch {
    return undefined;
  }
}
