import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromB64u } from '../../attestation/bytes.ts';
import { trustFromPolicy, type VerifyAttested, verifyAttested } from '../../workloads/protocol/appraised.ts';
import { fromBinding, fromEvidence, toBinding, toEvidence } from '../../workloads/protocol/evidence.ts';
import type { Attested } from '../../workloads/protocol/messages.ts';
import { createFixture, type Fixture, NOW } from '../client/fixture.ts';
import { codesOf } from './refusals.ts';

let f: Fixture;
let attested: Attested;
beforeAll(async () => {
  f = await createFixture();
  attested = await f.attest(f.counter);
});
afterAll(() => f.dispose());

const verify = (expect: object = {}, more: Partial<VerifyAttested> = {}) =>
  verifyAttested({ attested, policy: f.policy, now: NOW, mode: 'live', expect: { ...toBinding(attested.binding), ...expect }, ...more } as VerifyAttested);

describe('attested', () => {
  it('is appraised, live and as a replay', async () => {
    const live = await verify();
    expect([live.status, live.claims.time.freshness]).toEqual(['warning', 'challenge']);
    const { role, cell, policyDigest, payloadDigest, configDigest } = toBinding(attested.binding);
    const replay = await verifyAttested({ attested, policy: f.policy, now: NOW + 1e8, mode: 'replay', expect: { role, cell, policyDigest, payloadDigest, configDigest } });
    expect([replay.status, replay.claims.time.freshness, replay.claims.time.evidenceAt]).toEqual(['warning', 'none', live.claims.time.evidenceAt]);
  });

  it.each([
    ['role', 'broker', 'BINDING_ROLE'], ['cell', 'south', 'BINDING_CELL'], ['challengeId', new Uint8Array(16), 'BINDING_CHALLENGE'], ['nonce', new Uint8Array(32), 'NONCE_MISMATCH'],
    ['audience', 'broker-2', 'BINDING_AUDIENCE'], ['policyDigest', new Uint8Array(32), 'BINDING_POLICY'], ['payloadDigest', new Uint8Array(32).fill(1), 'BINDING_PAYLOAD'], ['configDigest', new Uint8Array(32), 'BINDING_CONFIG'],
  ])('is refused for another %s', async (field, value, code) => {
    expect(await codesOf(() => verify({ [field]: value }))).toEqual([code]);
  });

  it('is refused with all reasons at once', async () => {
    expect(await codesOf(() => verify({ cell: 'south', audience: 'x', nonce: new Uint8Array(32) }))).toEqual(['BINDING_CELL', 'NONCE_MISMATCH', 'BINDING_AUDIENCE']);
  });

  it('is refused when the fields beside the evidence were changed to fit', async () => {
    const binding = { ...attested.binding, cell: 'south' };
    expect(await codesOf(() => verify({ cell: 'south' }, { attested: { ...attested, binding } }))).toEqual(['BINDING_MISMATCH']);
    // The receiving key is in no plain comparison: only the transcript holds it.
    const receiving = { ...attested.binding, receiving_key: f.tenantKey.public };
    expect(await codesOf(() => verify({}, { attested: { ...attested, binding: receiving } }))).toEqual(['BINDING_MISMATCH']);
  });

  it('is refused on a platform that the policy has no reference for', async () => {
    const policy = { ...f.policy, roles: { ...f.policy.roles, counter: { ...f.policy.roles.counter, references: [] } } };
    expect(await codesOf(() => verify({}, { policy }))).toEqual(['BINDING_PLATFORM']);
  });

  it('is refused live once it is old', async () => {
    expect(await codesOf(() => verify({}, { now: NOW + 301 }))).toContain('STALE');
  });

  it('keeps its bytes through the wire form', () => {
    expect(fromBinding(toBinding(attested.binding))).toEqual(attested.binding);
    expect(fromEvidence(toEvidence(attested.evidence))).toEqual(attested.evidence);
    expect(toEvidence(attested.evidence).document).toEqual(fromB64u(attested.evidence.document));
  });

  it('trusts the pinned roots, and development roots only as such', () => {
    const { roots } = trustFromPolicy(f.policy, NOW);
    expect(roots.filter((r) => r.anchor === 'development').map((r) => r.certSha256)).toEqual(f.policy.developmentRoots.map((r) => r.certSha256));
    expect(trustFromPolicy({ ...f.policy, developmentRoots: [] }, NOW).roots.every((r) => r.anchor === 'production')).toBe(true);
    // A policy cannot promote a root of its own.
    const sly = [{ ...f.policy.developmentRoots[0]!, anchor: 'production' }];
    expect(trustFromPolicy({ ...f.policy, developmentRoots: sly }, NOW).roots.at(-1)?.anchor).toBe('development');
  });
});
