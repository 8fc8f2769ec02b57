/**
 * WebP (RFC 9649): "RIFF", size (4, little-endian), "WEBP", chunks (FourCC, size (4), data, padding to even). EXIF, XMP, ICC profiles and
 * unknown chunks go, and the flags of VP8X say so; an EXIF chunk with the orientation alone stays. Animations are refused: a picture is one picture.
 */
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { minimalTiff, orientationOf } from './exif.ts';

const FLAG = { icc: 0x20, alpha: 0x10, exif: 0x08, xmp: 0x04, animation: 0x02 } as const;
const bad = (have: string): never => refuse('PICTURE_FORMAT', 'picture.webp', 'Give a well-formed WebP file of one picture.', { have });

function u32(n: number): Bytes {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, n, true);
  return out;
}
const chunk = (type: string, data: Uint8Array): Bytes => concat(utf8(type), u32(data.length), data, bytes(data.length % 2 === 1 ? [0] : []));

export function stripWebp(data: Bytes): { bytes: Bytes; removed: string[] } {
  const view = new DataView(data.buffer);
  if (data.length < 20) bad('no chunk');
  const end = view.getUint32(4, true) + 8;
  if (end > data.length || end % 2 === 1) bad('a size beyond the end');
  const removed: string[] = [];
  const kept: { type: string; data: Uint8Array }[] = [];
  let orientation = 1;
  for (let at = 12; at < end;) {
    if (at + 8 > end) bad('a chunk without a size');
    const type = String.fromCharCode(...data.subarray(at, at + 4));
    const length = view.getUint32(at + 4, true);
    if (length > end - at - 8) bad('a chunk beyond the end');
    const body = data.subarray(at + 8, at + 8 + length);
    if (type === 'ANIM' || type === 'ANMF') bad('an animation');
    if (type === 'VP8 ' || type === 'VP8L' || type === 'VP8X' || type === 'ALPH') kept.push({ type, data: body });
    else {
      // Some writers put the JPEG prefix before the TIFF structure.
      if (type === 'EXIF') orientation = orientationOf(body[0] === 0x45 ? body.subarray(6) : body);
      removed.push(type.trim().replace(/[^A-Za-z0-9]/g, '?'));
    }
    at += 8 + length + (length % 2);
  }
  if (end !== data.length) removed.push('bytes after the end');
  const images = kept.filter((c) => c.type === 'VP8 ' || c.type === 'VP8L').length;
  if (images !== 1) bad(`${images} pictures`);
  const [first] = kept;
  if (first?.type !== 'VP8X') {
    if (kept.length !== 1) bad('an extended picture without its header');
    return { bytes: riff(chunk((first as { type: string }).type, (first as { data: Uint8Array }).data)), removed };
  }
  if (first.data.length !== 10 || kept.filter((c) => c.type === 'VP8X').length !== 1 || kept.filter((c) => c.type === 'ALPH').length > 1) bad('a malformed header');
  const header = bytes(first.data);
  if (((header[0] as number) & FLAG.animation) !== 0) bad('an animation');
  header[0] = ((header[0] as number) & FLAG.alpha) | (orientation === 1 ? 0 : FLAG.exif);
  const exif = orientation === 1 ? [] : [chunk('EXIF', minimalTiff(orientation))];
  return { bytes: riff(chunk('VP8X', header), ...kept.slice(1).map((c) => chunk(c.type, c.data)), ...exif), removed };
}

const riff = (...chunks: Uint8Array[]): Bytes => {
  const body = concat(utf8('WEBP'), ...chunks);
  return concat(utf8('RIFF'), u32(body.length), body);
};
