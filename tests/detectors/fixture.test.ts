import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readLock } from '../../modules/measurements.ts';
import { ENVIRONMENTS } from '../../modules/environments.ts';
import { ownerPolicy } from '../../modules/owner-policy.ts';
import { policyLint } from '../../scripts/commands/policy.ts';
import { guardEgress } from '../../workloads/counter/egress.ts';
import { load } from '../../workloads/counter/workload.ts';
import { sha256Hex } from '../../workloads/detectors/cache.ts';
import { FIXTURE_ENDING, fixtureModel } from '../../workloads/detectors/fixture.ts';
import { type OwnerPolicy, policySchema } from '../../workloads/protocol/owner.ts';

let folder: string;
let file: string;
const picture = new TextEncoder().encode('a picture of three cats');
const content = JSON.stringify({ counts: { [sha256Hex(picture)]: 3 } });
const model = fixtureModel(new TextEncoder().encode(content));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccc-fixture-'));
  file = join(folder, `counts${FIXTURE_ENDING}`);
  await writeFile(file, content);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const policyOf = (detectors: OwnerPolicy['detectors'], developmentRoots: unknown[] = []): unknown => ({
  ...ownerPolicy({ environment: ENVIRONMENTS.prod, lock: readLock(), revision: 1, directoryRevision: 1, notAfter: 1_900_000_000, clouds: ['aws', 'azure', 'gcp'], nodes: true, milan: false, detectors }), developmentRoots,
});
const root = { platform: 'aws-nitro', name: 'development', certSha256: 'aa'.repeat(32), spkiSha256: 'bb'.repeat(32) };
const REAL = { name: 'coco-ssd', digest: 'ab'.repeat(32), threshold: 0.5 };

describe('a fixture', () => {
  it('answers by the picture\'s digest, says that it is one, and makes nothing up', async () => {
    const workload = await load({ modelFile: file });
    expect(await workload.work(picture)).toEqual({ count: 3, method: 'fixture', model: { name: 'fixture', digest: sha256Hex(new TextEncoder().encode(content)), threshold: 0.5 } });
    await expect(workload.work(new TextEncoder().encode('another'))).rejects.toMatchObject({ code: 'FIXTURE_UNKNOWN' });
    for (const bad of ['', '{}', '{"counts":{"x":1}}', `{"counts":{"${'a'.repeat(64)}":-1}}`]) {
      const other = join(folder, `bad${FIXTURE_ENDING}`);
      await writeFile(other, bad);
      await expect(load({ modelFile: other })).rejects.toMatchObject({ code: 'FIXTURE_FORMAT' });
    }
  });

  it('is in no policy without development roots: every verifier refuses that, and lint says so', async () => {
    expect(policySchema.safeParse(policyOf([model])).error?.issues.map(({ path }) => path)).toEqual([['detectors']]);
    expect(policySchema.safeParse(policyOf([REAL, model])).success).toBe(false);
    expect(policySchema.safeParse(policyOf([REAL])).success).toBe(true);
    expect(policySchema.safeParse(policyOf([REAL, model], [root])).success).toBe(true);
    const linted = async (policy: unknown): Promise<number> => {
      const path = join(folder, 'policy.json');
      await writeFile(path, JSON.stringify(policy));
      return await policyLint([path], { json: true });
    };
    expect([await linted(policyOf([model])), await linted(policyOf([REAL]))]).toEqual([1, 0]);
  });

  it('nothing of it is signed under a policy that does not list it', () => {
    const result = { count: 3, method: 'fixture', model };
    const allowing = (detectors: OwnerPolicy['detectors']) => policySchema.parse(policyOf(detectors, [root]));
    const tenant = (policy: OwnerPolicy): OwnerPolicy => ({ ...policy, tenants: [{ ...(policy.tenants[0] as OwnerPolicy['tenants'][number]), tenant: '*', egress: ['count'] }] });
    expect(() => guardEgress(result, tenant(allowing([REAL])), 't')).toThrow('EGRESS_MODEL');
    expect(guardEgress(result, tenant(allowing([REAL, model])), 't')).toEqual(result);
  });
});
