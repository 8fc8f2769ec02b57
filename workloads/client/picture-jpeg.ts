/**
 * JPEG (ITU-T T.81, annex B): SOI, segments (0xff, marker, length (2), data), scans with their entropy-coded data, EOI.
 * APP0 to APP15 and COM go, except Adobe's APP14 (the colour transform, needed to draw) cut to its 12 bytes, and an Exif of our own
 * with the orientation alone.
 */
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { minimalTiff, orientationOf } from './exif.ts';

const EXIF = 'Exif\0\0';
const ADOBE = 'Adobe';
const bad = (have: string): never => refuse('PICTURE_FORMAT', 'picture.jpeg', 'Give a well-formed JPEG file.', { have });
const holds = (data: Uint8Array, text: string): boolean => [...text].every((c, i) => data[i] === c.charCodeAt(0));

function segment(marker: number, data: Uint8Array): Bytes {
  const length = data.length + 2;
  return concat(bytes([0xff, marker, length >> 8, length & 0xff]), data);
}

/** Where the entropy-coded data from `at` ends: at the next marker that is neither a stuffed byte nor a restart. */
function scanEnd(data: Uint8Array, at: number): number {
  for (let i = data.indexOf(0xff, at); i >= 0 && i + 1 < data.length; i = data.indexOf(0xff, i + 1)) {
    const next = data[i + 1] as number;
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return i;
  }
  return bad('a scan without an end');
}

export function stripJpeg(data: Bytes): { bytes: Bytes; removed: string[] } {
  const kept: Uint8Array[] = [];
  const removed: string[] = [];
  let orientation = 1;
  let at = 2;
  let scans = 0;
  for (;;) {
    if (data[at] !== 0xff) bad('no marker where one must be');
    while (data[at + 1] === 0xff) at++; // fill bytes (B.1.1.2)
    const marker = data[at + 1] ?? bad('no end');
    if (marker === 0xd9) { at += 2; break; }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8) || marker === 0) bad(`marker 0x${marker.toString(16)} outside a scan`);
    const length = ((data[at + 2] ?? 0) << 8) | (data[at + 3] ?? 0);
    const end = at + 2 + length;
    if (length < 2 || end > data.length) bad('a segment beyond the end');
    const body = data.subarray(at + 4, end);
    if ((marker >= 0xe0 && marker <= 0xef) || marker === 0xfe) {
      if (marker === 0xe1 && holds(body, EXIF) && orientation === 1) orientation = orientationOf(body.subarray(EXIF.length));
      if (marker === 0xee && holds(body, ADOBE) && body.length >= 12) kept.push(segment(marker, body.subarray(0, 12)));
      else removed.push(marker === 0xfe ? 'COM' : `APP${marker - 0xe0}`);
      at = end;
    } else if (marker === 0xda) {
      const stop = scanEnd(data, end);
      kept.push(data.subarray(at, stop));
      scans++;
      at = stop;
    } else {
      kept.push(data.subarray(at, end));
      at = end;
    }
  }
  if (scans === 0) bad('no scan');
  if (at !== data.length) removed.push('bytes after the end');
  const exif = orientation === 1 ? [] : [segment(0xe1, concat(utf8(EXIF), minimalTiff(orientation)))];
  return { bytes: concat(bytes([0xff, 0xd8]), ...exif, ...kept, bytes([0xff, 0xd9])), removed };
}
