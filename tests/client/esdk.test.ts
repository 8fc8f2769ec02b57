import { beforeAll, describe, expect, it } from 'vitest';
import { bytes, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { checkDataKey, parseMessage } from '../../workloads/protocol/message.ts';
import { openMessage } from '../../workloads/protocol/message-body.ts';
import { unwrapDataKey } from '../../workloads/protocol/wrap.ts';
import { codesOf } from '../protocol/refusals.ts';
import { context, privateKeys, rsaTenantKey, tenantKey } from '../protocol/samples.ts';

const keyOf = (id: string) => privateKeys[id];
const opened = async (message: Uint8Array) => openMessage(parseMessage(message), (await unwrapDataKey(parseMessage(message), keyOf)).dataKey);
let encryptInBrowser: typeof encryptMessage;

beforeAll(async () => {
  // client-browser looks for WebCrypto on `window`.
  Object.assign(globalThis, { window: globalThis });
  ({ encryptMessage: encryptInBrowser } = await import('../../workloads/client/esdk-browser.ts'));
});

describe('messages', () => {
  it('come back whole: Node to Node', async () => {
    for (const size of [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 3_000_000]) {
      const picture = new Uint8Array(size).fill(7);
      expect(Buffer.compare(await opened(await encryptMessage(picture, context(), tenantKey)), picture)).toBe(0);
    }
  });

  it('come back whole: browser build to Node, a view into a larger buffer included', async () => {
    for (const size of [0, 10, 1024 * 1024 + 1]) {
      const picture = bytes(randomBytes(64)).subarray(3, 3 + Math.min(size, 50));
      expect(await opened(await encryptInBrowser(picture, context(), tenantKey))).toEqual(bytes(picture));
      const large = new Uint8Array(size).fill(9);
      expect(Buffer.compare(await opened(await encryptInBrowser(large, context(), tenantKey)), large)).toBe(0);
    }
  });

  it('of both builds have the same form, and keys of their own', async () => {
    const [a, b, c] = [await encryptMessage(utf8('x'), context(), tenantKey), await encryptInBrowser(utf8('x'), context(), tenantKey), await encryptMessage(utf8('x'), context(), tenantKey)];
    const [pa, pb, pc] = [parseMessage(a), parseMessage(b), parseMessage(c)];
    expect(pb.context).toEqual(pa.context);
    expect([pb.frameLength, pb.wraps.length, pb.wraps[0]?.providerId, b.length]).toEqual([pa.frameLength, pa.wraps.length, pa.wraps[0]?.providerId, a.length]);
    const keys = await Promise.all([pa, pb, pc].map(async (p) => Buffer.from((await unwrapDataKey(p, keyOf)).dataKey).toString('hex')));
    expect(new Set(keys).size).toBe(3);
    await checkDataKey(pb, (await unwrapDataKey(pb, keyOf)).dataKey);
  });

  it('do not hold the plaintext', async () => {
    const canary = utf8('a very particular picture of a cat');
    for (const encrypt of [encryptMessage, encryptInBrowser]) expect(Buffer.from(await encrypt(canary, context(), tenantKey)).includes(Buffer.from(canary))).toBe(false);
  });

  it('are made for active X-Wing keys only', async () => {
    expect(await codesOf(() => encryptMessage(utf8('x'), context(), rsaTenantKey))).toEqual(['KEY_STATE']);
    for (const state of ['pending', 'retiring', 'retired'] as const) {
      expect(await codesOf(() => encryptMessage(utf8('x'), context(), { ...tenantKey, state }))).toEqual(['KEY_STATE']);
      expect(await codesOf(() => encryptInBrowser(utf8('x'), context(), { ...tenantKey, state }))).toEqual(['KEY_STATE']);
    }
  });
});
