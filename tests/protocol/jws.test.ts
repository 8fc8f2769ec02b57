import { CompactSign, compactVerify, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { b64u, utf8 } from '../../attestation/bytes.ts';
import { decodeJwsUnverified, generateSigningKey, importSigningKey, signJws, thumbprint, verifyJws } from '../../workloads/protocol/jws.ts';
import { usePrimitives, webPrimitives } from '../../workloads/protocol/primitives.ts';
import { nativePrimitives } from '../../workloads/protocol/primitives-native.ts';
import { codesOf } from './refusals.ts';

const TYP = 'ccc-test+jws';
const schema = z.strictObject({ n: z.number() });
const { publicKey, privateKey } = await nativePrimitives.generateEd25519(false);
const verify = (jws: string, typ = TYP, key = publicKey) => verifyJws(jws, typ, key, schema, 'SIG_INVALID', 'FMT_FIELD');

async function signedWith(header: Record<string, unknown>, payload: unknown = { n: 1 }): Promise<string> {
  const input = `${b64u(utf8(JSON.stringify(header)))}.${b64u(utf8(JSON.stringify(payload)))}`;
  return `${input}.${b64u(new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, utf8(input))))}`;
}

describe.each([['WebCrypto', webPrimitives], ['Node', nativePrimitives]] as const)('JWS with the primitives of %s', (_, primitives) => {
  beforeAll(() => usePrimitives(primitives));
  afterAll(() => usePrimitives(webPrimitives));

  it('gives the payload back', async () => {
    const jws = await signJws(TYP, { n: 1 }, privateKey, { kid: 'k' });
    expect(await verify(jws)).toEqual({ n: 1 });
    expect(decodeJwsUnverified(jws)).toEqual({ header: { alg: 'EdDSA', typ: TYP, kid: 'k' }, payload: { n: 1 } });
  });

  it('is what jose reads, and reads what jose signed', async () => {
    const jws = await signJws(TYP, { n: 1 }, privateKey, { kid: 'k' });
    const theirs = await new CompactSign(utf8('{"n":1}')).setProtectedHeader({ alg: 'EdDSA', typ: TYP, kid: 'k' }).sign(privateKey);
    expect(jws).toBe(theirs);
    const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify']);
    expect(new TextDecoder().decode((await compactVerify(jws, key)).payload)).toBe('{"n":1}');
    expect(await verify(theirs)).toEqual({ n: 1 });
  });

  it('refuses another key, another type, an altered payload, an altered signature', async () => {
    const jws = await signJws(TYP, { n: 1 }, privateKey);
    const [header, payload, signature] = jws.split('.') as [string, string, string];
    expect(await codesOf(async () => verify(jws, TYP, (await generateSigningKey()).publicKey))).toEqual(['SIG_INVALID']);
    expect(await codesOf(() => verify(jws, 'ccc-other+jws'))).toEqual(['SIG_INVALID']);
    expect(await codesOf(() => verify(`${header}.${b64u(utf8('{"n":2}'))}.${signature}`))).toEqual(['SIG_INVALID']);
    expect(await codesOf(() => verify(`${header}.${payload}.${b64u(new Uint8Array(64))}`))).toEqual(['SIG_INVALID']);
  });

  it('refuses every header but alg, typ, kid, however well it is signed', async () => {
    expect(await verify(await signedWith({ alg: 'EdDSA', typ: TYP }))).toEqual({ n: 1 });
    for (const extra of [{ crit: ['b64'], b64: false }, { jku: 'https://evil.example' }, { jwk: {} }, { x5c: [] }, { cty: 'x' }, { alg: 'none' }, { alg: 'Ed448' }]) {
      expect(await codesOf(async () => verify(await signedWith({ alg: 'EdDSA', typ: TYP, ...extra })))).toEqual(['SIG_INVALID']);
    }
    expect(await codesOf(async () => verify(await signedWith({ alg: 'EdDSA' })))).toEqual(['SIG_INVALID']);
  });

  it('refuses other algorithms', async () => {
    const es256 = await generateKeyPair('ES256');
    const jws = await new CompactSign(utf8('{"n":1}')).setProtectedHeader({ alg: 'ES256', typ: TYP }).sign(es256.privateKey);
    expect(await codesOf(() => verify(jws))).toEqual(['SIG_INVALID']);
    const hmac = await new CompactSign(utf8('{"n":1}')).setProtectedHeader({ alg: 'HS256', typ: TYP }).sign(publicKey);
    expect(await codesOf(() => verify(hmac))).toEqual(['SIG_INVALID']);
  });

  it('tells a format error from a signature error', async () => {
    expect(await codesOf(async () => verify(await signJws(TYP, { n: 'x' }, privateKey)))).toEqual(['FMT_FIELD']);
    expect(await codesOf(async () => verify(await signJws(TYP, { n: 1, more: 1 }, privateKey)))).toEqual(['FMT_FIELD']);
    for (const jws of ['', '..', 'a.b', 'a.b.c', 'é.b.c', `${'a'.repeat(300_000)}.b.c`]) expect(await codesOf(() => verify(jws))).toEqual(['SIG_INVALID']);
  });

  it('imports a stored key and names keys by their RFC 7638 thumbprint', async () => {
    const stored = await generateSigningKey({ extractable: true });
    const key = await importSigningKey(await crypto.subtle.exportKey('jwk', stored.privateKey));
    expect(await verify(await signJws(TYP, { n: 1 }, key), TYP, stored.publicKey)).toEqual({ n: 1 });
    await expect(crypto.subtle.exportKey('jwk', key)).rejects.toThrow();
    await expect(crypto.subtle.exportKey('jwk', privateKey)).rejects.toThrow();
    // RFC 8037, appendix A.3
    const known = Uint8Array.from(Buffer.from('11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', 'base64url'));
    expect(await thumbprint(known)).toBe('kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k');
  });
});
