/** Small pictures and hostile files, made on the spot. */
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';

/** A picture that is no flat colour, so that decoders have something to do. */
export function gradient(width: number, height: number): Sharp {
  const data = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set([i % 256, Math.floor(i / width) % 256, (i * 7) % 256], 3 * i);
  return sharp(data, { raw: { width, height, channels: 3 } });
}

export function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  out.set(body, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}
const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');

/** A PNG header that claims a size, then nothing worth it. */
export function pngBomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([PNG_SIGNATURE, pngChunk('IHDR', header), pngChunk('IDAT', Buffer.alloc(16)), pngChunk('IEND', Buffer.alloc(0))]);
}

/** Sets the dimensions in a JPEG's start of frame. */
export function jpegBomb(jpeg: Buffer, width: number, height: number): Buffer {
  const out = Buffer.from(jpeg);
  const at = [0xc0, 0xc1, 0xc2].map((marker) => out.indexOf(Buffer.from([0xff, marker, 0x00]))).find((found) => found > 0) as number;
  out.writeUInt16BE(height, at + 5);
  out.writeUInt16BE(width, at + 7);
  return out;
}

function riff(...chunks: Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from('WEBP'), ...chunks]);
  const head = Buffer.alloc(8);
  head.write('RIFF');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}
export function webpChunk(type: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(type);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length & 1)]);
}
/** A WebP whose canvas claims a size. */
export function webpBomb(width: number, height: number, flags = 0): Buffer {
  const canvas = Buffer.alloc(10);
  canvas[0] = flags;
  canvas.writeUIntLE(width - 1, 4, 3);
  canvas.writeUIntLE(height - 1, 7, 3);
  return riff(webpChunk('VP8X', canvas), webpChunk('VP8 ', Buffer.alloc(32)));
}
