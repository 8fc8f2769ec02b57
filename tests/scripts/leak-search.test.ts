import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
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

  it('finds windows wherever they stand and however little of the rest there is, also in views that begin anywhere', () => {
    // Runs of one value inside the windows: what an index of blocks could stumble over.
    const byte = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 255 }) }, { weight: 1, arbitrary: fc.constant(0) });
    const runs = fc.array(fc.record({ byte, length: fc.integer({ min: 1, max: 12 }) }), { minLength: 12, maxLength: 40 }).map((parts) => Buffer.concat(parts.map((p) => Buffer.alloc(p.length, p.byte))));
    fc.assert(fc.property(runs, fc.integer({ min: 0, max: 40 }), fc.nat(), fc.nat(), fc.boolean(), (plain, before, from, length, hex) => {
      const start = from % plain.length;
      const part = plain.subarray(start, start + 16 + (length % 64));
      const inside = Buffer.concat([randomBytes(before), hex ? Buffer.from(part.toString('hex')) : part, randomBytes(7)]);
      // Seen naively: some 32 of its bytes with 16 values.
      const expected = Array.from({ length: Math.max(0, part.length - 31) }, (_, i) => new Set(part.subarray(i, i + 32)).size).some((values) => values >= 16);
      const view = new Uint8Array(inside.length + 3).subarray(before % 4);
      view.set(inside);
      expect(leakSearch(plain).search(view) !== undefined).toBe(expected);
    }), { numRuns: 400 });
  });

  it('ignores windows with few distinct bytes', () => {
    const quiet = leakSearch(new Uint8Array(1000));
    expect(quiet.windows).toBe(0);
    expect(quiet.search(new Uint8Array(1000))).toBeUndefined();
  });
});
