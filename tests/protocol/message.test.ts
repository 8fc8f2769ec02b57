import { createRequire } from 'node:module';
import { AlgorithmSuiteIdentifier } from '@aws-crypto/client-node';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, concat, text, utf8 } from '../../attestation/bytes.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { checkDataKey, MAX_FRAME, parseHeader, parseMessage } from '../../workloads/protocol/message.ts';
import { unwrapDataKey } from '../../workloads/protocol/wrap.ts';
import { codesOf } from './refusals.ts';
import { context, privateKeys, stockMessage, tenantKey } from './samples.ts';

// The SDK's own parser, from the copy that client-node uses.
const sdkRequire = createRequire(createRequire(import.meta.url).resolve('@aws-crypto/client-node'));
const { deserializeFactory } = sdkRequire('@aws-crypto/serialize');
const { NodeAlgorithmSuite } = sdkRequire('@aws-crypto/material-management-node');
// Lenient text, as the SDK has it.
const { deserializeMessageHeader } = deserializeFactory((data: Uint8Array) => new TextDecoder().decode(data), NodeAlgorithmSuite);

const plaintext = utf8('the bytes of a picture, in several frames');
const ours = await encryptMessage(plaintext, context(), tenantKey);
const stock = await stockMessage(plaintext, { frameLength: 16 });
const messages = { ours, stock };
const keyOf = (id: string) => privateKeys[id];
const flip = (data: Uint8Array, at: number, bit = 0) => { const out = bytes(data); out[at]! ^= 1 << bit; return out; };

/** Splices `change` into the header's fields, for messages that no SDK would write. */
function rebuilt(change: { version?: number; suite?: number; pairs?: [string | Uint8Array, string][]; wraps?: number; contentType?: number; frameLength?: number; tail?: Uint8Array } = {}): Uint8Array {
  const u16 = (n: number) => bytes([n >> 8, n & 255]);
  const field = (value: string | Uint8Array) => { const data = typeof value === 'string' ? utf8(value) : value; return concat(u16(data.length), data); };
  const pairs = change.pairs ?? Object.entries(context()).sort(([a], [b]) => (a < b ? -1 : 1));
  const aad = pairs.length === 0 ? bytes([]) : concat(u16(pairs.length), ...pairs.flatMap(([k, v]) => [field(k), field(v)]));
  const wrap = concat(field('ccc-x-wing'), field(tenantKey.id), field(new Uint8Array(1168)));
  const wraps = change.wraps ?? 1;
  const frameLength = change.frameLength ?? 16;
  return concat(
    bytes([change.version ?? 2]), u16(change.suite ?? 0x0478), new Uint8Array(32), field(aad), u16(wraps), ...Array.from({ length: wraps }, () => wrap),
    bytes([change.contentType ?? 2]), u16(frameLength >>> 16), u16(frameLength & 0xffff), new Uint8Array(48), change.tail ?? bytes([]),
  );
}
const lastFrame = (sequence = 1, length = 4, actual = length) => concat(bytes([255, 255, 255, 255, 0, 0, 0, sequence]), new Uint8Array(12), bytes([0, 0, 0, length]), new Uint8Array(actual + 16));
const frame = (sequence: number) => concat(bytes([0, 0, 0, sequence]), new Uint8Array(12 + 16 + 16));

describe('message parser', () => {
  it.each(['ours', 'stock'] as const)('reads %s as the SDK does', (which) => {
    const message = messages[which];
    const parsed = parseMessage(message);
    const sdk = deserializeMessageHeader(message);
    expect(parsed.header).toEqual(bytes(concat(sdk.rawHeader, sdk.headerAuth.headerAuthTag)));
    expect(concat(parsed.header, parsed.body)).toEqual(message);
    expect({ ...parsed.context }).toEqual({ ...sdk.messageHeader.encryptionContext });
    expect(parsed.messageId).toEqual(bytes(sdk.messageHeader.messageId));
    expect(parsed.commitment).toEqual(bytes(sdk.messageHeader.suiteData));
    expect(parsed.frameLength).toBe(sdk.messageHeader.frameLength);
    expect(parsed.wraps.map((w) => [w.providerId, text(w.providerInfo), w.ciphertext])).toEqual(
      sdk.messageHeader.encryptedDataKeys.map((e: { providerId: string; providerInfo: string; encryptedDataKey: Uint8Array }) => [e.providerId, e.providerInfo, bytes(e.encryptedDataKey)]));
    expect(parseHeader(parsed.header)).toEqual({ ...parsed, body: undefined });
  });

  it('reads messages of any size as the SDK writes them', async () => {
    await fc.assert(fc.asyncProperty(fc.nat({ max: 200 }), fc.integer({ min: 1, max: 64 }), async (size, frameLength) => {
      const message = await stockMessage(new Uint8Array(size), { frameLength });
      expect(concat(parseMessage(message).header, parseMessage(message).body)).toEqual(message);
    }), { numRuns: 25 });
  });

  it('never crashes, and never takes what the SDK would not', () => {
    const hostile = fc.oneof(
      fc.tuple(fc.constantFrom(ours, stock), fc.nat()).map(([m, n]) => m.slice(0, n % m.length)),
      fc.tuple(fc.constantFrom(ours, stock), fc.nat(), fc.integer({ min: 0, max: 7 })).map(([m, at, bit]) => flip(m, at % m.length, bit)),
      fc.tuple(fc.constantFrom(ours, stock), fc.nat(), fc.uint8Array({ maxLength: 40 })).map(([m, at, junk]) => concat(m.subarray(0, at % m.length), junk, m.subarray(at % m.length))),
      fc.uint8Array({ maxLength: 300 }),
    );
    fc.assert(fc.property(hostile, (message) => {
      let parsed;
      try {
        parsed = parseMessage(bytes(message));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        expect(new Set(['MESSAGE_FORMAT', 'MESSAGE_SUITE', 'CONTEXT_FORMAT']).has(error.code)).toBe(true);
        return;
      }
      const sdk = deserializeMessageHeader(message);
      expect(bytes(sdk.rawHeader)).toEqual(parsed.header.subarray(0, -16));
      expect({ ...sdk.messageHeader.encryptionContext }).toEqual({ ...parsed.context });
    }), { numRuns: 1500 });
  });

  it('refuses every truncation', () => {
    for (let length = 0; length < stock.length; length += length < 100 ? 1 : 37) {
      expect(() => parseMessage(stock.slice(0, length))).toThrow(Refusal);
    }
  });

  it('takes the hand-made message that the refusals below start from', () => {
    expect(parseMessage(rebuilt({ tail: lastFrame() })).context).toEqual(context());
    expect(parseMessage(rebuilt({ tail: concat(frame(1), frame(2), lastFrame(3)) })).frameLength).toBe(16);
  });

  const sorted = Object.entries(context()).sort(([a], [b]) => (a < b ? -1 : 1)) as [string, string][];
  it.each([
    ['version 1', { version: 1 }, 'MESSAGE_SUITE'],
    ['version 3', { version: 3 }, 'MESSAGE_FORMAT'],
    ['a suite with a signature', { suite: 0x0578 }, 'MESSAGE_SUITE'],
    ['a suite without commitment', { suite: 0x0178 }, 'MESSAGE_SUITE'],
    ['unframed content', { contentType: 1 }, 'MESSAGE_FORMAT'],
    ['frames of no length', { frameLength: 0 }, 'MESSAGE_FORMAT'],
    ['frames that are too long', { frameLength: MAX_FRAME + 1 }, 'MESSAGE_FORMAT'],
    ['no wrap', { wraps: 0 }, 'MESSAGE_FORMAT'],
    ['nine wraps', { wraps: 9 }, 'MESSAGE_FORMAT'],
    ['no context', { pairs: [] }, 'CONTEXT_FORMAT'],
    ['a key missing', { pairs: sorted.slice(1) }, 'CONTEXT_FORMAT'],
    ['a key too many', { pairs: [...sorted, ['zzz', 'x']] }, 'CONTEXT_FORMAT'],
    ['a key twice', { pairs: [...sorted, sorted.at(-1)!] }, 'CONTEXT_FORMAT'],
    ['keys out of order', { pairs: [...sorted].reverse() }, 'CONTEXT_FORMAT'],
    ['the key __proto__', { pairs: [['__proto__', 'x'], ...sorted] }, 'CONTEXT_FORMAT'],
    ['a key that is not UTF-8', { pairs: [...sorted, [bytes([0xff]), 'x']] }, 'CONTEXT_FORMAT'],
    ['another purpose', { pairs: sorted.map(([k, v]) => [k, k === 'purpose' ? 'train-models' : v]) }, 'CONTEXT_FORMAT'],
    ['an upper-case job id', { pairs: sorted.map(([k, v]) => [k, k === 'job_id' ? v.toUpperCase() : v]) }, 'CONTEXT_FORMAT'],
    ['an unknown classification', { pairs: sorted.map(([k, v]) => [k, k === 'data_classification' ? 'secret' : v]) }, 'CONTEXT_FORMAT'],
    ['a short result key', { pairs: sorted.map(([k, v]) => [k, k === 'result_key' ? v.slice(4) : v]) }, 'CONTEXT_FORMAT'],
    ['no frame', { tail: bytes([]) }, 'MESSAGE_FORMAT'],
    ['no last frame', { tail: frame(1) }, 'MESSAGE_FORMAT'],
    ['frames out of sequence', { tail: concat(frame(2), lastFrame(2)) }, 'MESSAGE_FORMAT'],
    ['a last frame out of sequence', { tail: lastFrame(2) }, 'MESSAGE_FORMAT'],
    ['a last frame that is too long', { tail: lastFrame(1, 17) }, 'MESSAGE_FORMAT'],
    ['a last frame that is cut', { tail: lastFrame(1, 4, 3) }, 'MESSAGE_FORMAT'],
    ['bytes after the last frame', { tail: concat(lastFrame(), bytes([0])) }, 'MESSAGE_FORMAT'],
  ] as const)('refuses %s', async (_, change, code) => {
    expect((await codesOf(() => parseMessage(bytes(rebuilt({ tail: lastFrame(), ...change } as Parameters<typeof rebuilt>[0])))))[0]).toBe(code);
  });

  it('refuses a header with bytes after it, where a header alone is wanted', async () => {
    expect(await codesOf(() => parseHeader(ours))).toEqual(['MESSAGE_FORMAT']);
  });

  it('refuses messages of the SDK in other suites', async () => {
    for (const suiteId of [AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA256, AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384]) {
      expect(await codesOf(async () => parseMessage(await stockMessage(plaintext, { suiteId })))).toEqual(['MESSAGE_SUITE']);
    }
  });
});

describe('data key', () => {
  it.each(['ours', 'stock'] as const)('belongs to %s', async (which) => {
    const parsed = parseMessage(messages[which]);
    const { dataKey } = await unwrapDataKey(parsed, keyOf);
    await expect(checkDataKey(parsed, dataKey)).resolves.toBeUndefined();
    await expect(checkDataKey(parseHeader(parsed.header), dataKey)).resolves.toBeUndefined();
  });

  it('refuses another data key by its commitment', async () => {
    const parsed = parseMessage(ours);
    const { dataKey } = await unwrapDataKey(parsed, keyOf);
    expect(await codesOf(() => checkDataKey(parsed, flip(dataKey, 0)))).toEqual(['MESSAGE_COMMITMENT']);
    expect(await codesOf(() => checkDataKey(parsed, dataKey.slice(1)))).toEqual(['MESSAGE_COMMITMENT']);
    expect(await codesOf(() => checkDataKey({ ...parsed, messageId: flip(parsed.messageId, 0) }, dataKey))).toEqual(['MESSAGE_COMMITMENT']);
    expect(await codesOf(() => checkDataKey({ ...parsed, commitment: flip(parsed.commitment, 0) }, dataKey))).toEqual(['MESSAGE_COMMITMENT']);
  });

  it('refuses a header that was altered anywhere', async () => {
    const parsed = parseMessage(ours);
    const { dataKey } = await unwrapDataKey(parsed, keyOf);
    await fc.assert(fc.asyncProperty(fc.nat(parsed.header.length - 1), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
      expect(await codesOf(() => checkDataKey({ ...parsed, header: flip(parsed.header, at, bit) }, dataKey))).toEqual(['MESSAGE_HEADER_TAG']);
    }), { numRuns: 60 });
  });
});
