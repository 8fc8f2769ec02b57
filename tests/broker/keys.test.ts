import { chmod, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { b64u, fromB64u, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { localFileSealer } from '../../workloads/broker/sealers/local-file.ts';
import { getManifest, makeCounter, makeMessage, post, type RunningBroker, tenantKeys, World } from './world.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';

let world: World;
let broker: RunningBroker;
beforeEach(async () => {
  world = await World.create();
  broker = await world.startBroker();
});
afterEach(() => world.close());

const create = (tenant = 'acme', zone = 'here') => post<{ keys: { id: string; public: string }[] }>(broker.origin, '/v1/tenant-keys', { tenant_id: tenant, zone });

describe('tenant keys', () => {
  it('are born as X-Wing and RSA-3072, sealed, with a receipt each', async () => {
    const keys = await tenantKeys(broker.origin);
    expect(keys.map(({ id, alg, state }) => [id, alg, state])).toEqual([['acme.x-wing.1', 'X-Wing', 'active'], ['acme.rsa-oaep.1', 'RSA-OAEP-SHA256', 'active']]);
    expect(fromB64u(keys[0]?.public as string)).toHaveLength(1216);
    const rsa = await crypto.subtle.importKey('spki', fromB64u(keys[1]?.public as string), { name: 'RSA-OAEP', hash: 'SHA-256' }, true, ['encrypt']);
    expect((rsa.algorithm as RsaHashedKeyAlgorithm).modulusLength).toBe(3072);
    expect(world.gateway.stored(broker.identity.instance).map(({ operation, key_id }) => [operation, key_id])).toEqual([['key-created', 'acme.x-wing.1'], ['key-created', 'acme.rsa-oaep.1']]);
    expect((await stat(world.sealerFile)).mode & 0o777).toBe(0o600);
  });

  it('asked for again, by this or another broker, are the same', async () => {
    const first = await create();
    expect((await create()).body.keys).toEqual(first.body.keys);
    broker = await world.startBroker();
    expect((await create()).body.keys).toEqual(first.body.keys);
    expect(world.gateway.keys).toHaveLength(2);
  });

  it('keep their zone; a zone that the policy does not give is refused', async () => {
    await create();
    expect((await create('acme', 'elsewhere')).body.code).toBe('KEY_STATE');
    expect((await create('globex', 'elsewhere')).body.code).toBe('ZONE_DENIED');
    expect((await create('initech')).body.code).toBe('POLICY_MISSING');
  });

  it('do not come to be without a receipt', async () => {
    world.gateway.down.add('POST /receipts');
    expect((await create()).body.code).toBe('RECEIPT_NOT_STORED');
    expect(world.gateway.keys).toEqual([]);
  });

  it('two at once: one tenant, one set of keys', async () => {
    const both = await Promise.all([create(), create()]);
    expect(world.gateway.keys).toHaveLength(2);
    expect(both[0]?.body.keys).toEqual(both[1]?.body.keys);
    expect((await create()).body.keys).toEqual(both[0]?.body.keys);
  });

  it('of a tenant that the ledger does not have: refused, and other receipts go on', async () => {
    await world.setPolicy({ revision: 2, tenants: [...world.policy.tenants, { ...world.policy.tenants[0] as (typeof world.policy.tenants)[number], tenant: '*' }] });
    await broker.broker.policy.refresh();
    const [bad, good] = await Promise.all([create('nobody'), create()]);
    expect(bad.body.code).toBe('RECEIPT_NOT_STORED');
    expect(good.status).toBe(200);
    expect(world.gateway.stored(broker.identity.instance).map(({ seq, tenant_id }) => [seq, tenant_id])).toEqual([[1, 'acme'], [2, 'acme']]);
  });
});

describe('a row that somebody changed', () => {
  const change = (i: number, change_: object) => { world.gateway.keys[i] = { ...world.gateway.keys[i] as never as object, ...change_ } as never; };

  it.each([
    ['public half', () => ({ public: b64u(randomBytes(1216)) })],
    ['end', () => ({ not_after: 4_000_000_000 })],
    ['zone', () => ({ zone: 'elsewhere' })],
    ['id', () => ({ id: 'acme.x-wing.2' })],
    ['sealed blob of another key', () => ({ sealed: world.gateway.keys[1]?.sealed })],
    ['flipped bit', () => {
      const sealed = fromB64u(world.gateway.keys[0]?.sealed as string);
      sealed[sealed.length - 1] = (sealed.at(-1) as number) ^ 1;
      return { sealed: b64u(sealed) };
    }],
    ['blob of nothing', () => ({ sealed: b64u(randomBytes(300)) })],
  ])('%s: no manifest, no key', async (_, how) => {
    await world.seedKeys(broker);
    change(0, how());
    broker = await world.startBroker();
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_SEALER_LOST');
    expect((await create()).body.code).toBe('KEY_SEALER_LOST');
    expect(world.gateway.keys).toHaveLength(2);
  });

  it('a foreign tenant\'s row under this tenant\'s name', async () => {
    await world.seedKeys(broker);
    await create('globex');
    world.gateway.keys.splice(0, 2);
    for (const i of [0, 1]) change(i, { tenant_id: 'acme' });
    broker = await world.startBroker();
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_SEALER_LOST');
  });

  it('a row of another cell is nobody\'s here', async () => {
    await world.seedKeys(broker);
    for (const i of [0, 1]) change(i, { cell: 'other' });
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_UNKNOWN');
  });
});

describe('manifest', () => {
  it('names tenant, zone, cell, broker, policy, receipts and every key that is not retired', async () => {
    const keys = await tenantKeys(broker.origin);
    const { manifest } = await getManifest(broker.origin);
    const [, last] = world.gateway.receipts.get(broker.identity.instance) ?? [];
    expect(manifest).toMatchObject({ tenant_id: 'acme', zone: 'here', cell: 'test', epoch: 1, broker: { instance: broker.identity.instance }, policy_revision: 1, keys, receipts_head: { seq: 2 } });
    expect(manifest?.receipts_head.digest).toBe(b64u(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(last?.jws as string)))));
  });

  it('needs keys, an active one, a rule, and a zone that the rule still has', async () => {
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_UNKNOWN');
    expect((await getManifest(broker.origin, 'initech')).body.code).toBe('POLICY_MISSING');
    await world.seedKeys(broker);
    for (const [i, key] of world.gateway.keys.entries()) world.gateway.keys[i] = { ...key, state: 'retired' };
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_STATE');
    for (const [i, key] of world.gateway.keys.entries()) world.gateway.keys[i] = { ...key, state: 'active' };
    await world.setPolicy({ revision: 2, tenants: [{ ...world.policy.tenants[0] as (typeof world.policy.tenants)[number], zones: ['elsewhere'] }] });
    await broker.broker.policy.refresh();
    expect((await getManifest(broker.origin)).body.code).toBe('ZONE_DENIED');
  });
});

describe('the sealer\'s file', () => {
  it('gone: keys are lost, no new file, no new key', async () => {
    await world.seedKeys(broker);
    await rename(world.sealerFile, `${world.sealerFile}.away`);
    broker = await world.startBroker();
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_SEALER_LOST');
    expect((await create('globex')).body.code).toBe('KEY_SEALER_LOST');
    await expect(stat(world.sealerFile)).rejects.toThrow('ENOENT');
    await rename(`${world.sealerFile}.away`, world.sealerFile);
    expect((await getManifest(broker.origin)).status).toBe(200);
  });

  it('gone, and nobody can say whether anything is sealed: no new file', async () => {
    const sealer = localFileSealer({ file: world.sealerFile, nothingSealed: () => Promise.reject(new Error('gateway away')) });
    await expect(sealer.seal(utf8('a'), utf8('b'))).rejects.toThrow('gateway away');
    await expect(stat(world.sealerFile)).rejects.toThrow('ENOENT');
  });

  it('another one: said by its fingerprint', async () => {
    await world.seedKeys(broker);
    await writeFile(world.sealerFile, randomBytes(32));
    broker = await world.startBroker();
    const { body } = await getManifest(broker.origin);
    expect(body.reasons?.[0]).toMatchObject({ code: 'KEY_SEALER_LOST', path: 'sealer.fingerprint' });
  });

  it('truncated, or readable by others', async () => {
    await world.seedKeys(broker);
    const secret = await readFile(world.sealerFile);
    await writeFile(world.sealerFile, secret.subarray(0, 31));
    broker = await world.startBroker();
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_SEALER_LOST');
    await writeFile(world.sealerFile, secret);
    await chmod(world.sealerFile, 0o644);
    expect((await getManifest(broker.origin)).body.code).toBe('KEY_SEALER_LOST');
    await chmod(world.sealerFile, 0o600);
    expect((await getManifest(broker.origin)).status).toBe(200);
  });

  it('lost under way: what is not in memory any more is not released', async () => {
    const keys = await world.seedKeys(broker);
    const message = await makeMessage(keys);
    await rm(world.sealerFile);
    broker = await world.startBroker();
    const counter = await makeCounter(world);
    const { session } = await counter.attest(broker.origin);
    const { body } = await counter.release(broker.origin, session, [{ tenant_id: 'acme', job_id: message.context.job_id, header: b64u(parseMessage(message.bytes).header) }]);
    expect(body.items[0]).toMatchObject({ ok: false, permanent: false, problem: { code: 'KEY_SEALER_LOST' } });
  });

  it('two brokers that start at once agree on one secret', async () => {
    const make = () => localFileSealer({ file: world.sealerFile, nothingSealed: async () => true });
    const [one, two] = [make(), make()];
    const blobs = await Promise.all([one.seal(utf8('n'), utf8('one')), two.seal(utf8('n'), utf8('two'))]);
    const later = make();
    expect(await Promise.all(blobs.map((blob) => later.open(utf8('n'), blob)))).toEqual([utf8('one'), utf8('two')]);
    await expect(later.open(utf8('m'), blobs[0] as never)).rejects.toMatchObject({ code: 'KEY_SEALER_LOST' });
  });
});
