import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Refusal } from '../../attestation/refusal.ts';
import { fileMark } from '../../workloads/broker/policy-mark.ts';
import { signJws } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import { PolicySource } from '../../workloads/protocol/policy-source.ts';
import { World } from './world.ts';

let folder: string;
let path: string;
const world = await World.create();
const lines: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccc-mark-'));
  path = join(folder, 'broker', 'policy-seen.json');
  lines.length = 0;
});
afterAll(() => world.close());
afterEach(async () => rm(folder, { recursive: true, force: true }));

/** A broker's source that was just started, shown this policy. */
const started = (jws: string, at = path) => new PolicySource({
  fetch: async () => jws, ownerKey: world.owner.publicKey, now: world.now, log: createLog('broker', { write: (line) => void lines.push(line) }), mark: fileMark(at),
});
const outcome = (source: PolicySource): Promise<string | number> => source.current().then(({ policy }) => policy.revision, (error: unknown) => (error instanceof Refusal ? error.code : String(error)));
const signed = (revision: number, change: Partial<OwnerPolicy> = {}) => signJws(POLICY_TYPE, { ...world.policy, ...change, revision }, world.owner.privateKey);

describe('the highest revision of the policy, over a restart', () => {
  it('is where the next process begins: the same and newer ones come into force, older ones do not', async () => {
    const [two, three, four] = [await signed(2), await signed(3), await signed(4)];
    expect(await outcome(started(three))).toBe(3);
    expect(await outcome(started(two))).toBe('POLICY_ROLLBACK');
    expect(await outcome(started(three))).toBe(3);
    expect(await outcome(started(four))).toBe(4);
    expect(await outcome(started(three))).toBe('POLICY_ROLLBACK');
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ revision: 4 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('of another deployment is another matter: refused', async () => {
    await started(await signed(2)).current();
    expect(await outcome(started(await signed(9, { deployment: 'another' })))).toBe('POLICY_DEPLOYMENT');
  });

  it.each(['', '{', '{"deployment":"test"}', '{"deployment":"test","revision":0}', '{"deployment":"test","revision":2,"more":1}'])('that cannot be read leaves nothing in force: %j', async (content) => {
    await started(await signed(2)).current();
    await writeFile(path, content);
    expect(await outcome(started(await signed(3)))).toBe('POLICY_MISSING');
    expect(lines.join('')).toContain('policy-not-refreshed');
  });

  it('that cannot be kept does not keep a policy from coming into force', async () => {
    await writeFile(join(folder, 'file'), '');
    const source = started(await signed(5), join(folder, 'file', 'policy-seen.json'));
    expect(await outcome(source)).toBe('POLICY_MISSING'); // ENOTDIR is no absence
    const kept = fileMark(path);
    const full = new PolicySource({ fetch: async () => signed(5), ownerKey: world.owner.publicKey, now: world.now, log: createLog('broker', { write: (line) => void lines.push(line) }), mark: { read: kept.read, write: async () => { throw Object.assign(new Error('full'), { code: 'ENOSPC' }); } } });
    expect(await outcome(full)).toBe(5);
    expect(lines.join('')).toMatch(/policy-revision-not-kept.*ENOSPC/);
  });
});
