/** The DER reader and the certificate profile, against themselves and against node:crypto and pkijs. */
import { X509Certificate } from 'node:crypto';
import { fromBER } from 'asn1js';
import { decode } from 'cborg';
import fc from 'fast-check';
import { Certificate as PkiCertificate } from 'pkijs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, fromHex, hex } from '../../attestation/bytes.ts';
import * as der from '../../attestation/formats/der.ts';
import { type Certificate, type KeyUsage, KEY_USAGES, parseCertificate } from '../../attestation/formats/x509.ts';
import * as write from '../../attestation/platforms/simulated/der-writer.ts';
import { type CertificateFields, issue, makeRoot, name, unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { filled, manifest, NO_VECTORS, NOW, refused, vector, world } from './support.ts';

const node = (text: string) => der.readDer(fromHex(text), 'test');

describe('DER refused', () => {
  test.each([
    ['nothing', ''], ['a tag alone', '30'], ['a tag of several bytes', '1f8101'], ['an indefinite length', '30800000'], ['a length in a longer form', '308101ff'], ['a length with a leading zero', '30820001ff'],
    ['a length of four bytes', '308400000001ff'], ['a value cut off', '300201'], ['a length cut off', '3082ff'], ['a byte behind', '050000'],
  ])('%s', async (_, text) => {
    await refused(() => node(text), 'FMT_DER');
  });

  test.each([
    ['INTEGER empty', () => der.unsigned(node('0200'))], ['INTEGER negative', () => der.unsigned(node('0180'.replace('01', '0201')))], ['INTEGER with a leading zero', () => der.unsigned(node('02020001'))],
    ['INTEGER of another tag', () => der.unsigned(node('040101'))], ['INTEGER absent', () => der.unsigned(undefined)], ['small INTEGER too large', () => der.small(node('02050100000000'))],
    ['BOOLEAN of 1', () => der.boolean(node('010101'))], ['BOOLEAN of two bytes', () => der.boolean(node('01020000'))], ['OID empty', () => der.oid(node('0600'))], ['OID unfinished', () => der.oid(node('06022a86'))],
    ['OID arc with a leading zero', () => der.oid(node('06032a8001'))], ['OID arc too large', () => der.oid(node(`060c2a${'ff'.repeat(10)}7f`))],
    ['BIT STRING with unused bits', () => der.octetAlignedBits(node('03020180'))], ['BIT STRING empty', () => der.octetAlignedBits(node('0300'))],
    ['named bits empty', () => der.namedBits(node('030100'), KEY_USAGES)], ['named bits with a trailing zero', () => der.namedBits(node('03020080'), KEY_USAGES)],
    ['named bits with garbage behind', () => der.namedBits(node('03020781'), KEY_USAGES)], ['named bits without name', () => der.namedBits(node('0303060040'), KEY_USAGES)], ['named bits, nine unused', () => der.namedBits(node('03020980'), KEY_USAGES)],
    ['UTCTime without seconds', () => der.time(node(`170b${Buffer.from('2605280000Z').toString('hex')}`))], ['UTCTime with an offset', () => der.time(node(`1711${Buffer.from('260528000000+0000').toString('hex')}`))],
    ['UTCTime 31 February', () => der.time(node(`170d${Buffer.from('260231000000Z').toString('hex')}`))], ['UTCTime at 24:00', () => der.time(node(`170d${Buffer.from('260201240000Z').toString('hex')}`))],
    ['GeneralizedTime before 2050', () => der.time(node(`180f${Buffer.from('20260528000000Z').toString('hex')}`))], ['a number as time', () => der.time(node('020101'))],
    ['PrintableString outside ASCII', () => der.string(node('1302c3a9'))], ['UTF8String malformed', () => der.string(node('0c01ff'))], ['BMPString', () => der.string(node('1e020041'))],
    ['children past the end', () => der.children(node('3003020201'))], ['children of a SET as SEQUENCE', () => der.children(node('3100'))],
  ])('%s', async (_, work) => {
    await refused(work, 'FMT_DER');
  });
});

describe('DER properties', () => {
  test('numbers, identifiers, times and bits come back', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (raw) => {
      const back = der.unsigned(der.readDer(write.integer(raw), 't'));
      expect(BigInt(`0x${hex(back)}`)).toBe(BigInt(`0x${hex(raw)}`));
    }));
    fc.assert(fc.property(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 39 }), fc.array(fc.integer({ min: 0, max: 2 ** 31 }), { maxLength: 4 }), (a, b, rest) => {
      const dotted = [a, b, ...rest].join('.');
      expect(der.oid(der.readDer(write.oid(dotted), 't'))).toBe(dotted);
    }));
    fc.assert(fc.property(fc.integer({ min: Date.UTC(1950, 0) / 1000, max: Date.UTC(9999, 11, 31) / 1000 }), (seconds) => {
      expect(der.time(der.readDer(write.time(seconds), 't'))).toBe(seconds);
    }));
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 8 }), { minLength: 1 }), (positions) => {
      expect([...der.namedBits(der.readDer(write.namedBits(positions), 't'), KEY_USAGES)].sort()).toEqual(positions.map((p) => KEY_USAGES[p] as KeyUsage).sort());
    }));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 70_000 }), (value) => {
      expect(hex(der.readDer(write.octets(value), 't').value)).toBe(hex(value));
    }), { numRuns: 30 });
  });

  test('random bytes are read completely, with the same bytes inside, or refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (raw) => {
      const data = bytes(raw);
      try {
        const read = der.readDer(data, 't');
        expect(hex(write.der(read.tag, read.value))).toBe(hex(data));
        if (read.tag === 0x30) expect(hex(concat(...der.children(read).map((c) => c.raw)))).toBe(hex(read.value));
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
      }
    }), { numRuns: 2000 });
  });
});

let corpus: Bytes[] = [];
beforeAll(async () => {
  const own = await Promise.all([world(), world({ region: 'us-gov-west-1', change: { leaf: { extensions: [unknownExtension(false)] } } })]);
  corpus = own.flatMap(({ chain }) => [...chain.cabundle, chain.certificate]);
  for (const { file } of manifest().filter((e) => e.kind === 'nitro-attestation-document' && e.expected === 'valid')) {
    const document = vector(file);
    const [, , payload] = decode(document[0] === 0xd2 ? document.subarray(1) : document, { useMaps: true }) as [unknown, unknown, Uint8Array];
    const map = decode(payload, { useMaps: true }) as Map<string, unknown>;
    corpus.push(...[...(map.get('cabundle') as Uint8Array[]), map.get('certificate') as Uint8Array].map((c) => bytes(c)));
  }
});

const field = (label: string, text: string) => new RegExp(`^${label}=(.*)$`, 'm').exec(text)?.[1];

describe('certificates against other parsers', () => {
  test.skipIf(NO_VECTORS)('genuine ones are among them', () => expect(corpus.length).toBeGreaterThan(60));

  test('node:crypto', () => {
    for (const raw of corpus) {
      const [ours, theirs] = [parseCertificate(raw, 'c'), new X509Certificate(raw)];
      expect(ours.serial).toBe(theirs.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''));
      expect([ours.notBefore, ours.notAfter]).toEqual([theirs.validFromDate.getTime() / 1000, theirs.validToDate.getTime() / 1000]);
      expect(ours.ca).toBe(theirs.ca);
      expect(ours.commonName).toBe(field('CN', theirs.subject));
      expect(ours.issuerText.split(/(?<!\\),/).sort()).toEqual(theirs.issuer.split('\n').sort());
      expect(hex(ours.spki)).toBe(theirs.publicKey.export({ type: 'spki', format: 'der' }).toString('hex'));
      expect(hex(ours.der)).toBe(theirs.raw.toString('hex'));
    }
  });

  test('pkijs', () => {
    for (const raw of corpus) {
      const ours = parseCertificate(raw, 'c');
      const theirs = new PkiCertificate({ schema: fromBER(raw).result });
      expect(hex(ours.tbs)).toBe(hex(new Uint8Array(theirs.tbsView)));
      expect(hex(ours.issuer)).toBe(hex(new Uint8Array(theirs.issuer.toSchema().toBER())));
      expect(hex(ours.subject)).toBe(hex(new Uint8Array(theirs.subject.toSchema().toBER())));
      const basic = theirs.extensions?.find((e) => e.extnID === '2.5.29.19')?.parsedValue as { cA: boolean; pathLenConstraint?: number } | undefined;
      expect([ours.ca, ours.pathLen]).toEqual([basic?.cA ?? false, basic?.pathLenConstraint ?? null]);
      const known = new Set(['2.5.29.19', '2.5.29.15']);
      expect(ours.unknownCritical).toEqual((theirs.extensions ?? []).filter((e) => e.critical && !known.has(e.extnID)).map((e) => e.extnID));
      const usage = theirs.extensions?.find((e) => e.extnID === '2.5.29.15')?.parsedValue as { valueBlock: { valueHexView: Uint8Array } } | undefined;
      const set = KEY_USAGES.filter((_, bit) => ((usage?.valueBlock.valueHexView[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0);
      expect(ours.keyUsage === null ? null : [...ours.keyUsage]).toEqual(usage === undefined ? null : set);
    }
  });

  test('signatures verify from what was read', async () => {
    const chain: Certificate[] = corpus.slice(0, 5).map((raw) => parseCertificate(raw, 'c'));
    for (const [i, certificate] of chain.entries()) {
      const key = await crypto.subtle.importKey('spki', (chain[i - 1] ?? certificate).spki, { name: 'ECDSA', namedCurve: 'P-384' }, false, ['verify']);
      expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-384' }, key, certificate.signature, certificate.tbs)).toBe(true);
    }
  });
});

describe('certificates refused', () => {
  test('every flipped bit and every cut: read, or refused with a code; never another error', async () => {
    const { certificate } = await makeRoot(NOW);
    let accepted = 0;
    for (let i = 0; i < certificate.length; i++) {
      expect(() => parseCertificate(certificate.slice(0, i), 'c')).toThrow(Refusal);
      for (const flip of [0x01, 0x80]) {
        const changed = bytes(certificate);
        changed[i] = (changed[i] as number) ^ flip;
        try {
          parseCertificate(changed, 'c');
          accepted += 1;
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }
    }
    // Serial, names, times, point and signature may differ and still be a certificate: the signature catches them
    expect(accepted).toBeGreaterThan(0);
  });

  test('fields of another profile', async () => {
    const { fields, keys } = await makeRoot(NOW);
    const parse = async (change: Partial<CertificateFields>) => parseCertificate(await issue({ ...fields, ...change }, keys.privateKey), 'c');
    await expect(parse({})).resolves.toMatchObject({ ca: true, pathLen: null });
    await refused(parse({ serial: filled(21, 1) }), 'FMT_DER');
    await refused(parse({ version: 1 }), 'FMT_DER');
    await refused(parse({ ca: false, pathLen: 1 }), 'FMT_DER');
    await refused(parse({ spki: write.sequence(write.sequence(write.oid('1.2.840.113549.1.1.1')), write.bits(filled(97, 4))) }), 'CHAIN_ALGORITHM');
    const compressed = bytes(parseCertificate(await issue(fields, keys.privateKey), 'c').spki);
    await refused(parse({ spki: write.sequence(compressed.subarray(2, 20), write.bits(concat(bytes([2]), filled(48, 1)))) }), 'CHAIN_ALGORITHM');
    await refused(parse({ algorithm: write.sequence(write.oid('1.2.840.10045.4.3.3'), bytes([5, 0])) }), 'CHAIN_ALGORITHM');
    const stray = { id: '2.5.29.15', critical: true, value: write.namedBits([0]) };
    await refused(parse({ extensions: [stray] }), 'FMT_DER');
  });

  test('names with signs of their own do not become other names', async () => {
    const { fields, keys } = await makeRoot(NOW);
    const tricky = parseCertificate(await issue({ ...fields, subject: name('a,O=Amazon') }, keys.privateKey), 'c');
    expect(tricky.subjectText).toBe('CN=a\\,O=Amazon,OU=AWS,O=Amazon,C=US');
    expect(tricky.commonName).toBe('a,O=Amazon');
  });
});
