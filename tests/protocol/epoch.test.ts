/** Promises, grants and leases: for each refusal one input in which only that check fails. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { b64u } from '../../attestation/bytes.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { EpochJudge } from '../../workloads/protocol/epoch-judge.ts';
import { type EpochGrant, type EpochPromise, type EpochRules, epochRules, findLease, leaseOf, PROMISE_TYPE, signGrant, signPromise, verifyLease, verifyPromise } from '../../workloads/protocol/epoch.ts';
import { generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type CellDirectory, DIRECTORY_TYPE, directorySchema, type OwnerPolicy, policySchema } from '../../workloads/protocol/owner.ts';

const NOW = 1_900_000_000;
const CELLS = ['aws', 'azure', 'gcp'] as const;
let keys: Record<string, SigningKey>;
let owner: SigningKey;
let directory: CellDirectory;
let rules: EpochRules;
beforeAll(async () => {
  owner = await generateSigningKey();
  keys = Object.fromEntries(await Promise.all(CELLS.map(async (cell) => [cell, await generateSigningKey()] as const)));
  directory = directorySchema.parse({
    revision: 3, notAfter: NOW + 1_000, deployment: 'test', clockBoundSeconds: 1, leaseSeconds: 10,
    cells: CELLS.map((name) => ({ name, cloud: name === 'gcp' ? 'gcp' : name, region: 'r', url: `https://${name}.example`, configDigest: 'aa'.repeat(32), epoch: 1, key: b64u(keys[name]?.publicKey as Uint8Array), observer: { url: `https://${name}.example:1`, key: b64u(keys[name]?.publicKey as Uint8Array) } })),
    tenants: [{ tenant: '*', order: ['aws', 'azure'], tier: 'async' }, { tenant: 'pinned', order: ['gcp'], tier: 'sync' }],
  });
  rules = epochRules(directory) as EpochRules;
});

const promiseOf = (observer: string, change: Partial<EpochPromise> = {}): EpochPromise => ({ tenant: 'acme', cell: 'aws', epoch: 7, instance: 'i', observer, iat: NOW, exp: NOW + 10, ...change });
const sign = (promise: EpochPromise, by = promise.observer): Promise<string> => signPromise(promise, keys[by]?.privateKey as CryptoKey);
const two = (change: Partial<EpochPromise> = {}): Promise<string[]> => Promise.all(['aws', 'gcp'].map((observer) => sign(promiseOf(observer, change))));
const question = { tenant: 'acme', cell: 'aws', now: NOW * 1000 };
async function code(work: Promise<unknown> | (() => unknown)): Promise<RefusalCode | undefined> {
  try {
    await (typeof work === 'function' ? work() : work);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

describe('a lease', () => {
  it('is two promises of three, and ends one clock bound before the shorter', async () => {
    expect(await verifyLease({ promises: [await sign(promiseOf('aws')), await sign(promiseOf('gcp', { exp: NOW + 8 }))] }, rules, owner.publicKey, question))
      .toEqual({ tenant: 'acme', cell: 'aws', epoch: 7, until: (NOW + 7) * 1000 });
    // The best two count.
    const three = [promiseOf('aws'), promiseOf('gcp', { exp: NOW + 2 }), promiseOf('azure', { exp: NOW + 9 })];
    expect(leaseOf(three, undefined, rules, question).until).toBe((NOW + 8) * 1000);
    // The highest epoch with a majority.
    expect(leaseOf([...three, promiseOf('aws', { epoch: 9 })], undefined, rules, question).epoch).toBe(7);
    expect(leaseOf([...three, promiseOf('aws', { epoch: 9 }), promiseOf('azure', { epoch: 9 })], undefined, rules, question).epoch).toBe(9);
  });

  it.each<[RefusalCode, () => Promise<string[]>, Partial<typeof question>?]>([
    ['EPOCH_ABSENT', async () => []],
    ['EPOCH_QUORUM', async () => [await sign(promiseOf('aws'))]],
    ['EPOCH_QUORUM', async () => [await sign(promiseOf('aws')), await sign(promiseOf('aws', { exp: NOW + 9 }))]],
    ['EPOCH_QUORUM', async () => [await sign(promiseOf('aws')), await sign(promiseOf('gcp', { epoch: 8 }))]],
    ['EPOCH_EXPIRED', () => two({ iat: NOW - 9, exp: NOW + 1 })],
    ['EPOCH_TENANT', () => two({ tenant: 'other' })],
    ['EPOCH_CELL', () => two({ cell: 'azure' })],
    ['EPOCH_CELL', () => two({ cell: 'gcp' }), { cell: 'gcp' }],
    ['EPOCH_LENGTH', () => two({ exp: NOW + 10.5 })],
    ['EPOCH_CLOCK', () => two({ iat: NOW + 1.5, exp: NOW + 10 })],
    ['EPOCH_FORMAT', async () => ['a.b.c']],
    ['EPOCH_FORMAT', () => two({ epoch: 0 })],
    ['EPOCH_FORMAT', () => two({ extra: 1 } as never)],
    ['EPOCH_OBSERVER', async () => [await signJws(PROMISE_TYPE, promiseOf('aws'), owner.privateKey, { kid: 'mars' })]],
    ['EPOCH_OBSERVER', async () => [await signJws(PROMISE_TYPE, promiseOf('aws'), keys['gcp']?.privateKey as CryptoKey, { kid: 'gcp' })]],
    ['EPOCH_SIGNATURE', async () => [await sign(promiseOf('aws'), 'gcp')]],
    ['EPOCH_SIGNATURE', async () => [await signJws('ccc-epoch-grant+jws', promiseOf('aws'), keys['aws']?.privateKey as CryptoKey, { kid: 'aws' })]],
  ])('%s', async (expected, promises, change = {}) => {
    expect(await code(verifyLease({ promises: await promises() }, rules, owner.publicKey, { ...question, ...change }))).toBe(expected);
  });

  it('or the reason why there is none, which is what is refused with; looking throws nothing', async () => {
    const promise = fc.record({
      observer: fc.constantFrom('aws', 'gcp', 'azure'), tenant: fc.constantFrom('acme', 'acme', 'acme', 'other'), cell: fc.constantFrom('aws', 'aws', 'aws', 'gcp'), epoch: fc.constantFrom(7, 8),
      iat: fc.constantFrom(NOW - 9, NOW, NOW + 5), exp: fc.constantFrom(NOW, NOW + 5, NOW + 9),
    }).map((change) => promiseOf(change.observer, change));
    const seen = new Set<string>();
    fc.assert(fc.property(fc.array(promise, { maxLength: 4 }), (promises) => {
      const found = findLease(promises, undefined, rules, question);
      seen.add('code' in found ? found.code : 'lease');
      if (!('code' in found)) expect(leaseOf(promises, undefined, rules, question)).toEqual(found);
      else expect(() => leaseOf(promises, undefined, rules, question)).toThrow(expect.objectContaining({ reasons: [found] }));
    }), { numRuns: 500, seed: 7 });
    expect([...seen].sort()).toEqual(['EPOCH_ABSENT', 'EPOCH_CELL', 'EPOCH_CLOCK', 'EPOCH_EXPIRED', 'EPOCH_LENGTH', 'EPOCH_QUORUM', 'EPOCH_TENANT', 'lease']);
  });

  it('a promise that was altered anywhere is refused', async () => {
    const jws = await sign(promiseOf('aws'));
    await verifyPromise(jws, rules);
    await fc.assert(fc.asyncProperty(fc.nat(jws.length - 1), fc.constantFrom('A', 'b', '-', '.', '9'), async (at, letter) => {
      fc.pre(jws[at] !== letter);
      expect(await code(verifyPromise(jws.slice(0, at) + letter + jws.slice(at + 1), rules))).toMatch(/^EPOCH_(SIGNATURE|FORMAT|OBSERVER)$/);
    }), { numRuns: 60 });
  });
});

describe('an owner\'s grant', () => {
  const grantOf = (change: Partial<EpochGrant> = {}): EpochGrant => ({ deployment: 'test', tenant: 'acme', cell: 'aws', epoch: 7, iat: NOW - 5, exp: NOW + 600, ...change });
  const judged = async (grant: EpochGrant, promises: readonly EpochPromise[] = [promiseOf('gcp')], key = owner) =>
    verifyLease({ promises: await Promise.all(promises.map((one) => sign(one))), grant: await signGrant(grant, key.privateKey) }, rules, owner.publicKey, question);

  it('stands in for one promise, as long as both last', async () => {
    expect((await judged(grantOf())).until).toBe((NOW + 9) * 1000);
    expect((await judged(grantOf({ exp: NOW + 5 }))).until).toBe((NOW + 4) * 1000);
  });

  it.each<[RefusalCode, Partial<EpochGrant>, (() => EpochPromise[])?]>([
    ['EPOCH_ABSENT', {}, () => []],
    ['EPOCH_QUORUM', { epoch: 8 }],
    ['EPOCH_QUORUM', { epoch: 6 }],
    ['EPOCH_TENANT', { tenant: 'other' }],
    ['EPOCH_CELL', { cell: 'azure' }],
    ['EPOCH_CLOCK', { iat: NOW + 60 }],
    ['EPOCH_EXPIRED', { exp: NOW }],
    ['EPOCH_DEPLOYMENT', { deployment: 'other' }],
  ])('%s', async (expected, change, promises) => {
    expect(await code(judged(grantOf(change), promises?.()))).toBe(expected);
  });

  it('EPOCH_SIGNATURE by anybody else', async () => {
    expect(await code(judged(grantOf(), undefined, await generateSigningKey()))).toBe('EPOCH_SIGNATURE');
  });
});

describe('the directory', () => {
  const parses = (change: object) => directorySchema.safeParse({ ...directory, ...change }).success;
  it('without observers leases nothing, and with them says all that leases need', () => {
    expect(epochRules(directorySchema.parse({ ...directory, cells: directory.cells.map(({ observer: _, ...cell }) => cell) }))).toBeUndefined();
    expect(parses({})).toBe(true);
    expect(parses({ cells: directory.cells.slice(0, 2), tenants: [{ tenant: '*', order: ['aws'], tier: 'async' }] })).toBe(false);
    expect(parses({ tenants: undefined })).toBe(false);
    expect(parses({ leaseSeconds: 3.9 })).toBe(false);
    expect(parses({ clockBoundSeconds: undefined })).toBe(false);
    expect(parses({ tenants: [{ tenant: '*', order: ['mars'], tier: 'async' }] })).toBe(false);
    expect(parses({ cells: directory.cells.map(({ key: _, ...cell }) => cell) })).toBe(false);
    expect(parses({ cells: directory.cells.map((cell) => ({ ...cell, observer: directory.cells[0]?.observer })) })).toBe(false);
    expect([rules.order('acme'), rules.order('pinned'), rules.quorum]).toEqual([['aws', 'azure'], ['gcp'], 2]);
  });
});

describe('broker and counter judge for themselves', () => {
  const policy = (directoryRevision: number) => ({ deployment: 'test', directoryRevision }) as OwnerPolicy;
  const judgeOf = async (shown: Partial<CellDirectory> = {}, key = owner, clock = { at: NOW * 1000 }) => {
    const jws = await signJws(DIRECTORY_TYPE, { ...directory, ...shown }, key.privateKey);
    return new EpochJudge({ cell: 'aws', epoch: 4, ownerKey: owner.publicKey, fetch: async () => jws, now: () => clock.at, log: createLog('t', { write: () => {} }) });
  };

  it('a policy that names no directory is none', () => {
    const named = policySchema.shape.directoryRevision;
    expect([named.safeParse(undefined).success, named.safeParse(0).success, named.safeParse(1).success]).toEqual([false, false, true]);
  });

  it('the cell\'s own epoch counts where the directory lists no observers, and only there', async () => {
    const alone = { cells: directory.cells.map(({ observer: _, ...cell }) => cell) };
    expect(await (await judgeOf(alone)).judge('acme', policy(3))).toEqual({ epoch: 4, directoryRevision: 3 });
    expect(await code((await judgeOf()).judge('acme', policy(3)))).toBe('EPOCH_ABSENT');
  });

  it('with one, only promises do', async () => {
    expect(await (await judgeOf()).judge('acme', policy(3), { promises: await two() })).toEqual({ epoch: 7, until: (NOW + 9) * 1000, directoryRevision: 3 });
    expect(await code((await judgeOf()).judge('acme', policy(3)))).toBe('EPOCH_ABSENT');
  });

  it('a directory that is withheld, older, of another owner or deployment, or has ended is no way around', async () => {
    const promises = await two();
    expect(await code((await judgeOf()).judge('acme', policy(4), { promises }))).toBe('DIRECTORY_ROLLBACK');
    expect(await code((await judgeOf({}, await generateSigningKey())).judge('acme', policy(3), { promises }))).toBe('EPOCH_ABSENT');
    expect(await code((await judgeOf({ deployment: 'other' })).judge('acme', policy(3), { promises }))).toBe('POLICY_DEPLOYMENT');
    const clock = { at: NOW * 1000 };
    const judge = await judgeOf({}, owner, clock);
    await judge.judge('acme', policy(3), { promises });
    clock.at = (NOW + 1_001) * 1000;
    expect(await code(judge.judge('acme', policy(3), { promises }))).toBe('DIRECTORY_EXPIRED');
  });

  it('EPOCH_FENCED: never a lower epoch than seen; EPOCH_EXPIRED right before the effect', async () => {
    const clock = { at: NOW * 1000 };
    const judge = await judgeOf({}, owner, clock);
    const judged = await judge.judge('acme', policy(3), { promises: await two({ epoch: 9 }) });
    expect(await code(judge.judge('acme', policy(3), { promises: await two({ epoch: 8 }) }))).toBe('EPOCH_FENCED');
    judge.requireStill(judged);
    clock.at = (NOW + 9) * 1000;
    expect(await code(() => judge.requireStill(judged))).toBe('EPOCH_EXPIRED');
  });
});
