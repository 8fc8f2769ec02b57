/**
 * BER (X.690, section 8) rewritten as definite lengths, for what is not written in DER: CMS structures of services, which may stream them. Indefinite lengths become definite,
 * constructed OCTET STRINGS become one. What comes out is for the strict reader (attestation/formats/der.ts), which judges all the rest.
 */
import { type Bytes, bytes, concat } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';

const MAX_BYTES = 16 * 1024;
const MAX_DEPTH = 12;
const MAX_NODES = 512;
const OCTETS = 0x04;
const CONSTRUCTED = 0x20;

interface Cursor { readonly data: Bytes; at: number; nodes: number; readonly path: string }

const bad = (path: string, have: string, need: string): never => refuse('FMT_DER', path, 'The service answers in a form that is not known.', { have, need });

/** One value that fills `data`. @param octets tags of implicit OCTET STRINGs, primitive: constructed and begun by an OCTET STRING they are joined too. @throws Refusal FMT_DER */
export function definite(data: Bytes, path: string, octets: ReadonlySet<number> = new Set()): Bytes {
  if (data.length > MAX_BYTES) bad(path, `${data.length} bytes`, `at most ${MAX_BYTES}`);
  const cursor: Cursor = { data, at: 0, nodes: 0, path };
  const out = value(cursor, data.length, 0, octets);
  if (cursor.at !== data.length) bad(path, `${data.length - cursor.at} bytes after the value`, 'none');
  return out;
}

function value(c: Cursor, end: number, depth: number, octets: ReadonlySet<number>): Bytes {
  if (++c.nodes > MAX_NODES || depth > MAX_DEPTH) bad(c.path, 'too many values', `at most ${MAX_NODES}, ${MAX_DEPTH} deep`);
  const tag = byte(c, end);
  if ((tag & 0x1f) === 0x1f) bad(c.path, 'a tag of several bytes', 'one byte');
  const length = lengthOf(c, end, tag);
  const stop = length ?? end;
  if ((tag & CONSTRUCTED) === 0) {
    const content = c.data.subarray(c.at, stop);
    c.at = stop;
    return encode(tag, content);
  }
  const primitive = tag & ~CONSTRUCTED;
  const joined = primitive === OCTETS || (octets.has(primitive) && c.data[c.at] === OCTETS);
  const parts: Bytes[] = [];
  for (;;) {
    if (length === undefined && c.data[c.at] === 0 && c.data[c.at + 1] === 0 && c.at + 2 <= end) {
      c.at += 2;
      break;
    }
    if (length !== undefined && c.at === stop) break;
    if (joined && c.data[c.at] !== OCTETS) bad(c.path, 'a part that is no OCTET STRING', 'OCTET STRINGs');
    parts.push(value(c, stop, depth + 1, octets));
  }
  return joined ? encode(primitive, concat(...parts.map(content))) : encode(tag, concat(...parts));
}

/** End of the content, or undefined: it ends with two zeros. */
function lengthOf(c: Cursor, end: number, tag: number): number | undefined {
  const first = byte(c, end);
  if (first === 0x80) return (tag & CONSTRUCTED) === 0 ? bad(c.path, 'an indefinite length of a primitive value', 'a length') : undefined;
  let length = first;
  if (first > 0x80) {
    if ((first & 0x7f) > 3) bad(c.path, `a length of ${first & 0x7f} bytes`, 'at most 3');
    length = 0;
    for (let i = 0; i < (first & 0x7f); i++) length = length * 256 + byte(c, end);
  }
  if (length > end - c.at) bad(c.path, `a length of ${length} with ${end - c.at} bytes left`, 'no more than there are');
  return c.at + length;
}

function byte(c: Cursor, end: number): number {
  const found = c.at < end ? c.data[c.at] : undefined;
  if (found === undefined) return bad(c.path, 'the end of the bytes', 'a whole value');
  c.at += 1;
  return found;
}

function encode(tag: number, content: Bytes): Bytes {
  const n = content.length;
  return concat(bytes(n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 255]), content);
}

/** Of what encode() wrote. */
function content(node: Bytes): Bytes {
  const first = node[1] as number;
  return node.subarray(first < 0x80 ? 2 : 2 + (first & 0x7f));
}
