/**
 * Metadata leaves a picture before the picture leaves the client: GPS, camera, thumbnails, comments, colour profiles' names, all that is
 * not needed to draw it. Pixels are copied, never decoded. One thing stays: which way is up, else the count would see cats lying on their side.
 * Anything but a well-formed JPEG, PNG or WebP is refused, and so is what follows its end (another file could hide there).
 */
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { stripJpeg } from './picture-jpeg.ts';
import { stripPng } from './picture-png.ts';
import { stripWebp } from './picture-webp.ts';

export interface StrippedPicture {
  readonly bytes: Bytes;
  readonly format: 'jpeg' | 'png' | 'webp';
  /** What was left out, by the names of the format: `APP1`, `tEXt`, `EXIF`. */
  readonly removed: readonly string[];
}

const starts = (data: Uint8Array, at: number, text: string): boolean => [...text].every((c, i) => data[at + i] === c.charCodeAt(0));

/** @throws Refusal PICTURE_FORMAT */
export function stripPicture(picture: Uint8Array): StrippedPicture {
  const data = bytes(picture);
  if (data[0] === 0xff && data[1] === 0xd8 && data[2] === 0xff) return { format: 'jpeg', ...stripJpeg(data) };
  if (starts(data, 0, '\x89PNG\r\n\x1a\n')) return { format: 'png', ...stripPng(data) };
  if (starts(data, 0, 'RIFF') && starts(data, 8, 'WEBP')) return { format: 'webp', ...stripWebp(data) };
  return refuse('PICTURE_FORMAT', 'picture', 'Give a JPEG, PNG or WebP file.', { have: data.length === 0 ? 'an empty file' : 'another format' });
}
