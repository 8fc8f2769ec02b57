import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { inspect, MAX_PIXELS, MAX_SIDE } from '../../workloads/counter/container.ts';
import { isRejectionCode, type RejectionCode, WorkRejected } from '../../workloads/counter/rejected.ts';
import { gradient, jpegBomb, pngBomb, pngChunk, webpBomb } from './pictures.ts';

let jpeg: Buffer;
let progressive: Buffer;
let png: Buffer;
let webp: Buffer;
let lossless: Buffer;
beforeAll(async () => {
  const picture = gradient(40, 30);
  [jpeg, progressive, png, webp, lossless] = await Promise.all([
    picture.clone().jpeg().toBuffer(), picture.clone().jpeg({ progressive: true }).toBuffer(), picture.clone().png().toBuffer(), picture.clone().webp().toBuffer(), picture.clone().webp({ lossless: true }).toBuffer(),
  ]);
});
const refused = (data: Uint8Array, code: RejectionCode) => expect(() => inspect(data)).toThrow(expect.objectContaining({ name: 'WorkRejected', code }));
const all = () => ({ jpeg, progressive, png, webp, lossless });

describe('inspect', () => {
  it('reads format and size', () => {
    expect(Object.values(all()).map(inspect)).toEqual(['jpeg', 'jpeg', 'png', 'webp', 'webp'].map((format) => ({ format, width: 40, height: 30 })));
  });
  it('refuses an empty file', () => refused(new Uint8Array(), 'IMAGE_EMPTY'));
  it.each([
    ['GIF', 'GIF89a\x01\x00\x01\x00'], ['SVG', '<svg xmlns="http://www.w3.org/2000/svg"/>'], ['PDF', '%PDF-1.7'], ['TIFF', 'II*\x00'], ['HEIF', '\x00\x00\x00\x18ftypheic'], ['RIFF that is not WebP', 'RIFF\x04\x00\x00\x00WAVE'], ['one byte', '\xff'],
  ])('refuses %s', (_, text) => refused(Buffer.from(text, 'latin1'), 'IMAGE_FORMAT'));

  it('refuses bombs of 50,000 x 50,000 by their headers', () => {
    refused(pngBomb(50_000, 50_000), 'IMAGE_TOO_LARGE');
    refused(jpegBomb(jpeg, 50_000, 50_000), 'IMAGE_TOO_LARGE');
    refused(jpegBomb(progressive, 50_000, 50_000), 'IMAGE_TOO_LARGE');
    refused(webpBomb(50_000, 50_000), 'IMAGE_TOO_LARGE');
  });
  it('takes the limits and nothing above', () => {
    expect(inspect(pngBomb(MAX_SIDE, 1))).toMatchObject({ width: MAX_SIDE });
    refused(pngBomb(MAX_SIDE + 1, 1), 'IMAGE_TOO_LARGE');
    expect(inspect(pngBomb(6000, MAX_PIXELS / 6000))).toMatchObject({ width: 6000 });
    refused(pngBomb(6000, MAX_PIXELS / 6000 + 1), 'IMAGE_TOO_LARGE');
  });
  it('refuses pictures without pixels', () => {
    refused(pngBomb(0, 10), 'IMAGE_CORRUPT');
    refused(jpegBomb(jpeg, 10, 0), 'IMAGE_CORRUPT');
  });
  it('refuses polyglots: anything after the end of the picture', () => {
    for (const picture of Object.values(all())) {
      refused(Buffer.concat([picture, Buffer.from([0])]), 'IMAGE_TRAILING');
      refused(Buffer.concat([picture, Buffer.from('PK\x03\x04 a zip archive')]), 'IMAGE_TRAILING');
    }
  });
  it('refuses animations and several frames', () => {
    refused(webpBomb(10, 10, 0x02), 'IMAGE_FRAMES');
    const apng = Buffer.concat([png.subarray(0, 33), pngChunk('acTL', Buffer.alloc(8)), png.subarray(33)]);
    refused(apng, 'IMAGE_FRAMES');
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0, 0x00]));
    const length = jpeg.readUInt16BE(frame + 2) + 2;
    refused(Buffer.concat([jpeg.subarray(0, frame + length), jpeg.subarray(frame, frame + length), jpeg.subarray(frame + length)]), 'IMAGE_FRAMES');
  });
  it('refuses a picture of another size than its canvas', () => {
    const body = webp.subarray(12); // one VP8 chunk of 40 x 30
    const extended = (width: number) => {
      const out = Buffer.concat([webpBomb(width, 30).subarray(0, 30), body]);
      out.writeUInt32LE(out.length - 8, 4);
      return out;
    };
    expect(inspect(extended(40))).toEqual({ format: 'webp', width: 40, height: 30 });
    refused(extended(41), 'IMAGE_CORRUPT');
  });
  it('refuses every proper prefix of a picture', () => {
    for (const picture of Object.values(all())) {
      for (let length = 0; length < picture.length; length++) expect(() => inspect(picture.subarray(0, length)), `${length}`).toThrow(WorkRejected);
      refused(picture.subarray(0, picture.length - 1), 'IMAGE_TRUNCATED');
      refused(picture.subarray(0, picture.length >> 1), 'IMAGE_TRUNCATED');
    }
  });
  it('answers anything with a picture or a code, quickly', () => {
    const answer = (data: Uint8Array) => {
      try {
        const found = inspect(data);
        expect(found.width * found.height).toBeLessThanOrEqual(MAX_PIXELS);
      } catch (error) {
        expect(isRejectionCode((error as WorkRejected).code), String(error)).toBe(true);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('', 'RIFF\xff\x00\x00\x00WEBP', '\xff\xd8\xff', '\x89PNG\r\n\x1a\n'), (tail, head) => answer(Buffer.concat([Buffer.from(head, 'latin1'), tail]))), { numRuns: 500 });
    fc.assert(fc.property(fc.constantFrom('jpeg' as const, 'progressive' as const, 'png' as const, 'webp' as const, 'lossless' as const), fc.nat(), fc.nat(255), (name, at, value) => {
      const altered = Buffer.from(all()[name]);
      altered[at % altered.length] = value;
      answer(altered);
    }), { numRuns: 1000 });
  });
});
