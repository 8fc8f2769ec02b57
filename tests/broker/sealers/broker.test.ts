/** A whole broker whose tenant keys rest under a key service: what comes to be, what is lost, and what its callers are told. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { b64u, fromB64u } from '../../../attestation/bytes.ts';
import type { KeySealer } from '../../../workloads/broker/sealer.ts';
import { instanceCredentials } from '../../../workloads/broker/sealers/aws-credentials.ts';
import { awsKms } from '../../../workloads/broker/sealers/aws-kms.ts';
import { envelopeSealer } from '../../../workloads/broker/sealers/envelope.ts';
import { newRecipientKey, nitroRecipient } from '../../../workloads/broker/sealers/recipient.ts';
import { parseMessage } from '../../../workloads/protocol/message.ts';
import type { TenantKey } from '../../../workloads/protocol/messages.ts';
import { getManifest, makeCounter, makeMessage, post, type ReleaseAnswer, type RunningBroker, tenantKeys, World } from '../world.ts';
import { ALIAS_ARN, BROKERS, FakeAws, NOW, nsm } from './fake-aws.ts';
import { held, json, leaks } from './loopback.ts';

let aws: FakeAws;
let recipientKey: CryptoKeyPair;
let world: World;
let broker: RunningBroker;
beforeAll(async () => { [aws, recipientKey] = await Promise.all([FakeAws.start(), newRecipientKey()]); });
afterAll(() => aws.stop());
beforeEach(async () => {
  aws.kms.tamper = undefined;
  aws.kms.instead.length = 0;
  world = await World.create();
  broker = await world.startBroker({ sealer: await sealer() });
});
afterEach(() => world.close());

/** KMS and the security module have a time of their own, which stands. */
async function sealer(pcrs: Record<string, string> = BROKERS[0] as never): Promise<KeySealer> {
  const { around } = held(NOW * 1_000);
  return envelopeSealer(awsKms({ key: ALIAS_ARN, recipient: await nitroRecipient(nsm(aws.w, pcrs), recipientKey), credentials: instanceCredentials({ origin: aws.metadata.origin }, around), service: { origin: aws.kms.origin }, around }), world.cell.ownerKey);
}
const create = (tenant = 'acme') => post<{ keys: { id: string; public: string }[] }>(broker.origin, '/v1/tenant-keys', { tenant_id: tenant, zone: 'here' });
/** One message under these keys, asked for by a counter. */
async function release(keys: readonly TenantKey[]): Promise<readonly ReleaseAnswer[]> {
  const message = await makeMessage(keys);
  const counter = await makeCounter(world);
  const { session } = await counter.attest(broker.origin);
  return (await counter.release(broker.origin, session, [{ tenant_id: 'acme', job_id: message.context.job_id, header: b64u(parseMessage(message.bytes).header) }])).body.items;
}

it('keys are born, opened by another broker, and released; neither wire nor rows nor logs have a private half', async () => {
  const keys = await tenantKeys(broker.origin);
  expect(world.gateway.keys.map(({ sealed }) => Buffer.from(fromB64u(sealed)).subarray(0, 4).toString())).toEqual(['cck1', 'cck1']);
  broker = await world.startBroker({ sealer: await sealer() });
  expect((await getManifest(broker.origin)).manifest?.keys).toEqual(keys);
  expect(await release(keys)).toMatchObject([{ ok: true }]);
  const everywhere = [...aws.kms.wire, ...aws.metadata.wire, ...world.lines, JSON.stringify(world.gateway.keys)];
  for (const dataKey of aws.dataKeys) expect(leaks(everywhere, dataKey)).toBe(false);
});

describe('a crash between sealing and storing', () => {
  it('leaves no key, and the next attempt makes others', async () => {
    world.gateway.down.add('PUT /tenant-keys');
    expect((await create()).status).toBeGreaterThanOrEqual(500);
    expect(world.gateway.keys).toEqual([]);
    const made = aws.dataKeys.length;
    world.gateway.reset();
    broker = await world.startBroker({ sealer: await sealer() });
    expect((await create()).body.keys).toHaveLength(2);
    expect(aws.dataKeys.length).toBe(made + 2);
    expect((await getManifest(broker.origin)).manifest?.keys).toHaveLength(2);
  });
  it('stored, but the answer was cut: the keys are there and open', async () => {
    world.gateway.cut.add('PUT /tenant-keys');
    await create();
    world.gateway.reset();
    expect(world.gateway.keys).toHaveLength(2);
    broker = await world.startBroker({ sealer: await sealer() });
    expect((await create()).body.keys?.map(({ id }) => id)).toEqual(world.gateway.keys.map(({ id }) => id));
  });
});

describe('what callers are told', () => {
  const busy = (n: number): void => void aws.kms.instead.push(...Array.from({ length: n }, () => json(400, { __type: 'ThrottlingException', message: 'Rate exceeded' })));
  it('KMS throttles: 503, no key, no row; later it works', async () => {
    busy(40);
    expect(await create()).toMatchObject({ status: 503, body: { code: 'KEY_SEALER_UNAVAILABLE' } });
    expect(world.gateway.keys).toEqual([]);
    aws.kms.instead.length = 0;
    expect((await create()).status).toBe(200);
  });
  it('a broker that the key\'s policy does not name opens nothing and makes nothing', async () => {
    await create();
    broker = await world.startBroker({ sealer: await sealer({ ...BROKERS[0] as never as Record<string, string>, PCR0: 'd'.repeat(96) }) });
    expect((await getManifest(broker.origin)).body).toMatchObject({ status: 503, code: 'KEY_SEALER_REFUSED', reasons: [expect.objectContaining({ path: 'kms.Decrypt', have: '400 AccessDeniedException', next: expect.stringContaining('PCR0') })] });
    expect((await create('globex')).body).toMatchObject({ code: 'KEY_SEALER_REFUSED' });
    expect(world.gateway.keys).toHaveLength(2);
  });
  it('a job waits while KMS does not answer, and does not end', async () => {
    const keys = await tenantKeys(broker.origin);
    broker = await world.startBroker({ sealer: await sealer() });
    busy(40);
    expect(await release(keys)).toMatchObject([{ ok: false, permanent: false, problem: { code: 'KEY_SEALER_UNAVAILABLE' } }]);
  });
  it('another tenant\'s row under this tenant\'s name is refused by KMS itself', async () => {
    await Promise.all([create(), create('globex')]);
    const [mine, theirs] = ['acme', 'globex'].map((tenant) => world.gateway.keys.filter(({ tenant_id }) => tenant_id === tenant));
    world.gateway.keys.splice(0, 4, ...(mine ?? []).map((row, i) => ({ ...row, sealed: theirs?.[i]?.sealed as string })));
    broker = await world.startBroker({ sealer: await sealer() });
    expect((await getManifest(broker.origin)).body).toMatchObject({ code: 'KEY_SEALER_LOST', reasons: [expect.objectContaining({ have: 'InvalidCiphertextException' })] });
  });
});
