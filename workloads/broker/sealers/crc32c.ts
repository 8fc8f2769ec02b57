/** CRC-32C (Castagnoli; RFC 3720, appendix B.4), which Google's key service checks its messages by: of damage on the way, not of malice. */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = (n & 1) !== 0 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1;
  return n >>> 0;
});

/** 0 to 2^32 - 1. */
export const crc32c = (data: Uint8Array): number => (data.reduce((crc, byte) => (TABLE[(crc ^ byte) & 255] as number) ^ (crc >>> 8), 0xffff_ffff) ^ 0xffff_ffff) >>> 0;
