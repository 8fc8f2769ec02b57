import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { d32, d64, ed25519Spki, SUITE, transcript } from '../../attestation/binding.ts';
import { bytes, hex } from '../../attestation/bytes.ts';
import type { BindingFields } from '../../attestation/evidence.ts';
import { BINDING, filled, refused } from './support.ts';

/** The transcript again, from its table, with other tools. */
function independent(f: BindingFields): Buffer {
  const field = (value: string | Uint8Array) => {
    const content = Buffer.from(value as Uint8Array);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    return Buffer.concat([length, content]);
  };
  return Buffer.concat([
    Buffer.from('cc-bind/v1\0', 'latin1'),
    ...[Buffer.from(f.platform), Buffer.from(f.role), Buffer.from(f.cell), f.challengeId, f.nonce, Buffer.from(f.audience), Buffer.from('X-Wing,HKDF-SHA256,AES-256-GCM'),
      createHash('sha256').update(f.receivingKey).digest(), f.signingKey, f.tlsSpkiSha256, f.policyDigest, f.configDigest, f.payloadDigest].map(field),
  ]);
}

describe('transcript', () => {
  test('is the table\'s', async () => {
    for (const fields of [BINDING, { ...BINDING, tlsSpkiSha256: filled(32, 8), cell: 'zelle-ü' }]) {
      expect(hex(await transcript(fields))).toBe(independent(fields).toString('hex'));
      expect(hex(await d64(fields))).toBe(createHash('sha512').update(independent(fields)).digest('hex'));
      expect(hex(await d32(fields))).toBe(createHash('sha256').update(independent(fields)).digest('hex'));
    }
    expect(SUITE).toBe('X-Wing,HKDF-SHA256,AES-256-GCM');
  });

  test('known answer', async () => {
    expect(hex(await d32(BINDING))).toBe('ea507fbaf48c50b624dc415cfbd5719d455b2c0d4f01a76881d4e31592c0c749');
    expect(hex(await d64(BINDING))).toBe('adb82381044d0c969df2bcb9011ab8b9807cfdb4e5cad5cd863144715093a2f0394df5356e1d1f510985238eefc5f2017ff8452e467f8aa7d970c444c726326f');
    expect((await transcript(BINDING)).length).toBe(10 + 1 + 13 * 4 + 9 + 7 + 6 + 16 + 32 + 8 + 30 + 32 + 32 + 0 + 32 * 3);
  });

  test('no two bindings share one', async () => {
    const text = fc.string({ minLength: 1, maxLength: 20, unit: 'binary-ascii' });
    const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => bytes(b));
    const binding = fc.record({ cell: text, audience: text, role: fc.constantFrom('broker' as const, 'counter' as const), policyDigest: digest, configDigest: digest, tlsSpkiSha256: fc.constantFrom(filled(0, 0), filled(32, 1)) });
    await fc.assert(fc.asyncProperty(binding, binding, async (a, b) => {
      const [x, y] = await Promise.all([transcript({ ...BINDING, ...a }), transcript({ ...BINDING, ...b })]);
      expect(hex(x) === hex(y)).toBe(Object.keys(a).every((k) => String(a[k as keyof typeof a]) === String(b[k as keyof typeof b])));
    }), { numRuns: 100 });
  });

  test('fields of another length are refused', async () => {
    const wrong: Partial<BindingFields>[] = [
      { challengeId: filled(15, 0) }, { nonce: filled(33, 0) }, { receivingKey: filled(1215, 0) }, { signingKey: filled(31, 0) }, { tlsSpkiSha256: filled(31, 0) }, { policyDigest: filled(0, 0) }, { configDigest: filled(64, 0) },
      { payloadDigest: filled(0, 0) }, { cell: '' }, { cell: 'x'.repeat(256) }, { audience: '' },
    ];
    for (const change of wrong) await refused(transcript({ ...BINDING, ...change }), 'FMT_FIELD');
  });

  test('the SubjectPublicKeyInfo of an Ed25519 key is OpenSSL\'s', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    expect(hex(ed25519Spki(raw))).toBe(spki.toString('hex'));
    expect(createPublicKey({ key: Buffer.from(ed25519Spki(raw)), format: 'der', type: 'spki' }).asymmetricKeyType).toBe('ed25519');
  });
});
