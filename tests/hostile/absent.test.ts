/** What is missing never passes: expectations, keys, memories; and what is too much is cut. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireAcceptable } from '../../attestation/appraise.ts';
import { adapterFor } from '../../attestation/registry.ts';
import { guardEgress } from '../../workloads/counter/egress.ts';
import { type VerifyAttested, trustFromPolicy, verifyAttested } from '../../workloads/protocol/appraised.ts';
import { toBinding, toEvidence } from '../../workloads/protocol/evidence.ts';
import { MAX_FRAMES, parseMessage } from '../../workloads/protocol/message.ts';
import type { Attested } from '../../workloads/protocol/messages.ts';
import { JtiStore } from '../../workloads/protocol/pop.ts';
import { createFixture, type Fixture, NOW } from '../client/fixture.ts';
import { codesOf } from '../protocol/refusals.ts';
import { stockMessage } from '../protocol/samples.ts';

let f: Fixture;
let attested: Attested;
beforeAll(async () => {
  f = await createFixture();
  attested = await f.attest(f.counter);
});
afterAll(() => f.dispose());

const verify = (mode: 'live' | 'replay', changed: object) =>
  codesOf(() => verifyAttested({ attested, policy: f.policy, now: NOW, mode, expect: { ...toBinding(attested.binding), ...changed } } as VerifyAttested));

describe('an expectation that is undefined', () => {
  const all = [['cell', 'BINDING_CELL'], ['policyDigest', 'BINDING_POLICY'], ['payloadDigest', 'BINDING_PAYLOAD'], ['configDigest', 'BINDING_CONFIG']] as const;
  it.each([...all, ['nonce', 'NONCE_MISMATCH'], ['challengeId', 'BINDING_CHALLENGE'], ['audience', 'BINDING_AUDIENCE']] as const)('live, %s', async (field, code) => {
    expect(await verify('live', { [field]: undefined })).toEqual([code]);
  });
  it.each(all)('of a replay, %s', async (field, code) => {
    expect(await verify('replay', { [field]: undefined })).toEqual([code]);
  });
  it('is allowed for what the challenger chose, of stored evidence only', async () => {
    const { role, cell, policyDigest, payloadDigest, configDigest } = toBinding(attested.binding);
    await expect(verifyAttested({ attested, policy: f.policy, now: NOW, mode: 'replay', expect: { role, cell, policyDigest, payloadDigest, configDigest } })).resolves.toBeDefined();
  });
});

describe('limits that are no numbers', () => {
  const evidence = () => toEvidence(attested.evidence);
  const expectation = (more: object = {}) => ({ platform: 'aws-nitro' as const, binding: toBinding(attested.binding), maxAgeSeconds: 300, ...more });
  const adapter = adapterFor('aws-nitro');
  it.each([['no age', { maxAgeSeconds: undefined }], ['NaN', { maxAgeSeconds: Number.NaN }], ['a text', { maxAgeSeconds: 'x' }]])('%s', async (_, more) => {
    expect(await codesOf(() => adapter.verify(evidence(), expectation(more) as never, trustFromPolicy(f.policy, NOW)))).toEqual(['STALE']);
  });
  it.each([[Number.NaN], [undefined], ['x']])('a clock that says %s', async (now) => {
    expect((await codesOf(() => adapter.verify(evidence(), expectation(), trustFromPolicy(f.policy, now as never)))).length).toBeGreaterThan(3);
  });
  it('no roots, an empty chain of trust', async () => {
    expect(await codesOf(() => adapter.verify(evidence(), expectation(), { ...trustFromPolicy(f.policy, NOW), roots: [] }))).toContain('CHAIN_ROOT_UNPINNED');
  });
  it('an appraisal without rules, of no status', async () => {
    expect(await codesOf(() => requireAcceptable({ status: 'none', rules: [] } as never))).toEqual(['APPRAISAL_STATUS']);
  });
});

describe('bounded', () => {
  it('frames of one message: each costs a decryption', async () => {
    const of = async (frames: number) => stockMessage(new Uint8Array(frames - 1).fill(1), { frameLength: 1 });
    expect(parseMessage(await of(MAX_FRAMES)).frameLength).toBe(1);
    const message = await of(MAX_FRAMES + 1);
    expect(await codesOf(() => parseMessage(message))).toEqual(['MESSAGE_FORMAT']);
  });

  it('proofs that are remembered: full means refused, never forgotten', () => {
    const seen = new JtiStore(3);
    for (const jti of ['a', 'b', 'c']) expect(seen.use(jti, 100, 0)).toBe(true);
    expect([seen.use('d', 100, 0), seen.use('a', 100, 0), seen.size]).toEqual([false, false, 3]);
  });
});

it('a tenant without a rule gets nothing out, whatever was counted', () => {
  const result = { count: 1, method: 'm', model: f.policy.detectors[0] };
  expect(() => guardEgress(result, { ...f.policy, tenants: [] }, 'acme')).toThrow('EGRESS_RULE');
  expect(() => guardEgress({ ...result, pixels: 'AAAA' }, f.policy, 'acme')).toThrow('EGRESS_SCHEMA');
  expect(() => guardEgress(JSON.parse('{"__proto__":{"x":1},"count":1,"method":"m"}'), f.policy, 'acme')).toThrow('EGRESS_SCHEMA');
  expect(() => guardEgress({ ...result, model: { ...result.model, digest: '00'.repeat(32) } }, f.policy, 'acme')).toThrow('EGRESS_MODEL');
});
