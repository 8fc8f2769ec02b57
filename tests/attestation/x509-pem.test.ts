/** Strict PEM: one spelling, nothing hidden. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytes } from '../../attestation/bytes.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { pemOf } from './openssl-support.ts';
import { manifest, NO_VECTORS, refused, vector } from './support.ts';

const DER = bytes(Array.from({ length: 100 }, (_, i) => i));
const GOOD = pemOf(DER);
const read = (text: string | Uint8Array, limit = 3) => readPem(typeof text === 'string' ? text : bytes(text), 'CERTIFICATE', 'pem', limit);

describe('read', () => {
  test('blocks of any length, LF and CR LF, with and without a last line end, text or bytes', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 3 }), fc.boolean(), fc.boolean(), (blocks, crlf, trimmed) => {
      let text = blocks.map((b) => pemOf(b)).join('');
      if (trimmed) text = text.trimEnd();
      if (crlf) text = text.replaceAll('\n', '\r\n');
      for (const source of [text, bytes(Buffer.from(text))]) expect(read(source).map((b) => [...b])).toEqual(blocks.map((b) => [...b]));
    }), { numRuns: 200 });
  });

  test('the label that is asked for', async () => {
    expect(readPem(pemOf(DER, 'X509 CRL'), 'X509 CRL', 'pem', 1)).toEqual([DER]);
    await refused(() => readPem(pemOf(DER, 'X509 CRL'), 'CERTIFICATE', 'pem', 1), 'FMT_PEM');
  });

  test.skipIf(NO_VECTORS)('every PEM file of the vectors', () => {
    const files = manifest().map((e) => e.file).filter((f) => f.endsWith('.pem') && !f.endsWith('akpub.pem'));
    expect(files.length).toBeGreaterThan(25);
    for (const file of files) expect(read(vector(file), 4).length, file).toBeGreaterThan(0);
  });
});

describe('refused', () => {
  const [begin, one, two, end] = GOOD.trimEnd().split('\n') as [string, string, string, string];
  const block = (...body: string[]) => [begin, ...body, end, ''].join('\n');
  test.each([
    ['nothing', ''], ['line ends only', '\n\n'], ['text before', `Subject: x\n${GOOD}`], ['text between', `${GOOD}# next\n${GOOD}`], ['text behind', `${GOOD}x`], ['a space behind', `${GOOD} `], ['a NUL behind', `${GOOD}\0`],
    ['spaces that hide a second block (D15)', `${GOOD}   ${GOOD}`], ['too many blocks', GOOD.repeat(4)], ['no end', `${begin}\n${one}\n${two}\n`], ['no begin', `${one}\n${two}\n${end}`], ['begin twice', `${begin}\n${GOOD}`],
    ['another label', GOOD.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')], ['another label at the end', GOOD.replace('END CERTIFICATE', 'END X509 CRL')], ['a label in small letters', GOOD.replaceAll('CERTIFICATE', 'Certificate')],
    ['headers', block('Proc-Type: 4,ENCRYPTED', '', one, two)], ['an empty body', block()], ['an empty line', block(one, '', two)], ['a space in a line', block(`${one.slice(0, 60)} ${one.slice(61)}`, two)],
    ['one long line', block(one + two)], ['short lines', block(one.slice(0, 32), one.slice(32), two)], ['an indented line', block(` ${one}`, two)],
    ['padding cut off', block(one, two.replace(/=+$/, ''))], ['padding inside', block(one.replace(/.$/, '='), two)], ['url letters', block(`-_${one.slice(2)}`, two)], ['bits behind the last byte', block('AB==')], ['more bits behind the last byte', block('AAF=')],
    ['dashes missing', GOOD.replace('-----BEGIN', '----BEGIN')], ['CR alone', GOOD.replaceAll('\n', '\r')],
  ])('%s', async (_, text) => {
    await refused(() => read(text), 'FMT_PEM');
  });

  test('bytes that are no text; a megabyte', async () => {
    await refused(() => read(new Uint8Array([0xff, 0xfe])), 'FMT_PEM');
    await refused(() => read('\n'.repeat(1024 * 1024 + 1)), 'FMT_PEM');
  });

  test('every flip and cut gives the same bytes, other bytes or the one refusal', () => {
    const source = bytes(Buffer.from(GOOD));
    for (let i = 0; i < source.length; i++) {
      for (const changed of [source.slice(0, i), ...[1, 0x20, 0x80].map((mask) => source.map((b, at) => (at === i ? b ^ mask : b)))]) {
        try {
          const out = read(bytes(changed));
          expect(pemOf(out[0] as Uint8Array).trimEnd()).toBe(Buffer.from(changed).toString().trimEnd());
        } catch (error) {
          expect((error as Refusal).codes).toEqual(['FMT_PEM']);
        }
      }
    }
  });
});
