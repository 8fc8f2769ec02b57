/** The fuzzer itself: it meets every case once, changes what it says, repeats itself, and notices what it is there to notice. */
import { afterEach, describe, expect, test } from 'vitest';
import { type Bytes, bytes, hex, utf8 } from '../../attestation/bytes.ts';
import type { Judgement } from '../../attestation/corpus/judge.ts';
import { certificatesIn, importAzureEvidence } from '../../attestation/corpus/azure-import.ts';
import { judgeEventLog } from '../../attestation/corpus/event-log.ts';
import { judgeTpmQuote } from '../../attestation/corpus/tpm.ts';
import { readDer } from '../../attestation/formats/der.ts';
import { readPublicKey, verifySignature } from '../../attestation/formats/signature.ts';
import { refuse } from '../../attestation/refusal.ts';
import { seen, type Subject } from '../../scripts/fuzz/corpus.ts';
import { examineReader, examineVector, isFinding } from '../../scripts/fuzz/examine.ts';
import { mutate } from '../../scripts/fuzz/mutate.ts';
import { randomOf } from '../../scripts/fuzz/random.ts';
import { readCborTree, readDerTree, readJsonTree } from '../../scripts/fuzz/read.ts';
import { readAttestTree, readProtobufTree } from '../../scripts/fuzz/read-binary.ts';
import { stayInThread } from '../../scripts/fuzz/same-thread.ts';
import { ranges, sweepCase, sweepSize } from '../../scripts/fuzz/sweep.ts';
import { group, keep, leaf, type Part, write } from '../../scripts/fuzz/tree.ts';
import { KEYS } from '../attestation/path-support.ts';
import { refused } from '../attestation/support.ts';
import { buildEventLog } from '../../attestation/platforms/simulated/event-log.ts';
import { KeyRing, signRaw } from '../../attestation/platforms/simulated/keys.ts';
import { buildQuote, freshPcrs } from '../../attestation/platforms/simulated/tpm.ts';

describe('sweep', () => {
  test.each([1, 2, 7, 145])('%i bytes: each change and each truncation once', (length) => {
    const original = bytes(Array.from({ length }, (_, i) => i & 0xff));
    const made = Array.from({ length: sweepSize(length) }, (_, turn) => sweepCase(original, turn));
    expect(new Set(made.map((c) => c.what)).size).toBe(4 * length);
    for (const { bytes: data, kind, offset } of made) {
      if (kind === 'truncation') expect(hex(data)).toBe(hex(original.slice(0, offset)));
      else expect([...data].flatMap((b, i) => (b === original[i] ? [] : [i]))).toEqual([offset]);
    }
  });

  test('offsets as ranges', () => expect(ranges([3, 1, 2, 9, 2, 11, 12])).toBe('1-3, 9, 11-12'));
});

describe('trees', () => {
  const der = bytes([0x30, 0x08, 0x02, 0x01, 0x05, 0x04, 0x03, 0x01, 0x02, 0x03]);
  const cbor = bytes([0xbf, 0x61, 0x61, 0x82, 0x01, 0x38, 0xff, 0x61, 0x62, 0x44, 0xa1, 0x01, 0x20, 0xf6, 0xff]);
  const pb = bytes([0x0a, 0x03, 0x08, 0x96, 0x01, 0x10, 0x05]);

  test('what was not changed is what was read', async () => {
    const quote = await buildQuote({ bank: 'sha256', pcrs: freshPcrs('sha256'), select: [0, 7], extraData: new Uint8Array(32), key: await new KeyRing().get('P-256', 'ak') });
    expect(hex(write(readDerTree(der)))).toBe(hex(der));
    expect(hex(write(readProtobufTree(pb)))).toBe(hex(pb));
    expect(hex(write(readAttestTree(quote.message)))).toBe(hex(quote.message));
    expect(write(readJsonTree('{"a": [1, {"b": null}]}'))).toEqual(utf8('{"a":[1,{"b":null}]}'));
    expect(hex(write(readCborTree(cbor)))).toBe(hex(cbor));
    expect(() => readCborTree(cbor.slice(0, 8))).toThrow(RangeError);
  });

  test('what is written beforehand is written the same', () => {
    const made = (tree: Part) => Array.from({ length: 200 }, (_, i) => hex(write(mutate(tree, randomOf(7, i)))));
    expect(made(keep(readDerTree(der)))).toEqual(made(readDerTree(der)));
    expect(made(keep(readCborTree(cbor)))).toEqual(made(readCborTree(cbor)));
  });

  test('the same seed and case give the same bytes; others give others', () => {
    const tree = readDerTree(der);
    const made = Array.from({ length: 200 }, (_, i) => hex(write(mutate(tree, randomOf(7, i)))));
    expect(Array.from({ length: 200 }, (_, i) => hex(write(mutate(tree, randomOf(7, i)))))).toEqual(made);
    expect(new Set(made).size).toBeGreaterThan(60);
    expect(hex(write(tree))).toBe(hex(der));
  });

  test('a lie about a length leaves the rest as it is', () => {
    const inner: Part = { ...leaf(bytes([1, 2, 3]), bytes([0x04]), 'der'), lie: 200 };
    expect(hex(write(group([inner], { head: bytes([0x30]), form: 'der' })))).toBe('300604 81c8 010203'.replaceAll(' ', ''));
  });
});

describe('outcomes', () => {
  const subject = (judge: () => Promise<Judgement>, claims: unknown = 1): Subject => ({ vector: { file: 'a', platform: 'p', kind: 'k', bytes: bytes([1]), companions: [], at: 0 }, judge, claims: seen({ verdict: 'valid', codes: [], claims }) });

  test.each([
    ['refused', async (): Promise<Judgement> => ({ verdict: 'invalid', codes: ['FMT_SIZE'] })],
    ['error', async (): Promise<Judgement> => ({ verdict: 'invalid', codes: ['INTERNAL'] })],
    ['error', async (): Promise<Judgement> => ({ verdict: 'invalid', codes: [] })],
    ['same', async (): Promise<Judgement> => ({ verdict: 'valid', codes: [], claims: 1 })],
    ['other', async (): Promise<Judgement> => ({ verdict: 'valid', codes: [], claims: 2 })],
    ['error', async (): Promise<Judgement> => { throw new TypeError('x'); }],
  ] as const)('%s', async (outcome, judge) => expect((await examineVector(subject(judge), bytes([1]))).outcome).toBe(outcome));

  test('a fact of a log less is no other claim, where a log comes along', async () => {
    const [expected, without] = [{ origin: 'proven', technology: 'sev' }, { origin: 'proven', technology: null }];
    const outcome = async (kind: string, claims: unknown) => {
      const given = subject(async () => ({ verdict: 'valid', codes: [], claims }), expected);
      return (await examineVector({ ...given, vector: { ...given.vector, kind } }, bytes([1]))).outcome;
    };
    expect(await outcome('go-tpm-tools-attestation-pb', without)).toBe('less');
    expect(await outcome('tdx-quote', without)).toBe('other');
    expect(await outcome('go-tpm-tools-attestation-pb', { ...without, origin: 'asserted' })).toBe('other');
    expect(await outcome('go-tpm-tools-attestation-pb', { ...expected, technology: 'tdx' })).toBe('other');
    expect(isFinding('less', 'go-tpm-tools-attestation-pb', false)).toBe(false);
  });

  test('what takes long every time is slow', async () => {
    const spent = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
    const busy = (): void => { for (const end = spent() + 70; spent() < end;) { /* works */ } };
    expect((await examineReader(busy, bytes([1]))).outcome).toBe('slow');
    expect((await examineReader(() => refuse('FMT_SIZE', 'x', 'y'), bytes([1]))).outcome).toBe('refused');
  });

  test('other claims are a finding, but of logs that nothing signs', () => {
    expect(['error', 'slow', 'other'].map((o) => isFinding(o as never, 'tdx-quote', false))).toEqual([true, true, true]);
    expect(isFinding('other', 'event-log', false)).toBe(false);
    expect(isFinding('refused', 'tdx-quote', true)).toBe(false);
  });
});

describe('in this thread', () => {
  afterEach(() => back());
  let back = (): void => {};

  test.each([['P-256', 'ES256', 64], ['P-384', 'ES384', 96], ['RSA-2048', 'RS256', 256], ['RSA-2048', 'RS384', 256], ['RSA-2048', 'PS256', 256], ['RSA-2048', 'PS384', 256]] as const)('%s, %s: as WebCrypto says', async (type, algorithm, size) => {
    const key = await KEYS.get(type, 'one');
    const data = utf8('signed');
    const good = await signRaw(key, algorithm, data);
    expect(good).toHaveLength(size);
    const flipped = bytes(good.map((b, i) => (i === 5 ? b ^ 1 : b)));
    const cases: [Bytes, Bytes][] = [[good, data], [flipped, data], [good, utf8('others')], [good.slice(1), data], [good.slice(0, -1), data], [bytes([...good, 0]), data], [bytes([]), data], [new Uint8Array(size), data], [new Uint8Array(size).fill(255), data]];
    // Keys are remembered by the object: each way has its own
    const all = async () => { const issuer = { spki: key.spki, key: readPublicKey(readDer(key.spki, 'key'), 'key') }; return Promise.all(cases.map(([signature, of]) => verifySignature(issuer, algorithm, signature, of))); };
    const expected = await all();
    back = stayInThread();
    expect(await all()).toEqual(expected);
    expect(expected).toEqual([true, ...cases.slice(1).map(() => false)]);
  });

  test('a point of no curve is a key that verifies nothing', async () => {
    const spki = bytes((await KEYS.get('P-256', 'one')).spki);
    spki[60] = (spki[60] as number) ^ 1;
    const answer = () => verifySignature({ spki, key: readPublicKey(readDer(spki, 'key'), 'key') }, 'ES256', new Uint8Array(64).fill(1), utf8('signed'));
    expect(await answer()).toBe(false);
    back = stayInThread();
    expect(await answer()).toBe(false);
  });

  test('digests, and the way back', async () => {
    const names = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
    const all = () => Promise.all(names.map(async (name) => hex(new Uint8Array(await crypto.subtle.digest(name, utf8('abc').subarray(1))))));
    const [expected, { digest }] = [await all(), crypto.subtle];
    back = stayInThread();
    expect(crypto.subtle.digest).not.toBe(digest);
    expect(await all()).toEqual(expected);
    back();
    expect(crypto.subtle.digest).toBe(digest);
  });
});

describe('what it found', () => {
  test('text that is no bytes in the data that a quote was asked with, beside a key that vouches for it', async () => {
    const key = await new KeyRing().get('RSA-2048', 'ak');
    const pcrs = freshPcrs('sha256');
    const quote = await buildQuote({ bank: 'sha256', pcrs, select: [0, 7], extraData: bytes([1, 2]), key });
    const pem = `-----BEGIN PUBLIC KEY-----\n${(Buffer.from(key.spki).toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END PUBLIC KEY-----\n`;
    // The form of Azure's has the bare signature
    const evidence = (extraData: unknown) => utf8(JSON.stringify({ message: hex(quote.message), signature: hex(quote.signature.slice(6)), pcrs: [...pcrs.values()].map(hex), extraData }));
    const judge = (extraData: unknown) => judgeTpmQuote({ file: 'q', platform: 'azure-cvm', kind: 'tpm-quote', bytes: evidence(extraData), companions: [{ file: 'k', platform: 'azure-cvm', kind: 'public-key-pem', bytes: utf8(pem) }], at: null });
    expect(await judge('0102')).toMatchObject({ verdict: 'valid' });
    expect(await judge('010!')).toMatchObject({ verdict: 'invalid', codes: ['FMT_FIELD'] });
    expect(await judge(17)).toMatchObject({ verdict: 'invalid', codes: ['FMT_FIELD'] });
  });

  test('register values beside a log that are no bytes', async () => {
    const bytesOfLog = await buildEventLog([{ register: 4, type: 0xd, data: utf8('x') }]);
    const judge = (value: unknown) => judgeEventLog({ file: 'l', platform: 'gcp-vtpm', kind: 'event-log', bytes: bytesOfLog, at: null, companions: [{ file: 'p', platform: 'gcp-vtpm', kind: 'expected-pcrs', bytes: utf8(JSON.stringify({ sha256: { 4: value } })) }] });
    expect(await judge('zz!')).toMatchObject({ verdict: 'invalid', codes: ['FMT_FIELD'] });
    expect(await judge(null)).toMatchObject({ verdict: 'invalid', codes: ['FMT_FIELD'] });
  });

  test('a companion that is no UTF-8', async () => {
    await refused(() => certificatesIn(bytes([0x2d, 0x2d, 0x80, 0xff]), 'chain'), 'FMT_PEM');
  });

  test('a part of the evidence under another name is refused, not left out', async () => {
    const shape = { hcl_report: '00', tpm_quote: { message: '00', signature: '00', pcrs: [] }, vcek: '00' };
    expect(importAzureEvidence(utf8(JSON.stringify(shape)), 'evidence').vek).toEqual(bytes([0]));
    await refused(() => importAzureEvidence(utf8(JSON.stringify({ ...shape, vcej: '00' })), 'evidence'), 'FMT_FIELD');
    const wrapped = (name: string) => utf8(JSON.stringify({ hcl_report_base64: '00', tpm_attestation: { quote: shape.tpm_quote, [name]: '3000' } }));
    expect(importAzureEvidence(wrapped('ak_certificate_pem'), 'evidence').ak).toHaveLength(1);
    await refused(() => importAzureEvidence(wrapped('ak_certificate_pel'), 'evidence'), 'FMT_FIELD');
  });
});
