import fc from 'fast-check';
import { expect, test } from 'vitest';
import { b64u, bytes, fromB64u } from '../../attestation/bytes.ts';

test('base64url is what Node writes, and reads back', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
    const written = b64u(data);
    expect(written).toBe(Buffer.from(data).toString('base64url'));
    expect(fromB64u(written)).toEqual(bytes(data));
  }));
});

test('each value has one spelling: whatever is read is written the same', () => {
  const characters = fc.constantFrom(...'ABCwxyz0189-_AQgw+/= \né\u0141\ud83d');
  fc.assert(fc.property(fc.array(characters, { maxLength: 9 }).map((all) => all.join('')), (value) => {
    const only = /^[A-Za-z0-9_-]*$/.test(value) && value.length % 4 !== 1 && Buffer.from(value, 'base64url').toString('base64url') === value;
    if (only) expect(b64u(fromB64u(value))).toBe(value);
    else expect(() => fromB64u(value)).toThrow(RangeError);
  }), { numRuns: 2_000 });
});
