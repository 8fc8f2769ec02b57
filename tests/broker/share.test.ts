/** Tenant keys from one cell's broker to another's: given to whom the owner lists, refused to everybody else, believed only from a broker that proves itself. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { b64u, fromB64u, hex, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { createIdentity, type Identity } from '../../workloads/broker/identity.ts';
import type { PeerKeys } from '../../workloads/broker/peer-keys.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import type { Session, TenantKey } from '../../workloads/protocol/messages.ts';
import { type CellDirectory, DIRECTORY_TYPE } from '../../workloads/protocol/owner.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { type KeyWants, SHARE_PATH, type SharePayload, sharePayloadSchema, type ShareResponse } from '../../workloads/protocol/sharing.ts';
import { OTHER_REGISTERS, post, REGISTERS, type RunningBroker, World } from './world.ts';

const CELLS = ['test', 'other', 'third'] as const;
let giving: World;
let taking: World;
let giver: RunningBroker;
let keys: TenantKey[];
let requester: Identity;
const otherConfig = randomBytes(32);
let directory: CellDirectory;

async function signDirectory(change: Partial<CellDirectory> = {}): Promise<void> {
  directory = { ...directory, revision: directory.revision + 1, ...change };
  const jws = await signJws(DIRECTORY_TYPE, directory, giving.owner.privateKey);
  for (const world of [giving, taking]) world.gateway.routes.set('GET /directory', async () => ({ directory: jws }));
  giving.time += 3_000;
}

beforeAll(async () => {
  [giving, taking] = await Promise.all([World.create(), World.create()]);
  const made = await Promise.all(CELLS.map(async () => b64u((await generateSigningKey()).publicKey)));
  directory = {
    revision: 1, notAfter: 1_900_000_000 + 86_400, deployment: 'test', leaseSeconds: 10, clockBoundSeconds: 1,
    cells: await Promise.all(CELLS.map(async (name, i) => ({
      name, cloud: 'local' as const, region: 'test-1', url: `http://${name}.example`, configDigest: hex(name === 'test' ? giving.configDigest : otherConfig), epoch: 1,
      key: made[i] as string, observer: { url: `http://${name}.example`, key: b64u((await generateSigningKey()).publicKey) },
    }))),
    tenants: [{ tenant: '*', order: ['test', 'other'], tier: 'async' }],
  };
  await giving.setPolicy({ directoryRevision: 1 });
  await signDirectory();
  giver = await giving.startBroker();
  keys = await giving.seedKeys(giver);
  requester = await createIdentity();
}, 60_000);
afterAll(async () => { await giving?.close(); await taking?.close(); });

interface As { readonly cell?: string; readonly role?: 'broker' | 'counter'; readonly registers?: typeof OTHER_REGISTERS; readonly config?: Uint8Array<ArrayBuffer>; readonly asked?: 'broker' | 'counter' }

/** Attests to the giver as a broker of another cell, or as whatever else a test wants. */
async function attest({ cell = 'other', role = 'broker', registers = REGISTERS.broker, config = otherConfig, asked = role }: As = {}) {
  const challenge = (await post<{ challenge_id: string; nonce: string; audience: string; policy_digest: string }>(giver.origin, '/v1/challenge', { role: asked, platform: 'aws-nitro' })).body;
  const binding = {
    platform: 'aws-nitro' as const, role, cell, challengeId: fromB64u(challenge.challenge_id), nonce: fromB64u(challenge.nonce), audience: challenge.audience, receivingKey: requester.receiving.publicKey,
    signingKey: requester.signing.publicKey, tlsSpkiSha256: new Uint8Array(0), policyDigest: fromB64u(challenge.policy_digest), configDigest: config, payloadDigest: new Uint8Array(32),
  };
  const attested = { evidence: fromEvidence(await (await giving.attester('broker', registers)).attest({ binding })), binding: fromBinding(binding) };
  return { attested, ...await post<Session>(giver.origin, '/v1/attest', attested) };
}

async function ask(session: string, tenants: { tenant_id: string; have: string[] }[] = [{ tenant_id: 'acme', have: [] }], headers: Record<string, string> = {}) {
  const body = JSON.stringify({ challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: requester.instance, tenants });
  const pop = await makePop({ key: requester.signing.privateKey, method: 'POST', path: SHARE_PATH, body: utf8(body), session, now: Math.floor(giving.time / 1000) });
  const sent = { 'ccc-session': session, 'ccc-pop': pop, ...headers };
  const answer = await post<ShareResponse>(giver.origin, '/v1/share-keys', body, sent);
  const payload: SharePayload | undefined = answer.status === 200 ? sharePayloadSchema.parse(JSON.parse(Buffer.from(fromB64u(answer.body.payload)).toString())) : undefined;
  return { ...answer, payload, again: () => post(giver.origin, '/v1/share-keys', body, sent) };
}
const codeOf = (payload: SharePayload | undefined, i = 0): string => { const item = payload?.items[i]; return item === undefined || item.ok ? 'ok' : item.problem.code; };
const receipts = () => giving.gateway.stored(giver.identity.instance);

describe('a broker of a listed cell', () => {
  it('is given every key, sealed, with a receipt for each before it leaves', async () => {
    const { body: { session } } = await attest();
    const { payload } = await ask(session);
    expect(payload).toMatchObject({ from: 'test', to: 'other', items: [{ tenant_id: 'acme', ok: true }] });
    const item = payload?.items[0];
    expect(item?.ok === true && item.keys.map(({ id }) => id).sort()).toEqual(keys.map(({ id }) => id).sort());
    expect(receipts().slice(-keys.length)).toMatchObject(keys.map(() => ({ operation: 'key-shared', peer: 'other', tenant_id: 'acme', origin: 'asserted' })));
  });

  it('is not sent again what it has', async () => {
    const { body: { session } } = await attest();
    const { payload } = await ask(session, [{ tenant_id: 'acme', have: keys.map(({ id }) => id) }]);
    expect(payload?.items[0]).toEqual({ tenant_id: 'acme', ok: true, keys: [], receipts: [] });
  });

  it('gets nothing when the receipts cannot be stored', async () => {
    const { body: { session } } = await attest();
    giving.gateway.down.add('POST /receipts');
    const { payload } = await ask(session);
    giving.gateway.reset();
    expect(codeOf(payload)).toBe('RECEIPT_NOT_STORED');
  });
});

describe('refused', () => {
  it.each<[string, As, string]>([
    ['a cell that the owner does not list', { cell: 'elsewhere' }, 'DIRECTORY_CELL'],
    ['another measurement', { registers: OTHER_REGISTERS }, 'MEASUREMENT_MISMATCH'],
    ['another configuration than the owner lists for the cell', { config: randomBytes(32) }, 'BINDING_CONFIG'],
    ['evidence of a counter for a broker\'s challenge', { role: 'counter', asked: 'broker' }, 'BINDING_ROLE'],
    ['a counter of another cell', { role: 'counter', registers: REGISTERS.counter }, 'BINDING_CELL'],
  ])('%s', async (_, as, code) => {
    const { status, body } = await attest(as);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.reasons?.map((reason) => reason.code) ?? [body.code]).toContain(code);
  });

  it('nobody without a session, and a counter\'s session', async () => {
    expect((await post(giver.origin, '/v1/share-keys', { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'x', tenants: [{ tenant_id: 'acme', have: [] }] })).body.code).toBe('SESSION_INVALID');
    const { body: { session } } = await attest({ role: 'counter', registers: REGISTERS.counter, cell: 'test', config: giving.configDigest });
    expect((await ask(session)).body.code).toBe('SESSION_ROLE');
  });

  it('the same request twice, the same evidence twice', async () => {
    const { attested, body: { session } } = await attest();
    expect((await (await ask(session)).again()).body.code).toBe('POP_REPLAYED');
    expect((await post(giver.origin, '/v1/attest', attested)).body.code).toBe('CHALLENGE_USED');
  });

  it('a cell that may not have the tenant, with a receipt of the refusal', async () => {
    const { body: { session } } = await attest({ cell: 'third' });
    expect(codeOf((await ask(session)).payload)).toBe('EPOCH_CELL');
    expect(receipts().at(-1)).toMatchObject({ operation: 'refused', peer: 'third', code: 'EPOCH_CELL' });
  });

  it('a session of before a new policy', async () => {
    const { body: { session } } = await attest();
    await giving.setPolicy({ revision: giving.policy.revision + 1 });
    await giver.broker.policy.refresh();
    expect((await ask(session)).body.code).toBe('SESSION_EXPIRED');
  });

  it('a place outside the key\'s zone', async () => {
    const before = giving.policy.zones;
    await giving.setPolicy({ revision: giving.policy.revision + 1, zones: before.map((zone) => (zone.name === 'here' ? { ...zone, regions: ['mars-1'] } : zone)) });
    await giver.broker.policy.refresh();
    const { body: { session } } = await attest();
    expect(codeOf((await ask(session)).payload)).toBe('CLOUD_ORIGIN');
    await giving.setPolicy({ revision: giving.policy.revision + 1, zones: before });
    await giver.broker.policy.refresh();
  });
});

describe('the broker that asks', () => {
  let wants: KeyWants['wants'];
  let change: (answer: ShareResponse) => ShareResponse | Promise<ShareResponse>;
  let taker: RunningBroker;

  beforeEach(async () => {
    wants = [{ tenant_id: 'acme', have: [], from: ['test'] }];
    change = (answer) => answer;
    taking.gateway.keys.length = 0;
    taking.gateway.policy = giving.gateway.policy;
    taking.time = giving.time;
    const pass = async <T>(path: string, body: object, headers: Record<string, string> = {}): Promise<T> => {
      const answer = await post(giver.origin, path, body, headers);
      if (answer.status !== 200) throw new Error(answer.body.code);
      return answer.body as T;
    };
    const identity = { current: undefined as Identity | undefined };
    const peers: PeerKeys = {
      keyWants: async () => ({ wants }),
      challenge: async (_, platform) => pass('/v1/challenge', { role: 'broker', platform }),
      attest: async (_, attested) => pass('/v1/attest', attested),
      async share(_, body, session) {
        const pop = await makePop({ key: (identity.current as Identity).signing.privateKey, method: 'POST', path: SHARE_PATH, body: utf8(JSON.stringify(body)), session, now: Math.floor(giving.time / 1000) });
        return change(await pass<ShareResponse>('/v1/share-keys', body, { 'ccc-session': session, 'ccc-pop': pop }));
      },
    };
    taker = await taking.startBroker({
      cell: { ...taking.cell, cell: 'other', ownerKey: b64u(giving.owner.publicKey) }, configDigest: otherConfig, attester: await giving.attester('broker'), peers,
    });
    identity.current = taker.identity;
  });

  it('keeps the keys under its own sealer, with receipts, and works with them', async () => {
    expect(await taker.broker.receiver?.round()).toBeGreaterThan(0);
    expect(taking.gateway.keys.map(({ id, cell }) => ({ id, cell })).sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(keys.map(({ id }) => ({ id, cell: 'other' })).sort((a, b) => (a.id < b.id ? -1 : 1)));
    expect(taking.gateway.stored(taker.identity.instance)).toMatchObject(keys.map(() => ({ operation: 'key-shared', peer: 'test', tenant_id: 'acme' })));
    for (const row of taking.gateway.keys) expect(giving.gateway.keys.find(({ id }) => id === row.id)?.public).toBe(row.public);
    // Opened from what was stored: the same public halves as those that were born elsewhere.
    const again = await post<{ keys: TenantKey[] }>(taker.origin, '/v1/tenant-keys', { tenant_id: 'acme', zone: 'here' });
    expect(again.body.keys.map((key) => key.public).sort()).toEqual(keys.map((key) => key.public).sort());
  });

  it('asked again, it stores nothing twice', async () => {
    await taker.broker.receiver?.round();
    const rows = structuredClone(taking.gateway.keys);
    await taker.broker.receiver?.round();
    expect(taking.gateway.keys).toEqual(rows);
  });

  it.each<[string, (answer: ShareResponse) => ShareResponse | Promise<ShareResponse>]>([
    ['keys that were changed on the way', (answer) => {
      const payload = JSON.parse(Buffer.from(fromB64u(answer.payload)).toString()) as SharePayload;
      return { ...answer, payload: b64u(utf8(JSON.stringify({ ...payload, items: payload.items.map((item) => ({ ...item, tenant_id: 'globex' })) }))) };
    }],
    ['evidence of an earlier answer', (() => {
      let first: ShareResponse | undefined;
      return (answer: ShareResponse) => { first ??= answer; return first === answer ? { ...answer, binding: { ...answer.binding, nonce: b64u(randomBytes(32)) } } : first; };
    })()],
    ['keys of somebody who is no broker of that cell', async (answer) => {
      const payload = fromB64u(answer.payload);
      const binding = { ...answer.binding, payload_digest: b64u(await sha256(payload)) };
      const evil = await (await giving.attester('broker', OTHER_REGISTERS)).attest({ binding: { ...(await import('../../workloads/protocol/evidence.ts')).toBinding(binding) } });
      return { ...answer, binding, evidence: fromEvidence(evil) };
    }],
  ])('does not believe %s', async (_, tamper) => {
    change = tamper;
    await taker.broker.receiver?.round();
    expect(taking.gateway.keys).toEqual([]);
    expect(taking.lines.join('\n')).toContain('keys-not-received');
  });
});
