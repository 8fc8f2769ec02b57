/** Properties of tokens, protobuf and endorsements: what was changed is refused, with a reason; nothing is thrown that is no refusal; what was written is read. */
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, fromB64u, hex, utf8 } from '../../../attestation/bytes.ts';
import { ChainCache } from '../../../attestation/chain-cache.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { judgeMaaToken } from '../../../attestation/corpus/azure-maa.ts';
import { judgeConfidentialSpaceToken } from '../../../attestation/corpus/gcp-confidential-space.ts';
import type { Judge, Vector } from '../../../attestation/corpus/judge.ts';
import { hasJwtSignature, keyOf, parseJwt } from '../../../attestation/formats/jwt.ts';
import { parseLaunchEndorsement } from '../../../attestation/formats/launch-endorsement.ts';
import { type Fields, readMessage } from '../../../attestation/formats/protobuf.ts';
import { verifyEndorsement } from '../../../attestation/hardware/gce-endorsement.ts';
import { endorsementFields, type EndorsementPki, makeEndorsementPki, message, type ProtoField, signEndorsement } from '../../../attestation/platforms/simulated/endorsement.ts';
import { signToken } from '../../../attestation/platforms/simulated/tokens.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { readGoogleClaims } from '../../../attestation/services/google-claims.ts';
import { readMaaClaims } from '../../../attestation/services/maa-claims.ts';
import { NO_VECTORS, vector } from '../support.ts';
import { filled, google, KEYS, NOW, platformToken, serviceKey, trustOf } from './support.ts';

const SEED = 20261124;
const RUNS = { seed: SEED, numRuns: 300 };

/** The result, or the refusal; anything else thrown fails the test. */
function attempt<T>(work: () => T): T | Refusal {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal && error.reasons.every((r) => r.next.length > 10)) return error;
    throw error;
  }
}

/** Every n-th byte with one bit turned, and every n-th truncation. */
function* mutations(data: Bytes, step: number): Generator<Bytes> {
  for (let i = 0; i < data.length; i += step) {
    const copy = bytes(data);
    copy[i] = (copy[i] as number) ^ (1 << (i / step & 7));
    yield copy;
  }
  for (let length = 0; length < data.length; length += step * 4) yield data.slice(0, length);
}

describe.skipIf(NO_VECTORS)('genuine tokens, changed', () => {
  const maa = 'azure-maa/atlas-authorization-pca';
  const google = 'gcp-confidential-space';
  test.each<[string, string, string | undefined, Judge, number, string]>([
    [`${maa}/tdxvm-token.jwt`, 'maa-jwt', `${maa}/maa-jwks-ne.json`, judgeMaaToken, 11, '2026-10-08T22:33:15Z'],
    [`${google}/atlas-authorization-pca/prod-token.jwt`, 'confidential-space-jwt', `${google}/atlas-authorization-pca/google-cs-jwks.json`, judgeConfidentialSpaceToken, 7, '2026-10-08T21:58:24Z'],
    [`${google}/oak/pki-debug-sev.jwt`, 'confidential-space-jwt', undefined, judgeConfidentialSpaceToken, 37, '2025-06-23T14:23:31Z'],
  ])('%s: every change sampled is refused', async (file, kind, keys, judge, step, time) => {
    const base: Vector = { file, platform: '', kind, bytes: vector(file), companions: keys === undefined ? [] : [{ file: keys, platform: '', kind: 'jwks', bytes: vector(keys) }], at: Date.parse(time) / 1000 };
    expect((await judge(base)).verdict).toBe('valid');
    let count = 0;
    for (const changed of mutations(base.bytes, step)) {
      const { verdict, codes } = await judge({ ...base, bytes: changed });
      expect([verdict, codes.length > 0, codes.includes('INTERNAL')]).toEqual(['invalid', true, false]);
      count++;
    }
    expect(count).toBeGreaterThan(300);
  });
});

describe('tokens', () => {
  test('any text is a token or refused, and what is read is what was signed', async () => {
    const token = await platformToken('tdx');
    await fc.assert(fc.asyncProperty(fc.oneof(fc.string({ maxLength: 200 }), fc.tuple(fc.nat(token.length), fc.string({ maxLength: 4 })).map(([i, s]) => token.slice(0, i) + s + token.slice(i + s.length))), async (text) => {
      const jwt = attempt(() => parseJwt(text, 'token'));
      if (jwt instanceof Refusal) return;
      expect(jwt.token).toBe(text);
      // Whatever passes both passes node:crypto over exactly these bytes
      const holds = await hasJwtSignature(jwt, (await serviceKey()).spki);
      const at = text.lastIndexOf('.');
      const key = createPublicKey({ key: Buffer.from((await serviceKey()).spki), format: 'der', type: 'spki' });
      expect(holds).toBe(nodeVerify('sha256', Buffer.from(text.slice(0, at)), key, fromB64u(text.slice(at + 1))));
      expect(holds).toBe(text === token);
    }), RUNS);
  });

  test('claims are those of JSON.parse', async () => {
    const key = await serviceKey();
    await fc.assert(fc.asyncProperty(fc.dictionary(fc.string({ maxLength: 12 }).filter((k) => k !== '__proto__'), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 8 }), async (claims) => {
      const token = await signToken(claims as Record<string, unknown>, { key });
      expect({ ...parseJwt(token, 'token').claims }).toEqual(JSON.parse(new TextDecoder().decode(fromB64u(token.split('.')[1] as string))));
    }), { seed: SEED, numRuns: 60 });
  });

  test('any key set is a key or refused', () => {
    const entry = fc.record({ kty: fc.constantFrom('RSA', 'EC', 'oct', 1), kid: fc.constantFrom('k', 'j', 1), n: fc.oneof(fc.base64String(), fc.constant('AQAB')), e: fc.constantFrom('AQAB', 'Aw', 3), x5c: fc.array(fc.base64String(), { maxLength: 2 }), use: fc.constantFrom('sig', 'enc'), alg: fc.constantFrom('RS256', 'PS256') }, { requiredKeys: [] });
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }).map((b) => bytes(b)), fc.array(fc.oneof(entry, fc.jsonValue()), { maxLength: 4 }).map((keys) => utf8(JSON.stringify({ keys })))), (set) => { attempt(() => keyOf(set, 'k', 'set')); }), RUNS);
  });

  test('any claims are read or named, in either service\'s form', () => {
    const mutated = fc.tuple(fc.constantFrom(...Object.keys(google())), fc.jsonValue()).map(([name, value]) => ({ ...google(), [name]: value }));
    fc.assert(fc.property(fc.oneof(mutated, fc.dictionary(fc.string(), fc.jsonValue())), (claims) => {
      for (const result of [readGoogleClaims(claims), readMaaClaims(claims)]) if ('bad' in result) expect(typeof result.bad).toBe('string');
    }), RUNS);
    fc.assert(fc.property(fc.constantFrom('sevsnpvm', 'tdxvm', 'azurevm', 1), fc.jsonValue(), (type, tee) => { expect(readMaaClaims({ 'x-ms-attestation-type': type, 'x-ms-isolation-tee': tee })).toHaveProperty('bad'); }), RUNS);
  });
});

describe('protobuf', () => {
  const FIELDS: Fields = { 1: { name: 'a', kind: 'varint' }, 2: { name: 'b', kind: 'bytes' }, 3: { name: 'c', kind: 'bytes', repeated: true }, 2047: { name: 'd', kind: 'varint' } };
  const options = { path: 'm', code: 'ENDORSEMENT_FORMAT', next: 'Send it again as it is.', maxFields: 64 } as const;

  test('what was written is read, fields in any order', () => {
    fc.assert(fc.property(fc.record({ a: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), b: fc.uint8Array({ maxLength: 300 }), c: fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 }), d: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), more: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }), fc.nat(), ({ a, b, c, d, more }, rotate) => {
      const fields: ProtoField[] = [[1, a], [2, b], [2047, d], [99, more], [100, b]];
      const at = rotate % (fields.length + 1);
      const data = message(...fields.slice(0, at), ...c.map((v): ProtoField => [3, v]), ...fields.slice(at));
      const read = readMessage(data, FIELDS, { ...options, unknown: 'skip' });
      expect([read.varint('a'), hex(read.bytes('b') as Bytes), read.all('c').map(hex), read.varint('d')]).toEqual([a, hex(b), c.map((v) => hex(v)), d]);
      expect(attempt(() => readMessage(data, FIELDS, { ...options, unknown: 'refuse' }))).toBeInstanceOf(Refusal);
    }), RUNS);
  });
  test('any bytes are a message or refused; one spelling: what is read is written back as it was', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (data) => {
      const result = attempt(() => readMessage(bytes(data), { 1: { name: 'a', kind: 'varint' }, 2: { name: 'b', kind: 'bytes' } }, { ...options, unknown: 'refuse' }));
      if (result instanceof Refusal) return;
      const b = result.bytes('b');
      const forms = [[[1, result.varint('a')] as const], ...(b === undefined ? [] : [[[2, b] as const], [[1, result.varint('a')] as const, [2, b] as const], [[2, b] as const, [1, result.varint('a')] as const]]), []];
      expect(forms.map((f) => hex(message(...f)))).toContain(hex(data));
    }), { seed: SEED, numRuns: 3000 });
  });
  test('too many fields', () => { expect(attempt(() => readMessage(message(...Array.from({ length: 65 }, (): ProtoField => [3, bytes([])])), FIELDS, { ...options, unknown: 'skip' }))).toBeInstanceOf(Refusal); });
});

describe('launch endorsements (synthetic)', () => {
  let pki: EndorsementPki;
  beforeAll(async () => { pki = await makeEndorsementPki(NOW, {}, KEYS); });

  test('every change sampled is refused', async () => {
    const whole = await signEndorsement(endorsementFields(pki, NOW), pki.signer.key);
    const chainCache = new ChainCache();
    const run = async (endorsement: Bytes) => {
      const checks = new CheckList();
      return verifyEndorsement({ endorsement, machine: { kind: 'tdx', measurement: filled(48, 0x32), ramGib: 32 }, floor: { svn: 0, timestamp: 0 } }, trustOf([], { roots: [pki.trustRoot], chainCache }), NOW, checks);
    };
    expect(await run(whole)).toBeDefined();
    for (const changed of mutations(whole, 13)) expect(await run(changed)).toBeUndefined();
  });
  test('any bytes are refused with a reason', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => { expect(attempt(() => parseLaunchEndorsement(message([1, data], [2, data]), 'e'))).toBeInstanceOf(Refusal); }), RUNS);
  });
});

test('verifiers use nothing that only Node has, no clock and no network', () => {
  for (const file of ['services/token.ts', 'services/maa.ts', 'services/maa-claims.ts', 'services/google.ts', 'services/google-claims.ts', 'formats/jwt.ts', 'formats/protobuf.ts', 'formats/launch-endorsement.ts', 'hardware/gce-endorsement.ts', 'corpus/azure-maa.ts', 'corpus/gcp-confidential-space.ts']) {
    const source = readFileSync(new URL(`../../../attestation/${file}`, import.meta.url), 'utf8');
    expect(source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''), file).not.toMatch(/\b(?:Buffer|process|performance)\.[a-z]|\b(?:require|fetch|XMLHttpRequest)\(|Date\.now|new Date\(\)|node:/);
    expect([...source.matchAll(/from '([^.'][^']*)'/g)].every((m) => m[1] === 'jose' || m[1] === 'zod'), file).toBe(true);
  }
});
