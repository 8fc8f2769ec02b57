/**
 * PNG (W3C PNG third edition, section 5): signature, chunks (length (4), type (4), data, CRC-32 (4)), IEND last.
 * Kept are the chunks that draw the picture; everything else, private chunks too, goes. An eXIf chunk is replaced by one with the orientation alone.
 */
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { minimalTiff, orientationOf } from './exif.ts';

/** Chunks that change what is drawn: header, palette, data, transparency, gamma, primaries, sRGB, background. */
const KEPT = new Set(['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'gAMA', 'cHRM', 'sRGB']);
const bad = (have: string): never => refuse('PICTURE_FORMAT', 'picture.png', 'Give a well-formed PNG file.', { have });

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});
export function crc32(data: Uint8Array): number {
  let c = 0xffff_ffff;
  for (const byte of data) c = (TABLE[(c ^ byte) & 0xff] as number) ^ (c >>> 8);
  return ~c >>> 0;
}

function chunk(type: string, data: Uint8Array): Bytes {
  const body = concat(utf8(type), data);
  const out = new Uint8Array(body.length + 8);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(body, 4);
  view.setUint32(out.length - 4, crc32(body));
  return out;
}

export function stripPng(data: Bytes): { bytes: Bytes; removed: string[] } {
  const view = new DataView(data.buffer);
  const kept: Uint8Array[] = [data.subarray(0, 8)];
  const removed: string[] = [];
  let [at, last, images] = [8, '', 0];
  let animated = false;
  let orientation = 1;
  while (last !== 'IEND') {
    if (at + 12 > data.length) bad('no end');
    const length = view.getUint32(at);
    if (length > data.length - at - 12) bad('a chunk beyond the end');
    const type = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) bad('a chunk without a name');
    if (last === '' && (type !== 'IHDR' || length !== 13)) bad('no header');
    const end = at + 12 + length;
    if (crc32(data.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) bad(`chunk ${type} with a wrong checksum`);
    if (type === 'eXIf') orientation = orientationOf(data.subarray(at + 8, end - 4));
    if (type === 'acTL') animated = true;
    if (KEPT.has(type)) {
      if (type === 'IDAT') images++;
      kept.push(data.subarray(at, end));
    } else {
      // Critical chunks (upper-case first letter) that nobody knows cannot be left out (section 5.4).
      if (type.charCodeAt(0) < 0x60) bad(`unknown critical chunk ${type}`);
      removed.push(type);
    }
    last = type;
    at = end;
  }
  if (images === 0) bad('no image data');
  if (at !== data.length) removed.push('bytes after the end');
  // After the header: before the image data, so that no reader misses it.
  if (orientation !== 1) kept.splice(2, 0, chunk('eXIf', minimalTiff(orientation)));
  return { bytes: concat(...kept), removed: animated ? [...removed, 'animation'] : removed };
}
