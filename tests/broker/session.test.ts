import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { b64u, utf8 } from '../../attestation/bytes.ts';
import type { Collateral } from '../../attestation/collateral/collateral.ts';
import { verifyAttested } from '../../workloads/protocol/appraised.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { RELEASE_PATH } from '../../workloads/protocol/messages.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { type Answer, makeCounter, newJobId, OTHER_REGISTERS, post, type RunningBroker, World } from './world.ts';

let world: World;
let broker: RunningBroker;
let counter: Awaited<ReturnType<typeof makeCounter>>;
beforeEach(async () => {
  world = await World.create();
  broker = await world.startBroker();
  counter = await makeCounter(world);
});
afterEach(() => world.close());

const attest = (body: object): Promise<Answer> => post(broker.origin, '/v1/attest', body);
/** A release of nothing that exists: 200 when the session holds. */
const items = () => [{ tenant_id: 'acme', job_id: newJobId(), header: b64u(new Uint8Array(300)) }];
const codes = ({ body }: Answer) => body.reasons?.map((reason) => reason.code) ?? [body.code];

describe('challenges (D49)', () => {
  it('of two concurrent redeems exactly one wins', async () => {
    const answer = await counter.answer(await counter.challenge(broker.origin));
    const both = await Promise.all([attest(answer), attest(answer), attest(answer)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    expect(both.filter(({ status }) => status === 409).map(({ body }) => body.code)).toEqual(['CHALLENGE_USED', 'CHALLENGE_USED']);
    expect(broker.broker.sessions.size).toBe(1);
  });

  it('is spent by a failed attempt', async () => {
    const challenge = await counter.challenge(broker.origin);
    expect((await attest(await counter.answer(challenge, { nonce: new Uint8Array(32) }))).body.code).toBe('NONCE_MISMATCH');
    expect((await attest(await counter.answer(challenge))).body.code).toBe('CHALLENGE_USED');
  });

  it('lasts two minutes and not a millisecond more', async () => {
    const [one, two] = [await counter.challenge(broker.origin), await counter.challenge(broker.origin)];
    world.time += 119_999;
    expect((await attest(await counter.answer(one))).status).toBe(200);
    world.time += 1;
    expect((await attest(await counter.answer(two))).body.code).toBe('CHALLENGE_EXPIRED');
  });

  it('of another instance is unknown; an answer for another audience is refused', async () => {
    const other = await world.startBroker();
    const answer = await counter.answer(await counter.challenge(other.origin));
    expect((await attest(answer)).body.code).toBe('CHALLENGE_UNKNOWN');
    expect(codes(await attest(await counter.answer(await counter.challenge(broker.origin), { audience: other.identity.instance })))).toEqual(['BINDING_AUDIENCE']);
  });

  it('a restart voids challenges and sessions', async () => {
    const challenge = await counter.challenge(broker.origin);
    const { session } = await counter.attest(broker.origin);
    await broker.stop();
    broker = await world.startBroker();
    expect((await attest(await counter.answer(challenge))).body.code).toBe('CHALLENGE_UNKNOWN');
    expect((await counter.release(broker.origin, session, items())).body.code).toBe('SESSION_INVALID');
  });
});

describe('evidence', () => {
  it('of a broker for a challenge of a counter, and the reverse', async () => {
    expect(codes(await attest(await counter.answer(await counter.challenge(broker.origin), { role: 'broker' })))).toEqual(['BINDING_ROLE']);
    expect(codes(await attest(await counter.answer(await counter.challenge(broker.origin, 'broker'), { role: 'counter' })))).toEqual(['BINDING_ROLE']);
  });

  it('of a counter that claims to be a broker in the plain field only', async () => {
    const answer = await counter.answer(await counter.challenge(broker.origin, 'broker'), { role: 'counter' });
    expect((await attest({ ...answer, binding: { ...answer.binding, role: 'broker' } })).body.code).toBe('BINDING_MISMATCH');
  });

  it('of other code', async () => {
    const changed = await makeCounter(world, OTHER_REGISTERS);
    expect(codes(await attest(await changed.answer(await changed.challenge(broker.origin))))).toEqual(['MEASUREMENT_MISMATCH']);
  });

  it('with a key swapped in beside it (D51)', async () => {
    const answer = await counter.answer(await counter.challenge(broker.origin));
    const other = await makeCounter(world);
    const swapped = await attest({ ...answer, binding: { ...answer.binding, receiving_key: b64u(other.receiving.publicKey) } });
    expect(swapped.body.code).toBe('BINDING_MISMATCH');
  });

  it.each([
    ['cell', 'other', 'BINDING_CELL'], ['policyDigest', new Uint8Array(32), 'BINDING_POLICY'], ['configDigest', new Uint8Array(32), 'BINDING_CONFIG'], ['payloadDigest', new Uint8Array(32).fill(1), 'BINDING_PAYLOAD'],
  ])('of another %s', async (field, value, code) => {
    expect(codes(await attest(await counter.answer(await counter.challenge(broker.origin), { [field]: value })))).toEqual([code]);
  });
});

describe('proof of possession (D50)', () => {
  it('by another key, for another path, over another body, twice', async () => {
    const { session } = await counter.attest(broker.origin);
    const body = JSON.stringify({ items: items() });
    const send = (pop: string, of = body) => post(broker.origin, '/v1/release', of, { 'ccc-session': session, 'ccc-pop': pop });
    const other = await generateSigningKey();
    expect((await send(await counter.pop(body, session, { key: other.privateKey }))).body.code).toBe('POP_INVALID');
    expect((await send(await counter.pop(body, session, { path: '/internal/v1/lease' }))).body.code).toBe('POP_INVALID');
    expect((await send(await counter.pop(body, session), JSON.stringify({ items: items() }))).body.code).toBe('POP_INVALID');
    const good = await counter.pop(body, session);
    expect((await send(good)).status).toBe(200);
    expect((await send(good)).body.code).toBe('POP_REPLAYED');
  });

  it('with another counter\'s session, without one, with an old one', async () => {
    const body = JSON.stringify({ items: items() });
    const { session } = await counter.attest(broker.origin);
    const other = await makeCounter(world);
    const mine = await makePop({ key: other.signing.privateKey, method: 'POST', path: RELEASE_PATH, body: utf8(body), session, now: Math.floor(world.time / 1000) });
    expect((await post(broker.origin, '/v1/release', body, { 'ccc-session': session, 'ccc-pop': mine })).body.code).toBe('POP_INVALID');
    expect((await post(broker.origin, '/v1/release', body, { 'ccc-pop': mine })).body.code).toBe('SESSION_INVALID');
    expect((await post(broker.origin, '/v1/release', body, { 'ccc-session': session })).body.code).toBe('POP_INVALID');
    world.time += 599_999;
    expect((await counter.release(broker.origin, session, items())).status).toBe(200);
    world.time += 1;
    expect((await counter.release(broker.origin, session, items())).body.code).toBe('SESSION_EXPIRED');
  });

  it('a session that somebody else signed', async () => {
    const { session } = await counter.attest(broker.origin);
    const payload = JSON.parse(Buffer.from(session.split('.')[1] as string, 'base64url').toString()) as object;
    const forged = await signJws('ccc-session+jwt', payload, (await generateSigningKey()).privateKey);
    expect((await counter.release(broker.origin, forged, items())).body.code).toBe('SESSION_INVALID');
  });

  it('a session of role broker gets no key', async () => {
    await world.setPolicy({ revision: 2, roles: { ...world.policy.roles, broker: { ...world.policy.roles.broker, references: world.policy.roles.counter.references } } });
    await broker.broker.policy.refresh();
    const { status, body } = await attest(await counter.answer(await counter.challenge(broker.origin, 'broker'), { role: 'broker' }));
    expect(status).toBe(200);
    expect((await counter.release(broker.origin, body['session'] as string, items())).body.code).toBe('SESSION_ROLE');
  });
});

describe('policy', () => {
  it('a new revision ends all sessions', async () => {
    const { session } = await counter.attest(broker.origin);
    expect((await counter.release(broker.origin, session, items())).status).toBe(200);
    await world.setPolicy({ revision: 2 });
    await broker.broker.policy.refresh();
    expect((await counter.release(broker.origin, session, items())).body.code).toBe('SESSION_EXPIRED');
    const again = await counter.attest(broker.origin);
    expect((await counter.release(broker.origin, again.session, items())).status).toBe(200);
  });

  it('a gateway that changed the policy a moment ago gets evidence under the new one', async () => {
    const asked = { challenge_id: b64u(new Uint8Array(16)), nonce: b64u(new Uint8Array(32)), audience: 'gateway' };
    const digest = async () => (await post<{ binding: { policy_digest: string } }>(broker.origin, '/v1/evidence', asked)).body.binding.policy_digest;
    const before = await digest();
    await world.setPolicy({ revision: 2 });
    expect(await digest()).not.toBe(before);
    expect((await counter.challenge(broker.origin)).policy_digest).toBe(await digest());
  });

  it('a challenge of the revision before is refused', async () => {
    const challenge = await counter.challenge(broker.origin);
    await world.setPolicy({ revision: 2 });
    await broker.broker.policy.refresh();
    expect(codes(await attest(await counter.answer(challenge)))).toEqual(['BINDING_POLICY']);
  });

  it('a lower revision, another document under the same one, another signer: what was in force stays', async () => {
    await world.setPolicy({ revision: 5 });
    await broker.broker.policy.refresh();
    const digest = (await counter.challenge(broker.origin)).policy_digest;
    const stranger = await generateSigningKey();
    for (const [change, key] of [[{ revision: 4 }, world.owner], [{ revision: 5, deployment: 'changed' }, world.owner], [{ revision: 6 }, stranger]] as const) {
      await world.setPolicy(change, key);
      await broker.broker.policy.refresh();
      expect((await counter.challenge(broker.origin)).policy_digest).toBe(digest);
    }
  });

  it('expired: everything is refused', async () => {
    const { session } = await counter.attest(broker.origin);
    await world.setPolicy({ revision: 2, notAfter: Math.floor(world.time / 1000) + 60 });
    await broker.broker.policy.refresh();
    world.time += 61_000;
    expect((await counter.release(broker.origin, session, items())).body.code).toBe('POLICY_EXPIRED');
    expect((await post(broker.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body.code).toBe('POLICY_EXPIRED');
  });
});

describe('collateral', () => {
  it('of whoever started the broker is what the verifier gets', async () => {
    const seen: unknown[] = [];
    const collateral: Collateral = { get: () => undefined };
    broker = await world.startBroker({ collateral, verify: (given) => { seen.push(given.collateral); return verifyAttested(given); } });
    expect((await attest(await counter.answer(await counter.challenge(broker.origin)))).body).toHaveProperty('session');
    expect(seen).toEqual([collateral]);
    expect(seen[0]).toBe(collateral);
  });
});

describe('fail closed (D52)', () => {
  const answered = async (more: Parameters<World['startBroker']>[0]) => {
    broker = await world.startBroker(more);
    const { status, body } = await attest(await counter.answer(await counter.challenge(broker.origin)));
    expect(body).not.toHaveProperty('session');
    expect(broker.broker.sessions.size).toBe(0);
    return { status, code: body.code, text: JSON.stringify(body) };
  };

  it('the verifier throws', async () => {
    const { status, code, text } = await answered({ verify: () => { throw new Error('secret detail'); } });
    expect([status, code]).toEqual([500, 'INTERNAL']);
    expect(text + world.lines.join('')).not.toContain('secret detail');
  });

  it('the verifier never answers', async () => {
    expect((await answered({ verify: () => new Promise(() => {}), verifyMs: 20 })).code).toBe('INTERNAL');
  });

  it('the verifier answers nonsense', async () => {
    expect((await answered({ verify: () => Promise.resolve(undefined as never) })).code).toBe('INTERNAL');
    expect((await answered({ verify: () => Promise.resolve({ status: 'none', claims: {} } as never) })).code).toBe('APPRAISAL_STATUS');
  });

  it('no policy from the start, or none that could be confirmed for five minutes', async () => {
    const { session } = await counter.attest(broker.origin);
    const challenge = await counter.challenge(broker.origin);
    const answer = await counter.answer(challenge);
    world.gateway.down.add('GET /policy');
    world.time += 60_000;
    expect((await counter.release(broker.origin, session, items())).status).toBe(200);
    world.time += 240_000;
    expect((await counter.release(broker.origin, session, items())).body.code).toBe('POLICY_MISSING');
    expect((await attest(answer)).status).not.toBe(200);
    const fresh = await world.startBroker();
    expect((await post(fresh.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body.code).toBe('POLICY_MISSING');
    expect((await fetch(`${fresh.origin}/v1/health`)).status).toBe(503);
    world.gateway.down.clear();
    expect((await fetch(`${fresh.origin}/v1/health`)).status).toBe(200);
  });

  it('a policy that is not the owner\'s, from the start', async () => {
    await world.setPolicy({}, await generateSigningKey());
    const fresh = await world.startBroker();
    expect((await post(fresh.origin, '/v1/challenge', { role: 'counter', platform: 'aws-nitro' })).body.code).toBe('POLICY_SIGNATURE');
  });
});
