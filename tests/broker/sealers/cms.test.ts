/** EnvelopedData as AWS KMS answers: exactly one form, in DER or BER, and each other one is refused (D53); OpenSSL reads and writes the same. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { bits, der, explicit, integer, octets, oid, sequence, set, time } from '../../../attestation/platforms/simulated/der-writer.ts';
import { definite } from '../../../workloads/broker/sealers/ber.ts';
import { openEnveloped, parseEnveloped } from '../../../workloads/broker/sealers/cms.ts';
import { NO_OPENSSL, openssl, pemOf, run } from '../../attestation/openssl-support.ts';
import { envelope, oaepOf, type Parts, SHA1, SHA256, streamed } from './cms-writer.ts';

let pair: CryptoKeyPair;
let spki: Bytes;
let pkcs8: Bytes;
beforeAll(async () => {
  pair = await crypto.subtle.generateKey({ name: 'RSA-OAEP', modulusLength: 2048, publicExponent: bytes([1, 0, 1]), hash: 'SHA-256' }, true, ['encrypt', 'decrypt']);
  [spki, pkcs8] = await Promise.all([crypto.subtle.exportKey('spki', pair.publicKey), crypto.subtle.exportKey('pkcs8', pair.privateKey)]).then((both) => both.map((b) => bytes(b)) as [Bytes, Bytes]);
});
const DATA = bytes(Array.from({ length: 32 }, (_, i) => i));
const opened = (data: Bytes): Promise<Bytes> => openEnveloped(data, pair.privateKey);
const codeOf = async (data: Bytes): Promise<string> => {
  try {
    await opened(data);
    return 'opened';
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.code;
  }
};

test('DER and BER, each way in which content may be cut', async () => {
  expect(await opened(await envelope(spki, DATA))).toEqual(DATA);
  expect(await opened(await envelope(spki, DATA, {}, true))).toEqual(DATA);
  for (const content of [
    (c: Bytes) => der(0xa0, octets(c)), (c: Bytes) => der(0xa0, octets(c.subarray(0, 1)), octets(c.subarray(1))), (c: Bytes) => streamed(0xa0, ...Array.from({ length: c.length }, (_, i) => octets(c.subarray(i, i + 1)))),
    (c: Bytes) => streamed(0xa0, octets(c), octets(new Uint8Array())), (c: Bytes) => concat(bytes([0x80, 0x82, 0, c.length]), c),
  ]) expect(await opened(await envelope(spki, DATA, { content }))).toEqual(DATA);
  for (const keyAlgorithm of [oaepOf(sequence(oid('2.16.840.1.101.3.4.2.1')), sequence(oid('2.16.840.1.101.3.4.2.1'))), oaepOf(SHA256, SHA256, explicit(2, sequence(oid('1.2.840.113549.1.1.9'), octets(new Uint8Array()))))]) expect(await opened(await envelope(spki, DATA, { keyAlgorithm }))).toEqual(DATA);
});

describe('refused', () => {
  const second = (): Bytes => sequence(integer(bytes([2])), der(0x80, randomBytes(32)), oaepOf(SHA256, SHA256), octets(randomBytes(256)));
  const CASES: [string, () => Partial<Parts>][] = [
    ['another content type', () => ({ contentType: oid('1.2.840.113549.1.7.2') })],
    ['authenticated data\'s type', () => ({ contentType: oid('1.2.840.113549.1.9.16.1.23') })],
    ['version 0', () => ({ version: integer(bytes([0])) })],
    ['a recipient of version 0', () => ({ recipientVersion: integer(bytes([0])) })],
    ['two recipients', () => ({ moreRecipients: [second()] })],
    ['a recipient by issuer and serial', () => ({ rid: sequence(sequence(), integer(bytes([1]))) })],
    ['a key id of nothing', () => ({ rid: der(0x80) })],
    ['a key id that is long', () => ({ rid: der(0x80, randomBytes(65)) })],
    ['OAEP with SHA-1', () => ({ keyAlgorithm: oaepOf(SHA1, SHA256) })],
    ['MGF1 with SHA-1', () => ({ keyAlgorithm: oaepOf(SHA256, SHA1) })],
    ['OAEP by its defaults, which are SHA-1', () => ({ keyAlgorithm: sequence(oid('1.2.840.113549.1.1.7'), sequence()) })],
    ['another mask', () => ({ keyAlgorithm: sequence(oid('1.2.840.113549.1.1.7'), sequence(explicit(0, SHA256), explicit(1, sequence(oid('1.2.840.113549.1.1.9'), SHA256)))) })],
    ['a label', () => ({ keyAlgorithm: oaepOf(SHA256, SHA256, explicit(2, sequence(oid('1.2.840.113549.1.1.9'), octets(utf8('x'))))) })],
    ['a parameter more', () => ({ keyAlgorithm: oaepOf(SHA256, SHA256, explicit(2, sequence(oid('1.2.840.113549.1.1.9'), octets(new Uint8Array()))), explicit(3, der(5))) })],
    ['PKCS #1 v1.5', () => ({ keyAlgorithm: sequence(oid('1.2.840.113549.1.1.1'), der(5)) })],
    ['another inner type', () => ({ innerType: oid('1.2.840.113549.1.7.2') })],
    ['AES-128', () => ({ contentAlgorithm: sequence(oid('2.16.840.1.101.3.4.1.2'), octets(randomBytes(16))) })],
    ['AES-GCM', () => ({ contentAlgorithm: sequence(oid('2.16.840.1.101.3.4.1.46'), octets(randomBytes(12))) })],
    ['an IV of 12 bytes', () => ({ contentAlgorithm: sequence(oid('2.16.840.1.101.3.4.1.42'), octets(randomBytes(12))) })],
    ['a key of AES-128 under the name of AES-256', () => ({ cek: randomBytes(16) })],
    ['attributes', () => ({ attributes: [der(0xa1, set())] })],
    ['half a block', () => ({ content: (c) => der(0x80, c.subarray(0, 24)) })],
    ['no content', () => ({ content: () => der(0x80) })],
    ['segments of none', () => ({ content: () => streamed(0xa0) })],
    ['content in another tag', () => ({ content: (c) => der(0x81, c) })],
    ['a part that is no OCTET STRING', () => ({ content: (c) => streamed(0xa0, octets(c), bits(c)) })],
    ['more segments than are counted', () => ({ content: (c) => streamed(0xa0, ...Array.from({ length: 600 }, () => octets(c.subarray(0, 1)))) })],
    ['content that is large', () => ({ content: () => der(0x80, new Uint8Array(20_000)) })],
  ];
  test.each(CASES)('%s', async (_, change) => expect(await codeOf(await envelope(spki, DATA, change()))).toBe('KEY_SEALER_ANSWER'));

  test('bytes behind it, a length that overflows, an end that never comes, too deep', async () => {
    const good = await envelope(spki, DATA);
    const streamedOne = await envelope(spki, DATA, {}, true);
    const deep = Array.from({ length: 40 }).reduce<Bytes>((inner) => streamed(0x30, inner), der(5));
    for (const data of [concat(good, bytes([0])), concat(bytes([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), good.subarray(4)), streamedOne.subarray(0, -2), deep, bytes([]), bytes([0x04, 0x80, 0, 0]), bytes([0x1f, 0x81, 0x01, 0])]) expect(await codeOf(data)).toBe('KEY_SEALER_ANSWER');
  });

  test('what is wrong is said before a key is used', async () => {
    for (const [change, path] of [[{ contentAlgorithm: sequence(oid('2.16.840.1.101.3.4.1.42'), octets(randomBytes(12))) }, 'cms.iv'], [{ content: (c: Bytes) => der(0x80, c.subarray(0, 24)) }, 'cms.content']] as const) {
      const data = await envelope(spki, DATA, change);
      expect(() => parseEnveloped(data)).toThrow(expect.objectContaining({ reasons: [expect.objectContaining({ path })] }));
    }
  });

  test('more bytes, values or levels than an answer has', () => {
    const nested = (levels: number): Bytes => Array.from({ length: levels }).reduce<Bytes>((inner) => streamed(0x30, inner), der(5));
    const wide = (n: number): Bytes => streamed(0x30, ...Array.from({ length: n }, () => der(5)));
    for (const good of [nested(12), wide(511), octets(new Uint8Array(16_000))]) expect(definite(good, 'x').length).toBeGreaterThan(0);
    for (const [bad, have] of [[nested(13), 'too many values'], [wide(512), 'too many values'], [octets(new Uint8Array(16_384)), '16388 bytes']] as const) expect(() => definite(bad, 'x')).toThrow(expect.objectContaining({ reasons: [expect.objectContaining({ have })] }));
  });

  test('wrong padding, a wrong key and a changed ciphertext are one answer', async () => {
    const good = await envelope(spki, DATA);
    const { encryptedKey, content } = parseEnveloped(good);
    const at = (part: Bytes): number => Buffer.from(good).indexOf(part);
    const flipped = (index: number): Bytes => { const out = good.slice(); out[index] = (out[index] as number) ^ 1; return out; };
    const messages = await Promise.all([flipped(at(encryptedKey) + 5), flipped(at(content) + content.length - 1), flipped(at(content) + content.length - 17)].map((data) => opened(data).then(() => 'opened', (error: Error) => error.message)));
    expect(new Set(messages).size).toBe(1);
    expect(messages[0]).toContain('KEY_SEALER_ANSWER');
  });
});

test('whatever is cut or changed: opened or refused by one code, never anything else', async () => {
  const both = [await envelope(spki, DATA), await envelope(spki, DATA, {}, true)] as const;
  const codes = new Set<string>();
  await fc.assert(fc.asyncProperty(fc.constantFrom(...both), fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (data, where, change, cut) => {
    const at = where % data.length;
    const other = cut ? data.slice(0, at) : data.slice();
    if (!cut) other[at] = (other[at] as number) ^ change;
    const code = await codeOf(other);
    codes.add(code);
    // CBC has no integrity: what opens may be other data, which nothing of ours then opens with (aws-kms.test.ts).
    if (code === 'opened') expect((await opened(other)).length).toBeGreaterThan(0);
  }), { numRuns: 400 });
  expect([...codes].filter((code) => !['opened', 'KEY_SEALER_ANSWER'].includes(code))).toEqual([]);
  expect(codes.has('KEY_SEALER_ANSWER')).toBe(true);
});

test('definite lengths come out of any spelling of the same values', () => {
  type Tree = Bytes | readonly Tree[];
  const tree = fc.letrec<{ tree: Tree }>((tie) => ({ tree: fc.oneof({ maxDepth: 4 }, fc.uint8Array({ maxLength: 200 }).map((b) => bytes(b)), fc.array(tie('tree'), { maxLength: 4 })) })).tree;
  const write = (node: Tree, spelling: () => boolean): Bytes => (node instanceof Uint8Array ? octets(node) : (spelling() ? streamed : der)(0x30, ...(node as readonly Tree[]).map((child) => write(child, spelling))));
  fc.assert(fc.property(tree, fc.infiniteStream(fc.boolean()), (node, stream) => hex(definite(write(node, () => stream.next().value as boolean), 'x')) === hex(write(node, () => false))), { numRuns: 200 });
});

describe.skipIf(NO_OPENSSL)('OpenSSL', () => {
  /** A certificate for the key: `openssl cms` names recipients by one. */
  const certificate = (): string => {
    const name = sequence(set(sequence(oid('2.5.4.3'), der(0x0c, utf8('enclave')))));
    const tbs = sequence(explicit(0, integer(bytes([2]))), integer(bytes([1])), sequence(oid('1.2.840.113549.1.1.11'), der(5)), name, sequence(time(1_700_000_000), time(2_000_000_000)), name, spki, explicit(3, sequence(sequence(oid('2.5.29.14'), octets(octets(new Uint8Array(20).fill(7)))))));
    return pemOf(sequence(tbs, sequence(oid('1.2.840.113549.1.1.11'), der(5)), bits(new Uint8Array(256))));
  };
  const WRITE = ['cms', '-encrypt', '-binary', '-aes256', '-keyid', '-outform', 'PEM', '-in', '{data}', '-recip', '{certificate}', '-keyopt', 'rsa_padding_mode:oaep', '-keyopt', 'rsa_oaep_md:sha256'];
  const made = (...args: readonly string[]): Bytes => bytes(Buffer.from(openssl(args, { data: Buffer.from(DATA), certificate: certificate() }).replace(/-----[^-]+-----/g, ''), 'base64'));

  test('what it writes, streamed or whole, opens here', async () => {
    for (const more of [[], ['-stream']]) expect(await opened(made(...WRITE, ...more))).toEqual(DATA);
    expect(hex(made(...WRITE, '-stream').subarray(0, 2))).toBe('3080');
  });
  test('what it writes with SHA-1, with AES-128 or by issuer and serial is refused', async () => {
    for (const [from, to] of [['rsa_oaep_md:sha256', 'rsa_oaep_md:sha1'], ['-aes256', '-aes128'], ['-keyid', '-noattr']] as const) {
      expect(await codeOf(made(...WRITE.map((a) => (a === from ? to : a)))), to).not.toBe('opened');
    }
  });
  test('it reads what the fake key service writes', async () => {
    for (const ber of [false, true]) {
      const { status, stdout } = run(['cms', '-decrypt', '-binary', '-inform', 'DER', '-in', '{message}', '-inkey', '{key}'], { message: await envelope(spki, utf8('what KMS would say, in ASCII'), {}, ber), key: pemOf(pkcs8, 'PRIVATE KEY') });
      expect([status, stdout]).toEqual([0, 'what KMS would say, in ASCII']);
    }
  });
});
