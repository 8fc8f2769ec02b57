/** The closed table of signatures and keys: what is in it verifies here and elsewhere, and its neighbours are refused. */
import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat } from '../../attestation/bytes.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { parseCertificate, SIGNATURE_ALGORITHMS, type SignatureAlgorithm, verifySignature } from '../../attestation/formats/x509.ts';
import { bits, integer, oid, sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { ALGORITHMS, authorityKeyIdentifier, basicConstraints, crlDistributionPoints, extendedKeyUsage, type Issued, keyUsage, makeAuthority, pssAlgorithm } from '../../attestation/platforms/simulated/issue.ts';
import { KeyRing, type KeyType, newSigningKey, type SigningKey } from '../../attestation/platforms/simulated/keys.ts';
import { unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { NO_OPENSSL, pemOf, run } from './openssl-support.ts';
import { DAY, KEYS, lastByteFlipped, named, pki, requestOf, verdict } from './path-support.ts';
import { NOW, refused } from './support.ts';

const TYPES: Record<SignatureAlgorithm, KeyType[]> = { ES256: ['P-256'], ES384: ['P-384'], RS256: ['RSA-2048', 'RSA-4096'], RS384: ['RSA-2048', 'RSA-3072'], PS256: ['RSA-2048'], PS384: ['RSA-2048', 'RSA-4096'] };
const TABLE = SIGNATURE_ALGORITHMS.flatMap((algorithm) => TYPES[algorithm].map((type): [SignatureAlgorithm, KeyType] => [algorithm, type]));
const times = { notBefore: NOW - DAY, notAfter: NOW + DAY };
let leafKey: SigningKey;
let rsa: SigningKey;
beforeAll(async () => { [leafKey, rsa] = await Promise.all([KEYS.get('P-256', 'leaf'), KEYS.get('RSA-2048', 'root')]); });

describe.each(TABLE)('%s by %s', (algorithm, type) => {
  let root: Issued;
  let leaf: Issued;
  beforeAll(async () => {
    root = await makeAuthority({ key: await KEYS.get(type, 'root'), subject: named('root'), algorithm, ...times });
    leaf = await makeAuthority({ key: leafKey, subject: named('leaf'), issuer: root, pathLen: null, algorithm, ...times });
  });

  test('verifies here and in node:crypto, and one bit less does not', async () => {
    const [ours, issuer] = [parseCertificate(leaf.certificate, 'leaf'), parseCertificate(root.certificate, 'root')];
    expect([ours.algorithm, issuer.key.bits]).toEqual([algorithm, Number(type.split('-')[1])]);
    expect(await verifySignature(issuer, algorithm, ours.signature, ours.tbs)).toBe(true);
    expect(new X509Certificate(leaf.certificate).verify(new X509Certificate(root.certificate).publicKey)).toBe(true);
    const changed = parseCertificate(lastByteFlipped(leaf.certificate), 'leaf');
    expect(await verifySignature(issuer, algorithm, changed.signature, changed.tbs)).toBe(false);
  });

  test('under no other name of the table', async () => {
    const [ours, issuer] = [parseCertificate(leaf.certificate, 'leaf'), parseCertificate(root.certificate, 'root')];
    for (const other of SIGNATURE_ALGORITHMS) {
      if (other !== algorithm) expect(await verifySignature(issuer, other, ours.signature, ours.tbs), other).toBe(false);
    }
  });

  test('gives a path', async () => {
    const p = { root, intermediate: root, leaf };
    expect((await verdict(await requestOf(p, { intermediates: [root.certificate], algorithms: [algorithm] }))).codes).toEqual([]);
    expect((await verdict(await requestOf(p, { intermediates: [root.certificate], algorithms: SIGNATURE_ALGORITHMS.filter((a) => a !== algorithm) }))).codes).toEqual(['CHAIN_ALGORITHM']);
  });

  test.skipIf(NO_OPENSSL)('and one in openssl', () => {
    const { status } = run(['verify', '-attime', String(NOW), '-x509_strict', '-CAfile', '{root}', '{leaf}'], { root: pemOf(root.certificate), leaf: pemOf(leaf.certificate) });
    expect(status).toBe(0);
  });
});

const NULL = bytes([5, 0]);
const algorithm = (der: Bytes) => ({ innerAlgorithm: der, outerAlgorithm: der });
const rsaKey = (modulus: Bytes, exponent: number[] = [1, 0, 1]) => sequence(sequence(oid(OID.rsaEncryption), NULL), bits(sequence(integer(modulus), integer(bytes(exponent)))));
const ones = (length: number) => new Uint8Array(length).fill(0xff);

describe('refused', () => {
  const make = async (change: object, key = rsa) => parseCertificate((await makeAuthority({ key, subject: named('x'), ...times, change })).certificate, 'c');

  const signatures: [string, Bytes][] = [
    ['SHA-1 with RSA', sequence(oid('1.2.840.113549.1.1.5'), NULL)], ['MD5 with RSA', sequence(oid('1.2.840.113549.1.1.4'), NULL)], ['SHA-512 with RSA', sequence(oid('1.2.840.113549.1.1.13'), NULL)],
    ['ECDSA with SHA-1', sequence(oid('1.2.840.10045.4.1'))], ['ECDSA with SHA-512', sequence(oid('1.2.840.10045.4.3.4'))], ['Ed25519', sequence(oid('1.3.101.112'))],
    ['RSA without NULL', sequence(oid(OID.sha256WithRsa))], ['RSA with two parameters', sequence(oid(OID.sha256WithRsa), NULL, NULL)], ['ECDSA with NULL', sequence(oid(OID.ecdsaSha256), NULL)],
    ['PSS with default parameters (SHA-1)', sequence(oid(OID.rsaPss), sequence())], ['PSS without parameters', sequence(oid(OID.rsaPss))], ['PSS with SHA-1', pssAlgorithm('1.3.14.3.2.26', 20)], ['PSS with SHA-512', pssAlgorithm('2.16.840.1.101.3.4.2.3', 64)],
    ['PSS of SHA-384 with salt 32', pssAlgorithm(OID.sha384, 32)], ['PSS of SHA-256 with salt 48', pssAlgorithm(OID.sha256, 48)], ['PSS with salt 0', pssAlgorithm(OID.sha384, 0)],
    ['PSS with another mask digest', pssAlgorithm(OID.sha384, 48, { mgfHash: OID.sha256 })], ['PSS with trailer 2', pssAlgorithm(OID.sha384, 48, { trailer: 2 })],
  ];
  test.each(signatures)('%s', async (_, der) => {
    await refused(make(algorithm(der)), 'CHAIN_ALGORITHM');
  });

  test('PSS with the trailer written out, as AMD does, and without', async () => {
    for (const options of [{}, { trailer: 1 }]) expect((await make(algorithm(pssAlgorithm(OID.sha384, 48, options)))).algorithm).toBe('PS384');
  });

  test('an algorithm outside that is not the one inside', async () => {
    await refused(make({ outerAlgorithm: ALGORITHMS.RS384 }), 'CHAIN_ALGORITHM');
    await refused(make({ innerAlgorithm: pssAlgorithm(OID.sha384, 48), outerAlgorithm: pssAlgorithm(OID.sha384, 48, { trailer: 1 }) }), 'CHAIN_ALGORITHM');
  });

  const keys: [string, Bytes, RefusalCode][] = [
    ['RSA of 1024 bits', rsaKey(ones(128)), 'CHAIN_ALGORITHM'], ['RSA of 2047 bits', rsaKey(concat(bytes([0x7f]), ones(255))), 'CHAIN_ALGORITHM'], ['RSA of 8192 bits', rsaKey(ones(1024)), 'CHAIN_ALGORITHM'],
    ['an even modulus', rsaKey(concat(ones(255), bytes([0xfe]))), 'CHAIN_ALGORITHM'], ['exponent 3', rsaKey(ones(256), [3]), 'CHAIN_ALGORITHM'], ['exponent 1', rsaKey(ones(256), [1]), 'CHAIN_ALGORITHM'],
    ['a long exponent', rsaKey(ones(256), [1, 0, 0, 0, 1]), 'FMT_DER'], ['RSA of three numbers', sequence(sequence(oid(OID.rsaEncryption), NULL), bits(sequence(integer(ones(256)), integer(bytes([1, 0, 1])), integer(bytes([1]))))), 'CHAIN_ALGORITHM'],
    ['RSA without NULL', sequence(sequence(oid(OID.rsaEncryption)), bits(sequence(integer(ones(256)), integer(bytes([1, 0, 1]))))), 'CHAIN_ALGORITHM'],
    ['an RSA key for PSS only', sequence(sequence(oid(OID.rsaPss)), bits(sequence(integer(ones(256)), integer(bytes([1, 0, 1]))))), 'CHAIN_ALGORITHM'],
    ['P-521', sequence(sequence(oid(OID.ecPublicKey), oid('1.3.132.0.35')), bits(concat(bytes([4]), ones(132)))), 'CHAIN_ALGORITHM'], ['secp256k1', sequence(sequence(oid(OID.ecPublicKey), oid('1.3.132.0.10')), bits(concat(bytes([4]), ones(64)))), 'CHAIN_ALGORITHM'],
    ['a compressed point', sequence(sequence(oid(OID.ecPublicKey), oid(OID.p256)), bits(concat(bytes([2]), ones(32)))), 'CHAIN_ALGORITHM'], ['explicit curve parameters', sequence(sequence(oid(OID.ecPublicKey), sequence()), bits(concat(bytes([4]), ones(64)))), 'CHAIN_ALGORITHM'],
    ['a P-384 point on P-256', sequence(sequence(oid(OID.ecPublicKey), oid(OID.p256)), bits(concat(bytes([4]), ones(96)))), 'CHAIN_ALGORITHM'],
    ['Ed25519', sequence(sequence(oid('1.3.101.112')), bits(ones(32))), 'CHAIN_ALGORITHM'], ['nothing', sequence(), 'FMT_DER'],
  ];
  test.each(keys)('a key: %s', async (_, spki, code) => {
    await refused(make({ spki }), code);
  });

  test('a point that is not on its curve verifies nothing', async () => {
    const spki = sequence(sequence(oid(OID.ecPublicKey), oid(OID.p256)), bits(concat(bytes([4]), ones(64))));
    const key = (await make({ spki })).key;
    expect(await verifySignature({ spki, key }, 'ES256', new Uint8Array(64), new Uint8Array(1))).toBe(false);
  });

  test('ECDSA numbers of zero or longer than the curve', async () => {
    const { root, leaf } = await pki();
    const issuer = parseCertificate(root.certificate, 'root');
    const { tbs } = parseCertificate(leaf.certificate, 'leaf');
    for (const raw of [new Uint8Array(64), concat(new Uint8Array(32), ones(32)), ones(64), new Uint8Array(63), new Uint8Array(0)]) expect(await verifySignature(issuer, 'ES256', raw, tbs)).toBe(false);
    const outer = (signature: Bytes) => sequence(tbs, ALGORITHMS.ES256, bits(signature));
    for (const signature of [sequence(integer(ones(33)), integer(bytes([1]))), sequence(integer(bytes([1]))), sequence(integer(bytes([1])), integer(bytes([1])), integer(bytes([1]))), concat(sequence(integer(bytes([1])), integer(bytes([1]))), bytes([0])), new Uint8Array(0)]) {
      await refused(() => parseCertificate(outer(signature), 'c'), 'FMT_DER');
    }
  });

  const extensions: [string, object[]][] = [
    ['none', []], ['one twice', [unknownExtension(false), unknownExtension(true)]], ['basicConstraints twice', [basicConstraints(true), basicConstraints(false)]], ['purposes twice', [extendedKeyUsage(['1.2.3', '1.2.3'])]], ['no purposes', [extendedKeyUsage([])]],
    ['a path length without CA', [basicConstraints(false, 1)]], ['a key identifier cut short', [{ id: OID.subjectKeyIdentifier, critical: false, value: bytes([4, 2, 1]) }]],
    ['an authority of unknown fields', [{ id: OID.authorityKeyIdentifier, critical: false, value: sequence(bytes([0x83, 1, 1])) }]], ['an authority with two key identifiers', [{ id: OID.authorityKeyIdentifier, critical: false, value: sequence(bytes([0x80, 1, 1]), bytes([0x80, 1, 1])) }]],
    ['bytes behind an extension', [{ ...authorityKeyIdentifier(bytes([1])), value: concat(authorityKeyIdentifier(bytes([1])).value, bytes([0])) }]], ['a URI with a line end', [crlDistributionPoints(['http://a/\r\nHost: b'])]],
  ];
  test.each(extensions)('extensions: %s', async (_, list) => {
    await refused(make({ extensions: list }), 'FMT_DER');
  });

  test('a profile of the caller', async () => {
    const { certificate } = await makeAuthority({ key: rsa, subject: named('x'), ...times, extensions: [keyUsage(['digitalSignature'])].slice(1) });
    await refused(() => parseCertificate(certificate, 'c', { signatures: ['PS384'], keys: ['RSA'] }), 'CHAIN_ALGORITHM');
    await refused(() => parseCertificate(certificate, 'c', { signatures: ['RS256'], keys: ['P-256'] }), 'CHAIN_ALGORITHM');
    expect(parseCertificate(certificate, 'c', { signatures: ['RS256'], keys: ['RSA'] }).key.bits).toBe(2048);
    await refused(() => parseCertificate(new Uint8Array(65_537), 'c'), 'FMT_SIZE');
  });
});

test('a ring makes a key once and finds it in its store', async () => {
  const stored = new Map<string, string>();
  const store = { get: (name: string) => stored.get(name), set: (name: string, value: string) => void stored.set(name, value) };
  const ring = new KeyRing(store);
  const [a, b, other] = await Promise.all([ring.get('P-256'), ring.get('P-256'), ring.get('P-256', 'other')]);
  expect(a).toBe(b);
  expect(other.spki).not.toEqual(a.spki);
  expect(await new KeyRing(store).get('P-256')).toEqual(a);
  expect((await newSigningKey('P-384')).spki.length).toBe(120);
});
