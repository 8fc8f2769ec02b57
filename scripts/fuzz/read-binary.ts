/** Trees of structures without tags: TPM structures (big endian), event logs, HCL reports and quotes (little endian). See the tables in attestation/formats/. */
import type { Bytes } from '../../attestation/bytes.ts';
import { group, leaf, type LengthForm, type Part } from './tree.ts';

const WIDTHS: Partial<Record<LengthForm, number>> = { u8: 1, u16be: 2, u32be: 4, u16le: 2, u32le: 4 };

class Cursor {
  readonly data: Bytes;
  at = 0;

  constructor(data: Bytes) {
    this.data = data;
  }

  get left(): number {
    return this.data.length - this.at;
  }

  take(length: number): Bytes {
    if (length > this.left) throw new RangeError('end of structure');
    this.at += length;
    return this.data.slice(this.at - length, this.at);
  }

  fixed(...lengths: number[]): Part[] {
    return lengths.map((n) => leaf(this.take(n)));
  }

  number(form: LengthForm): number {
    const raw = this.take(WIDTHS[form] as number);
    return (form.endsWith('le') ? raw.toReversed() : raw).reduce((n, b) => n * 256 + b, 0);
  }

  sized(form: LengthForm, inside?: (content: Bytes) => Part): Part {
    const content = this.take(this.number(form));
    return inside === undefined ? leaf(content, undefined, form) : group([inside(content)], { form });
  }

  counted(form: LengthForm, one: (c: Cursor) => Part): Part {
    return group(Array.from({ length: this.number(form) }, () => one(this)), { form, unit: 'parts' });
  }

  rest(): Part[] {
    return this.left > 0 ? [leaf(this.take(this.left))] : [];
  }
}

export function readAttestTree(data: Bytes): Part {
  const c = new Cursor(data);
  return group([
    ...c.fixed(4, 2), c.sized('u16be'), c.sized('u16be'), ...c.fixed(8, 4, 4, 1, 8),
    c.counted('u32be', (s) => group([...s.fixed(2), s.sized('u8')])), c.sized('u16be'), ...c.rest(),
  ]);
}

export function readPublicTree(data: Bytes): Part {
  const c = new Cursor(data);
  const type = c.fixed(2);
  const rsa = type[0]?.content[1] === 1;
  return group([...type, ...c.fixed(2, 4), c.sized('u16be'), ...c.fixed(2, 2, 2, ...(rsa ? [2, 4] : [2, 2])), ...(rsa ? [c.sized('u16be')] : [c.sized('u16be'), c.sized('u16be')]), ...c.rest()]);
}

export function readTpmSignatureTree(data: Bytes): Part {
  const c = new Cursor(data);
  const scheme = c.fixed(2, 2);
  return group([...scheme, ...(scheme[0]?.content[1] === 0x18 ? [c.sized('u16be'), c.sized('u16be')] : [c.sized('u16be')]), ...c.rest()]);
}

const DIGESTS: Readonly<Record<number, number>> = { 0x04: 20, 0x0b: 32, 0x0c: 48, 0x0d: 64 };

/** @param most events that become parts; those behind stay bytes */
export function readEventLogTree(data: Bytes, most = 400): Part {
  const c = new Cursor(data);
  const header = [...c.fixed(4, 4, 20), c.sized('u32le', (inside) => {
    const h = new Cursor(inside);
    return group([...h.fixed(16, 4, 1, 1, 1, 1), h.counted('u32le', (a) => group(a.fixed(2, 2))), h.sized('u8'), ...h.rest()]);
  })];
  const events: Part[] = [];
  const padded = (): boolean => c.data.subarray(c.at).every((b) => b === 0xff) || c.data.subarray(c.at).every((b) => b === 0);
  while (c.left > 0 && events.length < most && !padded()) {
    events.push(group([
      ...c.fixed(4, 4),
      c.counted('u32le', (d) => { const id = d.fixed(2); return group([...id, ...d.fixed(DIGESTS[id[0]?.content[0] ?? 0] ?? 32)]); }),
      c.sized('u32le'),
    ]));
  }
  return group([group(header), ...events, ...c.rest()]);
}

export function readHclTree(data: Bytes): Part {
  const c = new Cursor(data);
  return group([...c.fixed(4, 4, 4, 4, 16, 1184, 4, 4, 4, 4), c.sized('u32le'), ...c.rest()]);
}

/** Report with each of its fields a part: formats/snp-report.ts. */
export function readSnpTree(data: Bytes): Part {
  const c = new Cursor(data);
  return group([...c.fixed(4, 4, 8, 16, 16, 4, 4, 8, 8, 4, 4, 64, 48, 32, 48, 48, 32, 32, 8, 3, 21, 64, 8, 8, 8, 144, 48, 24, 48, 24), ...c.rest()]);
}

export function readTdxTree(data: Bytes): Part {
  const c = new Cursor(data);
  const header = c.fixed(2, 2, 4, 4, 16, 20);
  const body = (b: Cursor): Part[] => b.fixed(16, 48, 48, 8, 8, 8, 48, 48, 48, 48, 48, 48, 48, 48, 64);
  const five = header[0]?.content[0] === 5;
  const td = five ? [...c.fixed(2), c.sized('u32le', (d) => { const b = new Cursor(d); return group([...body(b), ...b.rest()]); })] : body(c);
  return group([...header, ...td, c.sized('u32le', (signed) => {
    const s = new Cursor(signed);
    return group([...s.fixed(64, 64, 2), s.sized('u32le', (certification) => {
      const q = new Cursor(certification);
      return group([...q.fixed(384, 64), q.sized('u16le'), ...q.fixed(2), q.sized('u32le'), ...q.rest()]);
    }), ...s.rest()]);
  }), ...c.rest()]);
}

/** Fields with lengths are parts; opened where they read as messages themselves, `levels` deep. */
export function readProtobufTree(data: Bytes, levels = 3): Part {
  const c = new Cursor(data);
  const fields: Part[] = [];
  const varint = (): Bytes => { const from = c.at; while ((c.take(1)[0] as number) >= 0x80) { /* goes on */ } return c.data.slice(from, c.at); };
  while (c.left > 0) {
    const key = varint();
    const wire = (key[0] as number) & 7;
    if (wire === 0) { fields.push(leaf(varint(), key)); continue; }
    if (wire !== 2) throw new RangeError('another wire type');
    const size = varint();
    const content = c.take(size.reduceRight((n, b) => n * 128 + (b & 0x7f), 0));
    const inside = levels > 0 && content.length > 1 ? attempt(() => readProtobufTree(content, levels - 1)) : undefined;
    fields.push(inside === undefined ? leaf(content, key, 'varint') : group([inside], { head: key, form: 'varint' }));
  }
  return group(fields);
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
