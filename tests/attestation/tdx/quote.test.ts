/** The form of quotes: each length, type and reserved place alone; fields come back; nothing crashes. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, equal, hex, text, utf8 } from '../../../attestation/bytes.ts';
import { parseQeIdentity, parseTcbInfo } from '../../../attestation/formats/intel-json.ts';
import { readJsonObject } from '../../../attestation/formats/json-span.ts';
import { parseSgxReport } from '../../../attestation/formats/sgx-report.ts';
import { parseSgxQuote, parseTdxQuote, type Trailing } from '../../../attestation/formats/tdx-quote.ts';
import { qeIdentity, tcbInfo } from '../../../attestation/platforms/simulated/tdx-collateral.ts';
import { encodeEnclave, encodeQuote, encodeTd, QE_FIELDS, type QuoteOptions } from '../../../attestation/platforms/simulated/tdx-quote.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { filled, manifest, NO_VECTORS, refused, vector } from '../support.ts';
import { NOW, RING, verdict, world } from './support.ts';

let base: QuoteOptions;
beforeAll(async () => { base = { pckChain: 'chain', attestationKey: await RING.get('P-256', 'tdx-attestation'), pckKey: await RING.get('P-256', 'tdx-pck') }; });
const quote = (options: Partial<QuoteOptions> = {}): Promise<Bytes> => encodeQuote({ ...base, ...options });

describe('form', () => {
  const LENGTH = 'FMT_LENGTH';
  test.each<[string, RefusalCode, Partial<QuoteOptions>, Trailing?]>([
    ['version 3', 'FMT_VERSION', { header: { version: 3 } }], ['version 6', 'FMT_VERSION', { header: { version: 6 } }], ['version 0x0104', 'FMT_VERSION', { header: { version: 0x104 } }],
    ['a key of P-384', 'FMT_VERSION', { header: { keyType: 3 } }], ['the TEE of SGX', 'FMT_VERSION', { header: { tee: 0 } }], ['another TEE', 'FMT_VERSION', { header: { tee: 0x82 } }],
    ['another vendor', 'FMT_VERSION', { header: { vendor: filled(16, 0x93) } }], ['reserved bytes', 'FMT_RESERVED', { header: { reserved: bytes([0, 0, 0, 1]) } }],
    ['v5 with a body of v4', 'FMT_VERSION', { header: { version: 5 } }], ['v5 with the body of an enclave', 'FMT_VERSION', { version: 5, bodyType: 1 }], ['v5 with a body that nobody knows', 'FMT_VERSION', { version: 5, bodyType: 4 }],
    ['v5, TD 1.5 of another size', LENGTH, { version: 5, bodySize: 584 }], ['v5, TD 1.0 that says to be TD 1.5', LENGTH, { version: 5, kind: 'td-1.0', bodyType: 3 }], ['v5, a size of 4 GiB', LENGTH, { version: 5, bodySize: 0xffffffff }],
    ['v4 with a body of v5', LENGTH, { version: 5, header: { version: 4 } }],
    ['signature data longer than the quote', LENGTH, { lengths: { signatureData: 100_000 } }], ['signature data of 4 GiB', LENGTH, { lengths: { signatureData: 0xffffffff } }], ['signature data one short', LENGTH, { lengths: { signatureData: 662 } }],
    ['no signature data', LENGTH, { lengths: { signatureData: 0 } }], ['certification data one short', LENGTH, { lengths: { certification: 492 } }], ['certification data too long', LENGTH, { lengths: { certification: 600 } }],
    ['auth data of 65,535 bytes', LENGTH, { lengths: { authData: 65_535 } }], ['auth data of 1,025 bytes', LENGTH, { authData: filled(1025, 1) }], ['auth data longer than there is', LENGTH, { lengths: { authData: 1000 } }],
    ['a chain longer than there is', LENGTH, { lengths: { chain: 6 } }], ['a chain of 4 GiB', LENGTH, { lengths: { chain: 0xffffffff } }], ['a chain shorter than there is', LENGTH, { lengths: { chain: 4 } }], ['a chain above the limit', LENGTH, { pckChain: filled(16_385, 65) }],
    ['bytes behind the chain', LENGTH, { padding: { chain: bytes([0]) } }], ['bytes behind the certification data', LENGTH, { padding: { certification: bytes([0]) } }],
    ['bytes behind the quote', 'FMT_TRAILING', { padding: { quote: bytes([0, 0, 1]) } }], ['zeros behind the quote, none wanted', 'FMT_TRAILING', { padding: { quote: bytes([0]) } }, 'none'], ['more than 64 KiB', 'FMT_SIZE', { padding: { quote: new Uint8Array(65_536) } }],
    ...[1, 2, 3, 4, 5, 7].map((type): [string, RefusalCode, Partial<QuoteOptions>] => [`certification data of type ${type}`, 'FMT_FIELD', { types: { certification: type } }]),
    ...[1, 2, 3, 4, 6].map((type): [string, RefusalCode, Partial<QuoteOptions>] => [`a chain of type ${type}`, 'FMT_FIELD', { types: { chain: type } }]),
  ])('%s', async (_, code, options, trailing) => {
    const data = await quote(options);
    await refused(() => parseTdxQuote(data, 'quote', trailing), code);
  });

  test('what is behind a quote is counted and is no part of it', async () => {
    const data = await quote();
    for (const [trailing, rest] of [['zeros', new Uint8Array(70)], ['any', filled(39, 0xee)], ['none', new Uint8Array()]] as const) {
      const parsed = parseTdxQuote(concat(data, rest), 'quote', trailing);
      expect(parsed.trailing).toBe(rest.length);
      expect(equal(parsed.bytes, data)).toBe(true);
    }
  });

  test('NULs behind the chain are not of the chain', async () => {
    expect(text(parseTdxQuote(await quote({ pckChain: 'chain\0\0' }), 'q').pckChain)).toBe('chain');
    expect(text(parseTdxQuote(await quote({ pckChain: '\0ch\0ain\0' }), 'q').pckChain)).toBe('\0ch\0ain');
  });

  test('each cut is refused, in every version', async () => {
    for (const version of [4, 5] as const) {
      const data = await quote({ version });
      for (let n = 0; n < data.length; n += n < 900 ? 1 : 7) expect(() => parseTdxQuote(data.subarray(0, n), 'quote', 'any')).toThrow(Refusal);
    }
    const data = await quote({ version: 3 });
    for (let n = 0; n < data.length; n += 5) expect(() => parseSgxQuote(data.subarray(0, n), 'quote', 'any')).toThrow(Refusal);
  });

  test('a report of another size', async () => { await refused(() => parseSgxReport(new Uint8Array(383), 'r'), 'FMT_SIZE'); });
});

describe('properties', () => {
  const sized = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((b) => bytes(b));
  const td = fc.record({
    teeTcbSvn: sized(16), mrSeam: sized(48), mrSignerSeam: sized(48), seamAttributes: sized(8), tdAttributes: sized(8), xfam: sized(8), mrTd: sized(48), mrConfigId: sized(48), mrOwner: sized(48), mrOwnerConfig: sized(48),
    rtmrs: fc.tuple(sized(48), sized(48), sized(48), sized(48)), reportData: sized(64), teeTcbSvn2: sized(16), mrServiceTd: sized(48),
  });

  test('every field of a TD comes back, at its offset', async () => {
    const [v4, v5] = await Promise.all([quote(), quote({ version: 5 })]);
    fc.assert(fc.property(td, (fields) => {
      for (const [data, kind, at] of [[v4, 'td-1.0', 48], [v5, 'td-1.5', 54]] as const) {
        const whole = bytes(data);
        whole.set(encodeTd(fields, kind), at);
        const { body } = parseTdxQuote(whole, 'quote');
        const { teeTcbSvn2, mrServiceTd, ...common } = fields;
        expect(body).toEqual({ kind, ...common, ...(kind === 'td-1.5' ? { teeTcbSvn2, mrServiceTd } : {}) });
      }
    }), { numRuns: 40 });
  });

  test('every field of an enclave comes back', () => {
    const u16 = fc.nat(65_535);
    fc.assert(fc.property(fc.record({ cpuSvn: sized(16), miscSelect: sized(4), attributes: sized(16), mrEnclave: sized(32), mrSigner: sized(32), isvProdId: u16, isvSvn: u16, reportData: sized(64) }), (fields) => {
      const { raw, debug, ...rest } = parseSgxReport(encodeEnclave(fields), 'r');
      expect(rest).toEqual(fields);
      expect([raw.length, debug]).toEqual([384, ((fields.attributes[0] as number) & 2) !== 0]);
    }));
    expect(parseSgxReport(encodeEnclave(QE_FIELDS), 'r').debug).toBe(false);
  });

  test('random bytes and random changes: read, or refused with a code', async () => {
    const data = await quote({ version: 5 });
    const attempt = (input: Bytes): void => {
      for (const parse of [parseTdxQuote, parseSgxQuote]) {
        try {
          const parsed = parse(input, 'quote');
          expect(parsed.bytes.length + parsed.trailing).toBe(input.length);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 800 }), (input) => attempt(bytes(input))), { numRuns: 500 });
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(data.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = bytes(data);
      for (const [at, value] of changes) changed[at] = value;
      attempt(changed);
    }), { numRuns: 500 });
  });

  test('no changed byte of a signed quote passes', async () => {
    const w = await world();
    const end = w.quote.length - 2;
    await fc.assert(fc.asyncProperty(fc.nat(end), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const changed = bytes(w.quote);
      changed[at] = (changed[at] as number) ^ flip;
      const { facts, codes } = await verdict({ ...w, quote: changed });
      expect(facts, `byte ${at}`).toBeUndefined();
      expect(codes.length).toBeGreaterThan(0);
      expect(codes).not.toContain('INTERNAL');
    }), { numRuns: 150 });
  });
});

const LIMITS = { maxBytes: 1000, maxDepth: 4, code: 'FMT_JSON', next: 'Send it as it was.' } as const;
const json = (source: string) => readJsonObject(source, 'j', LIMITS);

describe('JSON with the signed text kept', () => {
  test('members, their values and their exact text', () => {
    const members = json(' {"a" : { "x" : [1, 2.50e+1] } ,"b":"\\u0041\\"}", "c":[] , "":null}\n');
    expect([...members].map(([name, m]) => [name, m.source, m.value])).toEqual([['a', '{ "x" : [1, 2.50e+1] }', { x: [1, 25] }], ['b', '"\\u0041\\"}"', 'A"}'], ['c', '[]', []], ['', 'null', null]]);
    expect(json('{}').size).toBe(0);
  });

  test.each([
    ['nothing', ''], ['no object', '[]'], ['a string', '"a"'], ['a number', '1'], ['two objects', '{}{}'], ['text behind', '{} x'], ['not closed', '{"a":1'], ['closed by the other', '{"a":[1}'], ['a trailing comma', '{"a":1,}'], ['a comma first', '{,"a":1}'],
    ['a trailing comma in a list', '{"a":[1,]}'], ['no colon', '{"a" 1}'], ['no value', '{"a":}'], ['no comma', '{"a":1 "b":2}'], ['a name without quotes', '{a:1}'], ['single quotes', "{'a':1}"], ['a name twice', '{"a":1,"a":1}'], ['a name twice, spelled otherwise', '{"a":1,"\\u0061":1}'],
    ['a name twice, inside', '{"a":{"b":1,"b":2}}'], ['a leading zero', '{"a":01}'], ['a plus', '{"a":+1}'], ['NaN', '{"a":NaN}'], ['a comment', '{"a":1/**/}'], ['a control character', '{"a":"\u0001"}'], ['an unknown escape', '{"a":"\\x"}'], ['half an escape', '{"a":"\\u00"}'],
    ['another white space', '{"a":\u00a01}'], ['a mark of byte order', '\ufeff{}'], ['too deep', '{"a":[[[[1]]]]}'], ['too long', `{"a":"${'x'.repeat(1000)}"}`], ['a second colon', '{"a"::1}'], ['a list with a name', '{"a":["b":1]}'],
  ])('%s', async (_, source) => { await refused(() => json(source), 'FMT_JSON'); });

  test('bytes that are not UTF-8', async () => { await refused(() => readJsonObject(bytes([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'j', LIMITS), 'FMT_JSON'); });

  test('agrees with JSON.parse on any object; the parts are of the whole', () => {
    const wide = { ...LIMITS, maxBytes: 1_000_000, maxDepth: 32 };
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const source = JSON.stringify(value, null, space);
      const members = readJsonObject(utf8(source), 'j', wide);
      expect(Object.fromEntries([...members].map(([k, m]) => [k, m.value]))).toEqual(Object.fromEntries(Object.entries(JSON.parse(source) as object)));
      for (const m of members.values()) expect(source).toContain(m.source);
    }));
  });

  test('whatever it accepts, JSON.parse accepts', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"b"', '1', 'true', ' '), { maxLength: 12 }), (tokens) => {
      const source = tokens.join('');
      let members: ReturnType<typeof json>;
      try {
        members = json(source);
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
        return;
      }
      expect(Object.keys(JSON.parse(source) as object)).toEqual([...members.keys()]);
    }), { numRuns: 2000 });
  });

  test('statements: random changes are refused or still statements', () => {
    for (const [name, statement, parse] of [['tcbInfo', tcbInfo(NOW), parseTcbInfo], ['enclaveIdentity', qeIdentity(NOW), parseQeIdentity]] as const) {
      const source = `{"${name}":${JSON.stringify(statement)},"signature":"${'0a'.repeat(64)}"}`;
      expect(hex(parse(source, 'tdx', 's').signature)).toBe('0a'.repeat(64));
      fc.assert(fc.property(fc.nat(source.length - 1), fc.constantFrom('', '0', '"', '}', ',', 'x', '-', '1e9'), (at, change) => {
        try {
          expect(text(parse(source.slice(0, at) + change + source.slice(at + 1), 'tdx', 's').signed).startsWith('{')).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
          expect((error as Refusal).codes).toEqual(['COLLATERAL_FORMAT']);
        }
      }), { numRuns: 300 });
    }
  });
});

describe.skipIf(NO_VECTORS)('genuine statements', () => {
  test('are their own text, byte for byte', () => {
    let read = 0;
    for (const { file } of manifest().filter((e) => e.platform === 'intel-tdx' && e.kind === 'tdx-collateral' && !e.file.endsWith('collateral.json') && !e.file.includes('sampleapp'))) {
      const data = vector(file);
      const source = text(data);
      const { signed } = source.includes('"tcbInfo"') ? parseTcbInfo(data, 'tdx', file) : parseQeIdentity(data, 'tdx', file);
      expect(source).toContain(text(signed));
      expect(JSON.stringify(JSON.parse(text(signed)))).toBe(text(signed));
      read += 1;
    }
    expect(read).toBeGreaterThanOrEqual(6);
  });
});
