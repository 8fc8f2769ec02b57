/**
 * The NSM's device. A double of the module speaks its CBOR: through the ioctl's memory (addresses and lengths as the kernel gets them), and through a
 * socket; the real ioctl is called on a file that is none of the module's.
 */
import { connect, createServer } from 'node:net';
import { decode, encode } from 'cborg';
import koffi from 'koffi';
import { afterAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex } from '../../attestation/bytes.ts';
import { NSM_IOCTL_RAW, nsmMessage, openNsm } from '../../attestation/devices/nsm-device.ts';
import { nitroAttester } from '../../attestation/platforms/aws-nitro/attest.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { BINDING, evidence, EXPECT, filled, refused, type World, world } from '../attestation/support.ts';

const u32 = (n: number): Bytes => { const out = new Uint8Array(4); new DataView(out.buffer).setUint32(0, n); return out; };

/** One request of the module: a document that holds exactly what was asked for, or its error. */
async function answer(request: Bytes, w: World): Promise<Bytes> {
  try {
    const asked = (decode(request, { useMaps: true }) as Map<string, unknown>).get('Attestation') as Map<string, Bytes | null>;
    const [userData, nonce, publicKey] = ['user_data', 'nonce', 'public_key'].map((k) => bytes(asked.get(k) as Bytes)) as [Bytes, Bytes, Bytes];
    if ([userData, nonce].some((b) => b.length > 512) || publicKey.length > 1024) return bytes(encode({ Error: 'InputTooLarge' }));
    return bytes(encode({ Attestation: { document: (await evidence(w, { userData, nonce, publicKey })).document } }));
  } catch {
    return bytes(encode({ Error: 'InvalidOperation' }));
  }
}

test('the ioctl\'s number and argument are those of linux/nsm.h', () => {
  expect(NSM_IOCTL_RAW).toBe(((3 << 30) | (32 << 16) | (0x0a << 8) | 0) >>> 0);
  expect(hex(nsmMessage(0x1122334455667788n, 0x1000, 2n, 0x3000))).toBe('8877665544332211' + '0010000000000000' + '0200000000000000' + '0030000000000000');
});

describe('the device', () => {
  test('request and response go through the memory that the argument points to', async () => {
    const w = await world();
    const requests: Bytes[] = [];
    let reply = bytes(encode({ Error: 'InternalError' }));
    const device = await openNsm('/dev/null', (_, number, argument) => {
      expect(number).toBe(NSM_IOCTL_RAW);
      const view = new DataView(argument.buffer, argument.byteOffset);
      const [from, length, to, room] = [0, 8, 16, 24].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint, bigint];
      expect(room).toBe(0x3000n);
      requests.push(bytes(koffi.decode(from, koffi.array('uint8_t', Number(length))) as Uint8Array));
      koffi.encode(to, koffi.array('uint8_t', reply.length), reply);
      view.setBigUint64(24, BigInt(reply.length), true);
      return 0;
    });
    const attester = nitroAttester(device.exchange);
    await refused(attester.attest({ binding: BINDING }), 'ATTESTER_FAILED');
    // The module answers what the driver was given, byte for byte
    reply = await answer(requests[0] as Bytes, w);
    const claims = await awsNitro.verify(await attester.attest({ binding: BINDING }), EXPECT, w.trust);
    expect(claims.platform).toBe('aws-nitro');
    expect(requests.map(hex)).toEqual([hex(requests[0] as Bytes), hex(requests[0] as Bytes)]);
    await refused(device.exchange(filled(0x1001, 1)), 'ATTESTER_FAILED');
    device.close();
    device.close();
    await refused(device.exchange(filled(1, 1)), 'ATTESTER_FAILED');
  });

  test.each([0, 0x3001, 2 ** 40])('a response that says %i bytes is none', async (length) => {
    const device = await openNsm('/dev/null', (_, __, argument) => { new DataView(argument.buffer).setBigUint64(24, BigInt(length), true); return 0; });
    await refused(device.exchange(filled(1, 1)), 'ATTESTER_FAILED');
    device.close();
  });

  test('the real ioctl on a file that is none of the module\'s; no device at all', async () => {
    const device = await openNsm('/dev/null');
    const refusal = await refused(nitroAttester(device.exchange).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    expect(refusal.reasons[0]?.have).toBe('errno 25');
    device.close();
    await refused(openNsm('/nowhere/nsm'), 'ATTESTER_ABSENT');
  });
});

describe('a module behind a socket', () => {
  const server = createServer((socket) => {
    let data = new Uint8Array();
    socket.on('data', (part: Buffer) => {
      data = concat(data, part);
      const size = data.length < 4 ? Number.NaN : new DataView(data.buffer).getUint32(0);
      if (data.length !== 4 + size) return;
      void current.then((w) => answer(data.slice(4), w)).then((r) => { socket.end(concat(u32(r.length), r)); });
    });
  });
  const current = world();
  afterAll(() => { server.close(); });

  test('each challenge gets its document; what is too long is the module\'s error', async () => {
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address() as { port: number };
    const exchange = (request: Bytes): Promise<Bytes> => new Promise((resolve, reject) => {
      const parts: Uint8Array[] = [];
      const socket = connect(port, '127.0.0.1', () => { socket.write(concat(u32(request.length), request)); });
      socket.on('data', (p: Buffer) => { parts.push(p); }).on('error', reject).on('end', () => { resolve(concat(...parts).slice(4)); });
    });
    const { trust } = await current;
    const attester = nitroAttester(exchange);
    for (const nonce of [filled(32, 2), filled(32, 8)]) {
      const binding = { ...BINDING, nonce };
      await awsNitro.verify(await attester.attest({ binding }), { ...EXPECT, binding }, trust);
      await refused(awsNitro.verify(await attester.attest({ binding }), { ...EXPECT, binding: { ...binding, role: 'broker' } }, trust), 'BINDING_MISMATCH');
    }
    expect(decode(await exchange(bytes(encode({ Attestation: { user_data: filled(513, 1), nonce: filled(1, 1), public_key: filled(1, 1) } }))))).toEqual({ Error: 'InputTooLarge' });
    await refused(nitroAttester((request) => exchange(request.slice(0, 5))).attest({ binding: BINDING }), 'ATTESTER_FAILED');
  });
});
