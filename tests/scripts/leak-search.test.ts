import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { leakSearch } from '../../scripts/cell/leak-search.ts';

const secret = randomBytes(50_000);
const search = leakSearch(secret);
const around = (middle: Uint8Array) => Buffer.concat([randomBytes(10_001), middle, randomBytes(9_999)]);

describe('leak search', () => {
  it('knows every window of the plaintext', () => expect(search.windows).toBe(50_000 - 31));
  it('finds nothing in noise', () => expect(search.search(randomBytes(1_000_000))).toBeUndefined());

  for (const [encoding, encode] of Object.entries({
    raw: (b: Buffer) => b,
    hex: (b: Buffer) => Buffer.from(b.toString('hex')),
    base64: (b: Buffer) => Buffer.from(b.toString('base64')),
    base64url: (b: Buffer) => Buffer.from(b.toString('base64url')),
  })) {
    for (const offset of [0, 1, 2, 3, 12_345]) {
      it(`finds 36 bytes from offset ${offset} as ${encoding}`, () => {
        const hit = search.search(around(encode(Buffer.from(secret.subarray(offset, offset + 36)))));
        expect(hit?.encoding).toContain(encoding === 'base64url' ? 'base64' : encoding);
      });
    }
  }

  it('finds exactly one window and not one byte less', () => {
    expect(search.search(around(secret.subarray(777, 777 + 32)))?.encoding).toBe('raw');
    expect(search.search(around(secret.subarray(777, 777 + 31)))).toBeUndefined();
  });

  it('ignores windows with few distinct bytes', () => {
    const quiet = leakSearch(new Uint8Array(1000));
    expect(quiet.windows).toBe(0);
    expect(quiet.search(new Uint8Array(1000))).toBeUndefined();
  });
});
