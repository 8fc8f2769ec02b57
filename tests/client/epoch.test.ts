/** Epochs as a client sees them: where observers are listed the broker says what it saw, a higher epoch is fine, a lower one is not. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, fromHex, randomBytes } from '../../attestation/bytes.ts';
import { newManifestRequest, verifyManifest } from '../../workloads/client/manifest.ts';
import { type Sent, verifyResult } from '../../workloads/client/result.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import type { KeyManifest, ResultPayload } from '../../workloads/protocol/messages.ts';
import type { CellDirectory, OwnerPolicy } from '../../workloads/protocol/owner.ts';
import { codesOf } from '../protocol/refusals.ts';
import { CELL, createFixture, type Fixture, NOW, TENANT, ZONE } from './fixture.ts';

let f: Fixture;
let leased: Partial<CellDirectory>;
beforeAll(async () => {
  f = await createFixture();
  const key = () => b64u(randomBytes(32));
  const [north, south] = f.directory.cells as [CellDirectory['cells'][number], CellDirectory['cells'][number]];
  leased = {
    leaseSeconds: 10, clockBoundSeconds: 1, tenants: [{ tenant: '*', order: [CELL, 'south'], tier: 'async' }],
    cells: [north, south, { ...south, name: 'east' }].map((cell) => ({ ...cell, key: key(), observer: { url: 'http://127.0.0.1:9', key: key() } })),
  };
});
afterAll(() => f.dispose());

const SEEN = { epoch_until: NOW + 5, directory_revision: 3 };
async function verify(manifest: Partial<KeyManifest>, { seen = memorySeen(), policy = {} as Partial<OwnerPolicy>, directory = leased } = {}) {
  const request = newManifestRequest('here');
  const response = await f.respond(request, { manifest, policyJws: await f.signPolicy(policy), directoryJws: await f.signDirectory(directory) });
  return verifyManifest({ request, response, ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen });
}

describe('a manifest with a leased epoch', () => {
  it('is believed with any epoch, a higher one later, and refused with a lower one or the same from another cell: EPOCH_ROLLBACK', async () => {
    const seen = memorySeen();
    expect((await verify({ ...SEEN, epoch: 41 }, { seen })).manifest.epoch).toBe(41);
    await verify({ ...SEEN, epoch: 41 }, { seen });
    await verify({ ...SEEN, epoch: 1_041 }, { seen });
    expect(await codesOf(() => verify({ ...SEEN, epoch: 1_040 }, { seen }))).toEqual(['EPOCH_ROLLBACK']);
    const taken = memorySeen(seen.entries().map(([key, value]) => [key, key.includes('/epoch/') ? value.replace(CELL, 'south') : value]));
    expect(await codesOf(() => verify({ ...SEEN, epoch: 1_041 }, { seen: taken }))).toEqual(['EPOCH_ROLLBACK']);
  });

  it('of a broker that saw no promises, or looked into another directory, is refused', async () => {
    expect(await codesOf(() => verify({ directory_revision: 3, epoch: 41 }))).toEqual(['EPOCH_ABSENT']);
    expect(await codesOf(() => verify({ epoch_until: NOW + 5, directory_revision: 2, epoch: 41 }))).toEqual(['DIRECTORY_ROLLBACK']);
  });

  it('a directory older than the policy asks for is withheld: DIRECTORY_ROLLBACK', async () => {
    expect((await verify({ ...SEEN, epoch: 41 }, { policy: { directoryRevision: 3 } })).manifest.epoch).toBe(41);
    expect(await codesOf(() => verify({ ...SEEN, epoch: 41 }, { policy: { directoryRevision: 4 } }))).toEqual(['DIRECTORY_ROLLBACK']);
  });
});

describe('a result', () => {
  const result = async (epoch: number, cell = CELL) => {
    const manifest = await verify({ ...SEEN, epoch: 41 });
    const sent: Sent = { tenant_id: TENANT, job_id: '6a0f3c1e-1111-4222-8333-444455556666', message_id: b64u(randomBytes(32)), commitment: b64u(randomBytes(32)), body_digest: 'ab'.repeat(32) };
    const entry = leased.cells?.find(({ name }) => name === cell);
    const session = await f.session(cell === CELL ? {} : { binding: { cell, configDigest: fromHex(entry?.configDigest ?? '') } });
    const payload: ResultPayload = f.resultPayload(sent, session, { epoch, cell });
    const { claimsDigest: _, ...counter } = session;
    return verifyResult({ result: await f.signResult(payload), counter, receipts: [await f.brokerReceipt(sent, session)] }, sent, manifest, NOW);
  };
  it('of the epoch of its manifest or a later one is believed, of an earlier one refused: EPOCH_ROLLBACK', async () => {
    expect((await result(41)).payload.epoch).toBe(41);
    expect((await result(42)).payload.epoch).toBe(42);
    expect(await codesOf(() => result(40))).toEqual(['EPOCH_ROLLBACK']);
  });
  it('of another cell of the tenant\'s order is believed under a higher epoch only, of any other cell never: DIRECTORY_CELL, BINDING_CELL', async () => {
    expect((await result(42, 'south')).payload.cell).toBe('south');
    expect(await codesOf(() => result(41, 'south'))).toEqual(['DIRECTORY_CELL']);
    expect(await codesOf(() => result(40, 'south'))).toEqual(['EPOCH_ROLLBACK']);
    expect(await codesOf(() => result(42, 'east'))).toContain('BINDING_CELL');
  });
});
