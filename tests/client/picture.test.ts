import * as fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { stripPicture } from '../../workloads/client/picture.ts';
import { codesOf } from '../protocol/refusals.ts';

const FORMATS = ['jpeg', 'png', 'webp'] as const;
const SECRET = 'Katzengasse 7, Vienna';
/** Sixty by forty, a gradient with a mark in one corner, so that turning it shows. */
const pixels = Buffer.from(Array.from({ length: 60 * 40 * 3 }, (_, i) => (Math.floor(i / 3) % 60 < 10 && Math.floor(i / 180) < 10 ? 250 : (i * 7) % 200)));

async function picture(format: (typeof FORMATS)[number], orientation = 1): Promise<Uint8Array> {
  const image = sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } })
    .withExif({ IFD0: { Copyright: SECRET, Make: 'CatCam' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '48/1 12/1 30/1', GPSLongitudeRef: 'E', GPSLongitude: '16/1 22/1 20/1' } })
    .withMetadata({ orientation }).withExifMerge({ IFD0: { Copyright: SECRET }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '48/1 12/1 30/1' } })
    .withIccProfile('p3').withXmp(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">${SECRET}</rdf:RDF></x:xmpmeta>`);
  return bytes(await (format === 'jpeg' ? image.jpeg() : format === 'png' ? image.png() : image.webp({ lossless: true })).toBuffer());
}
const raw = async (data: Uint8Array) => sharp(data).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
const contains = (data: Uint8Array, text: string) => Buffer.from(data).includes(text);

describe.each(FORMATS)('%s', (format) => {
  it('loses GPS, names, XMP and profile, and keeps its size', async () => {
    const before = await picture(format);
    expect([contains(before, SECRET), (await sharp(before).metadata()).exif !== undefined, (await sharp(before).metadata()).xmp !== undefined, (await sharp(before).metadata()).icc !== undefined]).toEqual([true, true, true, true]);
    const after = stripPicture(before);
    const metadata = await sharp(after.bytes).metadata();
    expect([metadata.format, metadata.width, metadata.height, metadata.exif, metadata.xmp, metadata.icc, metadata.iptc]).toEqual([format, 60, 40, undefined, undefined, undefined, undefined]);
    expect(contains(after.bytes, SECRET) || contains(after.bytes, 'GPS') || contains(after.bytes, 'CatCam')).toBe(false);
    expect(after.removed.length).toBeGreaterThan(0);
    expect((await raw(after.bytes)).info).toMatchObject({ width: 60, height: 40 });
  });

  it('without metadata stays as it is, byte for byte', async () => {
    const once = stripPicture(await picture(format));
    const twice = stripPicture(once.bytes);
    expect(twice.bytes).toEqual(once.bytes);
    expect(twice.removed).toEqual([]);
  });

  it('keeps which way is up, and nothing else of Exif', async () => {
    for (const orientation of [2, 3, 6, 8]) {
      const after = stripPicture(await picture(format, orientation));
      const metadata = await sharp(after.bytes).metadata();
      expect(metadata.orientation).toBe(orientation);
      expect((metadata.exif as Buffer).length).toBeLessThan(48);
      expect(contains(after.bytes, SECRET)).toBe(false);
      expect((await sharp(after.bytes).rotate().raw().toBuffer({ resolveWithObject: true })).info.width).toBe(orientation >= 5 ? 40 : 60);
      expect(stripPicture(after.bytes).bytes).toEqual(after.bytes);
    }
  });

  it('loses what hides behind its end', async () => {
    const clean = stripPicture(await picture(format)).bytes;
    const polyglot = concat(clean, utf8(`PK\x03\x04${SECRET}`));
    const after = stripPicture(polyglot);
    expect(after.bytes).toEqual(clean);
    expect(after.removed).toContain('bytes after the end');
  });

  it('is refused when it is cut, and never crashes when it is altered', async () => {
    const clean = stripPicture(await picture(format, 6)).bytes;
    for (let length = 0; length < clean.length; length += Math.max(1, Math.floor(clean.length / 60))) {
      expect(await codesOf(() => stripPicture(clean.slice(0, length)))).toEqual(['PICTURE_FORMAT']);
    }
    const original = await picture(format, 3);
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }), fc.nat({ max: 40 }), (changes, shift) => {
      const altered = concat(original.subarray(0, original.length - shift), utf8('x'.repeat(shift)));
      for (const [at, value] of changes) altered[at % altered.length] = value;
      try {
        expect(stripPicture(altered).bytes.length).toBeLessThanOrEqual(altered.length + 48);
      } catch (error) {
        if (!(error instanceof Refusal) || error.code !== 'PICTURE_FORMAT') throw error;
      }
    }), { numRuns: 300 });
  });
});

describe('pixels', () => {
  it('of PNG and lossless WebP are the ones that went in', async () => {
    for (const encode of [sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } }).png(), sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } }).webp({ lossless: true })]) {
      const before = bytes(await encode.withMetadata({ exif: { IFD0: { Copyright: SECRET } } }).toBuffer());
      expect(contains(before, SECRET)).toBe(true);
      expect(Buffer.compare(await sharp(stripPicture(before).bytes).raw().toBuffer(), pixels)).toBe(0);
    }
  });
  it('of JPEGs decode to the same, progressive and in CMYK too', async () => {
    const image = () => sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } });
    for (const encode of [image().jpeg({ progressive: true }), image().jpeg({ mozjpeg: true }), image().toColourspace('cmyk').jpeg()]) {
      const before = bytes(await encode.withMetadata({ exif: { IFD0: { Copyright: SECRET } } }).toBuffer());
      expect(contains(before, SECRET)).toBe(true);
      const [a, b] = [await sharp(before).raw().toBuffer(), await sharp(stripPicture(before).bytes).raw().toBuffer()];
      expect(b.length).toBe(a.length);
      const icc = (await sharp(before).metadata()).icc !== undefined;
      if (!icc || (await sharp(before).metadata()).space === 'srgb') expect(Buffer.compare(a, b)).toBe(0);
    }
  });
  it('with alpha keep it', async () => {
    const image = sharp({ create: { width: 20, height: 10, channels: 4, background: { r: 200, g: 10, b: 10, alpha: 0.5 } } }).withMetadata({ exif: { IFD0: { Copyright: SECRET } } });
    for (const encoded of [await image.clone().webp().toBuffer(), await image.clone().webp({ lossless: true }).toBuffer(), await image.clone().png({ palette: true }).toBuffer()]) {
      const after = stripPicture(bytes(encoded));
      expect(Buffer.compare(await sharp(after.bytes).ensureAlpha().raw().toBuffer(), await sharp(encoded).ensureAlpha().raw().toBuffer())).toBe(0);
      expect(contains(after.bytes, SECRET)).toBe(false);
    }
  });
});

describe('other files', () => {
  it('are refused', async () => {
    const gif = await sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } }).gif().toBuffer();
    const tiff = await sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } }).tiff().toBuffer();
    for (const data of [new Uint8Array(0), utf8('<svg/>'), utf8('GIF89a'), bytes(gif), bytes(tiff), utf8('%PDF-1.7'), new Uint8Array(100)]) {
      expect(await codesOf(() => stripPicture(data))).toEqual(['PICTURE_FORMAT']);
    }
  });
  it('such as animations are refused', async () => {
    const frames = Buffer.concat([pixels, pixels.map((v) => 255 - v)]);
    const webp = await sharp(frames, { raw: { width: 60, height: 80, channels: 3, pageHeight: 40 } }).webp().toBuffer();
    expect(await codesOf(() => stripPicture(bytes(webp)))).toEqual(['PICTURE_FORMAT']);
  });
});
