/** Trees of what the corpus holds: DER, CBOR, JSON. Lenient, as only genuine bytes are read. Bytes that cannot be read are one leaf. */
import { type Bytes, bytes, utf8 } from '../../attestation/bytes.ts';
import { EMPTY, group, leaf, type Part } from './tree.ts';

/** Definite lengths; octet and bit strings that hold DER are opened. */
export function readDerTree(data: Bytes): Part {
  const [part, rest] = derPart(data);
  return rest.length === 0 ? part : group([part, leaf(rest)]);
}

function derPart(data: Bytes): [Part, Bytes] {
  const [tag = 0, first = 0] = data;
  const width = first < 0x80 ? 0 : first & 0x7f;
  const length = width === 0 ? first : data.subarray(2, 2 + width).reduce((n, b) => n * 256 + b, 0);
  const start = 2 + width;
  if (data.length < 2 || start + length > data.length) throw new RangeError('not DER');
  const content = data.slice(start, start + length);
  const rest = data.subarray(start + length);
  const head = bytes([tag]);
  const inside = (tag & 0x20) !== 0 ? derParts(content) : tag === 0x04 && content.length > 4 ? derParts(content) : undefined;
  if (inside !== undefined) return [group(inside, { head, form: 'der' }), rest];
  const bits = tag === 0x03 && content[0] === 0 && content[1] === 0x30 ? derParts(content.slice(1)) : undefined;
  return [bits === undefined ? leaf(content, head, 'der') : group([leaf(bytes([0])), ...bits], { head, form: 'der' }), rest];
}

function derParts(data: Bytes): Part[] | undefined {
  const out: Part[] = [];
  try {
    for (let rest = data; rest.length > 0;) {
      const [part, left] = derPart(rest);
      out.push(part);
      rest = left as Bytes;
    }
    return out;
  } catch {
    return undefined;
  }
}

/** Byte strings that hold maps or arrays are opened, as COSE's are. */
export function readCborTree(data: Bytes): Part {
  const reader = { data, at: 0 };
  const part = cborPart(reader);
  if (reader.at !== data.length) throw new RangeError('bytes after CBOR');
  return part;
}

function cborPart(r: { data: Bytes; at: number }): Part {
  const initial = r.data[r.at++];
  if (initial === undefined) throw new RangeError('end of CBOR');
  const [major, info] = [initial & 0xe0, initial & 0x1f];
  const head = bytes([major]);
  const width = info < 24 ? 0 : 2 ** (info - 24);
  const value = info < 24 ? info : r.data.subarray(r.at, r.at + width).reduce((n, b) => n * 256 + b, 0);
  const indefinite = info === 31;
  if (!indefinite) r.at += width;
  if (major === 0x40 || major === 0x60) {
    const content = r.data.slice(r.at, r.at + value);
    r.at += value;
    const opened = major === 0x40 && content.length > 0 && [0x80, 0xa0].includes((content[0] as number) & 0xe0) ? attempt(() => readCborTree(content)) : undefined;
    return opened === undefined ? leaf(content, head, 'cbor') : group([opened], { head, form: 'cbor' });
  }
  if (major === 0x80 || major === 0xa0) {
    const parts: Part[] = [];
    const count = indefinite ? Infinity : value * (major === 0xa0 ? 2 : 1);
    while (parts.length < count && !(indefinite && r.data[r.at] === 0xff)) parts.push(cborPart(r));
    if (indefinite) r.at++;
    return group(parts, { head, form: indefinite ? 'cbor-indefinite' : 'cbor', unit: major === 0xa0 ? 'pairs' : 'parts' });
  }
  if (major === 0xc0) return group([leaf(EMPTY, bytes([0xc0 | info])), cborPart(r)]);
  return { ...leaf(EMPTY, head, 'cbor-value'), lie: value };
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Without white space; tokens are leaves of text. */
export function readJsonTree(text: string): Part {
  return jsonPart(JSON.parse(text));
}

function jsonPart(value: unknown): Part {
  const comma = utf8(',');
  if (Array.isArray(value) && value.length <= 256) return group(value.map(jsonPart), { head: utf8('['), join: comma, tail: utf8(']') });
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return group(Object.entries(value).map(([name, member]) => group([leaf(utf8(JSON.stringify(name))), jsonPart(member)], { join: utf8(':') })), { head: utf8('{'), join: comma, tail: utf8('}') });
  }
  return leaf(utf8(JSON.stringify(value)));
}
