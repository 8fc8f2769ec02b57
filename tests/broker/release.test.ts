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
    const keys = await tenantKeys(broker.origin);
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
