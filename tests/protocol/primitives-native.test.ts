import { Aes256Gcm, HkdfSha256 } from '@hpke/core';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { b64u, hex, sha256, useSha256, utf8 } from '../../attestation/bytes.ts';
import { generateReceivingKey, openBytes, sealBytes, useKem, useSchedule } from '../../workloads/protocol/hpke.ts';
import { primitives, usePrimitives, webPrimitives } from '../../workloads/protocol/primitives.ts';
import { NativeGcm, NativeHkdf, nativePrimitives, useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import { XWing } from '@hpke/hybridkem-x-wing';

function useLibrary(): void {
  useSha256(undefined);
  usePrimitives(webPrimitives);
  useSchedule(() => ({ kdf: new HkdfSha256(), aead: new Aes256Gcm() }));
  useKem(new XWing());
}
afterEach(useLibrary);

const data = (max = 200) => fc.uint8Array({ maxLength: max });
const exact = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
/** What came out, or that it threw. */
const outcome = async (work: () => Promise<ArrayBuffer | Uint8Array>): Promise<string> => work().then((out) => hex(new Uint8Array(out as ArrayBuffer)), () => 'threw');

describe('Node\'s own primitives give what WebCrypto gives', () => {
  it('SHA-256, small and large, and of a view into something larger', async () => {
    const inputs = [new Uint8Array(0), utf8('abc'), new Uint8Array(2 ** 20 + 1).fill(7), new Uint8Array(2 ** 20).fill(9), new Uint8Array(100).fill(3).subarray(10, 20)];
    const web = await Promise.all(inputs.map(sha256));
    let fast = 0;
    useNativeCrypto();
    expect((await Promise.all(inputs.map(sha256))).map(hex)).toEqual(web.map(hex));
    expect(hex(web[1] as Uint8Array)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'); // FIPS 180-2, B.1
    // More than a mebibyte goes to another thread.
    useSha256(() => { fast++; return new Uint8Array(32); });
    await Promise.all(inputs.map(sha256));
    expect(fast).toBe(4);
  });

  it('Ed25519: the same signatures, and the same verdict on each', async () => {
    const { publicKey, privateKey } = await nativePrimitives.generateEd25519(false);
    await expect(crypto.subtle.exportKey('pkcs8', privateKey)).rejects.toThrow();
    const stored = await nativePrimitives.generateEd25519(true);
    expect((await crypto.subtle.exportKey('jwk', stored.privateKey)).x).toBe(b64u(stored.publicKey));
    // A key that was made elsewhere.
    const other = await webPrimitives.generateEd25519(false);
    expect(hex(await nativePrimitives.signEd25519(other.privateKey, utf8('x')))).toBe(hex(await webPrimitives.signEd25519(other.privateKey, utf8('x'))));
    const verdicts = async (key: Uint8Array, signature: Uint8Array, signed: Uint8Array) => {
      const both = await Promise.all([webPrimitives, nativePrimitives].map((p) => p.verifyEd25519(key, signature, signed).catch(() => 'threw')));
      expect(both[1]).toBe(both[0]);
      return both[0];
    };
    await fc.assert(fc.asyncProperty(data(), fc.nat(63), fc.nat(31), fc.nat(7), async (signed, at, keyAt, bit) => {
      const signature = await nativePrimitives.signEd25519(privateKey, signed);
      expect(hex(signature)).toBe(hex(await webPrimitives.signEd25519(privateKey, signed)));
      expect(await verdicts(publicKey, signature, signed)).toBe(true);
      const flipped = (some: Uint8Array, i: number) => some.map((byte, j) => (j === i ? byte ^ (1 << bit) : byte));
      expect(await verdicts(publicKey, flipped(signature, at), signed)).toBe(false);
      expect(await verdicts(flipped(publicKey, keyAt), signature, signed)).not.toBe(true);
      expect(await verdicts(publicKey, signature, Uint8Array.of(...signed, 0))).toBe(false);
    }), { numRuns: 40 });
    const signature = await nativePrimitives.signEd25519(privateKey, utf8('x'));
    for (const length of [0, 63, 65]) expect(await verdicts(publicKey, new Uint8Array(length).map((_, i) => signature[i] ?? 0), utf8('x'))).toBe(false);
    for (const length of [0, 31, 33]) expect(await verdicts(new Uint8Array(length), signature, utf8('x'))).toBe('threw');
    // Points of small order, under which a signature of nothing may hold for anything: whatever WebCrypto says of them.
    for (const first of [0, 1]) for (const signed of ['x', 'y', 'z']) await verdicts(Uint8Array.of(first, ...new Uint8Array(31)), Uint8Array.of(first, ...new Uint8Array(63)), utf8(signed));
  });

  it('Ed25519: signs with nothing but a key for that', async () => {
    const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']) as CryptoKeyPair;
    const ecdsa = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
    const agreement = await crypto.subtle.generateKey('X25519', false, ['deriveBits']) as CryptoKeyPair;
    for (const key of [pair.publicKey, ecdsa.privateKey, agreement.privateKey]) {
      for (const p of [webPrimitives, nativePrimitives]) await expect(p.signEd25519(key, utf8('x'))).rejects.toThrow();
    }
  });

  it('HKDF with SHA-512', async () => {
    await fc.assert(fc.asyncProperty(data(), data(), data(), fc.integer({ min: 1, max: 200 }), async (key, salt, info, length) => {
      expect(hex(await nativePrimitives.hkdfSha512(key, salt, info, length))).toBe(hex(await webPrimitives.hkdfSha512(key, salt, info, length)));
    }), { numRuns: 50 });
  });

  it('AES-256-GCM: opens the same, and refuses the same', async () => {
    await fc.assert(fc.asyncProperty(exact(32), exact(12), data(), data(), fc.option(fc.nat()), fc.integer({ min: 0, max: 20 }), async (key, iv, aad, plaintext, flip, cut) => {
      const sealed = new Uint8Array(await new NativeGcm().createEncryptionContext(key).seal(iv, plaintext, aad));
      expect(sealed.length).toBe(plaintext.length + 16);
      if (flip !== null) sealed[flip % sealed.length] = (sealed[flip % sealed.length] as number) ^ 1;
      for (const each of [sealed, sealed.subarray(0, cut)]) {
        const native = await outcome(() => nativePrimitives.openGcm(key, iv, aad, each));
        expect(native).toBe(await outcome(() => webPrimitives.openGcm(key, iv, aad, each)));
        expect(native).toBe(flip === null && each === sealed ? hex(plaintext) : native);
        if (flip !== null || each.length < 16) expect(native).toBe('threw');
      }
    }), { numRuns: 100 });
  });

  it('the key schedule\'s HKDF', async () => {
    const [native, library] = [new NativeHkdf(), new HkdfSha256()];
    await fc.assert(fc.asyncProperty(fc.constantFrom(0, 32), data(), data(), fc.integer({ min: 1, max: 100 }), async (saltLength, ikm, info, length) => {
      const salt = new Uint8Array(saltLength).fill(5);
      const [one, two] = await Promise.all([native, library].map((kdf) => kdf.extract(salt, ikm)));
      expect(hex(new Uint8Array(one as ArrayBuffer))).toBe(hex(new Uint8Array(two as ArrayBuffer)));
      for (const call of [(kdf: HkdfSha256) => kdf.expand(one as ArrayBuffer, info, length), (kdf: HkdfSha256) => kdf.extractAndExpand(salt, ikm, info, length)]) {
        expect(await outcome(() => call(native))).toBe(await outcome(() => call(library)));
      }
    }), { numRuns: 50 });
    await expect(native.expand(new ArrayBuffer(32), new ArrayBuffer(0), 255 * 32 + 1)).rejects.toThrow();
    await expect(library.expand(new ArrayBuffer(32), new ArrayBuffer(0), 255 * 32 + 1)).rejects.toThrow();
  });

  it('HPKE: each opens what the other sealed, and neither what was altered', async () => {
    const { publicKey, privateKey } = await generateReceivingKey();
    const [info, aad, plaintext] = [utf8('info'), utf8('aad'), utf8('a data key')];
    const ways = [useLibrary, useNativeCrypto];
    for (const seals of ways) {
      for (const opens of ways) {
        seals();
        const sealed = await sealBytes(publicKey, info, aad, plaintext);
        opens();
        expect(hex(await openBytes(privateKey, info, aad, sealed))).toBe(hex(plaintext));
        for (const [i, a] of [[utf8('inf0'), aad], [info, utf8('aae')]] as const) await expect(openBytes(privateKey, i, a, sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
        const ct = sealed.ct.slice();
        ct[0] = (ct[0] as number) ^ 1;
        await expect(openBytes(privateKey, info, aad, { ...sealed, ct })).rejects.toMatchObject({ code: 'SEAL_OPEN' });
      }
    }
  });

  it('a process that says so uses them', () => {
    expect(primitives()).toBe(webPrimitives);
    useNativeCrypto();
    expect(primitives()).toBe(nativePrimitives);
  });
});
