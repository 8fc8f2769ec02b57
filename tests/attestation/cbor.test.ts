import { decode, encode } from 'cborg';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, fromHex } from '../../attestation/bytes.ts';
import { type CborOptions, decodeCbor } from '../../attestation/formats/cbor.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { filled, manifest, NO_VECTORS, refused, vector } from './support.ts';

const OPTIONS: CborOptions = { path: 'test', maxBytes: 10_000 };
const read = (data: Bytes, options: Partial<CborOptions> = {}) => decodeCbor(data, { ...OPTIONS, ...options });

describe('refused', () => {
  test.each([
    ['nothing', '', 'FMT_SIZE'], ['a float', 'f93c00', 'FMT_CBOR'], ['a double', 'fb3ff8000000000000', 'FMT_CBOR'], ['undefined', 'f7', 'FMT_CBOR'], ['simple 16', 'f0', 'FMT_CBOR'],
    ['simple 32', 'f820', 'FMT_CBOR'], ['false in two bytes', 'f814', 'FMT_CBOR'], ['a tag', 'c000', 'FMT_CBOR'], ['a bignum', 'c249010000000000000000', 'FMT_CBOR'], ['24 as one byte too many', '1817', 'FMT_CBOR'],
    ['255 in two bytes', '1900ff', 'FMT_CBOR'], ['65535 in four', '1a0000ffff', 'FMT_CBOR'], ['2^32 - 1 in eight', '1b00000000ffffffff', 'FMT_CBOR'], ['2^53', '1b0020000000000000', 'FMT_CBOR'],
    ['-1 in two bytes', '3800', 'FMT_CBOR'], ['a string length too long', '5803010203', 'FMT_CBOR'], ['indefinite bytes', '5f4101ff', 'FMT_CBOR'], ['indefinite text', '7f6161ff', 'FMT_CBOR'],
    ['indefinite array', '9f01ff', 'FMT_CBOR'], ['indefinite map', 'bf0102ff', 'FMT_CBOR'], ['a break', 'ff', 'FMT_CBOR'], ['a break in an array', '82ff01', 'FMT_CBOR'], ['reserved 28', '1c', 'FMT_CBOR'],
    ['malformed UTF-8', '61ff', 'FMT_CBOR'], ['overlong UTF-8', '62c080', 'FMT_CBOR'], ['a surrogate in UTF-8', '63eda080', 'FMT_CBOR'], ['a cut head', '19', 'FMT_CBOR'], ['a cut string', '4301', 'FMT_CBOR'],
    ['an array with an item missing', '8201', 'FMT_CBOR'], ['a map with a value missing', 'a101', 'FMT_CBOR'], ['bytes as key', 'a1410101', 'FMT_CBOR'], ['array as key', 'a18001', 'FMT_CBOR'], ['null as key', 'a1f601', 'FMT_CBOR'],
    ['a key twice', 'a201010102', 'FMT_CBOR_DUPLICATE'], ['a text key twice', 'a2616101616102', 'FMT_CBOR_DUPLICATE'], ['a byte behind', '0100', 'FMT_CBOR_TRAILING'], ['2^32 - 1 items', '9affffffff', 'FMT_CBOR'],
    ['2^53 - 1 items', '9b001fffffffffffff', 'FMT_CBOR'], ['2^53 - 1 pairs', 'bb001fffffffffffff', 'FMT_CBOR'], ['five levels', '8181818180', 'FMT_CBOR_DEPTH'],
  ] as const)('%s', async (_, hex, code) => {
    await refused(() => read(fromHex(hex)), code);
  });

  test('an indefinite map anywhere but outermost, though the option is set', async () => {
    const indefiniteTopMap = true;
    expect(read(fromHex('bf0102ff'), { indefiniteTopMap })).toEqual(new Map([[1, 2]]));
    expect(read(fromHex('bfff'), { indefiniteTopMap })).toEqual(new Map());
    for (const hex of ['81bf0102ff', 'bf01bf0203ffff', 'a101bf0203ff', '9f01ff', 'bf01ff', 'bf0102', 'bf0102ffff', 'bf01029f03ffff']) {
      expect(() => read(fromHex(hex), { indefiniteTopMap }), hex).toThrow(Refusal);
    }
    await refused(() => read(fromHex('bf01020103ff'), { indefiniteTopMap }), 'FMT_CBOR_DUPLICATE');
  });

  test('size, before anything is read', async () => {
    await refused(() => read(filled(20_000_000, 0x81)), 'FMT_SIZE');
    await refused(() => read(fromHex('8101'), { maxBytes: 1 }), 'FMT_SIZE');
  });

  test('depth, at the limit and behind it', async () => {
    expect(read(fromHex('8180'), { maxDepth: 2 })).toEqual([[]]);
    await refused(() => read(fromHex('818180'), { maxDepth: 2 }), 'FMT_CBOR_DEPTH');
    await refused(() => read(concat(filled(9_000, 0x81), bytes([0]))), 'FMT_CBOR_DEPTH');
  });
});

/** Values of the accepted subset, at most three levels deep. */
const scalar = fc.oneof(fc.constant(null), fc.boolean(), fc.maxSafeInteger(), fc.string({ unit: 'grapheme' }), fc.uint8Array({ maxLength: 64 }).map((b) => bytes(b)));
const key = fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.string({ maxLength: 8, unit: 'grapheme' }));
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, scalar, fc.array(tie('value'), { maxLength: 4 }), fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((pairs) => new Map(pairs))),
}));

describe('properties', () => {
  test('what cborg wrote, both read alike', () => {
    fc.assert(fc.property(value, (v) => {
      const data = bytes(encode(v));
      expect(read(data, { maxBytes: 1e6 })).toEqual(decode(data, { useMaps: true }));
      expect(read(data, { maxBytes: 1e6 })).toEqual(v);
    }), { numRuns: 500 });
  });

  test('random bytes: a value whose encoding is these bytes, or a refusal; nothing else', () => {
    const any = fc.oneof(fc.uint8Array({ maxLength: 48 }), fc.tuple(value, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([v, at, flip]) => {
      const data = bytes(encode(v));
      const i = at % data.length;
      data[i] = (data[i] as number) ^ flip;
      return data;
    }));
    fc.assert(fc.property(any, (data) => {
      let decoded: unknown;
      try {
        decoded = read(bytes(data), { maxBytes: 1e6 });
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
        return;
      }
      // One spelling per value: encoded again, in the order received, it is the same bytes
      expect(bytes(encode(decoded, { mapSorter: () => 0 }))).toEqual(bytes(data));
    }), { numRuns: 3000 });
  });

  test('each cut of a valid item is refused', () => {
    fc.assert(fc.property(value, fc.nat(), (v, at) => {
      const data = bytes(encode(v));
      expect(() => read(data.slice(0, at % data.length), { maxBytes: 1e6 })).toThrow(Refusal);
    }), { numRuns: 500 });
  });
});

test.skipIf(NO_VECTORS)('the payloads of genuine documents, as plain cborg reads them', () => {
  const documents = manifest().filter((e) => e.kind === 'nitro-attestation-document' && e.expected === 'valid' && !e.file.includes('derived'));
  expect(documents.length).toBeGreaterThan(10);
  for (const { file } of documents) {
    const [, , payload] = decode(vector(file), { useMaps: true }) as [Uint8Array, unknown, Uint8Array];
    expect(read(bytes(payload), { indefiniteTopMap: true, maxBytes: 16_384 })).toEqual(decode(payload, { useMaps: true }));
  }
});
