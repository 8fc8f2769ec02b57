/**
 * Reads regular files out of a tar archive (POSIX.1-1988 ustar), as npm makes them. One header block of 512 bytes each:
 *
 *   0   name, 100 bytes         124 size, 12 bytes, octal    257 magic "ustar"
 *   148 checksum, 8, octal      156 type: '0' or NUL = file  345 prefix, 155 bytes
 */
const BLOCK = 512;

const field = (block: Buffer, at: number, length: number): string => {
  const raw = block.subarray(at, at + length);
  const end = raw.indexOf(0);
  return raw.toString('utf8', 0, end < 0 ? length : end);
};
const octal = (block: Buffer, at: number, length: number): number => {
  const text = field(block, at, length).trim();
  if (!/^[0-7]{1,11}$/.test(text)) throw new Error('tar: not an octal number');
  return Number.parseInt(text, 8);
};

/** Path to bytes (views of `archive`). @throws Error on a broken archive */
export function readTar(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + BLOCK <= archive.length;) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return files;
    const sum = header.reduce((n, byte, i) => n + (i >= 148 && i < 156 ? 0x20 : byte), 0);
    if (sum !== octal(header, 148, 8)) throw new Error('tar: wrong checksum of a header');
    const size = octal(header, 124, 12);
    const start = at + BLOCK;
    if (start + size > archive.length) throw new Error('tar: a file is cut off');
    const type = header[156];
    if (type === 0x30 || type === 0) {
      const prefix = field(header, 257, 5) === 'ustar' ? field(header, 345, 155) : '';
      const name = field(header, 0, 100);
      files.set(prefix === '' ? name : `${prefix}/${name}`, archive.subarray(start, start + size));
    }
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  throw new Error('tar: no end of archive');
}
