/** Reads fixed layouts from the front to the back: every read is bounded by the bytes that are left, and the end is asked for. */
import { type Bytes, hex } from '../bytes.ts';
import { refuse, type RefusalCode } from '../refusal.ts';

export interface ReaderOptions {
  readonly path: string;
  /** What malformed bytes are refused with. */
  readonly code: RefusalCode;
  readonly next: string;
  readonly endian: 'little' | 'big';
}

export class ByteReader {
  readonly data: Bytes;
  at = 0;
  readonly #view: DataView;
  readonly #options: ReaderOptions;

  constructor(data: Bytes, options: ReaderOptions) {
    this.data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.#options = options;
  }

  get left(): number {
    return this.data.length - this.at;
  }

  /** A view of the bytes received. */
  take(length: number, name: string): Bytes {
    if (length > this.left) this.fail(name, `${length} bytes with ${this.left} left`);
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  u8(name: string): number {
    return this.take(1, name)[0] as number;
  }

  u16(name: string): number {
    this.take(2, name);
    return this.#view.getUint16(this.at - 2, this.#options.endian === 'little');
  }

  u32(name: string): number {
    this.take(4, name);
    return this.#view.getUint32(this.at - 4, this.#options.endian === 'little');
  }

  u64(name: string): bigint {
    this.take(8, name);
    return this.#view.getBigUint64(this.at - 8, this.#options.endian === 'little');
  }

  /** A length of two bytes and as many bytes. */
  sized16(name: string, max = 0xffff): Bytes {
    const length = this.u16(name);
    if (length > max) this.fail(name, `${length} bytes`, `at most ${max}`);
    return this.take(length, name);
  }

  /** Exactly these values. */
  expect(name: string, have: number | string, ...allowed: (number | string)[]): void {
    const show = (v: number | string): string => (typeof v === 'number' ? `0x${v.toString(16)}` : v);
    if (!allowed.includes(have)) this.fail(name, show(have), allowed.map(show).join(' or '));
  }

  end(name: string): void {
    if (this.left !== 0) this.fail(name, `${this.left} bytes after the end: ${hex(this.data.subarray(this.at, this.at + 8))}`, 'none');
  }

  fail(name: string, have: string, need?: string): never {
    const { code, path, next } = this.#options;
    return refuse(code, name === '' ? path : `${path}.${name}`, next, need === undefined ? { have } : { have, need });
  }
}
