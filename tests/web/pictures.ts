/** Pictures that give themselves away: a known view of a cat with telling metadata, and noise whose pixels are known exactly. */
import sharp from 'sharp';
import { demoPictures } from '../../workloads/detectors/pictures.ts';

export const TELLING = {
  file: 'birthday-of-aunt-quintessa-4711.jpg',
  description: 'taken behind the greenhouse of the Quintessa family',
  camera: 'Tattletale Model 9000',
} as const;

/** A JPEG in which the detector finds one cat, with EXIF: description, camera, position. */
export async function catWithExif(): Promise<Buffer> {
  const view = (await demoPictures()).find((p) => p.file === 'cat-view-11.png');
  if (view === undefined) throw new Error('the view of a cat is not among the pictures');
  // Small: every window of its pixels is searched for.
  return sharp(view.bytes).resize({ width: 300 }).withExif({
    IFD0: { ImageDescription: TELLING.description, Model: TELLING.camera },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 28/1 38/1' },
  }).jpeg({ quality: 92 }).toBuffer();
}

/** Noise: no 32 bytes of it occur by chance. `pixels` are what a decoder gives, RGB. */
export async function noise(): Promise<{ file: Buffer; pixels: Buffer; rgba: Buffer }> {
  const [width, height] = [96, 64];
  const pixels = Buffer.from(Array.from({ length: Math.ceil((width * height * 3) / 65_536) }, () => crypto.getRandomValues(new Uint8Array(65_536))).flatMap((p) => [...p])).subarray(0, width * height * 3);
  const raw = { width, height, channels: 3 as const };
  const file = await sharp(pixels, { raw }).withExif({ IFD0: { ImageDescription: TELLING.description } }).png().toBuffer();
  return { file, pixels, rgba: await sharp(pixels, { raw }).ensureAlpha().raw().toBuffer() };
}

export const decoded = (file: Buffer): Promise<Buffer> => sharp(file).removeAlpha().raw().toBuffer();
