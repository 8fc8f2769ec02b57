import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { appraise } from '../../attestation/appraise.ts';
import { type Bytes, b64u, bytes } from '../../attestation/bytes.ts';
import { claimsDigest } from '../../attestation/claims-digest.ts';
import type { Appraisal } from '../../attestation/claims.ts';
import { EAR_PROFILE, signEar, verifyEar } from '../../attestation/ear.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { BINDING, evidence, EXPECT, filled, NOW, refused, REGISTERS, world } from './support.ts';

let appraisal: Appraisal;
let key: CryptoKeyPair;
let publicKey: Bytes;
let ear: string;
const input = () => ({ appraisal, binding: BINDING, key: key.privateKey, issuer: 'broker-1', now: NOW, ttlSeconds: 600 });

beforeAll(async () => {
  const w = await world();
  const claims = await awsNitro.verify(await evidence(w), EXPECT, w.trust);
  appraisal = await appraise(claims, { id: 'prod/counter', role: 'counter', references: [{ id: 'release-1', platform: 'aws-nitro', registers: REGISTERS }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] });
  key = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  publicKey = bytes(await crypto.subtle.exportKey('raw', key.publicKey));
  ear = await signEar(input());
});

/** Our payload, changed, under our key. */
const resigned = (change: object, header: object = {}) => new SignJWT({ ...decodeJwt(ear), ...change }).setProtectedHeader({ alg: 'EdDSA', typ: 'ear+jwt', ...header }).sign(key.privateKey);

describe('the result', () => {
  test('has the members of the draft, and the nonce and key of the evidence', async () => {
    expect(decodeProtectedHeader(ear)).toEqual({ alg: 'EdDSA', typ: 'ear+jwt' });
    const payload = await verifyEar(ear, publicKey, NOW);
    expect(Object.keys(payload).sort()).toEqual(['cnf', 'ear_verifier_id', 'eat_nonce', 'eat_profile', 'exp', 'iat', 'iss', 'submods']);
    expect(payload).toMatchObject({
      eat_profile: EAR_PROFILE, iss: 'broker-1', iat: NOW, exp: NOW + 600, eat_nonce: b64u(BINDING.nonce), cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: b64u(BINDING.signingKey) } },
      ear_verifier_id: { build: expect.any(String), developer: expect.any(String) },
      submods: { 'aws-nitro': { ear_status: 'affirming', ear_appraisal_policy_ids: ['prod/counter'], ear_trustworthiness_vector: appraisal.vector, ear_verifier_claims: { policy_sha256: appraisal.policySha256, claims_sha256: await claimsDigest(appraisal.claims) } } },
    });
    expect(payload.submods['aws-nitro']?.ear_attester_claims).toEqual(JSON.parse(JSON.stringify(appraisal.claims)));
  });

  test('carries whatever status the appraisal has', async () => {
    const bad = await verifyEar(await signEar({ ...input(), appraisal: { ...appraisal, status: 'contraindicated' } }), publicKey, NOW);
    expect(bad.submods['aws-nitro']?.ear_status).toBe('contraindicated');
  });

  test('is not signed for another nonce or key than the evidence has', async () => {
    await refused(signEar({ ...input(), binding: { ...BINDING, signingKey: filled(32, 9) } }), 'BINDING_MISMATCH');
    await refused(signEar({ ...input(), binding: { ...BINDING, nonce: filled(32, 9) } }), 'BINDING_MISMATCH');
  });
});

describe('refused', () => {
  test('another key, a changed byte, no JWT', async () => {
    const other = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
    await refused(verifyEar(ear, bytes(await crypto.subtle.exportKey('raw', other.publicKey)), NOW), 'SIG_INVALID');
    const [h, p, s] = ear.split('.') as [string, string, string];
    await refused(verifyEar(`${h}.${p}.${s.startsWith('A') ? 'B' : 'A'}${s.slice(1)}`, publicKey, NOW), 'SIG_INVALID');
    await refused(verifyEar(`${h}.${b64u(new TextEncoder().encode('{}'))}.${s}`, publicKey, NOW), 'SIG_INVALID');
    for (const text of ['', 'a.b.c', `${h}.${p}`]) await refused(verifyEar(text, publicKey, NOW), 'SIG_INVALID');
    await refused(verifyEar(ear, filled(31, 1), NOW), 'SIG_INVALID');
  });

  test('algorithm none, HMAC with the public key, another type', async () => {
    const [, p] = ear.split('.') as [string, string];
    const none = `${b64u(new TextEncoder().encode('{"alg":"none","typ":"ear+jwt"}'))}.${p}.`;
    await refused(verifyEar(none, publicKey, NOW), 'SIG_INVALID');
    const hmac = await new SignJWT(decodeJwt(ear)).setProtectedHeader({ alg: 'HS256', typ: 'ear+jwt' }).sign(publicKey);
    await refused(verifyEar(hmac, publicKey, NOW), 'SIG_INVALID');
    await refused(verifyEar(await resigned({}, { typ: 'JWT' }), publicKey, NOW), 'SIG_INVALID');
  });

  test('expired, beyond 60 s of skew; from the future', async () => {
    await expect(verifyEar(ear, publicKey, NOW + 659)).resolves.toBeDefined();
    await refused(verifyEar(ear, publicKey, NOW + 660), 'STALE');
    await refused(verifyEar(ear, publicKey, NOW - 61), 'CLOCK_FUTURE');
  });

  test.each([
    ['another profile', { eat_profile: 'tag:example.com,2020:x' }], ['no nonce', { eat_nonce: undefined }], ['no key', { cnf: undefined }], ['a key of another kind', { cnf: { jwk: { kty: 'EC', crv: 'P-256', x: 'a', y: 'b' } } }],
    ['no submods', { submods: {} }], ['a submod of an unknown platform', { submods: { cpu0: {} } }], ['an unknown member', { extra: 1 }], ['an unknown status', { submods: { 'aws-nitro': { ear_status: 'fine' } } }],
  ])('%s', async (_, change) => {
    await refused(verifyEar(await resigned(change), publicKey, NOW), 'FMT_FIELD');
  });

  test('without expiry', async () => {
    await refused(verifyEar(await resigned({ exp: undefined }), publicKey, NOW), 'SIG_INVALID');
  });
});
