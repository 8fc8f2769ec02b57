import { XWing } from '@hpke/hybridkem-x-wing';
import { afterEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../attestation/bytes.ts';
import { generateReceivingKey, openBytes, sealBytes, useKem } from '../../workloads/protocol/hpke.ts';
import { NativeXWing } from '../../workloads/protocol/xwing-native.ts';

const [library, native] = [new XWing(), new NativeXWing()];
const hex = (data: ArrayBuffer) => Buffer.from(data).toString('hex');
afterEach(() => useKem(library));

describe('X-Wing by Node\'s own primitives', () => {
  it('and by the library are the same, both ways', async () => {
    for (let i = 0; i < 8; i++) {
      const { publicKey, privateKey } = await library.generateKeyPair();
      for (const [from, to] of [[native, library], [library, native], [native, native]] as const) {
        const { enc, sharedSecret } = await from.encap({ recipientPublicKey: publicKey });
        expect(enc.byteLength).toBe(1120);
        expect(hex(await to.decap({ recipientKey: privateKey, enc }))).toBe(hex(sharedSecret));
      }
    }
  });

  it('answers altered and foreign ciphertexts as the library does (implicit rejection)', async () => {
    const { publicKey, privateKey } = await library.generateKeyPair();
    const { enc, sharedSecret } = await native.encap({ recipientPublicKey: publicKey });
    for (const at of [0, 500, 1087, 1088, 1119]) {
      const altered = enc.slice(0);
      new Uint8Array(altered)[at] = (new Uint8Array(altered)[at] as number) ^ 1;
      const [one, two] = await Promise.all([native, library].map((kem) => kem.decap({ recipientKey: privateKey, enc: altered })));
      expect(hex(one as ArrayBuffer)).toBe(hex(two as ArrayBuffer));
      expect(hex(one as ArrayBuffer)).not.toBe(hex(sharedSecret));
    }
  });

  it('refuses wrong lengths, keys out of range and points of low order', async () => {
    const { publicKey, privateKey } = await library.generateKeyPair();
    await expect(native.decap({ recipientKey: privateKey, enc: new ArrayBuffer(1119) })).rejects.toThrow();
    const raw = new Uint8Array(await library.serializePublicKey(publicKey)).slice().fill(0xff, 0, 100); // FIPS 203, 7.2: coefficients of q and more
    await expect(native.encap({ recipientPublicKey: await library.deserializePublicKey(raw) })).rejects.toThrow();
    const { enc } = await library.encap({ recipientPublicKey: publicKey });
    new Uint8Array(enc).fill(0, 1088);
    await expect(native.decap({ recipientKey: privateKey, enc })).rejects.toThrow();
  });

  it('under HPKE: what one seals the other opens, and errors are refusals', async () => {
    const key = await generateReceivingKey();
    const [info, aad, plaintext] = [utf8('info'), utf8('aad'), utf8('secret')];
    const before = await sealBytes(key.publicKey, info, aad, plaintext);
    useKem(native);
    const after = await sealBytes(key.publicKey, info, aad, plaintext);
    expect(await openBytes(key.privateKey, info, aad, before)).toEqual(plaintext);
    await expect(openBytes(key.privateKey, utf8('other'), aad, after)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(openBytes(key.privateKey, info, aad, { ...after, enc: new Uint8Array(1120) })).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(sealBytes(new Uint8Array(1216).fill(0xff), info, aad, plaintext)).rejects.toMatchObject({ code: 'FMT_FIELD' });
    const fresh = await generateReceivingKey();
    const sealed = await sealBytes(fresh.publicKey, info, aad, plaintext);
    useKem(library);
    expect(await openBytes(key.privateKey, info, aad, after)).toEqual(plaintext);
    expect(await openBytes(fresh.privateKey, info, aad, sealed)).toEqual(plaintext);
  });
});
