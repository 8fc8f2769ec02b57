/** A hostile gateway, and whoever else reaches the broker's port, against a real broker: nothing is released, no key is made, every refusal has a code. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { b64u, fromB64u, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { signJws } from '../../workloads/protocol/jws.ts';
import { parseHeader, parseMessage } from '../../workloads/protocol/message.ts';
import { RELEASE_PATH, type StoredKey } from '../../workloads/protocol/messages.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { getManifest, makeCounter, makeMessage, newJobId, post, type RunningBroker, tenantKeys, World } from '../broker/world.ts';
import { confused, payloadOf, respelled } from './forge.ts';
import { stockMessage } from './stock.ts';

let world: World;
let broker: RunningBroker;
beforeEach(async () => {
  world = await World.create();
  broker = await world.startBroker();
});
afterEach(() => world.close());

const itemOf = ({ bytes: message, context }: { bytes: Uint8Array; context: { tenant_id: string; job_id: string } }, header = parseMessage(message).header as Uint8Array) => ({ tenant_id: context.tenant_id, job_id: context.job_id, header: b64u(header) });
const operations = () => world.gateway.stored(broker.identity.instance).map(({ operation }) => operation);

/** The code that one header is refused with; no key, no receipt of a release. */
async function refused(item: object): Promise<string | undefined> {
  const counter = await makeCounter(world);
  const { session } = await counter.attest(broker.origin);
  const { body } = await counter.release(broker.origin, session, [item]);
  expect(body.items[0]).not.toHaveProperty('data_key');
  expect(operations()).not.toContain('released');
  return body.items[0]?.problem?.code;
}
/** A header with `value` of its context, or other bytes of it, replaced by as many others. */
function replaced(header: Uint8Array, find: Uint8Array | string, by: Uint8Array | string): Uint8Array {
  const [was, now] = [find, by].map((part) => Buffer.from(part as string));
  const out = Buffer.from(header);
  const at = out.indexOf(was as Buffer);
  if (at < 0 || was?.length !== now?.length) throw new Error('nothing to replace');
  return out.fill(now as Buffer, at, at + (now as Buffer).length);
}

describe('headers', () => {
  it('with the gateway\'s own result key in the place of the client\'s: with our wrap, and with a wrap that knows no context', async () => {
    const keys = await world.seedKeys(broker);
    const own = (await makeMessage(keys)).context.result_key;
    const ours = await makeMessage(keys);
    expect(await refused(itemOf(ours, replaced(parseMessage(ours.bytes).header, ours.context.result_key, own)))).toBe('KEY_UNWRAP');
    const stock = await stockMessage(keys);
    const header = replaced(parseMessage(stock.bytes).header, stock.context.result_key, own);
    expect(parseHeader(header).context.result_key).toBe(own);
    expect(await refused(itemOf(stock, header))).toBe('MESSAGE_HEADER_TAG');
  });

  it('of one tenant relabelled for another, wrap and all', async () => {
    const keys = await world.seedKeys(broker);
    await tenantKeys(broker.origin, 'globex');
    const message = await makeMessage(keys, { data_classification: 'internal' });
    const relabelled = replaced(parseMessage(message.bytes).header, utf8('acme'), utf8('evil'));
    expect(await refused({ ...itemOf(message, relabelled), tenant_id: 'evil' })).toBe('POLICY_MISSING');
    expect(await refused({ ...itemOf(message), tenant_id: 'globex' })).toBe('TENANT_MISMATCH');
  });

  it('with a wrap moved from another message, from our keyring or a stock one, or called by the other\'s name', async () => {
    const keys = await world.seedKeys(broker);
    const [one, two] = [await stockMessage(keys), await stockMessage(keys)];
    const [a, b] = [parseMessage(one.bytes), parseMessage(two.bytes)];
    expect(await refused(itemOf(two, replaced(b.header, b.wraps[0]?.ciphertext as Uint8Array, a.wraps[0]?.ciphertext as Uint8Array)))).toBe('MESSAGE_COMMITMENT');
    const ours = await makeMessage(keys);
    expect(await refused(itemOf(ours, replaced(parseMessage(ours.bytes).header, 'ccc-x-wing', 'ccc-y-wing')))).toBe('KEY_UNKNOWN');
    expect(await refused(itemOf(two, replaced(b.header, 'acme.rsa-oaep.1', 'acme.x-wing.1\0\0')))).toBe('KEY_UNKNOWN');
  });

  it('with two wraps to one key: refused before anything is unwrapped', async () => {
    const message = await makeMessage(await world.seedKeys(broker));
    const header = Buffer.from(parseMessage(message.bytes).header);
    const provider = header.indexOf('ccc-x-wing') - 2;
    const end = header.length - 1 - 4 - 32 - 16;
    const wrap = header.subarray(provider, end);
    const many = Buffer.concat([header.subarray(0, provider - 2), Buffer.from([0, 2]), wrap, wrap, header.subarray(end)]);
    expect(await refused(itemOf(message, many))).toBe('MESSAGE_FORMAT');
    expect(() => parseHeader(many)).toThrow('two wraps to one key');
  });
});

describe('sealed tenant keys', () => {
  const rows = () => world.gateway.keys as StoredKey[];
  const row = (id: string) => rows().find((key) => key.id === id) as StoredKey;
  const put = (id: string, changed: Partial<StoredKey>) => { rows()[rows().findIndex((key) => key.id === id)] = { ...row(id), ...changed }; };
  /** Both: a broker that has opened the keys before, and one that starts now. */
  const both = async (tenant = 'acme') => {
    const warm = (await getManifest(broker.origin, tenant)).body.code;
    broker = await world.startBroker();
    return [warm, (await getManifest(broker.origin, tenant)).body.code];
  };

  it('swapped between two tenants, each under the other\'s name', async () => {
    await world.seedKeys(broker);
    await tenantKeys(broker.origin, 'globex');
    await getManifest(broker.origin);
    const [a, g] = [row('acme.x-wing.1'), row('globex.x-wing.1')];
    put(a.id, { sealed: g.sealed, public: g.public, not_after: g.not_after });
    put(g.id, { sealed: a.sealed, public: a.public, not_after: a.not_after });
    expect(await both()).toEqual(['KEY_SEALER_LOST', 'KEY_SEALER_LOST']);
    expect((await getManifest(broker.origin, 'globex')).body.code).toBe('KEY_SEALER_LOST');
  });

  it('swapped between two ids of one tenant', async () => {
    await world.seedKeys(broker);
    await getManifest(broker.origin);
    const [x, r] = [row('acme.x-wing.1'), row('acme.rsa-oaep.1')];
    put(x.id, { ...r, id: x.id });
    put(r.id, { ...x, id: r.id });
    expect(await both()).toEqual(['KEY_SEALER_LOST', 'KEY_SEALER_LOST']);
  });

  it('of another cell under the same sealer, relabelled for this one', async () => {
    await world.seedKeys(broker);
    const north = await world.startBroker({ cell: { ...world.cell, cell: 'north' } });
    rows().splice(0);
    await tenantKeys(north.origin);
    for (const key of [...rows()]) put(key.id, { cell: 'test' });
    broker = await world.startBroker();
    expect(await both()).toEqual(['KEY_SEALER_LOST', 'KEY_SEALER_LOST']);
  });

  it('changed beside their seal while the broker remembers them: what was sealed is what is shown', async () => {
    const [genuine] = await world.seedKeys(broker);
    await getManifest(broker.origin);
    const own = (await makeMessage([genuine as never])).context.result_key;
    put('acme.x-wing.1', { public: own, not_after: 4_000_000_000 });
    const { manifest } = await getManifest(broker.origin);
    expect(manifest?.keys.map((key) => [key.public, key.not_after])).not.toContainEqual([own, 4_000_000_000]);
    expect(manifest?.keys[0]).toEqual(genuine);
    expect(await both()).toEqual([undefined, 'KEY_SEALER_LOST']);
  });

  it('rows of another tenant in the answer are nobody\'s', async () => {
    const keys = await world.seedKeys(broker);
    await tenantKeys(broker.origin, 'globex');
    world.gateway.routes.set('GET /tenant-keys', async () => ({ keys: rows(), sealed_total: rows().length }));
    expect((await getManifest(broker.origin)).manifest?.keys.map(({ id }) => id)).toEqual(keys.map(({ id }) => id));
    const [foreign] = rows().filter(({ tenant_id }) => tenant_id === 'globex');
    const message = await makeMessage([{ id: foreign?.id, alg: 'X-Wing', state: 'active', public: foreign?.public, not_after: foreign?.not_after } as never]);
    expect(await refused(itemOf(message))).toBe('KEY_UNKNOWN');
  });

  it('denied by the gateway: no second set of keys is made under the tenant', async () => {
    await world.seedKeys(broker);
    const before = structuredClone(rows());
    world.gateway.routes.set('GET /tenant-keys', async () => ({ keys: [], sealed_total: 0 }));
    const { status } = await post(broker.origin, '/v1/tenant-keys', { tenant_id: 'acme', zone: 'here' });
    expect(status).not.toBe(200);
    expect(rows()).toEqual(before);
  });
});

describe('policies', () => {
  const inForce = async () => (await post<{ policy_digest: string }>(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body.policy_digest;
  const offer = async (jws: string) => { world.gateway.policy = jws; await broker.broker.policy.refresh(); };

  it('with an unknown field, of another deployment, with exchanged roles, in another spelling: what was in force stays', async () => {
    const before = await inForce();
    const { policy } = world;
    const current = world.gateway.policy;
    const sign = (changed: object) => signJws('ccc-policy+jws', { ...policy, revision: 9, ...changed }, world.owner.privateKey);
    for (const jws of [
      await sign({ allowDevelopment: true }), await sign({ deployment: 'staging' }), await sign({ roles: { broker: policy.roles.counter, counter: policy.roles.broker } }),
      await sign({ tenants: [] }), await sign({ roles: { ...policy.roles, counter: { ...policy.roles.counter, references: [] } } }), respelled(current),
      ...Object.values(confused(await sign({}), 'ccc-policy+jws', world.owner.publicKey)),
      await signJws('ccc-directory+jws', { ...policy, revision: 9 }, world.owner.privateKey),
    ]) {
      await offer(jws);
      expect(await inForce()).toBe(before);
    }
    await offer(await sign({}));
    expect(await inForce()).not.toBe(before);
  });

  it('of the future or the past: a broker whose clock is set back takes no evidence of now', async () => {
    await world.setPolicy({ revision: 2, notAfter: Math.floor(world.time / 1000) + 600 });
    await broker.broker.policy.refresh();
    const counter = await makeCounter(world);
    const truth = world.time + 3_600_000;
    world.time = truth;
    expect((await post(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body.code).toBe('POLICY_EXPIRED');
    // The host turns the broker's clock back under the policy's end; the hardware dates evidence truly.
    world.time = truth - 3_600_000;
    const challenge = await counter.challenge(broker.origin);
    world.time = truth;
    const answer = await counter.answer(challenge);
    world.time = truth - 3_600_000;
    expect((await post(broker.origin, '/v1/attest', answer)).body.reasons?.map(({ code }) => code)).toContain('CLOCK_FUTURE');
  });
});

describe('sessions without their key', () => {
  const body = JSON.stringify({ items: [{ tenant_id: 'acme', job_id: newJobId(), header: b64u(new Uint8Array(300)) }] });
  const send = async (session: string, pop: string, of = body) => (await post(broker.origin, '/v1/release', of, { 'ccc-session': session, 'ccc-pop': pop })).body.code;

  it('replayed by the gateway, with every proof that it ever saw', async () => {
    const counter = await makeCounter(world);
    const other = await makeCounter(world);
    const [mine, theirs] = [await counter.attest(broker.origin), await other.attest(broker.origin)];
    const now = Math.floor(world.time / 1000);
    const seen = await counter.pop(body, mine.session);
    expect(await send(mine.session, seen)).toBeUndefined();
    expect(await send(mine.session, seen)).toBe('POP_REPLAYED');
    expect(await send(mine.session, respelled(seen))).toBe('POP_INVALID');
    expect(await send(mine.session, await counter.pop(body, mine.session, { path: '/internal/v1/lease' }))).toBe('POP_INVALID');
    expect(await send(mine.session, await counter.pop(`${body} `, mine.session))).toBe('POP_INVALID');
    // A proof of the right key for another session of the same counter.
    const again = await counter.attest(broker.origin);
    expect(await send(mine.session, await counter.pop(body, again.session))).toBe('POP_INVALID');
    expect(await send(theirs.session, await counter.pop(body, theirs.session))).toBe('POP_INVALID');
    // The broker's own proofs, which the gateway sees too; a proof without a session; one of another method, too old, too new.
    const make = (key: CryptoKey, more: object = {}) => makePop({ key, method: 'POST', path: RELEASE_PATH, body: utf8(body), session: mine.session, now, ...more });
    expect(await send(mine.session, await make(broker.identity.signing.privateKey))).toBe('POP_INVALID');
    for (const more of [{ session: undefined }, { method: 'GET' }, { now: now - 61 }, { now: now + 61 }]) expect(await send(mine.session, await make(counter.signing.privateKey, more))).toBe('POP_INVALID');
  });

  it('an EAR as session, a session as proof, and each under confused headers', async () => {
    const counter = await makeCounter(world);
    const { session, ear } = await counter.attest(broker.origin);
    expect(await send(ear, await counter.pop(body, ear))).toBe('SESSION_INVALID');
    expect(await send(session, session)).toBe('POP_INVALID');
    const receipt = world.gateway.receipts.get(broker.identity.instance)?.[0]?.jws;
    expect(receipt).toBeUndefined();
    for (const [name, forged] of Object.entries(confused(session, 'ccc-session+jwt', broker.identity.signing.publicKey))) {
      expect(await send(forged, await counter.pop(body, forged)), name).toBe('SESSION_INVALID');
    }
    for (const [name, forged] of Object.entries(confused(await counter.pop(body, session), 'ccc-pop+jws', counter.signing.publicKey))) {
      expect(await send(session, forged), name).toBe('POP_INVALID');
    }
    // The payload of a session, signed by the counter's own attested key instead of the broker's.
    const own = await signJws('ccc-session+jwt', payloadOf(session), counter.signing.privateKey);
    expect(await send(own, await counter.pop(body, own))).toBe('SESSION_INVALID');
  });

  it('and the session itself, as it is, still works for its counter', async () => {
    const counter = await makeCounter(world);
    const { session } = await counter.attest(broker.origin);
    expect(await send(session, await counter.pop(body, session))).toBeUndefined();
  });
});

describe('whoever reaches the port', () => {
  it('fills no more than the challenges that there is room for, and locks nobody out for long', async () => {
    const ask = () => post(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' });
    const counter = await makeCounter(world);
    for (let i = 0; i < 200; i++) expect((await ask()).status).toBe(200);
    await expect(counter.attest(broker.origin)).resolves.toBeDefined();
  });

  it('gets nothing of a broker\'s evidence changed to be a counter\'s, nor the reverse', async () => {
    const { body } = await post<{ evidence: object; binding: Record<string, unknown> }>(broker.origin, '/v1/evidence', { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'gateway' });
    const challenge = (await post<{ challenge_id: string }>(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body;
    const claimed = { evidence: body.evidence, binding: { ...body.binding, role: 'counter', challenge_id: challenge.challenge_id } };
    expect((await post(broker.origin, '/v1/attest', claimed)).body.code).toBe('NONCE_MISMATCH');
    const again = (await post<{ challenge_id: string; nonce: string; audience: string }>(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body;
    const vouched = (await post<{ evidence: object; binding: Record<string, unknown> }>(broker.origin, '/v1/evidence', { challenge_id: again.challenge_id, nonce: again.nonce, audience: again.audience })).body;
    expect(fromB64u(again.nonce)).toHaveLength(32);
    const { status, body: answer } = await post(broker.origin, '/v1/attest', { evidence: vouched.evidence, binding: vouched.binding });
    expect([status, answer.code]).toEqual([422, 'BINDING_ROLE']);
    const third = (await post<{ challenge_id: string; nonce: string; audience: string }>(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body;
    const relabelled = (await post<{ evidence: object; binding: Record<string, unknown> }>(broker.origin, '/v1/evidence', { challenge_id: third.challenge_id, nonce: third.nonce, audience: third.audience })).body;
    expect((await post(broker.origin, '/v1/attest', { evidence: relabelled.evidence, binding: { ...relabelled.binding, role: 'counter' } })).body.code).toBe('BINDING_MISMATCH');
  });
});
