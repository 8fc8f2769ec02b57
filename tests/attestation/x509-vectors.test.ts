/** Every certificate of the vectors, wherever it is: DER, PEM, hex, base64, inside quotes, documents, logs and tokens; against three other readers. */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fromBER } from 'asn1js';
import { Certificate as PkiCertificate } from 'pkijs';
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, hex } from '../../attestation/bytes.ts';
import { type Certificate, KEY_USAGES, parseCertificate, verifySignature } from '../../attestation/formats/x509.ts';
import { NO_OPENSSL, openssl, pemOf } from './openssl-support.ts';
import { NO_VECTORS, VECTORS } from './support.ts';

/** Certificates by their base64, with the file where each was found first. */
function collect(): Map<string, string> {
  const found = new Map<string, string>();
  const scan = (data: Buffer, file: string, depth: number): void => {
    // SEQUENCE { SEQUENCE { [0] { INTEGER 2 } ...: a v3 certificate
    for (let i = data.indexOf('a003020102', 0, 'hex'); i >= 0; i = data.indexOf('a003020102', i + 1, 'hex')) {
      for (const start of [i - 8, i - 7]) {
        if (start < 0 || data[start] !== 0x30 || data[start + 1] !== 0x82 || data[start + 4] !== 0x30) continue;
        const length = data.readUInt16BE(start + 2) + 4;
        const certificate = data.subarray(start, start + length);
        if (certificate.length === length && !found.has(certificate.toString('base64'))) found.set(certificate.toString('base64'), file);
      }
    }
    if (depth === 3) return;
    const text = data.toString('latin1');
    for (const [match] of text.matchAll(/[0-9a-fA-F]{200,}/g)) scan(Buffer.from(match, 'hex'), file, depth + 1);
    for (const [match] of text.matchAll(/[A-Za-z0-9+/_-]{200,}={0,2}/g)) scan(Buffer.from(match, 'base64'), file, depth + 1);
    for (const [, body] of text.matchAll(/-----BEGIN CERTIFICATE-----((?:[A-Za-z0-9+/=\s]|\\[rn])*?)-----END/g)) scan(Buffer.from((body as string).replace(/\\[rn]/g, ''), 'base64'), file, 3);
  };
  if (NO_VECTORS) return found;
  for (const entry of readdirSync(VECTORS, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) scan(readFileSync(`${entry.parentPath}/${entry.name}`), entry.name, 0);
  }
  return found;
}

const found = collect();
const all: { file: string; der: Bytes; ours: Certificate }[] = [];

describe.skipIf(NO_VECTORS)('certificates of the vectors', () => {
  test('every one is read', () => {
    for (const [base64, file] of found) {
      const der = bytes(Buffer.from(base64, 'base64'));
      all.push({ file, der, ours: parseCertificate(der, file) });
    }
    expect(all.length).toBeGreaterThan(150);
    expect(new Set(all.map((c) => c.ours.algorithm))).toEqual(new Set(['ES256', 'ES384', 'PS384', 'RS256', 'RS384']));
    expect(new Set(all.map((c) => `${c.ours.key.kind} ${c.ours.key.bits}`))).toEqual(new Set(['P-256 256', 'P-384 384', 'RSA 2048', 'RSA 4096']));
  });

  test('node:crypto says the same', () => {
    for (const { der, ours, file } of all) {
      const theirs = new X509Certificate(der);
      expect(ours.serial, file).toBe(theirs.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''));
      expect([ours.notBefore, ours.notAfter]).toEqual([theirs.validFromDate.getTime() / 1000, theirs.validToDate.getTime() / 1000]);
      expect(ours.ca).toBe(theirs.ca);
      expect(hex(ours.spki)).toBe(theirs.publicKey.export({ type: 'spki', format: 'der' }).toString('hex'));
      expect([...ours.extendedKeyUsage ?? []]).toEqual(theirs.keyUsage ?? []);
      const details = theirs.publicKey.asymmetricKeyDetails;
      expect(ours.key.bits).toBe(details?.modulusLength ?? (details?.namedCurve === 'prime256v1' ? 256 : 384));
    }
  });

  test('pkijs says the same', () => {
    for (const { der, ours, file } of all) {
      const theirs = new PkiCertificate({ schema: fromBER(der).result });
      expect(hex(ours.tbs), file).toBe(hex(new Uint8Array(theirs.tbsView)));
      expect(hex(ours.issuer)).toBe(hex(new Uint8Array(theirs.issuer.valueBeforeDecode)));
      expect(hex(ours.subject)).toBe(hex(new Uint8Array(theirs.subject.valueBeforeDecode)));
      expect([...ours.extensions.values()].map((e) => [e.id, e.critical, hex(e.value)])).toEqual((theirs.extensions ?? []).map((e) => [e.extnID, e.critical, hex(new Uint8Array(e.extnValue.valueBlock.valueHexView))]));
      const parsed = (id: string) => theirs.extensions?.find((e) => e.extnID === id)?.parsedValue as Record<string, unknown> | undefined;
      const basic = parsed('2.5.29.19') as { cA: boolean; pathLenConstraint?: number } | undefined;
      expect([ours.ca, ours.pathLen]).toEqual([basic?.cA ?? false, basic?.pathLenConstraint ?? null]);
      const usage = parsed('2.5.29.15') as { valueBlock: { valueHexView: Uint8Array } } | undefined;
      expect(ours.keyUsage === null ? null : [...ours.keyUsage]).toEqual(usage === undefined ? null : KEY_USAGES.filter((_, bit) => ((usage.valueBlock.valueHexView[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0));
      const ski = parsed('2.5.29.14') as { valueBlock: { valueHexView: Uint8Array } } | undefined;
      expect(ours.subjectKeyId).toBe(ski === undefined ? null : hex(ski.valueBlock.valueHexView));
      const aki = parsed('2.5.29.35') as { keyIdentifier?: { valueBlock: { valueHexView: Uint8Array } }; authorityCertSerialNumber?: { valueBlock: { valueHexView: Uint8Array } } } | undefined;
      expect(ours.authorityKeyId?.keyId ?? null).toBe(aki?.keyIdentifier === undefined ? null : hex(aki.keyIdentifier.valueBlock.valueHexView));
      expect(ours.authorityKeyId?.serial ?? null).toBe(aki?.authorityCertSerialNumber === undefined ? null : hex(aki.authorityCertSerialNumber.valueBlock.valueHexView).replace(/^0+(?=.)/, ''));
    }
  });

  test.skipIf(NO_OPENSSL)('openssl says the same: names, purposes, distribution points', () => {
    // One process for all of them
    const text = openssl(['storeutl', '-noout', '-text', '-certs', '{all}'], { all: all.map(({ der }) => pemOf(der)).join('') });
    const blocks = text.split(/^\d+: Certificate$/m).slice(1);
    expect(blocks.length).toBe(all.length);
    const algorithms: Record<string, string> = { 'ecdsa-with-SHA256': 'ES256', 'ecdsa-with-SHA384': 'ES384', sha256WithRSAEncryption: 'RS256', sha384WithRSAEncryption: 'RS384', rsassaPss: 'PS384' };
    for (const [i, block] of blocks.entries()) {
      const { ours, file } = all[i] as (typeof all)[number];
      expect(ours.algorithm, file).toBe(algorithms[/Signature Algorithm: (\S+)/.exec(block)?.[1] as string]);
      const subject = /Subject: ?(.*)/.exec(block)?.[1]?.replace(/["\\]/g, '').replaceAll(' = ', '=');
      for (const attribute of ours.subjectText.split(/(?<!\\),/)) expect(subject).toContain(attribute.replaceAll('\\00', 'x00').replace(/["\\]/g, ''));
      const points = /CRL Distribution Points:[\s\S]*?(?=\n {12}\S|\n {4}\S)/.exec(block)?.[0] ?? '';
      expect(ours.crlUrls).toEqual([...points.matchAll(/URI:(\S+)/g)].map((m) => m[1]));
    }
  });

  test('signatures verify exactly where node:crypto says so', async () => {
    const unique = [...new Map(all.map((c) => [`${hex(c.ours.subject)} ${hex(c.ours.spki)}`, c])).values()];
    let [verified, compared] = [0, 0];
    for (const { der, ours } of all) {
      const theirs = new X509Certificate(der);
      for (const issuer of unique) {
        if (hex(issuer.ours.subject) !== hex(ours.issuer)) continue;
        const holds = await verifySignature(issuer.ours, ours.algorithm, ours.signature, ours.tbs);
        expect(holds).toBe(theirs.verify(new X509Certificate(issuer.der).publicKey));
        // Where it holds, the key identifiers of genuine certificates agree
        const id = ours.authorityKeyId?.keyId;
        if (holds && id != null && issuer.ours.subjectKeyId !== null) expect(id).toBe(issuer.ours.subjectKeyId);
        compared += 1;
        verified += holds ? 1 : 0;
      }
    }
    expect(verified).toBeGreaterThan(130);
    expect(compared).toBeGreaterThan(verified);
  });
});
