import { Aes256Gcm, HkdfSha256 } from '@hpke/core';
import { XWing } from '@hpke/hybridkem-x-wing';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { bytes, fromHex, hex, utf8 } from '../../attestation/bytes.ts';
import { generateReceivingKey, openBytes, sealBytes, useKem } from '../../workloads/protocol/hpke.ts';
import { NativeAes256Gcm, NativeHkdf } from '../../workloads/protocol/hpke-native.ts';
import { NativeXWing } from '../../workloads/protocol/xwing-native.ts';
import { codesOf } from './refusals.ts';

const library = () => useKem(new XWing(), new HkdfSha256(), new Aes256Gcm());
const native = () => useKem(new NativeXWing(), new NativeHkdf(), new NativeAes256Gcm());
afterEach(library);

describe('HKDF and AES-GCM by Node\'s own primitives', () => {
  it('give the output of RFC 5869, appendix A.1 and A.3', async () => {
    const kdf = new NativeHkdf();
    const ikm = fromHex('0b'.repeat(22));
    const okm = await kdf.extractAndExpand(fromHex('000102030405060708090a0b0c'), ikm, fromHex('f0f1f2f3f4f5f6f7f8f9'), 42);
    expect(hex(bytes(okm))).toBe('3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865');
    expect(hex(bytes(await kdf.extractAndExpand(bytes([]), ikm, bytes([]), 42)))).toBe('8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8');
    expect(hex(bytes(await kdf.expand(await kdf.extract(bytes([]), ikm), bytes([]), 42)))).toBe('8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8');
  });

  it('and the library open what the other sealed', async () => {
    const { publicKey, privateKey } = await generateReceivingKey();
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 80 }), async (plaintext, info, aad) => {
      for (const [from, to] of [[native, library], [library, native], [native, native]] as const) {
        from();
        const sealed = await sealBytes(publicKey, info, aad, plaintext);
        to();
        expect(await openBytes(privateKey, info, aad, sealed)).toEqual(bytes(plaintext));
      }
    }), { numRuns: 12 });
  });

  it('refuse an altered tag, text, AAD and info', async () => {
    native();
    const { publicKey, privateKey } = await generateReceivingKey();
    const sealed = await sealBytes(publicKey, utf8('info'), utf8('aad'), utf8('plaintext'));
    for (const at of [0, 8, 9, 24]) {
      const ct = bytes(sealed.ct);
      ct[at] = (ct[at] as number) ^ 1;
      expect(await codesOf(() => openBytes(privateKey, utf8('info'), utf8('aad'), { ...sealed, ct }))).toEqual(['SEAL_OPEN']);
    }
    expect(await codesOf(() => openBytes(privateKey, utf8('info'), utf8('other'), sealed))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openBytes(privateKey, utf8('other'), utf8('aad'), sealed))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openBytes(privateKey, utf8('info'), utf8('aad'), { ...sealed, ct: sealed.ct.slice(0, 15) }))).toEqual(['SEAL_OPEN']);
    expect(await openBytes(privateKey, utf8('info'), utf8('aad'), sealed)).toEqual(utf8('plaintext'));
  });
});
