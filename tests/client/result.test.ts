import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, fromB64u, utf8 } from '../../attestation/bytes.ts';
import { newManifestRequest, type VerifiedManifest, verifyManifest } from '../../workloads/client/manifest.ts';
import { makeReceipt, type Receipt, SIMULATED_NOTICE, verifyReceipt } from '../../workloads/client/receipt.ts';
import { openResult, type Sent, verifyResult } from '../../workloads/client/result.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { generateReceivingKey, seal } from '../../workloads/protocol/hpke.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import type { ResultPayload } from '../../workloads/protocol/messages.ts';
import { codesOf } from '../protocol/refusals.ts';
import { type CounterSession, createFixture, type Fixture, NOW, REGISTERS, TENANT, ZONE } from './fixture.ts';

const sent: Sent = { tenant_id: TENANT, job_id: '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11', message_id: b64u(new Uint8Array(32).fill(1)), commitment: b64u(new Uint8Array(32).fill(2)), body_digest: '03'.repeat(32) };
const OTHER_JOB = '1b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11';
const zeros = 'A'.repeat(43);

let f: Fixture;
let manifest: VerifiedManifest;
let session: CounterSession;
let good: { result: string; counter: CounterSession; receipts: string[] };
beforeAll(async () => {
  f = await createFixture();
  const request = newManifestRequest('here');
  manifest = await verifyManifest({ request, response: await f.respond(request), ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen: memorySeen() });
  session = await f.session();
  good = { result: await f.signResult(f.resultPayload(sent, session)), counter: session, receipts: [await f.brokerReceipt(sent, session)] };
});
afterAll(() => f.dispose());

const verify = (changed: Partial<typeof good> = {}, now = NOW) => verifyResult({ ...good, ...changed }, sent, manifest, now);
const signed = async (changed: Partial<ResultPayload>) => ({ result: await f.signResult(f.resultPayload(sent, session, changed)) });
/** All that belongs to one counter's session. */
const from = async (other: CounterSession, by = f.counter.signing) => ({
  counter: other, result: await f.signResult(f.resultPayload(sent, other), by), receipts: [await f.brokerReceipt(sent, other)],
});

describe('result', () => {
  it('is believed when everything holds, long after the session has ended', async () => {
    for (const now of [NOW, NOW + 400 * 86_400]) {
      const { payload, checks } = await verify({}, now);
      expect(payload.result?.count).toBe(2);
      expect(checks.every((c) => c.result === 'pass')).toBe(true);
      expect(checks.map((c) => c.id)).toEqual(['counter-evidence', 'result-signature', 'result-is-about-what-was-sent', 'result-outcome', 'detector', 'claims-digest', 'ear', 'broker-receipt']);
    }
  });

  it('of a rejected job is believed, and has no count', async () => {
    const { payload } = await verify(await signed({ outcome: 'rejected', code: 'PICTURE_FORMAT', result: undefined }));
    expect([payload.outcome, payload.code, payload.result]).toEqual(['rejected', 'PICTURE_FORMAT', undefined]);
  });

  const other = { digest: 'c'.repeat(64), name: 'x', threshold: 0.5 };
  const count = { count: 1, method: 'm', model: { name: 'test-detector', digest: 'd'.repeat(64), threshold: 0.5 } };
  const payloads: [string, string, Partial<ResultPayload>][] = [
    ['another tenant\'s job', 'RESULT_JOB', { tenant_id: 'globex' }],
    ['another job', 'RESULT_JOB', { job_id: OTHER_JOB }],
    ['another message under this job (the gateway had its own picture counted)', 'RESULT_MESSAGE', { message_id: zeros }],
    ['a message with another key commitment', 'RESULT_MESSAGE', { commitment: zeros }],
    ['another body under this header', 'RESULT_MESSAGE', { body_digest: '00'.repeat(32) }],
    ['another cell', 'DIRECTORY_CELL', { cell: 'south' }],
    ['another epoch', 'DIRECTORY_CELL', { epoch: 1 }],
    ['another policy revision', 'RESULT_SESSION', { policy_revision: 6 }],
    ['a detector that the policy does not name', 'RESULT_MODEL', { model_digest: other.digest, result: { ...count, model: other } }],
    ['two different detectors', 'RESULT_MODEL', { result: { ...count, model: other } }],
    ['a completed job without a count', 'RESULT_OUTCOME', { result: undefined }],
    ['a completed job with an error', 'RESULT_OUTCOME', { code: 'INTERNAL' }],
    ['a failed job with a count', 'RESULT_OUTCOME', { outcome: 'failed', code: 'INTERNAL' }],
    ['a rejected job without a code', 'RESULT_OUTCOME', { outcome: 'rejected', result: undefined }],
    ['other claims', 'RESULT_CLAIMS', { claims_digest: '00'.repeat(32) }],
    ['a negative count', 'RESULT_FORMAT', { result: { ...count, count: -1 } }],
    ['an unknown field', 'RESULT_FORMAT', { note: 'x' } as object],
  ];
  it.each(payloads)('refuses the result of %s: %s', async (_, code, changed) => {
    expect(await codesOf(async () => verify(await signed(changed)))).toEqual([code]);
  });

  it('refuses a result that another key signed, or another kind of document', async () => {
    const stranger = await generateSigningKey();
    expect(await codesOf(async () => verify({ result: await f.signResult(f.resultPayload(sent, session), stranger) }))).toEqual(['RESULT_SIGNATURE']);
    expect(await codesOf(async () => verify({ result: await f.signResult(f.resultPayload(sent, session), f.broker.signing) }))).toEqual(['RESULT_SIGNATURE']);
    expect(await codesOf(async () => verify({ result: await signJws('ccc-receipt+jws', f.resultPayload(sent, session), f.counter.signing.privateKey) }))).toEqual(['RESULT_SIGNATURE']);
  });

  it('refuses a broker\'s evidence as a counter\'s', async () => {
    expect(await codesOf(async () => verify({ counter: { ...session, ...(await f.attest(f.broker)) } }))).toContain('BINDING_ROLE');
  });

  it('refuses a counter of other code, cell, configuration, policy or with a payload', async () => {
    const impostor = await f.workload('counter', REGISTERS.broker);
    expect(await codesOf(async () => verify({ counter: { ...session, ...(await f.attest(impostor)) } }))).toEqual(['MEASUREMENT_MISMATCH']);
    for (const [binding, code] of [
      [{ cell: 'south' }, 'BINDING_CELL'], [{ configDigest: new Uint8Array(32) }, 'BINDING_CONFIG'], [{ policyDigest: new Uint8Array(32) }, 'BINDING_POLICY'], [{ payloadDigest: new Uint8Array(32).fill(1) }, 'BINDING_PAYLOAD'],
    ] as const) {
      expect(await codesOf(async () => verify({ counter: { ...session, ...(await f.attest(f.counter, binding)) } }))).toEqual([code]);
    }
  });

  it('refuses keys in the binding that the evidence does not prove', async () => {
    const stranger = await generateSigningKey();
    const binding = { ...session.binding, signing_key: b64u(stranger.publicKey) };
    expect(await codesOf(async () => verify({ counter: { ...session, binding }, result: await f.signResult(f.resultPayload(sent, session), stranger) }))).toContain('BINDING_MISMATCH');
  });

  it('refuses the attestation result of another counter or by another signer', async () => {
    const counter = await f.workload('counter');
    const others = await f.session({ counter });
    expect(await codesOf(() => verify({ counter: { ...session, ear: others.ear } }))).toEqual(['RESULT_SESSION']);
    expect(await codesOf(async () => verify({ counter: { ...session, ear: (await f.session()).ear } }))).toEqual(['RESULT_SESSION']);
    const forged = await f.session({ by: await generateSigningKey() });
    expect(await codesOf(async () => verify(await from(forged)))).toEqual(['SIG_INVALID']);
    expect(await codesOf(() => verify({ counter: { ...session, ear: good.result } }))).toEqual(['RESULT_SESSION']);
  });

  it('refuses claims of other evidence, however well they are signed by an unknown broker', async () => {
    // A gateway's own "broker" vouches for its own picture of the claims.
    const other = await f.session({ issuer: 'broker-0', by: await generateSigningKey() });
    const altered = JSON.parse(Buffer.from(other.ear.split('.')[1]!, 'base64url').toString()) as { submods: Record<string, { ear_attester_claims: { guest: { debug: boolean } } }> };
    altered.submods['aws-nitro']!.ear_attester_claims.guest.debug = true;
    const ear = await signJws('ear+jwt', altered, (await generateSigningKey()).privateKey);
    expect(await codesOf(async () => verify(await from({ ...other, ear })))).toEqual(['RESULT_CLAIMS']);
  });

  it('of a broker that has ended is believed on the counter\'s evidence, and says so', async () => {
    const old = await generateSigningKey();
    const ended = await f.session({ issuer: 'broker-0', by: old });
    const { checks } = await verify({ ...(await from(ended)), receipts: [await f.brokerReceipt(sent, ended, { instance: 'broker-0' }, old)] });
    expect(checks.filter((c) => c.result === 'note').map((c) => c.id)).toEqual(['ear-issuer-unknown', 'broker-receipt-unknown']);
  });

  it('refuses receipts of the broker that do not hold', async () => {
    const receipts = async (changed: object, by = f.broker.signing) => codesOf(async () => verify({ receipts: [await f.brokerReceipt(sent, session, changed, by)] }));
    expect(await codesOf(() => verify({ receipts: [] }))).toEqual(['RECEIPT_BROKER']);
    expect(await codesOf(() => verify({ receipts: [good.result] }))).toEqual(['RECEIPT_BROKER']);
    expect(await receipts({}, await generateSigningKey())).toEqual(['RECEIPT_BROKER']);
    for (const changed of [{ job_id: OTHER_JOB }, { tenant_id: 'globex' }, { operation: 'refused' }, { operation: 'key-created' }, { message_id: zeros }]) {
      expect(await receipts(changed)).toEqual(['RECEIPT_BROKER']);
    }
    // The counter renewed its session, or the owner's policy changed, between release and result: said, not refused.
    for (const changed of [{ claims_digest: '00'.repeat(32) }, { policy_revision: 6 }]) {
      const { checks } = await verify({ receipts: [await f.brokerReceipt(sent, session, changed)] });
      expect(checks.filter((c) => c.result === 'note').map((c) => c.id)).toEqual(['broker-receipt-earlier']);
    }
    const refused = await f.brokerReceipt(sent, session, { seq: 5, operation: 'refused', code: 'SCOPE' });
    await expect(verify({ receipts: [refused, ...good.receipts] })).resolves.toBeDefined();
  });
});

describe('sealed result', () => {
  it('opens with the client\'s key only, for its job only', async () => {
    const [mine, other] = [await generateReceivingKey(), await generateReceivingKey()];
    const sealed = await f.sealResult(good.result, mine.publicKey, sent);
    expect(await openResult(sealed, mine.privateKey, sent.tenant_id, sent.job_id)).toBe(good.result);
    expect((fromB64u(sealed.ct).length - 16) % 4096).toBe(0);
    expect(await codesOf(() => openResult(sealed, other.privateKey, sent.tenant_id, sent.job_id))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openResult(sealed, mine.privateKey, sent.tenant_id, OTHER_JOB))).toEqual(['SEAL_OPEN']);
    expect(await codesOf(() => openResult(sealed, mine.privateKey, 'globex', sent.job_id))).toEqual(['SEAL_OPEN']);
    for (const plaintext of [utf8('no result'), new Uint8Array([0xff]), new Uint8Array(0)]) {
      const junk = await seal(mine.publicKey, resultInfo(), resultAad(sent.tenant_id, sent.job_id), plaintext);
      expect(await codesOf(() => openResult(junk, mine.privateKey, sent.tenant_id, sent.job_id))).toEqual(['RESULT_FORMAT']);
    }
  });
});

describe('receipt', () => {
  const receipt = (): Promise<Receipt> => makeReceipt(f.owner.publicKey, manifest, good, sent, true).then((r) => {
    const { claimsDigest: _, ...counter } = r.counter as CounterSession;
    return JSON.parse(JSON.stringify({ ...r, counter })) as Receipt;
  });
  const check = async (changed: object, ownerKey: Uint8Array = f.owner.publicKey) => codesOf(async () => verifyReceipt({ ...(await receipt()), ...changed }, ownerKey, NOW + 86_400));

  it('is verified offline, years later, and says what it proves', async () => {
    const verdict = await verifyReceipt(await receipt(), f.owner.publicKey, NOW + 3 * 365 * 86_400);
    expect(verdict).toMatchObject({ outcome: 'completed', simulated: true, notice: SIMULATED_NOTICE, tenant_id: TENANT, job_id: sent.job_id, platform: 'aws-nitro', claims_digest: session.claimsDigest });
    expect(verdict.result?.count).toBe(2);
    expect(verdict.checks.length).toBe(13);
    expect(new Set(verdict.checks.map((c) => c.id)).size).toBe(13);
  });

  it('is refused when it is no receipt', async () => {
    for (const junk of [null, 'x', [], {}, { v: 'ccc-receipt/v2' }]) {
      expect(new Set(await codesOf(() => verifyReceipt(junk, f.owner.publicKey, NOW)))).toEqual(new Set(['RECEIPT_FORMAT']));
    }
    expect(await check({ extra: 1 })).toEqual(['RECEIPT_FORMAT']);
  });

  it('is refused under another owner', async () => {
    const stranger = await generateSigningKey();
    expect(await check({}, stranger.publicKey)).toEqual(['RECEIPT_OWNER']);
    // An owner's name is copied easily; the signatures are not.
    const owner = (await makeReceipt(stranger.publicKey, manifest, good, sent, true)).owner;
    expect(await check({ owner }, stranger.publicKey)).toEqual(['POLICY_SIGNATURE']);
  });

  it('cannot hide that the TEE was simulated', async () => {
    expect(await check({ simulated: false })).toEqual(['RECEIPT_FORMAT']);
    expect(await check({ notice: undefined })).toEqual(['RECEIPT_FORMAT']);
    expect(await check({ simulated: false, notice: undefined })).toEqual(['RECEIPT_FORMAT']);
  });

  it('is refused when any part of it is from elsewhere', async () => {
    const original = await receipt();
    expect(await check({ sent: { ...sent, body_digest: '00'.repeat(32) } })).toEqual(['RESULT_MESSAGE']);
    expect(await check({ sent: { ...sent, job_id: OTHER_JOB } })).toEqual(['RESULT_JOB']);
    expect(await check({ sent: { ...sent, tenant_id: 'globex' } })).toEqual(['MANIFEST_TENANT']);
    expect(await check({ request: { ...original.request, nonce: zeros } })).toEqual(['NONCE_MISMATCH']);
    expect(await check({ request: { ...original.request, audience: 'there' } })).toEqual(['BINDING_AUDIENCE']);
    expect(await check({ receipts: [] })).toEqual(['RECEIPT_BROKER']);
    expect(await check({ manifest: { ...original.manifest, policy: await f.signPolicy({ revision: 8 }) } })).toContain('BINDING_POLICY');
    expect(await check({ manifest: { ...original.manifest, directory: await f.signDirectory({ cells: [{ ...f.directory.cells[0]!, configDigest: '00'.repeat(32) }] }) } })).toEqual(['BINDING_CONFIG']);
    expect(await check({ manifest: { ...original.manifest, manifest: b64u(utf8('{}')) } })).toEqual(['MANIFEST_FORMAT']);
    expect(await check({ counter: { ...original.counter, binding: { ...original.counter.binding, role: 'broker' } } })).toEqual(['BINDING_ROLE']);
  });

  it('is refused when policy or directory had ended before the evidence was made', async () => {
    const request = newManifestRequest('here');
    const make = async (lies: object, policyJws?: string) => {
      const response = await f.respond(request, lies);
      const own = await f.session(policyJws === undefined ? {} : { policyJws });
      const { claimsDigest: _, ...counter } = own;
      return codesOf(async () => verifyReceipt({ ...(await receipt()), request, manifest: response, counter, result: await f.signResult(f.resultPayload(sent, own)), receipts: [await f.brokerReceipt(sent, own)] }, f.owner.publicKey, NOW));
    };
    const policyJws = await f.signPolicy({ notAfter: NOW - 1 });
    expect(await make({ policyJws }, policyJws)).toEqual(['POLICY_EXPIRED']);
    expect(await make({ directoryJws: await f.signDirectory({ notAfter: NOW - 1 }) })).toEqual(['DIRECTORY_EXPIRED']);
  });

  it('is refused when its evidence lies ahead of the clock', async () => {
    expect(await codesOf(async () => verifyReceipt(await receipt(), f.owner.publicKey, NOW - 3600))).toContain('CLOCK_FUTURE');
  });
});
