import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { b64u, fromB64u } from '../../attestation/bytes.ts';
import { verifyAttested } from '../../workloads/protocol/appraised.ts';
import { open } from '../../workloads/protocol/hpke.ts';
import { verifyJws } from '../../workloads/protocol/jws.ts';
import { releaseAad, releaseInfo } from '../../workloads/protocol/labels.ts';
import { checkDataKey, parseMessage } from '../../workloads/protocol/message.ts';
import { brokerReceiptSchema, manifestSchema } from '../../workloads/protocol/messages.ts';
import { getManifest, makeCounter, makeMessage, newJobId, type RunningBroker, tenantKeys, World } from './world.ts';

let world: World;
let broker: RunningBroker;
beforeEach(async () => {
  world = await World.create();
  broker = await world.startBroker();
});
afterEach(() => world.close());

const item = (message: Awaited<ReturnType<typeof makeMessage>>, change: Record<string, unknown> = {}) => ({
  tenant_id: message.context.tenant_id, job_id: message.context.job_id, header: b64u(parseMessage(message.bytes).header), ...change,
});

describe('the way of a key', () => {
  it('manifest, attest, release: the counter gets the data key of the message, with a stored receipt', async () => {
    await tenantKeys(broker.origin);
    const { manifest, body, asked, digest } = await getManifest(broker.origin);
    if (manifest === undefined) throw new Error(body.code);
    expect(manifestSchema.parse(manifest).tenant_id).toBe('acme');
    const appraisal = await verifyAttested({
      attested: { evidence: body.evidence, binding: body.binding }, policy: world.policy, now: Math.floor(world.time / 1000), mode: 'live',
      expect: {
        role: 'broker', cell: 'test', challengeId: fromB64u(asked.challenge_id), nonce: fromB64u(asked.nonce), audience: asked.audience,
        policyDigest: fromB64u(manifest.policy_digest), payloadDigest: digest, configDigest: world.configDigest,
      },
    });
    expect(appraisal.claims.anchor).toBe('development');

    const message = await makeMessage(manifest.keys);
    const counter = await makeCounter(world);
    const session = await counter.attest(broker.origin);
    const { status, body: released } = await counter.release(broker.origin, session.session, [item(message)]);
    expect(status).toBe(200);
    const [answer] = released.items;
    if (answer?.data_key === undefined || answer.receipt === undefined) throw new Error(JSON.stringify(answer));
    const parsed = parseMessage(message.bytes);
    const info = releaseInfo(session.claims_digest, manifest.policy_digest);
    const dataKey = await open(counter.receiving.privateKey, info, releaseAad('acme', message.context.job_id, parsed.messageId), answer.data_key);
    await checkDataKey(parsed, dataKey);

    const receipt = await verifyJws(answer.receipt, 'ccc-broker-receipt+jws', broker.identity.signing.publicKey, brokerReceiptSchema, 'RECEIPT_FORMAT');
    expect(receipt).toMatchObject({ operation: 'released', tenant_id: 'acme', job_id: message.context.job_id, claims_digest: session.claims_digest, origin: 'asserted' });
    expect(world.gateway.stored(broker.identity.instance).map((r) => r.operation)).toEqual(['key-created', 'key-created', 'released']);
    expect(broker.identity.instance).toBe(receipt.instance);
  });

  it('a released key opens for no other info, AAD or key', async () => {
    const keys = await world.seedKeys(broker);
    const message = await makeMessage(keys);
    const counter = await makeCounter(world);
    const session = await counter.attest(broker.origin);
    const { body } = await counter.release(broker.origin, session.session, [item(message)]);
    const sealed = body.items[0]?.data_key;
    if (sealed === undefined) throw new Error('not released');
    const { messageId } = parseMessage(message.bytes);
    const digest = (await getManifest(broker.origin)).manifest?.policy_digest as string;
    const info = releaseInfo(session.claims_digest, digest);
    const aad = releaseAad('acme', message.context.job_id, messageId);
    const key = counter.receiving.privateKey;
    const other = (await makeCounter(world)).receiving.privateKey;
    const flipped = `${sealed.enc.startsWith('A') ? 'B' : 'A'}${sealed.enc.slice(1)}`;
    await expect(open(key, info, aad, sealed)).resolves.toHaveLength(32);
    await expect(open(other, info, aad, sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(open(key, releaseInfo('0'.repeat(64), digest), aad, sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(open(key, info, releaseAad('acme', newJobId(), messageId), sealed)).rejects.toMatchObject({ code: 'SEAL_OPEN' });
    await expect(open(key, info, aad, { ...sealed, enc: flipped })).rejects.toMatchObject({ code: 'SEAL_OPEN' });
  });
});

describe('what is not released', () => {
  /** One item; the code of its refusal, and that nothing was released. */
  async function refusal(one: object, counter?: Awaited<ReturnType<typeof makeCounter>>, session?: string) {
    const who = counter ?? await makeCounter(world);
    const { status, body } = await who.release(broker.origin, session ?? (await who.attest(broker.origin)).session, [one]);
    expect(status).toBe(200);
    const [answer] = body.items;
    expect(answer).not.toHaveProperty('data_key');
    expect(answer).not.toHaveProperty('receipt');
    const receipts = world.gateway.stored(broker.identity.instance);
    expect(receipts.map((r) => r.operation)).not.toContain('released');
    return { code: answer?.problem?.code, permanent: answer?.permanent, receipt: receipts.at(-1) };
  }

  it('a message of another tenant', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const refused = await refusal(item(message, { tenant_id: 'globex' }));
    expect(refused).toMatchObject({ code: 'TENANT_MISMATCH', permanent: true, receipt: { operation: 'refused', code: 'TENANT_MISMATCH' } });
  });

  it('a message under another job', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    expect(await refusal(item(message, { job_id: newJobId() }))).toMatchObject({ code: 'CONTEXT_MISMATCH', permanent: true });
  });

  it('a zone that the tenant has not', async () => {
    const message = await makeMessage(await world.seedKeys(broker), { compliance_zone: 'nowhere' });
    expect(await refusal(item(message))).toMatchObject({ code: 'ZONE_DENIED', permanent: true });
  });

  it('a zone of the tenant that its key is not bound to', async () => {
    const keys = await world.seedKeys(broker);
    await world.setPolicy({ revision: 2, zones: [...world.policy.zones, { name: 'second', regions: ['test-1'], origin: 'asserted' }], tenants: world.policy.tenants.map((rule) => ({ ...rule, zones: ['here', 'second'] })) });
    await broker.broker.policy.refresh();
    expect(await refusal(item(await makeMessage(keys, { compliance_zone: 'second' })))).toMatchObject({ code: 'ZONE_DENIED', permanent: true });
  });

  it('a counter outside the regions of the zone: another counter may', async () => {
    const message = await makeMessage(await world.seedKeys(broker), { compliance_zone: 'elsewhere' });
    expect(await refusal(item(message))).toMatchObject({ code: 'CLOUD_ORIGIN', permanent: false });
  });

  it('a zone that wants a proven region, to a counter whose region is asserted', async () => {
    const message = await makeMessage(await world.seedKeys(broker), { compliance_zone: 'proven' });
    expect(await refusal(item(message))).toMatchObject({ code: 'CLOUD_ORIGIN', permanent: false });
  });

  it('a classification that the tenant has not', async () => {
    const message = await makeMessage(await world.seedKeys(broker), { data_classification: 'restricted' });
    expect(await refusal(item(message))).toMatchObject({ code: 'CLASSIFICATION_DENIED', permanent: true });
  });

  it('a scope that the tenant does not accept', async () => {
    const keys = await tenantKeys(broker.origin, 'globex');
    const message = await makeMessage(keys, { tenant_id: 'globex', data_classification: 'public' });
    expect(await refusal(item(message))).toMatchObject({ code: 'SCOPE', permanent: false });
  });

  it('a tenant without a rule', async () => {
    const message = await makeMessage(await world.seedKeys(broker), { tenant_id: 'initech' });
    expect(await refusal(item(message))).toMatchObject({ code: 'POLICY_MISSING', permanent: false });
  });

  it.each(['retired', 'pending'] as const)('a key that is %s', async (state) => {
    const message = await makeMessage(await world.seedKeys(broker));
    for (const [i, key] of world.gateway.keys.entries()) world.gateway.keys[i] = { ...key, state };
    expect(await refusal(item(message))).toMatchObject({ code: 'KEY_STATE', permanent: true });
  });

  it('a wrap to another tenant\'s key, found under this tenant', async () => {
    await world.seedKeys(broker);
    const [foreign] = await tenantKeys(broker.origin, 'globex');
    const message = await makeMessage([foreign as never]);
    expect(await refusal(item(message))).toMatchObject({ code: 'KEY_UNKNOWN', permanent: true });
  });

  it('a wrap made under another context', async () => {
    const keys = await world.seedKeys(broker);
    const [one, two] = [await makeMessage(keys), await makeMessage(keys)];
    // The wrap of one message in the header of another: same key, same lengths.
    const [a, b] = [parseMessage(one.bytes), parseMessage(two.bytes)];
    const header = Buffer.from(b.header);
    const at = header.indexOf(Buffer.from(b.wraps[0]?.ciphertext as Uint8Array));
    header.set(a.wraps[0]?.ciphertext as Uint8Array, at);
    expect(await refusal(item(two, { header: header.toString('base64url') }))).toMatchObject({ code: 'KEY_UNWRAP', permanent: true });
  });

  it('a message that commits to another key', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const header = Buffer.from(parseMessage(message.bytes).header);
    header.writeUInt8((header.at(-17) as number) ^ 1, header.length - 17);
    expect(await refusal(item(message, { header: header.toString('base64url') }))).toMatchObject({ code: 'MESSAGE_COMMITMENT', permanent: true });
  });

  it('a header whose tag does not hold', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const header = Buffer.from(parseMessage(message.bytes).header);
    header.writeUInt8((header.at(-1) as number) ^ 1, header.length - 1);
    expect(await refusal(item(message, { header: header.toString('base64url') }))).toMatchObject({ code: 'MESSAGE_HEADER_TAG', permanent: true });
  });

  it('no header at all', async () => {
    expect(await refusal({ tenant_id: 'acme', job_id: newJobId(), header: b64u(new Uint8Array(500)) })).toMatchObject({ code: 'MESSAGE_FORMAT', permanent: true, receipt: { zone: 'unknown' } });
  });

  it('anything while receipts are not stored, not even once they are again', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const counter = await makeCounter(world);
    const { session } = await counter.attest(broker.origin);
    world.gateway.down.add('POST /receipts');
    expect(await refusal(item(message), counter, session)).toMatchObject({ code: 'RECEIPT_NOT_STORED', permanent: false });
    world.gateway.down.clear();
    const { body } = await counter.release(broker.origin, session, [item(message)]);
    expect(body.items[0]?.ok).toBe(true);
  });

  it('anything while the tenant keys cannot be read', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const counter = await makeCounter(world);
    const { session } = await counter.attest(broker.origin);
    world.gateway.down.add('GET /tenant-keys');
    expect(await refusal(item(message), counter, session)).toMatchObject({ code: 'LEDGER_UNAVAILABLE', permanent: false });
  });

  it('one bad job of a batch does not touch the others', async () => {
    const keys = await world.seedKeys(broker);
    const good = await Promise.all([makeMessage(keys), makeMessage(keys)]);
    const bad = await makeMessage(keys, { data_classification: 'restricted' });
    const counter = await makeCounter(world);
    const { session } = await counter.attest(broker.origin);
    const { body } = await counter.release(broker.origin, session, [item(good[0] as never), item(bad), item(good[1] as never)]);
    expect(body.items.map((each) => each.ok)).toEqual([true, false, true]);
    expect(body.items[1]?.problem?.code).toBe('CLASSIFICATION_DENIED');
    expect(world.gateway.stored(broker.identity.instance).slice(-3).map((r) => r.operation)).toEqual(['released', 'refused', 'released']);
    expect(world.gateway.calls.filter((call) => call === 'POST /receipts')).toHaveLength(1);
  });
});
