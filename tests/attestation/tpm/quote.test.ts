/** TPM quotes: one thing wrong each, under signatures that verify. Evidence is synthetic. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex, sha256 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { parseTpmQuote } from '../../../attestation/formats/tpms-attest.ts';
import { parseTpmtPublic, requireAttestationKey } from '../../../attestation/formats/tpmt-public.ts';
import { parseTpmtSignature, rawSignature } from '../../../attestation/formats/tpmt-signature.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { type QuoteFacts, type QuoteInput, verifyTpmQuote } from '../../../attestation/hardware/tpm/quote.ts';
import { u16be, u32be } from '../../../attestation/platforms/simulated/binary.ts';
import { makeAuthority } from '../../../attestation/platforms/simulated/issue.ts';
import { derSignature, type KeyType, type SigningKey } from '../../../attestation/platforms/simulated/keys.ts';
import { buildPublic, buildQuote, freshPcrs, type QuoteFields, type QuoteOptions } from '../../../attestation/platforms/simulated/tpm.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { KEYS, named } from '../path-support.ts';
import { filled, NOW, refused } from '../support.ts';

const EXTRA = filled(32, 0x77);
const SELECT = [0, 4, 7];
const PCRS = freshPcrs('sha256', { 0: filled(32, 1), 4: filled(32, 2), 7: filled(32, 3), 8: filled(32, 4) });
let rsa: SigningKey;
beforeAll(async () => { rsa = await KEYS.get('RSA-2048', 'tpm-ak'); });

async function verifier(key: SigningKey) {
  const { certificate } = await makeAuthority({ key, subject: named('ak'), notBefore: NOW, notAfter: NOW + 1, pathLen: null });
  return parseCertificate(certificate, 'ak');
}

async function judge(options: Partial<QuoteOptions> = {}, input: Partial<QuoteInput> = {}): Promise<QuoteFacts> {
  const key = options.key ?? rsa;
  const quote = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key, ...options });
  const checks = new CheckList();
  const facts = await verifyTpmQuote({
    path: 'quote', message: quote.message, signature: parseTpmtSignature(quote.signature, 'quote.signature'), key: await verifier(key), extraData: EXTRA, bank: options.bank ?? 'sha256', required: SELECT, pcrs: options.pcrs ?? PCRS, ...input,
  }, checks);
  checks.refuseIfFailed();
  expect(checks.done.every((c) => c.result === 'pass')).toBe(true);
  return facts as QuoteFacts;
}
const changed = (change: Partial<QuoteFields>, input: Partial<QuoteInput> = {}) => judge({ change }, input);

describe('accepted', () => {
  test('what every other test changes in one place', async () => {
    const facts = await judge();
    expect([...facts.pcrs.keys()]).toEqual(SELECT);
    expect(facts).toMatchObject({ bank: 'sha256', extraData: EXTRA, clock: { resetCount: 3, restartCount: 0, safe: true, clock: 1_800_000n }, akSpkiSha256: hex(await sha256(rsa.spki)) });
  });

  test.each(['P-256', 'P-384', 'RSA-3072'] as KeyType[])('keys of %s', async (type) => { expect((await judge({ key: await KEYS.get(type, 'tpm-ak') })).pcrs.size).toBe(3); });

  test('the bank of SHA-384, whose digest is of the signing scheme', async () => {
    const pcrs = freshPcrs('sha384', { 0: filled(48, 1), 4: filled(48, 2), 7: filled(48, 3) });
    const facts = await judge({ bank: 'sha384', pcrs });
    expect([facts.pcrDigest.length, facts.pcrs.get(0)?.length]).toEqual([32, 48]);
  });

  test('signatures that an agent unwrapped', async () => {
    for (const type of ['RSA-2048', 'P-256', 'P-384'] as const) {
      const key = await KEYS.get(type, 'tpm-ak');
      const { message, raw } = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key });
      const { key: { kind }, spki, key: publicKey } = await verifier(key);
      const checks = new CheckList();
      await verifyTpmQuote({ path: 'q', message, signature: rawSignature(kind === 'RSA' ? raw : derSignature(raw), kind, 's'), key: { spki, key: publicKey }, extraData: EXTRA, bank: 'sha256', required: SELECT, pcrs: PCRS }, checks);
      expect(checks.failed).toBe(false);
    }
  });
});

describe('refused', () => {
  const cases: [string, Partial<QuoteFields>, RefusalCode][] = [
    ['another magic: the TPM did not make it', { magic: 0xff544348 }, 'TPM_FORMAT'], ['another attestation than a quote', { type: 0x8017 }, 'TPM_FORMAT'], ['bytes behind it', { trailing: bytes([0]) }, 'TPM_FORMAT'],
    ['a clock that is not safe', { safe: 0 }, 'TPM_CLOCK'], ['a flag that is none', { safe: 2 }, 'TPM_FORMAT'], ['another nonce', { extraData: filled(32, 0x78) }, 'NONCE_MISMATCH'], ['a nonce that is cut', { extraData: filled(31, 0x77) }, 'NONCE_MISMATCH'],
    ['a longer nonce', { extraData: filled(33, 0x77) }, 'NONCE_MISMATCH'], ['no nonce', { extraData: bytes([]) }, 'NONCE_MISMATCH'], ['a nonce that no TPM takes', { extraData: filled(65, 0x77) }, 'TPM_FORMAT'],
    ['another digest', { pcrDigest: filled(32, 9) }, 'PCR_DIGEST'], ['an empty digest', { pcrDigest: bytes([]) }, 'PCR_DIGEST'], ['SHA-1 beside SHA-256', { selections: [{ bank: 4, pcrs: SELECT }, { bank: 11, pcrs: SELECT }] }, 'PCR_BANK'],
    ['SHA-256 twice', { selections: [{ bank: 11, pcrs: SELECT }, { bank: 11, pcrs: SELECT }] }, 'PCR_BANK'], ['four bytes of selection', { selections: [{ bank: 11, pcrs: SELECT, size: 4 }] }, 'PCR_BANK'],
    ['two bytes of selection', { selections: [{ bank: 11, pcrs: SELECT, size: 2 }] }, 'PCR_BANK'], ['SHA-1 alone', { selections: [{ bank: 4, pcrs: SELECT }] }, 'PCR_BANK'], ['SHA-384 where SHA-256 is wanted', { selections: [{ bank: 12, pcrs: SELECT }] }, 'PCR_BANK'],
    ['no bank', { selections: [] }, 'PCR_BANK'], ['five bytes of selection', { selections: [{ bank: 11, pcrs: SELECT, size: 5 }] }, 'TPM_FORMAT'], ['seventeen banks', { selections: Array.from({ length: 17 }, () => ({ bank: 11, pcrs: SELECT })) }, 'TPM_FORMAT'],
  ];
  test.each(cases)('%s', async (_, change, code) => { await refused(changed(change), code); });

  test('other PCRs than required: missing, surplus, other, none', async () => {
    await refused(judge({ select: [0, 4] }), 'UNQUOTED_PCR');
    await refused(judge({ select: [0, 4, 7, 8] }), 'PCR_SELECTION');
    await refused(judge({ select: [0, 4, 8] }), 'UNQUOTED_PCR', 'PCR_SELECTION');
    await refused(judge({ select: [] }, { required: 'any' }), 'PCR_SELECTION');
    await refused(judge({}, { required: [] }), 'UNQUOTED_PCR', 'PCR_SELECTION');
  });

  test('values: another, none, one of another length, two swapped', async () => {
    const pcrs = (change: [number, Bytes][]) => ({ pcrs: new Map([...PCRS, ...change]) });
    await refused(judge({}, pcrs([[4, filled(32, 9)]])), 'PCR_DIGEST');
    await refused(judge({}, pcrs([[4, filled(31, 2)]])), 'PCR_DIGEST');
    await refused(judge({}, { pcrs: new Map() }), 'PCR_DIGEST');
    await refused(judge({}, pcrs([[0, filled(32, 2)], [4, filled(32, 1)]])), 'PCR_DIGEST');
  });

  test('another key, another kind of key, a changed message', async () => {
    await refused(judge({ signWith: await KEYS.get('RSA-2048', 'tpm-other') }), 'SIG_INVALID');
    await refused(judge({ signWith: await KEYS.get('P-256', 'tpm-ak') }), 'SIG_INVALID');
    const { message } = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key: rsa, change: { resetCount: 4 } });
    await refused(judge({}, { message }), 'SIG_INVALID');
  });

  test('the code that the caller gives for another extraData', async () => {
    await refused(judge({}, { extraData: filled(32, 1), mismatch: 'BINDING_MISMATCH' }), 'BINDING_MISMATCH');
  });

  test('a nonce that nobody kept is a skipped check', async () => {
    const quote = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key: rsa });
    const checks = new CheckList();
    await verifyTpmQuote({ path: 'quote', message: quote.message, signature: parseTpmtSignature(quote.signature, 's'), key: await verifier(rsa), extraData: 'unknown', bank: 'sha256', required: 'any', pcrs: PCRS }, checks);
    expect(checks.done).toContainEqual({ id: 'TPM-QUOTE-EXTRA-DATA', result: 'skipped-by-policy', evidenceRef: 'quote.message.extraData' });
  });
});

describe('TPMT_SIGNATURE', () => {
  const parse = (...parts: Bytes[]) => () => parseTpmtSignature(concat(...parts), 's');
  test('a closed table of schemes', () => {
    for (const [scheme, hash] of [[0x16, 0x0b], [0x14, 0x04], [0x14, 0x0c], [0x18, 0x04], [0x1a, 0x0b], [0x05, 0x0b], [0, 0]] as const) expect(parse(u16be(scheme), u16be(hash), u16be(1), bytes([1]))).toThrow(/TPM_FORMAT at s.sigAlg/);
  });
  test('lengths', () => {
    expect(parse(u16be(0x14), u16be(0x0b), u16be(2), bytes([1]))).toThrow(/TPM_FORMAT/);
    expect(parse(u16be(0x14), u16be(0x0b), u16be(1), bytes([1, 2]))).toThrow(/TPM_FORMAT/);
    expect(parse(u16be(0x18), u16be(0x0b), u16be(33), filled(33, 1), u16be(1), bytes([1]))).toThrow(/TPM_FORMAT/);
  });
  test('r and s without leading zeros', () => {
    const { algorithm, value } = parse(u16be(0x18), u16be(0x0b), u16be(1), bytes([5]), u16be(31), filled(31, 6))();
    expect([algorithm, hex(value)]).toEqual(['ES256', `${'00'.repeat(31)}0500${'06'.repeat(31)}`]);
  });
});

describe('TPMT_PUBLIC', () => {
  test.each(['RSA-2048', 'RSA-3072', 'P-256', 'P-384'] as KeyType[])('the key of %s, and its name', async (type) => {
    const key = await KEYS.get(type, 'tpm-ak');
    const area = await buildPublic(key);
    const parsed = parseTpmtPublic(area, 'ak');
    expect(hex(parsed.spki)).toBe(hex(key.spki));
    expect(parsed.algorithm).toBe(type.startsWith('RSA') ? 'RS256' : type === 'P-256' ? 'ES256' : 'ES384');
    expect(hex(await parsed.name())).toBe(`000b${hex(await sha256(area))}`);
    expect(() => requireAttestationKey(parsed, 'ak')).not.toThrow();
  });

  test('keys that would sign what others hand to them', async () => {
    const all = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'] as const;
    for (const missing of all) {
      const parsed = parseTpmtPublic(await buildPublic(rsa, { attributes: all.filter((a) => a !== missing) }), 'ak');
      expect(() => requireAttestationKey(parsed, 'ak'), missing).toThrow(/AK_ATTRIBUTES/);
    }
    const decrypting = parseTpmtPublic(await buildPublic(rsa, { attributes: [...all, 'decrypt'] }), 'ak');
    expect(() => requireAttestationKey(decrypting, 'ak')).toThrow(/AK_ATTRIBUTES/);
  });

  test('schemes, names and bits that are not these', async () => {
    for (const change of [{ scheme: 0x16 }, { schemeHash: 4 }, { nameAlg: 4 }, { extraBits: 1 }]) {
      const area = await buildPublic(rsa, change);
      expect(() => parseTpmtPublic(area, 'ak'), JSON.stringify(change)).toThrow(/TPM_FORMAT/);
    }
    const small = concat((await buildPublic(rsa)).slice(0, -258), u16be(4), u32be(0x80000001));
    expect(() => parseTpmtPublic(small, 'ak')).toThrow(/TPM_FORMAT/);
  });
});

describe('hostile bytes', () => {
  test('each truncation and random bytes: a refusal, nothing else', async () => {
    const { message, signature } = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key: await KEYS.get('P-256', 'tpm-ak') });
    const area = await buildPublic(await KEYS.get('P-256', 'tpm-ak'));
    for (const [data, parse] of [[message, parseTpmQuote], [signature, parseTpmtSignature], [area, parseTpmtPublic]] as [Bytes, (d: Bytes, p: string) => unknown][]) {
      expect(() => parse(data, 'x')).not.toThrow();
      for (let n = 0; n < data.length; n++) expect(() => parse(data.slice(0, n), 'x')).toThrow(Refusal);
      fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(data.length - 1), fc.nat(255), (random, at, value) => {
        for (const input of [bytes(random), Object.assign(data.slice(), { [at]: value }), concat(data.slice(0, at), bytes(random))]) {
          try { parse(input, 'x'); } catch (e) { expect(e).toBeInstanceOf(Refusal); }
        }
      }), { numRuns: 300 });
    }
  });

  test('each changed bit of a message is refused', async () => {
    const key = await KEYS.get('P-256', 'tpm-ak');
    const { message, signature } = await buildQuote({ bank: 'sha256', pcrs: PCRS, select: SELECT, extraData: EXTRA, key });
    const ak = await verifier(key);
    for (let bit = 0; bit < message.length * 8; bit += 3) {
      const other = message.slice();
      other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7));
      const checks = new CheckList();
      await verifyTpmQuote({ path: 'q', message: other, signature: parseTpmtSignature(signature, 's'), key: ak, extraData: EXTRA, bank: 'sha256', required: SELECT, pcrs: PCRS }, checks);
      expect(checks.failed).toBe(true);
    }
  });
});
