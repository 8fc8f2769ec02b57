/** The one picture that the figures are about: 1024 x 768, JPEG, three cats. */
import sharp from 'sharp';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';

export const SIZE = { width: 1024, height: 768 } as const;
export const CATS = 3;

export async function benchPicture(): Promise<Bytes> {
  const source = (await demoPictures()).find(({ file }) => file === 'three-cats.jpg');
  if (source === undefined) throw new Error('the demo has no picture of three cats any more');
  return bytes(await sharp(source.bytes).resize({ ...SIZE, fit: 'contain', background: '#ffffff' }).jpeg({ quality: 90 }).toBuffer());
}
