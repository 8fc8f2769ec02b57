/**
 * Walks the container of a picture before any decoder sees it: the format by its magic bytes, the dimensions, one frame only,
 * and that the file ends where the picture ends (a polyglot hides its other half behind that). Pure, allocates nothing.
 *
 *   JPEG  FFD8, segments FF xx [u16 length ...], SOFn = dimensions, SOS = entropy-coded data up to the next marker, FFD9   (ITU-T T.81, B.1)
 *   PNG   signature, chunks [u32 length, type, data, crc], IHDR first, IEND last; acTL and fdAT = animation                (W3C PNG 3rd ed., 5)
 *   WebP  "RIFF" u32 size "WEBP", chunks [type, u32 length, data, pad], VP8 / VP8L / VP8X; ANIM and ANMF = animation         (RFC 9649, 2)
 */
import { WorkRejected } from './rejected.ts';

export const MAX_PIXELS = 24_000_000;
export const MAX_SIDE = 16_384;

export interface Container {
  readonly format: 'jpeg' | 'png' | 'webp';
  /** Pixels as stored, before any EXIF orientation. */
  readonly width: number;
  readonly height: number;
}

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

function startsWith(data: Uint8Array, prefix: readonly number[], at = 0): boolean {
  return prefix.every((byte, i) => data[at + i] === byte);
}
const ascii = (text: string): number[] => [...text].map((c) => c.charCodeAt(0));

function checked(format: Container['format'], width: number, height: number): Container {
  if (width === 0 || height === 0) throw new WorkRejected('IMAGE_CORRUPT', 'a picture without pixels');
  if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS) throw new WorkRejected('IMAGE_TOO_LARGE', `${width} x ${height} pixels; at most ${MAX_PIXELS} and ${MAX_SIDE} a side`);
  return { format, width, height };
}

/** Numbers at an offset; a read past the end means that the file was cut off. */
function reader(data: Uint8Array) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const need = (at: number, length: number): number => {
    if (at + length > data.length) throw new WorkRejected('IMAGE_TRUNCATED', 'the file ends inside the picture');
    return at;
  };
  return {
    u8: (at: number) => view.getUint8(need(at, 1)),
    u16: (at: number) => view.getUint16(need(at, 2)),
    u16le: (at: number) => view.getUint16(need(at, 2), true),
    u24le: (at: number) => view.getUint16(need(at, 3), true) | (view.getUint8(at + 2) << 16),
    u32: (at: number) => view.getUint32(need(at, 4)),
    u32le: (at: number) => view.getUint32(need(at, 4), true),
    tag: (at: number) => String.fromCharCode(...data.subarray(need(at, 4), at + 4)),
  };
}

interface Walked { readonly found: Container | undefined; readonly end: number }

function walkJpeg(data: Uint8Array): Walked {
  const read = reader(data);
  let found: Container | undefined;
  for (let at = 2; ;) {
    if (read.u8(at) !== 0xff) throw new WorkRejected('IMAGE_CORRUPT', 'no marker where one belongs');
    const marker = read.u8(at + 1);
    if (marker === 0xff) { at += 1; continue; }
    if (marker === 0xd9) return { found, end: at + 2 };
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) { at += 2; continue; }
    if (marker === 0xd8 || marker === 0x00) throw new WorkRejected('IMAGE_CORRUPT', 'a misplaced marker');
    const length = read.u16(at + 2);
    if (length < 2) throw new WorkRejected('IMAGE_CORRUPT', 'a segment shorter than its length');
    const startOfFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (startOfFrame) {
      if (found !== undefined) throw new WorkRejected('IMAGE_FRAMES', 'more than one frame');
      found = checked('jpeg', read.u16(at + 7), read.u16(at + 5));
    }
    at += 2 + length;
    if (marker === 0xda) at = afterScan(data, at);
  }
}

/** The offset of the marker after entropy-coded data: FF00 is a data byte, FFD0 to FFD7 are restarts inside it. */
function afterScan(data: Uint8Array, from: number): number {
  for (let at = data.indexOf(0xff, from); at >= 0; at = data.indexOf(0xff, at + 1)) {
    const next = data[at + 1];
    if (next === undefined) break;
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  throw new WorkRejected('IMAGE_TRUNCATED', 'the file ends inside the picture');
}

function walkPng(data: Uint8Array): Walked {
  const read = reader(data);
  let found: Container | undefined;
  for (let at = PNG_SIGNATURE.length; ;) {
    const length = read.u32(at);
    const type = read.tag(at + 4);
    if (!/^[A-Za-z]{4}$/.test(type) || length > 0x7fff_ffff) throw new WorkRejected('IMAGE_CORRUPT', 'no chunk where one belongs');
    if ((type === 'IHDR') !== (found === undefined)) throw new WorkRejected('IMAGE_CORRUPT', 'a misplaced header');
    if (type === 'IHDR') found = checked('png', read.u32(at + 8), read.u32(at + 12));
    if (type === 'acTL' || type === 'fcTL' || type === 'fdAT') throw new WorkRejected('IMAGE_FRAMES', 'an animation');
    const end = at + 12 + length;
    if (type === 'IEND') {
      read.u8(end - 1);
      return { found, end };
    }
    at = end;
  }
}

function walkWebp(data: Uint8Array): Walked {
  const read = reader(data);
  const size = read.u32le(4);
  const end = 8 + size + (size & 1);
  let found: Container | undefined;
  let images = 0;
  for (let at = 12; at < end;) {
    const type = read.tag(at);
    const length = read.u32le(at + 4);
    const body = at + 8;
    if (type === 'ANIM' || type === 'ANMF' || (type === 'VP8X' && (read.u8(body) & 0x02) !== 0)) throw new WorkRejected('IMAGE_FRAMES', 'an animation');
    if (type === 'VP8X') found = checked('webp', read.u24le(body + 4) + 1, read.u24le(body + 7) + 1);
    if (type === 'VP8 ' || type === 'VP8L') {
      if (images++ > 0) throw new WorkRejected('IMAGE_FRAMES', 'more than one picture');
      const one = type === 'VP8 '
        ? checked('webp', read.u16le(body + 6) & 0x3fff, read.u16le(body + 8) & 0x3fff)
        : checked('webp', (read.u32le(body + 1) & 0x3fff) + 1, ((read.u32le(body + 1) >>> 14) & 0x3fff) + 1);
      if (found !== undefined && (found.width !== one.width || found.height !== one.height)) throw new WorkRejected('IMAGE_CORRUPT', 'a picture of another size than its canvas');
      found = one;
    }
    at = body + length + (length & 1);
    if (at > end) throw new WorkRejected('IMAGE_CORRUPT', 'a chunk longer than the file');
  }
  if (end > data.length) throw new WorkRejected('IMAGE_TRUNCATED', 'the file ends inside the picture');
  return { found: images === 1 ? found : undefined, end };
}

/** @throws WorkRejected IMAGE_EMPTY, IMAGE_FORMAT, IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_CORRUPT, IMAGE_TRAILING, IMAGE_FRAMES */
export function inspect(data: Uint8Array): Container {
  if (data.length === 0) throw new WorkRejected('IMAGE_EMPTY', 'no bytes');
  const walk = startsWith(data, [0xff, 0xd8, 0xff]) ? walkJpeg
    : startsWith(data, PNG_SIGNATURE) ? walkPng
      : startsWith(data, ascii('RIFF')) && startsWith(data, ascii('WEBP'), 8) ? walkWebp
        : undefined;
  if (walk === undefined) throw new WorkRejected('IMAGE_FORMAT', 'neither JPEG nor PNG nor WebP');
  const { found, end } = walk(data);
  if (found === undefined) throw new WorkRejected('IMAGE_CORRUPT', 'a file without a picture');
  if (end < data.length) throw new WorkRejected('IMAGE_TRAILING', `${data.length - end} bytes after the end of the picture`);
  return found;
}
