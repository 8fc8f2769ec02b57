/** The one field of Exif (CIPA DC-008, TIFF 6.0 structure) that pictures keep: orientation, tag 0x0112, values 1 to 8. */
import { type Bytes, bytes } from '../../attestation/bytes.ts';

const ORIENTATION = 0x0112;
const SHORT = 3;

/** @param tiff from the byte-order mark on @returns 1 (upright) when there is none or it is malformed */
export function orientationOf(tiff: Uint8Array): number {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  if (tiff.length < 14) return 1;
  const mark = view.getUint16(0);
  if (mark !== 0x4949 && mark !== 0x4d4d) return 1;
  const little = mark === 0x4949;
  const ifd = view.getUint32(4, little);
  if (view.getUint16(2, little) !== 42 || ifd + 2 > tiff.length) return 1;
  const count = view.getUint16(ifd, little);
  for (let i = 0; i < count && ifd + 14 + 12 * i <= tiff.length; i++) {
    const at = ifd + 2 + 12 * i;
    if (view.getUint16(at, little) !== ORIENTATION) continue;
    const value = view.getUint16(at + 8, little);
    return view.getUint16(at + 2, little) === SHORT && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** A TIFF structure that holds the orientation and nothing else: header, one directory of one entry. */
export const minimalTiff = (orientation: number): Bytes => bytes([
  0x4d, 0x4d, 0, 42, 0, 0, 0, 8, // big-endian, first directory at 8
  0, 1, ORIENTATION >> 8, ORIENTATION & 0xff, 0, SHORT, 0, 0, 0, 1, 0, orientation, 0, 0,
  0, 0, 0, 0, // no further directory
]);
