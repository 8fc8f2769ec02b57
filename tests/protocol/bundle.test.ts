import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { type Bundled, bundleHead, bundleLimit, unbundle } from '../../workloads/protocol/bundle.ts';

const part = (one: Bundled): Uint8Array => {
  const data = 'code' in one ? utf8(one.code) : one.message;
  return concat(bundleHead('code' in one ? 'code' : 'message', data.length), data);
};
const one = fc.oneof(fc.uint8Array({ maxLength: 80 }).map((message): Bundled => ({ message: bytes(message) })), fc.constantFrom('LEASE_STALE', 'NO').map((code): Bundled => ({ code })));

describe('messages of several jobs', () => {
  it('come back as they were, within the limit', () => {
    fc.assert(fc.property(fc.array(one, { maxLength: 5 }), (some) => {
      const data = concat(...some.map(part));
      expect(unbundle(data, some.length)).toEqual(some);
      expect(data.length).toBeLessThanOrEqual(bundleLimit(some.map((each) => ('code' in each ? 0 : each.message.length))));
    }));
  });

  it('are refused cut anywhere, with a byte too many, or for another number of jobs', () => {
    const data = concat(part({ message: utf8('abc') }), part({ code: 'LEASE_STALE' }));
    for (let length = 0; length < data.length; length++) expect(() => unbundle(data.slice(0, length), 2)).toThrow(RangeError);
    expect(() => unbundle(concat(data, bytes([0])), 2)).toThrow(RangeError);
    for (const count of [0, 1, 3]) expect(() => unbundle(data, count)).toThrow(RangeError);
  });

  it('are refused with anything but a message or a code', () => {
    expect(() => unbundle(concat(bytes([2, 0, 0, 0, 1]), utf8('A')), 1)).toThrow(RangeError);
    for (const code of ['', 'A', 'lower', 'A B', `A${'B'.repeat(64)}`]) expect(() => unbundle(concat(bundleHead('code', code.length), utf8(code)), 1)).toThrow(RangeError);
    expect(() => unbundle(bytes([0, 255, 255, 255, 255, 1]), 1)).toThrow(RangeError);
  });
});
