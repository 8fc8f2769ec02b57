/** The sealer of AWS against a KMS that verifies documents and obeys the deployed key policy. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, fromB64u, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { ENVIRONMENTS } from '../../../modules/environments.ts';
import { instanceCredentials } from '../../../workloads/broker/sealers/aws-credentials.ts';
import { awsKms } from '../../../workloads/broker/sealers/aws-kms.ts';
import { envelopeSealer } from '../../../workloads/broker/sealers/envelope.ts';
import { newRecipientKey, nitroRecipient } from '../../../workloads/broker/sealers/recipient.ts';
import type { KeySealer } from '../../../workloads/broker/sealer.ts';
import { world } from '../../attestation/support.ts';
import { envelope } from './cms-writer.ts';
import { ACCOUNT, ALIAS_ARN, AWS_REGION, BROKERS, FakeAws, KEY_ID, NOW, nsm } from './fake-aws.ts';
import { changed, held, type Held, json, leaks } from './loopback.ts';

const OWNER = ENVIRONMENTS.prod.ownerKey;
const aad = (change: Record<string, string> = {}): Bytes => utf8(canonicalJson({ cell: 'aws-prod', key_id: 'acme.x-wing.1', purpose: 'tenant-key', tenant_id: 'acme', zone: 'eu', ...change }));
const CANARY = concat(utf8('canary-'), randomBytes(64));

let aws: FakeAws;
let clock: Held;
// Made once: each broker has one of its own.
let keys: CryptoKeyPair[];
beforeAll(async () => { [aws, keys] = await Promise.all([FakeAws.start(), Promise.all([newRecipientKey(), newRecipientKey()])]); });
afterAll(() => aws.stop());
beforeEach(() => {
  clock = held(NOW * 1_000);
  aws.now = clock.time;
  aws.kms.tamper = undefined;
  aws.ber = false;
  aws.alias = KEY_ID;
});

let made = 0;
interface Broker { readonly pcrs?: Record<string, string>; readonly change?: Parameters<typeof nsm>[2]; readonly from?: FakeAws['w']; readonly key?: string; readonly deployment?: string }
async function broker({ pcrs = BROKERS[0] as never, change, from = aws.w, key = ALIAS_ARN, deployment = OWNER }: Broker = {}): Promise<KeySealer> {
  const { around } = clock;
  const recipient = await nitroRecipient(nsm(from, pcrs, change, around.now), keys[made++ % 2] as CryptoKeyPair);
  return envelopeSealer(awsKms({ key, recipient, credentials: instanceCredentials({ origin: aws.metadata.origin }, around), service: { origin: aws.kms.origin }, around }), deployment);
}
const refusal = (code: string, path?: string) => expect.objectContaining({ code, reasons: [expect.objectContaining({ next: expect.stringMatching(/\w/), ...(path === undefined ? {} : { path }) })] });

test('what one broker seals, another opens, of either generation, in DER and in BER; KMS saw no plaintext pass and neither did the wire', async () => {
  const [one, other] = await Promise.all([broker(), broker({ pcrs: BROKERS.at(-1) as never })]);
  const sealed = await one.seal(aad(), CANARY);
  expect(await other.open(aad(), sealed)).toEqual(CANARY);
  aws.ber = true;
  expect(await other.open(aad(), await one.seal(aad(), CANARY))).toEqual(CANARY);
  expect(aws.dataKeys.length).toBeGreaterThanOrEqual(2);
  const wire = [...aws.kms.wire, ...aws.metadata.wire];
  for (const secret of [CANARY, ...aws.dataKeys]) expect(leaks(wire, secret)).toBe(false);
  // The search can find something: the document's own nonce is on the wire.
  expect(leaks([`x${Buffer.from(concat(utf8('a'), CANARY)).toString('base64')}`], CANARY)).toBe(true);
});

test('the encryption context names deployment, cell, tenant and key; every call has a document of its own', async () => {
  const from = aws.kms.heard.length;
  await (await broker()).seal(aad(), CANARY);
  const calls = aws.kms.heard.slice(from).map((heard) => JSON.parse(heard.body));
  expect(calls.map((c) => c.EncryptionContext)).toEqual([0, 1].map(() => ({ cell: 'aws-prod', deployment: OWNER, key_id: 'acme.x-wing.1', purpose: 'tenant-key', tenant_id: 'acme', zone: 'eu' })));
  expect(new Set(calls.map((c) => c.Recipient.AttestationDocument)).size).toBe(2);
});

describe('the deployed policy refuses', () => {
  test.each(['PCR0', 'PCR1', 'PCR2', 'PCR8'])('another %s', async (pcr) => {
    const before = aws.dataKeys.length;
    await expect((await broker({ pcrs: { ...(BROKERS[0] as never as Record<string, string>), [pcr]: 'd'.repeat(96) } })).seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'kms.GenerateDataKey'));
    expect(aws.dataKeys.length).toBe(before);
  });
  test('an enclave in debug mode opens nothing that a proven one sealed', async () => {
    const sealed = await (await broker()).seal(aad(), CANARY);
    const zeros = '0'.repeat(96);
    await expect((await broker({ pcrs: { PCR0: zeros, PCR1: zeros, PCR2: zeros, PCR8: zeros } })).open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'kms.Decrypt'));
  });
  test('PCRs of two generations mixed', async () => {
    const [blue, green] = BROKERS as never as Record<string, string>[];
    await expect((await broker({ pcrs: { ...blue, PCR0: 'e'.repeat(96), PCR1: green?.['PCR1'] ?? '' } })).seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
  });
  test('another role, with the right measurements', async () => {
    aws.role = '${aws_iam_role.identity_counter_0.arn}';
    try {
      await expect((await broker()).seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
    } finally {
      aws.role = (await import('./fake-aws.ts')).BROKER_ROLE;
    }
  });
  test.each<[string, Broker]>([
    ['a document under another root', { from: undefined as never }],
    ['a document that is an hour old', { change: (f) => ({ ...f, timestamp: f.timestamp - 3_600_000 }) }],
    ['a document without a key', { change: (f) => ({ ...f, publicKey: null }) }],
  ])('%s', async (_, options) => {
    const sealer = await broker({ ...options, from: 'from' in options ? await world() : aws.w });
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
  });
});

describe('what was sealed opens as itself only', () => {
  test.each(['cell', 'key_id', 'purpose', 'tenant_id', 'zone'])('another %s: KMS refuses the context', async (field) => {
    const sealer = await broker();
    const sealed = await sealer.seal(aad(), CANARY);
    await expect(sealer.open(aad({ [field]: 'other' }), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
  });
  test('another deployment', async () => {
    const sealed = await (await broker()).seal(aad(), CANARY);
    await expect((await broker({ deployment: 'A'.repeat(43) })).open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
  });
  test('every byte counts', async () => {
    const sealer = await broker();
    const sealed = await sealer.seal(aad(), CANARY);
    for (const at of [0, 4, 5, 6, 8, 60, 120, sealed.length - 100, sealed.length - 17, sealed.length - 1]) {
      const other = sealed.slice();
      other[at] = (other[at] as number) ^ 1;
      await expect(sealer.open(aad(), other), `byte ${at}`).rejects.toEqual(refusal('KEY_SEALER_LOST'));
    }
    for (const length of [0, 4, 5, 7, 40, 80, sealed.length - 1]) await expect(sealer.open(aad(), sealed.slice(0, length))).rejects.toMatchObject({ code: 'KEY_SEALER_LOST' });
  });
  test('a wrapped key of the same names from another blob: KMS opens it, the blob does not', async () => {
    const sealer = await broker();
    const [a, b] = [await sealer.seal(aad(), CANARY), await sealer.seal(aad(), randomBytes(71))];
    const head = 4 + 1 + 2 + KEY_ID.length + 2 + 90;
    expect(a.length).toBe(b.length);
    await expect(sealer.open(aad(), concat(a.slice(0, head), b.slice(head)))).rejects.toEqual(refusal('KEY_SEALER_LOST', 'tenant-key.sealed'));
    await expect(sealer.open(aad(), concat(b.slice(0, head), a.slice(head)))).rejects.toEqual(refusal('KEY_SEALER_LOST', 'tenant-key.sealed'));
  });
});

test('a rotated key opens what its older material sealed; an alias that leads to another key does as well, and that key\'s blobs name it', async () => {
  const sealer = await broker();
  const sealed = await sealer.seal(aad(), CANARY);
  aws.rotate();
  expect(await sealer.open(aad(), sealed)).toEqual(CANARY);
  const next = 'mrk-99999999999999999999999999999999';
  aws.materials.set(next, [Buffer.alloc(32, 9)]);
  aws.alias = next;
  expect(await sealer.open(aad(), sealed)).toEqual(CANARY);
  expect(await sealer.open(aad(), await sealer.seal(aad(), CANARY))).toEqual(CANARY);
  aws.materials.delete(next);
  await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
});

describe('answers are checked', () => {
  const tampered = async (change: (body: any) => void, code: string, path?: string): Promise<void> => {
    const sealer = await broker();
    aws.kms.tamper = (said, heard) => (heard.headers['x-amz-target'] === 'TrentService.GenerateDataKey' ? changed(change)(said) : said);
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal(code, path));
  };
  test('a key of another account', () => tampered((b) => { b.KeyId = `arn:aws:kms:${AWS_REGION}:444444444444:key/${KEY_ID}`; }, 'KEY_SEALER_ANSWER', 'kms.GenerateDataKey.KeyId'));
  test('a key of another region', () => tampered((b) => { b.KeyId = `arn:aws:kms:us-east-1:${ACCOUNT}:key/${KEY_ID}`; }, 'KEY_SEALER_ANSWER', 'kms.GenerateDataKey.KeyId'));
  test('plaintext beside the recipient\'s', () => tampered((b) => { b.Plaintext = Buffer.alloc(32).toString('base64'); }, 'KEY_SEALER_ANSWER', 'kms.GenerateDataKey'));
  test('no ciphertext for the recipient', () => tampered((b) => { delete b.CiphertextForRecipient; }, 'KEY_SEALER_ANSWER', 'kms.GenerateDataKey'));
  test('CMS that is none', () => tampered((b) => { b.CiphertextForRecipient = 'AAAA'; }, 'KEY_SEALER_ANSWER', 'cms'));
  test('another key\'s blob beside the data key: it would be lost, so nothing is sealed', async () => {
    const sealer = await broker();
    const blobs: string[] = [];
    aws.kms.tamper = (said, heard) => (heard.headers['x-amz-target'] === 'TrentService.GenerateDataKey' ? changed((b) => { blobs.push(b.CiphertextBlob); b.CiphertextBlob = blobs[0]; })(said) : said);
    await sealer.seal(aad(), CANARY);
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_ANSWER', 'data-key'));
  });
  test('Decrypt: another key than the blob names, another algorithm', async () => {
    const sealer = await broker();
    const sealed = await sealer.seal(aad(), CANARY);
    aws.kms.tamper = changed((b) => { b.KeyId = `arn:aws:kms:${AWS_REGION}:${ACCOUNT}:key/mrk-${'0'.repeat(32)}`; });
    await expect(sealer.open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_ANSWER', 'kms.Decrypt.KeyId'));
    aws.kms.tamper = changed((b) => { b.EncryptionAlgorithm = 'RSAES_OAEP_SHA_256'; });
    await expect(sealer.open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_ANSWER', 'kms.Decrypt'));
  });
  test('a data key fabricated by somebody who knows the recipient\'s public key opens no blob of ours', async () => {
    let spki: Bytes | undefined;
    const sealer = await broker({ change: (f) => { spki = f.publicKey ?? undefined; return f; } });
    const sealed = await sealer.seal(aad(), CANARY);
    const forged = Buffer.from(await envelope(spki as Bytes, randomBytes(32))).toString('base64');
    aws.kms.tamper = changed((b) => { b.CiphertextForRecipient = forged; });
    await expect(sealer.open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST', 'tenant-key.sealed'));
  });
});

describe('a service that is busy, slow or half there', () => {
  test('throttling passes, after pauses that grow', async () => {
    const sealer = await broker();
    aws.kms.instead.push(json(400, { __type: 'ThrottlingException' }), json(429, {}), json(500, { __type: 'KMSInternalException' }));
    await sealer.seal(aad(), CANARY);
    expect(clock.pauses).toEqual([150, 300, 600]);
  });
  test('throttling that stays is an answer of its own, and no key', async () => {
    const sealer = await broker();
    aws.kms.instead.push(...Array.from({ length: 4 }, () => json(400, { __type: 'ThrottlingException', message: 'Rate exceeded' })));
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_UNAVAILABLE'));
    expect(aws.kms.instead).toEqual([]);
  });
  test('silence, half an answer, and one that is too large', async () => {
    clock = held(NOW * 1_000, 100);
    const sealer = await broker();
    aws.kms.instead.push('hang', 'cut', { status: 200, body: 'x'.repeat(300_000) });
    await sealer.seal(aad(), CANARY);
    expect(clock.pauses.length).toBe(3);
  });
  test('credentials that ended early are fetched again, once', async () => {
    const sealer = await broker();
    await sealer.seal(aad(), CANARY);
    aws.credentials.clear();
    await sealer.seal(aad(), CANARY);
    expect(aws.credentials.size).toBe(1);
    aws.kms.instead.push(json(400, { __type: 'ExpiredTokenException' }), json(400, { __type: 'ExpiredTokenException' }));
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
  });
  test('no role at the metadata service', async () => {
    const sealer = await broker();
    aws.metadata.instead.push({ status: 200, body: 't' }, { status: 404, body: '' });
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
  });
});

test('what the service writes never shows: a refusal has its short code only', async () => {
  const sealer = await broker();
  aws.kms.instead.push(json(400, { __type: 'AccessDeniedException', message: `user ${'secret-words'}` }));
  const error = await sealer.seal(aad(), CANARY).catch((e: Error) => e) as Error;
  expect(error.message).toContain('AccessDeniedException');
  expect(error.message).not.toContain('secret-words');
});

test.each(['', 'alias/ccc', 'arn:aws:kms:eu-central-1:1:key/x', 'arn:aws:iam::333333333333:role/x'])('the key "%s" is none', async (key) => {
  await expect(broker({ key })).rejects.toEqual(refusal('KEY_SEALER_ABSENT'));
});
test('an AAD that is no context is a defect, and leaves nothing behind', async () => {
  const sealer = await broker();
  for (const wrong of [utf8('x'), utf8('[]'), utf8('{}'), utf8('{"a":1}'), utf8('{"deployment":"other"}'), bytes([0xff])]) await expect(sealer.seal(wrong, CANARY)).rejects.toEqual(refusal('INTERNAL'));
  expect(fromB64u(OWNER).length).toBe(32);
});
