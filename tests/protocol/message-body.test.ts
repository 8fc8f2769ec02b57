import { createCipheriv } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytes, concat, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { contentKey, parseMessage } from '../../workloads/protocol/message.ts';
import { openMessage } from '../../workloads/protocol/message-body.ts';
import { usePrimitives, webPrimitives } from '../../workloads/protocol/primitives.ts';
import { nativePrimitives } from '../../workloads/protocol/primitives-native.ts';
import { unwrapDataKey } from '../../workloads/protocol/wrap.ts';
import { codesOf } from './refusals.ts';
import { context, privateKeys, stockMessage, tenantKey } from './samples.ts';
import { sdkDecrypt } from './sdk-decrypt.ts';

const dataKeyOf = async (message: Uint8Array) => (await unwrapDataKey(parseMessage(message), (id) => privateKeys[id])).dataKey;
const flip = (data: Uint8Array, at: number, bit: number) => { const out = bytes(data); out[at]! ^= 1 << bit; return out; };

/** Hex of the plaintext, or that there is none. Anything but a refusal is thrown. */
const ours = async (message: Uint8Array, dataKey: Uint8Array): Promise<string> => {
  try {
    return Buffer.from(await openMessage(parseMessage(message), dataKey)).toString('hex');
  } catch (error) {
    if (error instanceof Refusal) return 'refused';
    throw error;
  }
};
const sdks = (message: Uint8Array, dataKey: Uint8Array): Promise<string> => sdkDecrypt(message, dataKey).then((plain) => Buffer.from(plain).toString('hex'), () => 'refused');

const FRAME = 4;
const plaintext = utf8('ten bytes.');
/** Two whole frames and one of two bytes. */
const small = await stockMessage(plaintext, { frameLength: FRAME });
const smallKey = await dataKeyOf(small);
const parsedSmall = parseMessage(small);
const frameKey = await contentKey(parsedSmall, smallKey);

interface Made { readonly sequence: number; readonly last: boolean; readonly length: number; readonly iv?: number; /** What its tag says it is. */ readonly as?: Partial<Pick<Made, 'sequence' | 'last' | 'length'>> }

/** A frame as somebody makes it who has the data key, which the sender of a message has. */
function made(frame: Made, messageId: Uint8Array = parsedSmall.messageId): Uint8Array {
  const { sequence, last, length, iv = sequence } = frame;
  const says = { ...frame, ...frame.as };
  const u32 = (n: number) => { const out = Buffer.alloc(4); out.writeUInt32BE(n); return out; };
  const nonce = Buffer.concat([Buffer.alloc(8), u32(iv)]);
  const cipher = createCipheriv('aes-256-gcm', frameKey, nonce, { authTagLength: 16 });
  cipher.setAAD(Buffer.concat([messageId, Buffer.from(says.last ? 'AWSKMSEncryptionClient Final Frame' : 'AWSKMSEncryptionClient Frame'), u32(says.sequence), u32(0), u32(says.length)]));
  const ciphertext = Buffer.concat([cipher.update(Buffer.alloc(length, 0x61)), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat(last ? [u32(0xffff_ffff), u32(sequence), nonce, u32(length), ciphertext] : [u32(sequence), nonce, ciphertext]);
}
const withBody = (...frames: Uint8Array[]) => concat(parsedSmall.header, ...frames);

describe.each([['WebCrypto', webPrimitives], ['Node', nativePrimitives]] as const)('a message opened with the primitives of %s', (_, primitives) => {
  beforeAll(() => usePrimitives(primitives));
  afterAll(() => usePrimitives(webPrimitives));

  it('is what the SDK opens, in frames of any length', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 70 }), async (plain, frameLength) => {
      const message = await stockMessage(plain, { frameLength });
      const dataKey = await dataKeyOf(message);
      const before = bytes(dataKey);
      expect(await openMessage(parseMessage(message), dataKey)).toEqual(bytes(plain));
      expect(await sdkDecrypt(message, dataKey)).toEqual(bytes(plain));
      expect(dataKey).toEqual(before);
    }), { numRuns: 25 });
  });

  it('is what our client encrypted, around the length of its frames', async () => {
    for (const size of [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1]) {
      const picture = new Uint8Array(size).fill(7);
      const message = await encryptMessage(picture, context(), tenantKey);
      expect(Buffer.compare(await openMessage(parseMessage(message), await dataKeyOf(message)), picture)).toBe(0);
    }
  });

  it('is refused with any bit of the body flipped, as the SDK does', async () => {
    expect([await ours(small, smallKey), await sdks(small, smallKey)]).toEqual(Array(2).fill(Buffer.from(plaintext).toString('hex')));
    for (let at = parsedSmall.header.length; at < small.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const altered = flip(small, at, bit);
        const [mine, theirs] = [await ours(altered, smallKey), primitives === nativePrimitives ? await sdks(altered, smallKey) : 'refused'];
        expect({ at, bit, mine, theirs }).toEqual({ at, bit, mine: 'refused', theirs: 'refused' });
      }
    }
  });

  it('is refused with any bit of the header flipped, as the SDK does', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(parsedSmall.header.length - 1), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
      const altered = flip(small, at, bit);
      expect([await ours(altered, smallKey), await sdks(altered, smallKey)]).toEqual(['refused', 'refused']);
    }), { numRuns: 150 });
  });

  it('names what was wrong', async () => {
    const message = await encryptMessage(plaintext, context(), tenantKey);
    const [parsed, dataKey] = [parseMessage(message), await dataKeyOf(message)];
    expect(await codesOf(() => openMessage(parsed, randomBytes(32)))).toEqual(['MESSAGE_COMMITMENT']);
    expect(await codesOf(() => openMessage({ ...parsed, header: flip(parsed.header, 60, 0) }, dataKey))).toEqual(['MESSAGE_HEADER_TAG']);
    for (const fromEnd of [1, 16, 17]) expect(await codesOf(() => openMessage({ ...parsed, body: flip(parsed.body, parsed.body.length - fromEnd, 0) }, dataKey))).toEqual(['MESSAGE_BODY']);
  });

  it('lets nothing out when a later frame is wrong, and leaves no part of it', async () => {
    const given: Uint8Array[] = [];
    usePrimitives({ ...primitives, async openGcm(...args) { const opened = await primitives.openGcm(...args); given.push(opened); return opened; } });
    const bad = flip(small, small.length - 1, 0);
    expect(await codesOf(() => openMessage(parseMessage(bad), smallKey))).toEqual(['MESSAGE_BODY']);
    usePrimitives(primitives);
    // The header's, and two frames that were right.
    expect(given.map((part) => [part.length, part.every((byte) => byte === 0)])).toEqual([[0, true], [FRAME, true], [FRAME, true]]);
  });
});

describe('frames made by a sender', () => {
  beforeAll(() => usePrimitives(nativePrimitives));
  afterAll(() => usePrimitives(webPrimitives));
  const whole = (sequence: number, more: Partial<Made> = {}): Made => ({ sequence, last: false, length: FRAME, ...more });
  const last = (sequence: number, length: number, more: Partial<Made> = {}): Made => ({ sequence, last: true, length, ...more });

  it.each<[string, Made[], string]>([
    ['one last frame', [last(1, 3)], '616161'],
    ['an empty last frame alone', [last(1, 0)], ''],
    ['a last frame as long as the others', [whole(1), last(2, FRAME)], '61'.repeat(8)],
    ['an empty last frame after whole ones', [whole(1), whole(2), last(3, 0)], '61'.repeat(8)],
    ['other initialization vectors than the usual', [whole(1, { iv: 77 }), last(2, 1, { iv: 78 })], '61'.repeat(5)],
    ['a last frame that was made as another', [last(1, 3, { as: { last: false } })], 'refused'],
    ['a frame that was made as the last', [whole(1, { as: { last: true } }), last(2, 1)], 'refused'],
    ['a frame that was made for another place', [whole(1, { as: { sequence: 2 } }), last(2, 1)], 'refused'],
    ['a frame of another length than it was made with', [whole(1, { as: { length: 5 } }), last(2, 1)], 'refused'],
    ['no last frame', [whole(1), whole(2)], 'refused'],
    ['a frame twice', [whole(1), whole(1), last(3, 1)], 'refused'],
    ['frames in another order', [whole(2), whole(1), last(3, 1)], 'refused'],
    ['a gap', [whole(1), last(3, 1)], 'refused'],
    ['a last frame longer than frames are', [last(1, FRAME + 1)], 'refused'],
  ])('%s', async (_, frames, verdict) => {
    const message = withBody(...frames.map((frame) => made(frame)));
    expect([await ours(message, smallKey), await sdks(message, smallKey)]).toEqual([verdict, verdict]);
  });

  it('for another message are refused', async () => {
    const message = withBody(made(last(1, 3), randomBytes(32)));
    expect([await ours(message, smallKey), await sdks(message, smallKey)]).toEqual(['refused', 'refused']);
  });

  it('after the last are refused, which the SDK does not do: what follows is authenticated by nothing', async () => {
    for (const more of [made(last(2, 1)), made(whole(2)), Uint8Array.of(0)]) {
      const message = withBody(made(last(1, 1)), more);
      expect([await ours(message, smallKey), await sdks(message, smallKey)]).toEqual(['refused', '61']);
    }
  });

  it('in any other layout are judged as the SDK judges them', async () => {
    const frame = fc.record({ sequence: fc.integer({ min: 1, max: 3 }), last: fc.boolean(), length: fc.integer({ min: 0, max: FRAME + 1 }), iv: fc.nat(3) });
    const inOrder = fc.array(frame, { minLength: 1, maxLength: 4 }).map((frames) => frames.map((f, i): Made => ({ ...f, sequence: i + 1, last: i === frames.length - 1, length: i === frames.length - 1 ? f.length : FRAME })));
    let opened = 0;
    await fc.assert(fc.asyncProperty(fc.oneof(inOrder, fc.array(frame, { maxLength: 4 }).filter((frames) => !frames.slice(0, -1).some((f) => f.last))), async (frames) => {
      const message = withBody(...frames.map((f) => made(f)));
      const mine = await ours(message, smallKey);
      expect(mine).toBe(await sdks(message, smallKey));
      if (mine !== 'refused') opened++;
    }), { numRuns: 200 });
    expect(opened).toBeGreaterThan(20);
  });
});
