/**
 * Our EAR, decoded and verified by the Rust crate `ear` (Veraison's implementation of draft-ietf-rats-ear-04). The crate takes about a minute to build: it is built
 * where REQUIRE_ENGINES=1 asks for it, and used whenever it is there.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { decodeJwt, SignJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { appraise } from '../../attestation/appraise.ts';
import { b64u, bytes } from '../../attestation/bytes.ts';
import type { Appraisal } from '../../attestation/claims.ts';
import { EAR_PROFILE, signEar } from '../../attestation/ear.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { BINDING, evidence, EXPECT, REGISTERS, world } from '../attestation/support.ts';

const SOURCE = fileURLToPath(new URL('./ear/', import.meta.url));
const TARGET = fileURLToPath(new URL('../../.cache/ear-interop/', import.meta.url));
const PROGRAM = `${TARGET}debug/ear-interop`;
const BUILD_MS = 540_000;
const required = process.env['REQUIRE_ENGINES'] === '1';
const hasCargo = spawnSync('cargo', ['--version']).status === 0;
const skip = hasCargo && (required || existsSync(PROGRAM)) ? undefined : hasCargo ? 'the crate ear is not built here: REQUIRE_ENGINES=1 builds it' : 'no cargo';

describe.skipIf(skip !== undefined)(`the crate ear${skip === undefined ? '' : `: ${skip}`}`, () => {
  let appraisal: Appraisal;
  let key: CryptoKeyPair;
  let jwk: string;
  // The crate has no clock but the machine's
  const now = Math.floor(Date.now() / 1000);
  beforeAll(async () => {
    if (required || !existsSync(PROGRAM)) execFileSync('cargo', ['build', '--quiet', '--locked', '--manifest-path', `${SOURCE}Cargo.toml`], { env: { ...process.env, CARGO_TARGET_DIR: TARGET }, timeout: BUILD_MS });
    const w = await world();
    appraisal = await appraise(await awsNitro.verify(await evidence(w), EXPECT, w.trust), { id: 'prod/counter', role: 'counter', references: [{ id: 'release-1', platform: 'aws-nitro', registers: REGISTERS }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] });
    key = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']) as CryptoKeyPair;
    jwk = JSON.stringify({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', x: b64u(bytes(await crypto.subtle.exportKey('raw', key.publicKey))) });
  }, BUILD_MS);

  const sign = (change: Partial<Appraisal> = {}): Promise<string> => signEar({ appraisal: { ...appraisal, ...change }, binding: BINDING, key: key.privateKey, issuer: 'broker-1', now, ttlSeconds: 600 });
  const decode = (token: string, by = jwk): { status: number | null; out: string; error: string } => {
    const { status, stdout, stderr } = spawnSync(PROGRAM, { input: `${token} ${by}`, encoding: 'utf8' });
    return { status, out: stdout, error: stderr };
  };

  test('reads every member that we write', async () => {
    const token = await sign();
    const { status, out, error } = decode(token);
    expect([status, error]).toEqual([0, '']);
    const read = JSON.parse(out) as { again: Record<string, unknown> };
    expect(read).toMatchObject({
      profile: EAR_PROFILE, iat: now, exp: now + 600, developer: 'https://confidential-cat-counter.dev',
      submods: { 'aws-nitro': { status: 'affirming', policies: ['prod/counter'], attester_claims: Object.keys(appraisal.claims).length, verifier_claims: 3 } },
      again: { eat_nonce: b64u(BINDING.nonce), submods: { 'aws-nitro': { ear_trustworthiness_vector: appraisal.vector } } },
    });
    // Whatever the crate knows, it writes as we did
    const ours = decodeJwt(token);
    for (const name of Object.keys(read.again).filter((n) => n !== 'submods')) expect(read.again[name], name).toEqual(ours[name]);
  });

  test('reads each status as what it is', async () => {
    for (const status of ['affirming', 'warning', 'contraindicated'] as const) expect(JSON.parse(decode(await sign({ status })).out)).toMatchObject({ submods: { 'aws-nitro': { status } } });
  });

  test('refuses another key, a changed byte, an end that has passed, the names of earlier drafts', async () => {
    const token = await sign();
    const [h, p, s] = token.split('.') as [string, string, string];
    expect(decode(token, JSON.stringify({ ...JSON.parse(jwk) as object, x: b64u(BINDING.nonce) })).status).toBe(1);
    expect(decode(`${h}.${p}.${s.startsWith('A') ? 'B' : 'A'}${s.slice(1)}`).status).toBe(1);
    const resigned = (change: object): Promise<string> => new SignJWT({ ...decodeJwt(token), ...change }).setProtectedHeader({ alg: 'EdDSA', typ: 'ear+jwt' }).sign(key.privateKey);
    expect(decode(await resigned({ exp: now - 3600 })).status).toBe(1);
    expect(decode(await resigned({ submods: { 'aws-nitro': { 'ear.status': 'affirming' } } })).out).not.toContain('"status":"affirming"');
    expect(decode(await resigned({})).status).toBe(0);
  });
});
