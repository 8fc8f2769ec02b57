/** The sealer of Google Cloud against services that verify tokens and obey the deployed condition, binding and deny policy. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Bytes, concat, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { entryOf, readLock } from '../../../modules/measurements.ts';
import type { KeySealer } from '../../../workloads/broker/sealer.ts';
import { crc32c } from '../../../workloads/broker/sealers/crc32c.ts';
import { envelopeSealer } from '../../../workloads/broker/sealers/envelope.ts';
import { federatedToken } from '../../../workloads/broker/sealers/gcp-federation.ts';
import { gcpKms } from '../../../workloads/broker/sealers/gcp-kms.ts';
import { NOW } from '../../attestation/tokens/support.ts';
import { bitwise, CELL, FakeGcp, IMAGES, type Instance, launcher } from './fake-gcp.ts';
import { changed, held, type Held, json, leaks } from './loopback.ts';

const aad = (change: Record<string, string> = {}): Bytes => utf8(canonicalJson({ cell: 'gcp-prod', key_id: 'acme.x-wing.1', purpose: 'tenant-key', tenant_id: 'acme', zone: 'eu', ...change }));
const CANARY = concat(utf8('canary-'), randomBytes(64));

let gcp: FakeGcp;
let clock: Held;
beforeAll(async () => { gcp = await FakeGcp.start(); });
afterAll(() => gcp.stop());
beforeEach(() => {
  clock = held(NOW * 1_000);
  gcp.now = clock.time;
  gcp.kms.tamper = gcp.sts.tamper = undefined;
});

function broker(instance: Instance = {}, { key = CELL.sealer.key, audience = CELL.sealer.audience, deployment = CELL.ownerKey } = {}): KeySealer {
  const { around } = clock;
  const token = federatedToken({ audience, token: (request) => launcher(request, { issuedAt: Math.floor(clock.time / 1_000), ...instance }), service: { origin: gcp.sts.origin }, around });
  return envelopeSealer(gcpKms({ key, token, service: { origin: gcp.kms.origin }, around }), deployment);
}
const refusal = (code: string, path?: string) => expect.objectContaining({ code, reasons: [expect.objectContaining({ next: expect.stringMatching(/\w/), ...(path === undefined ? {} : { path }) })] });

test('what one image seals, the other generation opens; the tenant key is not on the wire; what cell.json names is what is deployed', async () => {
  const sealed = await broker().seal(aad(), CANARY);
  expect(await broker({ digest: IMAGES.at(-1) as string }).open(aad(), sealed)).toEqual(CANARY);
  expect(leaks([...gcp.kms.wire, ...gcp.sts.wire], CANARY)).toBe(false);
  const asked = JSON.parse(gcp.kms.heard[0]?.body ?? '') as Record<string, string>;
  expect(JSON.parse(Buffer.from(asked['additionalAuthenticatedData'] ?? '', 'base64').toString())).toEqual({ cell: 'gcp-prod', deployment: CELL.ownerKey, key_id: 'acme.x-wing.1', purpose: 'tenant-key', tenant_id: 'acme', zone: 'eu' });
});

describe('the deployed condition refuses', () => {
  test.each<[string, Instance]>([
    ['another image', { digest: `sha256:${'ab'.repeat(32)}` }],
    ['a counter\'s image', { digest: entryOf(readLock(), 'counter', 'blue').image }],
    ['a debug image', { parts: { top: { dbgstat: 'enabled' } } }],
    ['another hardware', { parts: { top: { hwmodel: 'GCP_AMD_SEV' } } }],
    ['no Secure Boot', { parts: { top: { secboot: false } } }],
    ['an image out of support', { parts: { space: { support_attributes: ['USABLE'] } } }],
    ['another configuration', { parts: { container: { env_override: { CCC_CELL: 'e30' } } } }],
    ['a variable more', { parts: { container: { env_override: { NODE_OPTIONS: '--import=/evil.mjs' } } } }],
    ['another command', { parts: { container: { cmd_override: ['sh'] } } }],
    ['another project', { parts: { gce: { project_id: 'evil', project_number: '999999999999' } } }],
    ['another zone', { parts: { gce: { zone: 'asia-east1-a' } } }],
    ['another account', { parts: { top: { google_service_accounts: ['evil@evil.iam.gserviceaccount.com'] } } }],
    ['a token for somebody else', { audience: 'https://sts.googleapis.com' }],
    ['a token that ended', { issuedAt: NOW - 7_200 }],
    ['a token of another key', { key: 'other' }],
  ])('%s', async (_, instance) => {
    const before = gcp.kms.heard.length;
    await expect(broker(instance).seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', new URL(gcp.sts.origin).host));
    expect(gcp.kms.heard.length).toBe(before);
  });
});

test('an image that the binding names no more gets a token and no key', async () => {
  const { members } = gcp;
  gcp.members = members.filter((m) => !m.endsWith(IMAGES[0] as string));
  try {
    await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'kms.encrypt'));
  } finally {
    gcp.members = members;
  }
});

describe('what was sealed opens as itself only', () => {
  test.each(['cell', 'key_id', 'purpose', 'tenant_id', 'zone'])('another %s', async (field) => {
    const sealed = await broker().seal(aad(), CANARY);
    await expect(broker().open(aad({ [field]: 'other' }), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
  });
  test('another deployment', async () => {
    const sealed = await broker().seal(aad(), CANARY);
    await expect(broker({}, { deployment: 'A'.repeat(43) }).open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
  });
  test('every byte counts', async () => {
    const sealer = broker();
    const sealed = await sealer.seal(aad(), CANARY);
    for (const at of [0, 4, 5, 7, 30, 140, 200, sealed.length - 100, sealed.length - 17, sealed.length - 1]) {
      const other = sealed.slice();
      other[at] = (other[at] as number) ^ 1;
      await expect(sealer.open(aad(), other), `byte ${at}`).rejects.toEqual(refusal('KEY_SEALER_LOST'));
    }
  });
  test('a blob that names another key is not sent anywhere', async () => {
    const sealer = broker();
    const sealed = await sealer.seal(aad(), CANARY);
    const before = gcp.kms.heard.length;
    const at = Buffer.from(sealed).indexOf('/cryptoKeys/data');
    const other = sealed.slice();
    other.set(utf8('/cryptoKeys/datb'), at);
    await expect(sealer.open(aad(), other)).rejects.toEqual(refusal('KEY_SEALER_LOST', 'tenant-key.sealed'));
    expect(gcp.kms.heard.length).toBe(before);
  });
});

test('older versions of a rotated key open what they sealed, until they are destroyed', async () => {
  const sealer = broker();
  const sealed = await sealer.seal(aad(), CANARY);
  gcp.versions.push(Buffer.alloc(32, 7));
  expect(await sealer.open(aad(), sealed)).toEqual(CANARY);
  const newer = await sealer.seal(aad(), CANARY);
  expect(Buffer.from(newer).includes(`cryptoKeyVersions/${gcp.versions.length}`)).toBe(true);
  gcp.versions[0] = undefined;
  await expect(sealer.open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'kms.decrypt'));
  expect(await sealer.open(aad(), newer)).toEqual(CANARY);
});

describe('answers are checked', () => {
  const tampered = async (action: 'encrypt' | 'decrypt', change: (body: any) => void, code: string, path: string): Promise<void> => {
    gcp.kms.tamper = (said, heard) => (heard.path.endsWith(`:${action}`) ? changed(change)(said) : said);
    await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal(code, path));
  };
  test.each<[string, 'encrypt' | 'decrypt', (body: any) => void, string]>([
    ['a checksum that is not the ciphertext\'s', 'encrypt', (b) => { b.ciphertextCrc32c = '1'; }, 'kms.encrypt.ciphertextCrc32c'],
    ['a ciphertext that changed on the way', 'encrypt', (b) => { b.ciphertext = `A${b.ciphertext.slice(1)}`; }, 'kms.encrypt.ciphertextCrc32c'],
    ['a plaintext that the service did not check', 'encrypt', (b) => { b.verifiedPlaintextCrc32c = false; }, 'kms.encrypt'],
    ['names that the service did not check', 'encrypt', (b) => { delete b.verifiedAdditionalAuthenticatedDataCrc32c; }, 'kms.encrypt'],
    ['another key', 'encrypt', (b) => { b.name = 'projects/evil/locations/eu/keyRings/r/cryptoKeys/data/cryptoKeyVersions/1'; }, 'kms.encrypt.name'],
    ['no version', 'encrypt', (b) => { b.name = CELL.sealer.key; }, 'kms.encrypt.name'],
    ['a key in software', 'encrypt', (b) => { b.protectionLevel = 'SOFTWARE'; }, 'kms.encrypt'],
    ['a checksum that is not the plaintext\'s', 'decrypt', (b) => { b.plaintextCrc32c = '1'; }, 'kms.decrypt.plaintextCrc32c'],
    ['a plaintext of another length', 'decrypt', (b) => { b.plaintext = Buffer.alloc(16).toString('base64'); b.plaintextCrc32c = String(bitwise(Buffer.alloc(16))); }, 'kms.decrypt.plaintext'],
    ['another plaintext', 'decrypt', (b) => { b.plaintext = Buffer.alloc(32).toString('base64'); b.plaintextCrc32c = String(bitwise(Buffer.alloc(32))); }, 'data-key'],
  ])('%s', (_, action, change, path) => tampered(action, change, 'KEY_SEALER_ANSWER', path));

  test.each<[string, (body: any) => void]>([
    ['no token', (b) => { delete b.access_token; }], ['a token of another kind', (b) => { b.issued_token_type = 'urn:ietf:params:oauth:token-type:jwt'; }], ['a token that is no bearer\'s', (b) => { b.token_type = 'DPoP'; }],
    ['a token that would end a header line', (b) => { b.access_token = 'x\r\ny: z'; }],
  ])('token service: %s', async (_, change) => {
    gcp.sts.tamper = changed(change);
    await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_ANSWER', 'sts.token'));
  });
});

describe('a service that is busy', () => {
  test('429 and 503 pass, after pauses that grow', async () => {
    const sealer = broker();
    gcp.kms.instead.push(json(429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } }), json(503, { error: { status: 'UNAVAILABLE' } }));
    gcp.sts.instead.push(json(503, {}));
    await sealer.seal(aad(), CANARY);
    expect(clock.pauses).toEqual([150, 150, 300]);
  });
  test('429 that stays', async () => {
    gcp.kms.instead.push(...Array.from({ length: 4 }, () => json(429, { error: { status: 'RESOURCE_EXHAUSTED' } })));
    await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_UNAVAILABLE'));
  });
  test('a token is kept, renewed before it ends, and anew when it is refused; a second refusal is an answer', async () => {
    const sealer = broker();
    const asked = (): number => gcp.sts.heard.length;
    const from = asked();
    await sealer.seal(aad(), CANARY);
    expect(asked()).toBe(from + 1);
    clock.time += 3_400_000;
    gcp.now = clock.time;
    await sealer.seal(aad(), CANARY);
    expect(asked()).toBe(from + 2);
    gcp.tokens.clear();
    await sealer.seal(aad(), CANARY);
    expect(asked()).toBe(from + 3);
    gcp.kms.instead.push(json(401, {}), json(401, {}));
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
  });
});

test.each([['', CELL.sealer.audience], ['projects/p/locations/x', CELL.sealer.audience], [CELL.sealer.key, 'https://evil.example/pool'], [CELL.sealer.key, '']])('key "%s" and audience "%s" are none', (key, audience) => {
  expect(() => broker({}, { key, audience })).toThrow(expect.objectContaining({ code: 'KEY_SEALER_ABSENT' }));
});

test('CRC-32C: the vector of RFC 3720, and any bytes as bit by bit', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => crc32c(data) === bitwise(data)), { numRuns: 100 });
});
