/**
 * From a hostile file to the detector's square of pixels: container first (container.ts), then libvips through sharp with only
 * three loaders left enabled, one thread and no cache. The picture is turned upright (EXIF), made sRGB without alpha, shrunk to fit
 * the square and padded by repeating its edge pixels, which keeps cats in wide pictures recognisable.
 */
import sharp from 'sharp';
import { inspect, MAX_PIXELS } from './container.ts';
import { WorkRejected } from './rejected.ts';

sharp.cache(false);
sharp.concurrency(1);
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'] });

export interface Picture {
  /** size x size pixels of R, G, B. */
  readonly rgb: Uint8Array;
  /** Pixels of the upright picture. */
  readonly width: number;
  readonly height: number;
  /** Where the picture lies in the square, normalised to it. */
  readonly content: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

/** libvips names no error codes; these are the words of libjpeg, libpng, libwebp and sharp. */
function rejection(error: unknown): WorkRejected {
  const message = error instanceof Error ? error.message : '';
  if (/pixel limit|too large/i.test(message)) return new WorkRejected('IMAGE_TOO_LARGE');
  if (/premature end|truncat|end of (?:file|stream|data)|not enough data|read error|unexpected end/i.test(message)) return new WorkRejected('IMAGE_TRUNCATED');
  return new WorkRejected('IMAGE_CORRUPT');
}

/** @throws WorkRejected for whatever is wrong with the file */
export async function decode(file: Uint8Array, size: number): Promise<Picture> {
  const container = inspect(file);
  const image = sharp(file, { limitInputPixels: MAX_PIXELS, sequentialRead: true, failOn: 'warning', pages: 1, autoOrient: true });
  const facts = await image.metadata().catch((error: unknown) => { throw rejection(error); });
  if (facts.format !== container.format || facts.width !== container.width || facts.height !== container.height) {
    throw new WorkRejected('IMAGE_CORRUPT', 'two readers of this file disagree about it');
  }
  const { width, height } = facts.autoOrient;
  const scale = size / Math.max(width, height);
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const [left, top] = [Math.floor((size - w) / 2), Math.floor((size - h) / 2)];
  const { data, info } = await image
    .flatten({ background: 'white' })
    .resize({ width: w, height: h, fit: 'fill', kernel: 'linear' })
    .extend({ top, bottom: size - h - top, left, right: size - w - left, extendWith: 'copy' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch((error: unknown) => { throw rejection(error); });
  if (info.width !== size || info.height !== size || info.channels !== 3) throw new Error(`decoded to ${info.width} x ${info.height} x ${info.channels}`);
  return { rgb: data, width, height, content: { x: left / size, y: top / size, w: w / size, h: h / size } };
}
