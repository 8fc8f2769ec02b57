import sharp from 'sharp';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode } from '../../workloads/counter/decode.ts';
import { isRejectionCode, type WorkRejected } from '../../workloads/counter/rejected.ts';
import { gradient, jpegBomb, pngBomb, webpBomb } from './pictures.ts';

const SIZE = 300;
const flat = (background: string | { r: number; g: number; b: number; alpha: number }, width = 60, height = 40, channels: 3 | 4 = 3) => sharp({ create: { width, height, channels, background } });
const pixel = (rgb: Uint8Array, x: number, y: number) => [...rgb.subarray(3 * (y * SIZE + x), 3 * (y * SIZE + x) + 3)];
const near = (actual: number[], expected: number[], tolerance: number) => actual.forEach((v, i) => expect(Math.abs(v - (expected[i] as number)), `${actual} for ${expected}`).toBeLessThanOrEqual(tolerance));
const rejects = (file: Promise<Buffer> | Buffer, code: string) => expect(Promise.resolve(file).then((data) => decode(data, SIZE))).rejects.toMatchObject({ name: 'WorkRejected', code });

describe('decode', () => {
  it('fits the picture into the square and says where it lies', async () => {
    const wide = await decode(await flat('#336699').png().toBuffer(), SIZE);
    expect(wide).toMatchObject({ width: 60, height: 40, content: { x: 0, y: 50 / 300, w: 1, h: 200 / 300 } });
    expect(wide.rgb).toHaveLength(SIZE * SIZE * 3);
    const tall = await decode(await flat('#336699', 10, 600).jpeg().toBuffer(), SIZE);
    expect(tall.content).toEqual({ x: 147 / 300, y: 0, w: 5 / 300, h: 1 });
    const line = await decode(await flat('#336699', 5000, 1).png().toBuffer(), SIZE);
    expect(line.content.h).toBe(1 / 300);
  });
  it('pads by repeating the edge pixels, not with a colour', async () => {
    const halves = await flat('#ff0000').composite([{ input: await flat('#0000ff', 60, 20).png().toBuffer(), left: 0, top: 20 }]).png().toBuffer();
    const { rgb } = await decode(halves, SIZE);
    near(pixel(rgb, 150, 0), [255, 0, 0], 1);
    near(pixel(rgb, 150, 299), [0, 0, 255], 1);
  });
  it('turns the picture upright by its EXIF orientation', async () => {
    const right = await flat('#ff0000').composite([{ input: await flat('#0000ff', 30, 40).png().toBuffer(), left: 0, top: 0 }]).withMetadata({ orientation: 6 }).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer();
    const { rgb, width, height } = await decode(right, SIZE);
    expect([width, height]).toEqual([40, 60]);
    near(pixel(rgb, 150, 20), [0, 0, 255], 6); // the left half is on top
    near(pixel(rgb, 150, 280), [255, 0, 0], 6);
  });
  it('lays transparent pictures on white', async () => {
    const { rgb } = await decode(await flat({ r: 255, g: 0, b: 0, alpha: 0 }, 60, 40, 4).png().toBuffer(), SIZE);
    expect(pixel(rgb, 150, 150)).toEqual([255, 255, 255]);
  });
  it('makes RGB of greys, of 16 bits and of CMYK', async () => {
    near(pixel((await decode(await flat('#808080').toColourspace('b-w').png().toBuffer(), SIZE)).rgb, 10, 150), [128, 128, 128], 2);
    near(pixel((await decode(await flat('#ff8000').toColourspace('rgb16').png().toBuffer(), SIZE)).rgb, 10, 150), [255, 128, 0], 2);
    const cmyk = await flat('#ff0000').toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(cmyk).metadata()).space).toBe('cmyk');
    near(pixel((await decode(cmyk, SIZE)).rgb, 10, 150), [255, 0, 0], 40);
  });

  it('refuses what no container check can see', async () => {
    const png = await gradient(64, 64).png().toBuffer();
    const broken = Buffer.from(png);
    broken.fill(0, 60, 90); // inside the compressed pixels
    await rejects(broken, 'IMAGE_CORRUPT');
    const webp = await gradient(64, 64).webp({ lossless: true }).toBuffer();
    webp.fill(0xff, 40, webp.length);
    await expect(decode(webp, SIZE)).rejects.toMatchObject({ name: 'WorkRejected' });
  });
  it('refuses a JPEG whose scan ends early although the file does not', async () => {
    const jpeg = await gradient(400, 400).jpeg().toBuffer();
    await rejects(Buffer.concat([jpeg.subarray(0, jpeg.length >> 1), Buffer.from([0xff, 0xd9])]), 'IMAGE_TRUNCATED');
  });
  it('refuses the cut, the empty, the foreign and the animated', async () => {
    const jpeg = await gradient(64, 64).jpeg().toBuffer();
    await rejects(jpeg.subarray(0, -100), 'IMAGE_TRUNCATED');
    await rejects(Buffer.alloc(0), 'IMAGE_EMPTY');
    await rejects(sharp(await gradient(8, 8).png().toBuffer()).gif().toBuffer(), 'IMAGE_FORMAT');
    await rejects(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), 'IMAGE_FORMAT');
    const frames = await sharp([await gradient(16, 16).png().toBuffer(), await flat('#ff0000', 16, 16).png().toBuffer()], { join: { animated: true } }).webp().toBuffer();
    await rejects(frames, 'IMAGE_FRAMES');
  });
  it('refuses bombs without allocating for them', async () => {
    const jpeg = await gradient(64, 64).jpeg().toBuffer();
    const before = process.memoryUsage.rss();
    for (const bomb of [pngBomb(50_000, 50_000), jpegBomb(jpeg, 50_000, 50_000), webpBomb(50_000, 50_000)]) await rejects(bomb, 'IMAGE_TOO_LARGE');
    expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 2 ** 20);
  });
  it('opens the largest picture that it takes within bounded memory', async () => {
    const largest = await sharp({ create: { width: 6000, height: 4000, channels: 3, background: '#888888' } }).png().toBuffer();
    const before = process.memoryUsage.rss();
    await decode(largest, SIZE);
    expect(process.memoryUsage.rss() - before).toBeLessThan(300 * 2 ** 20);
  });
  it('answers altered pictures with pixels or a code', async () => {
    const pictures = await Promise.all([gradient(40, 30).jpeg().toBuffer(), gradient(40, 30).png().toBuffer(), gradient(40, 30).webp().toBuffer()]);
    await fc.assert(fc.asyncProperty(fc.nat(2), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (which, changes) => {
      const altered = Buffer.from(pictures[which] as Buffer);
      for (const [at, value] of changes) altered[at % altered.length] = value;
      await decode(altered, SIZE).then(
        ({ rgb }) => expect(rgb).toHaveLength(SIZE * SIZE * 3),
        (error: unknown) => expect(isRejectionCode((error as WorkRejected).code), String(error)).toBe(true),
      );
    }), { numRuns: 150 });
  });
});
