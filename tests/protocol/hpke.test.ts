import { createHash, createPrivateKey, createPublicKey, decapsulate, diffieHellman } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, concat, fromB64u, utf8 } from '../../attestation/bytes.ts';
import { generateReceivingKey, open, openBytes, seal, sealBytes } from '../../workloads/protocol/hpke.ts';
import { releaseInfo, resultInfo, wrapInfo } from '../../workloads/protocol/labels.ts';
import { codesOf } from './refusals.ts';

const none = new Uint8Array();
const keys = await generateReceivingKey();

/** HPKE (RFC 9180, section 5.1, mode_base) and X-Wing (draft-connolly-cfrg-xwing-kem-06, section 5.4) once more, on OpenSSL's primitives. */
async function openIndependently(seed: Uint8Array, info: Uint8Array, aad: Uint8Array, enc: Uint8Array, ct: Uint8Array): Promise<Uint8Array> {
  const expanded = createHash('shake256', { outputLength: 96 }).update(seed).digest();
  const mlKem = createPrivateKey({ key: Buffer.concat([Buffer.from('3054020100300b0609608648016503040402' + '0442' + '8040', 'hex'), expanded.subarray(0, 64)]), format: 'der', type: 'pkcs8' });
  const x25519 = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), expanded.subarray(64)]), format: 'der', type: 'pkcs8' });
  const publicX = createPublicKey(x25519).export({ format: 'der', type: 'spki' }).subarray(-32);
  const ctX = enc.subarray(1088);
  const ssM = decapsulate(mlKem, enc.subarray(0, 1088));
  const ssX = diffieHellman({ privateKey: x25519, publicKey: createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), ctX]), format: 'der', type: 'spki' }) });
  const secret = createHash('sha3-256').update(ssM).update(ssX).update(ctX).update(publicX).update('\\.//^\\').digest();

  const suiteId = concat(utf8('HPKE'), bytes([0x64, 0x7a, 0x00, 0x01, 0x00, 0x02]));
  const hmac = async (key: Uint8Array, data: Uint8Array) =>
    bytes(await crypto.subtle.sign('HMAC', await crypto.subtle.importKey('raw', key.length === 0 ? new Uint8Array(32) : bytes(key), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']), bytes(data)));
  const extract = (salt: Uint8Array, label: string, ikm: Uint8Array) => hmac(salt, concat(utf8('HPKE-v1'), suiteId, utf8(label), ikm));
  const expand = async (prk: Uint8Array, label: string, data: Uint8Array, length: number) =>
    (await hmac(prk, concat(bytes([length >> 8, length & 255]), utf8('HPKE-v1'), suiteId, utf8(label), data, bytes([1])))).subarray(0, length);
  const context = concat(bytes([0]), await extract(none, 'psk_id_hash', none), await extract(none, 'info_hash', info));
  const prk = await extract(secret, 'secret', none);
  const key = await crypto.subtle.importKey('raw', bytes(await expand(prk, 'key', context, 32)), 'AES-GCM', false, ['decrypt']);
  const iv = bytes(await expand(prk, 'base_nonce', context, 12));
  return bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData: bytes(aad) }, key, bytes(ct)));
}

describe('HPKE with X-Wing', () => {
  it('has the lengths of the suite', async () => {
    const sealed = await sealBytes(keys.publicKey, none, none, new Uint8Array(32));
    expect([keys.publicKey.length, keys.privateKey.length, sealed.enc.length, sealed.ct.length]).toEqual([1216, 32, 1120, 48]);
  });

  it('opens what was sealed, whatever it was', async () => {
    const short = fc.uint8Array({ maxLength: 64 });
    await fc.assert(fc.asyncProperty(short, short, fc.uint8Array({ maxLength: 2000 }), async (info, aad, plaintext) => {
      expect(await open(keys.privateKey, info, aad, await seal(keys.publicKey, info, aad, plaintext))).toEqual(bytes(plaintext));
    }), { numRuns: 20 });
  });

  it('is opened by an independent implementation on OpenSSL', async () => {
    const [info, aad, plaintext] = [resultInfo(), utf8('acme/job'), utf8('three cats')];
    const { enc, ct } = await sealBytes(keys.publicKey, info, aad, plaintext);
    expect(bytes(await openIndependently(keys.privateKey, info, aad, enc, ct))).toEqual(plaintext);
  });

  it('never seals the same twice', async () => {
    const [a, b] = [await seal(keys.publicKey, none, none, none), await seal(keys.publicKey, none, none, none)];
    expect(a.enc).not.toBe(b.enc);
    expect(a.ct).not.toBe(b.ct);
  });

  it('refuses another key, info, AAD, and any altered bit', async () => {
    const [info, aad] = [wrapInfo('acme.x-wing.1'), utf8('aad')];
    const sealed = await sealBytes(keys.publicKey, info, aad, utf8('secret'));
    const other = await generateReceivingKey();
    expect(await codesOf(() => openBytes(other.privateKey, info, aad, sealed))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openBytes(keys.privateKey, wrapInfo('acme.x-wing.2'), aad, sealed))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openBytes(keys.privateKey, info, utf8('aae'), sealed))).toEqual(['SEAL_OPEN']);
    await fc.assert(fc.asyncProperty(fc.constantFrom('enc' as const, 'ct' as const), fc.nat(), fc.integer({ min: 0, max: 7 }), async (part, at, bit) => {
      const altered = { enc: bytes(sealed.enc), ct: bytes(sealed.ct) };
      const target = altered[part];
      target[at % target.length]! ^= 1 << bit;
      expect(await codesOf(() => openBytes(keys.privateKey, info, aad, altered))).toEqual(['SEAL_OPEN']);
    }), { numRuns: 40 });
  });

  it('refuses keys and seals of other lengths', async () => {
    const sealed = await seal(keys.publicKey, none, none, none);
    expect(await codesOf(() => seal(keys.publicKey.subarray(1), none, none, none))).toEqual(['FMT_FIELD']);
    expect(await codesOf(() => seal(new Uint8Array(1216).fill(255), none, none, none))).toEqual(['FMT_FIELD']);
    expect(await codesOf(() => open(keys.privateKey.subarray(1), none, none, sealed))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => open(keys.privateKey, none, none, { ...sealed, ct: sealed.ct.slice(0, 4) }))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => open(keys.privateKey, none, none, { ...sealed, enc: `${sealed.enc}=` }))).toEqual(['SEAL_OPEN']);
  });

  it('has a label of its own per purpose, and separates their parts', () => {
    const policy = fromB64u('A'.repeat(43));
    expect(releaseInfo('ab', policy)).toEqual(releaseInfo('ab', 'A'.repeat(43)));
    const labels = [wrapInfo('a'), releaseInfo('a', policy), resultInfo()].map((label) => new TextDecoder().decode(label).split('\0')[0]);
    expect(new Set(labels).size).toBe(3);
  });
});
