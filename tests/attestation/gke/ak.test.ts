/** Certificates of vTPM keys under signatures that verify: each check fails alone (D42, D66). */
import { describe, expect, test } from 'vitest';
import type { TrustContext } from '../../../attestation/adapter.ts';
import { type Bytes, bytes, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { type GceAkFacts, type GceAkInput, verifyGceAk } from '../../../attestation/hardware/gce/ak.ts';
import { bool, der, explicit, octets, oid, sequence, set, utf8String } from '../../../attestation/platforms/simulated/der-writer.ts';
import { encodeGceInstance, GCE_FIELDS, type GceInstanceFields, gceDevelopmentRoot, gceInstanceExtension, type GceLevel, type GcePki, type GcePkiOptions, gceProduction, gceSubject, gceVersion, makeGcePki } from '../../../attestation/platforms/simulated/gce.ts';
import { type AuthorityOptions, dn, type Extension, extendedKeyUsage, makeCrl } from '../../../attestation/platforms/simulated/issue.ts';
import { readGceInstance } from '../../../attestation/formats/gce-ak-cert.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { refused } from '../support.ts';
import { item, KEYS, NOW } from './support.ts';

const DAY = 86_400;
const pki = (options: Partial<GcePkiOptions> = {}): Promise<GcePki> => makeGcePki({ now: NOW, ring: KEYS, ...options });
const only = (level: GceLevel, change: Partial<AuthorityOptions>): Promise<GcePki> => pki({ change: { [level]: change } });
const instance = (change: Partial<GceInstanceFields>): Promise<GcePki> => pki({ instance: change });
/** Another extension under the subject that fits the usual one. */
const extension = (value: Bytes | null): Promise<GcePki> => only('ak', { extensions: value === null ? [] : [{ ...gceInstanceExtension(GCE_FIELDS), value }] });
const keyIdOf = (certificate: Bytes): string => parseCertificate(certificate, 'c').subjectKeyId ?? '';

interface Given extends Partial<GceAkInput> { readonly trust?: Partial<TrustContext> }
async function facts(p: GcePki, given: Given = {}): Promise<GceAkFacts | undefined> {
  const checks = new CheckList();
  const { trust, ...input } = given;
  const found = await verifyGceAk({ chain: [p.ak, p.ca, p.root].map((c) => c.certificate), path: 'ak', ...input }, {
    roots: [await gceDevelopmentRoot(p, 'production')], revoked: [], now: NOW, collateral: collateralOf([item('google-crl', keyIdOf(p.root.certificate), p.crl)]), ...trust,
  }, NOW, checks);
  checks.refuseIfFailed();
  return found;
}
const code = async (p: GcePki, expected: RefusalCode, given: Given = {}): Promise<void> => void await refused(facts(p, given), expected);

/** Names of a maker, as certificates of 2021 have them. */
const maker = (...attributes: [string, string][]): Extension => ({ id: '2.5.29.17', critical: true, value: sequence(der(0xa4, sequence(...attributes.map(([id, value]) => set(sequence(oid(id), utf8String(value))))))) });
const GOOGLE: [string, string][] = [['2.23.133.2.1', 'id:474F4F47'], ['2.23.133.2.2', 'vTPM'], ['2.23.133.2.3', 'id:20160511']];
const ofMaker = (...attributes: [string, string][]): Promise<GcePki> => only('ak', { subject: dn([]), extensions: [gceInstanceExtension(GCE_FIELDS), maker(...attributes)] });

describe('certificates of vTPM keys', () => {
  test('one that holds', async () => {
    const p = await pki();
    const found = await facts(p);
    expect(found).toMatchObject({ revocation: 'good', crlNumber: '1', root: { purpose: 'google-ek-ak' }, instance: { zone: 'europe-west4-a', projectNumber: 232_923_608_972n, instanceId: 7_899_197_072_425_216_309n, security: { version: 0, production: true } } });
    expect(found?.instance.security?.flags).toEqual(new Map([[2, true], [3, false]]));
    // What a JS number would make of it
    expect(BigInt(Number(found?.instance.instanceId))).not.toBe(found?.instance.instanceId);
    expect((await facts(await ofMaker(...GOOGLE)))?.leaf.subjectText).toBe('');
  });

  test('issuers from the collateral, by key identifier', async () => {
    const p = await pki();
    const collateral = collateralOf([item('google-ca', keyIdOf(p.ca.certificate), p.ca.certificate), item('google-ca', keyIdOf(p.root.certificate), p.root.certificate), item('google-crl', keyIdOf(p.root.certificate), p.crl)]);
    expect(await facts(p, { chain: [p.ak.certificate], trust: { collateral } })).toMatchObject({ revocation: 'good' });
    await code(p, 'CHAIN_ROOT_UNPINNED', { chain: [p.ak.certificate] });
    await code(p, 'CHAIN_ORDER', { chain: [p.ak.certificate, p.root.certificate] });
    await code(p, 'FMT_FIELD_MISSING', { chain: [] });
  });

  test('no machine of production, or none stated (D42)', async () => {
    await code(await instance({ security: [gceVersion(0), gceProduction(false)] }), 'GCE_AK');
    await code(await instance({ security: [gceVersion(0)] }), 'GCE_AK');
    await code(await instance({ security: null }), 'GCE_AK');
    await code(await extension(null), 'GCE_AK');
  });

  test('project and instance (D42)', async () => {
    const p = await pki();
    expect(await facts(p, { gce: { projects: ['1', '232923608972'], deniedInstances: ['7899197072425216308'] } })).toBeDefined();
    await code(p, 'GCE_AK', { gce: { projects: ['232923608973'] } });
    await code(p, 'GCE_AK', { gce: { projects: [] } });
    await code(p, 'GCE_AK', { gce: { deniedInstances: ['7899197072425216309'] } });
    // The number that a double would have made of it is another instance
    expect(await facts(p, { gce: { deniedInstances: [String(Number(7_899_197_072_425_216_309n))] } })).toBeDefined();
  });

  test('a subject that says something else', async () => {
    for (const change of [{ instanceId: 1n }, { zone: 'europe-west4-b' }, { projectId: 'other' }]) await code(await only('ak', { subject: gceSubject({ ...GCE_FIELDS, ...change }) }), 'GCE_AK');
    await code(await only('ak', { subject: dn([]) }), 'GCE_AK');
    await code(await ofMaker(['2.23.133.2.1', 'id:494E5443'], ...GOOGLE.slice(1)), 'GCE_AK');
    await code(await ofMaker(...GOOGLE.slice(0, 2)), 'GCE_AK');
    await code(await ofMaker(...GOOGLE, ['2.5.4.3', 'more']), 'GCE_AK');
    await code(await only('ak', { extensions: [gceInstanceExtension(GCE_FIELDS), maker(...GOOGLE)] }), 'GCE_AK');
    await code(await only('ak', { subject: dn([]), extensions: [gceInstanceExtension(GCE_FIELDS), { id: '2.5.29.17', critical: true, value: bytes([0x30, 0x03]) }] }), 'FMT_DER');
  });

  test('what the key is for', async () => {
    await code(await only('ak', { keyUsage: ['keyEncipherment'] }), 'CHAIN_KEY_USAGE');
    await code(await only('ak', { keyUsage: ['digitalSignature', 'keyCertSign'] }), 'CHAIN_KEY_USAGE');
    await code(await only('ak', { extensions: [gceInstanceExtension(GCE_FIELDS), extendedKeyUsage(['1.3.6.1.5.5.7.3.2'])] }), 'CHAIN_KEY_USAGE');
    expect(await facts(await only('ak', { extensions: [gceInstanceExtension(GCE_FIELDS), extendedKeyUsage(['2.23.133.8.3'])] }))).toBeDefined();
    await code(await only('ak', { pathLen: 'unlimited', keyUsage: ['digitalSignature'] }), 'CHAIN_CA');
    await code(await only('ak', { key: await KEYS.get('P-384', 'gce-ak') }), 'CHAIN_ALGORITHM');
  });

  test('dates', async () => {
    await code(await only('ak', { notAfter: NOW - 1 }), 'CHAIN_EXPIRED');
    await code(await only('ca', { notBefore: NOW + DAY, notAfter: NOW + 9 * DAY }), 'CHAIN_NOT_YET_VALID');
  });

  test('roots and signatures', async () => {
    const p = await pki();
    const other = await KEYS.get('RSA-2048', 'gce-other');
    await code(p, 'CHAIN_ROOT_UNPINNED', { trust: { roots: [{ ...await gceDevelopmentRoot(p), certSha256: '00'.repeat(32) }] } });
    await code(p, 'CHAIN_ROOT_UNPINNED', { trust: { roots: [{ ...await gceDevelopmentRoot(p), purpose: 'gce-tcb' }] } });
    await code(await only('ak', { signWith: other }), 'CHAIN_SIGNATURE');
    await code(await only('ca', { pathLen: null, keyUsage: ['keyCertSign', 'cRLSign'] }), 'CHAIN_CA');
    await code(await only('ak', { extensions: [gceInstanceExtension(GCE_FIELDS), { id: '1.3.6.1.4.1.99999.1', critical: true, value: octets(utf8('?')) }] }), 'CHAIN_CRITICAL_EXTENSION');
  });

  test('two issuers of one name, each with a key of its own (D66)', async () => {
    const [first, second] = await Promise.all([pki(), pki({ caKey: 'gce-ca-2' })]);
    expect(first.ca.template.subject).toEqual(second.ca.template.subject);
    // Root and leaf's key are the same; only the one that signed leads there
    await code(first, 'CHAIN_ORDER', { chain: [first.ak, second.ca, first.root].map((c) => c.certificate) });
    expect(await facts(second, { trust: { roots: [await gceDevelopmentRoot(second)], collateral: collateralOf([item('google-crl', keyIdOf(second.root.certificate), second.crl)]) } })).toBeDefined();
    // The key identifier of the first, the signature of the second
    const swapped = await only('ak', { signWith: second.ca.key });
    await code(swapped, 'CHAIN_SIGNATURE');
  });

  test('revocation', async () => {
    const p = await pki();
    const list = (bytesOf: Bytes) => ({ trust: { collateral: collateralOf([item('google-crl', keyIdOf(p.root.certificate), bytesOf)]) } });
    await code(p, 'CRL_ABSENT', { trust: { collateral: collateralOf([]) } });
    expect(await facts(p, { trust: { collateral: collateralOf([]), revocation: 'ifAvailable' } })).toMatchObject({ revocation: 'unchecked', crlNumber: null });
    await code(p, 'CRL_EXPIRED', list(await makeCrl({ issuer: p.root, thisUpdate: NOW - 9 * DAY, nextUpdate: NOW - DAY })));
    await code(p, 'REVOKED', list(await makeCrl({ issuer: p.root, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY, revoked: [p.ca] })));
    const leaf = parseCertificate(p.ak.certificate, 'ak');
    await code(p, 'REVOKED', { trust: { revoked: [{ issuer: leaf.issuerText, serial: leaf.serial }] } });
    // A list of the intermediate's is for its leaves
    const ofLeaf = await makeCrl({ issuer: p.ca, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY, revoked: [p.ak] });
    await code(p, 'REVOKED', { trust: { collateral: collateralOf([item('google-crl', keyIdOf(p.root.certificate), p.crl), item('google-crl', keyIdOf(p.ca.certificate), ofLeaf)]) } });
  });
});

describe('the extension that names an instance', () => {
  const value = (change: Partial<GceInstanceFields> = {}): Bytes => encodeGceInstance({ ...GCE_FIELDS, ...change });
  const read = (data: Bytes) => readGceInstance(data, 'instance');

  test('numbers of 64 bits, exactly', () => {
    for (const n of [0n, 1n, 127n, 128n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) expect(read(value({ instanceId: n })).instanceId).toBe(n);
    expect(read(value({ security: null })).security).toBeNull();
    expect(read(value({ security: [] })).security).toEqual({ version: null, production: null, flags: new Map() });
  });

  test.each<[string, Bytes]>([
    ['a number of 65 bits', value({ projectNumber: 2n ** 64n })],
    ['an empty zone', value({ zone: '' })],
    ['a line break in a name', value({ instanceName: 'a\nb' })],
    ['a name of 129 characters', value({ projectId: 'p'.repeat(129) })],
    ['tags that do not ascend', value({ security: [gceProduction(true), gceVersion(0)] })],
    ['one of them twice', value({ security: [gceProduction(false), gceProduction(true)] })],
    ['a flag that is no BOOLEAN', value({ security: [explicit(2, utf8String('x'))] })],
    ['two values in one tag', value({ security: [explicit(1, bool(true), bool(true))] })],
    ['a tag above 15', value({ security: [der(0xb0, bool(true))] })],
    ['an implicit tag', value({ security: [der(0x81, bytes([0xff]))] })],
    ['a seventh field', sequence(...[1, 2, 3, 4, 5, 6, 7].map(() => utf8String('x')))],
    ['another string type', bytes(value().map((b, i) => (i === 2 ? 0x13 : b)))],
    ['a byte behind', bytes([...value(), 0])],
  ])('%s', async (_, data) => {
    await refused(() => read(data), 'FMT_DER');
  });

  test('too large', async () => {
    await refused(() => read(new Uint8Array(1025)), 'FMT_SIZE');
  });
});
