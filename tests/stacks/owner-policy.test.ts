/** What the owner signs is what the lock file holds, and nothing that was not built. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { STRICT_SNP } from '../../attestation/appraise-snp.ts';
import { b64u } from '../../attestation/bytes.ts';
import { lintPolicy, policiesIn } from '../../attestation/policy-lint.ts';
import { ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { DENIED, snpSizes } from '../../modules/generations.ts';
import { type MeasurementLock, parseLock, placeholderLock, readLock } from '../../modules/measurements.ts';
import { ownerPolicy, type OwnerPolicyProps } from '../../modules/owner-policy.ts';
import { measurementsCheck, measurementsLock, measurementsPolicy } from '../../scripts/commands/measurements.ts';
import { UserError } from '../../scripts/cli/output.ts';
import { verifyPolicy } from '../../workloads/protocol/documents.ts';
import { makeKeyFile } from '../../workloads/protocol/key-file.ts';
import { policySchema } from '../../workloads/protocol/owner.ts';

const NOW = 1_790_000_000;
const detectors = [{ name: 'coco-ssd', digest: 'ab'.repeat(32), threshold: 0.5 }];
const props = (more: Partial<OwnerPolicyProps> = {}): OwnerPolicyProps => ({ environment: ENVIRONMENTS.prod, lock: readLock(), revision: 7, directoryRevision: 4, notAfter: NOW + 86_400, clouds: ['aws', 'azure', 'gcp'], nodes: true, milan: false, detectors, ...more });

/** As a build would write it: the same values, but built. */
function built(lock: MeasurementLock = placeholderLock()): MeasurementLock {
  const copy = JSON.parse(JSON.stringify(lock)) as Record<'roles', Record<string, Record<string, { provenance: unknown }>>>;
  for (const role of Object.values(copy.roles)) for (const entry of Object.values(role)) entry.provenance = { source: 'built', commit: 'c'.repeat(40) };
  return parseLock(JSON.stringify(copy));
}

describe('the document', () => {
  test('is a policy, and lint finds no error in it', () => {
    const policy = policySchema.parse(ownerPolicy(props()));
    expect([policy.revision, policy.notAfter, policy.deployment, policy.developmentRoots]).toEqual([7, NOW + 86_400, 'ccc-prod', []]);
    expect(policiesIn(policy).flatMap(({ path, policy: one }) => lintPolicy(one, NOW, path)).filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('what is denied here is what the strict rules of the appraisal deny', () => expect([...DENIED]).toEqual(STRICT_SNP.deniedGenerations));

  test('Milan is denied unless it is accepted by name', () => {
    expect(ownerPolicy(props()).roles.broker.snp.deniedGenerations).toEqual(['Milan']);
    expect(policySchema.parse(ownerPolicy(props({ milan: true }))).roles.counter.snp?.deniedGenerations).toEqual([]);
  });

  test.each(ENVIRONMENT_NAMES)('%s: each size of the table has a generation that the policy takes, by default or by name and with a last day', (name) => {
    const environment = ENVIRONMENTS[name];
    const { roles } = ownerPolicy(props({ environment }));
    expect(snpSizes(environment).map(({ field }) => field)).toEqual(expect.arrayContaining(['azure.vmSize', ...(environment.gcp.counterTees.includes('SEV_SNP') ? ['gcp.snpMachineType'] : [])]));
    for (const { generation, roles: of } of snpSizes(environment)) {
      for (const role of of) expect(roles[role].snp.deniedGenerations).not.toContain(generation);
      if (DENIED.includes(generation)) expect(environment.acceptedGenerations.map((accepted) => accepted.generation)).toContain(generation);
    }
  });

  test('an acceptance holds for the role and the cloud that need it, and no policy outlives it', () => {
    const environment = ENVIRONMENTS.dev;
    const denied = (clouds: OwnerPolicyProps['clouds']) => { const { roles } = ownerPolicy(props({ environment, clouds })); return [roles.broker.snp.deniedGenerations, roles.counter.snp.deniedGenerations]; };
    expect(denied(['aws', 'azure', 'gcp'])).toEqual([['Milan'], []]);
    expect(denied(['aws', 'azure'])).toEqual([['Milan'], ['Milan']]);
    const until = Date.parse(environment.acceptedGenerations[0]?.until ?? '') / 1000;
    expect(ownerPolicy(props({ environment, notAfter: until })).notAfter).toBe(until);
    expect(() => ownerPolicy(props({ environment, notAfter: until + 1 }))).toThrow(/policy\.notAfter.*Milan is no longer accepted/);
    expect(ownerPolicy(props({ environment, notAfter: until + 1, clouds: ['aws', 'azure'] })).notAfter).toBe(until + 1);
  });

  test('its registers are those of the lock file, of each generation and platform', () => {
    const lock = readLock();
    const { roles } = ownerPolicy(props({ lock }));
    const of = (role: 'broker' | 'counter', id: string) => roles[role].references.find((reference) => reference.id === `${role}-${id}`)?.registers;
    for (const generation of ['blue', 'green'] as const) {
      for (const role of ['broker', 'counter'] as const) {
        const entry = lock.roles[role][generation];
        if (entry === undefined) throw new Error('the lock file has both');
        expect(of(role, `${generation}/nitro`)).toEqual(entry.nitro);
        expect(of(role, `${generation}/azure`)).toEqual({ ...Object.fromEntries([4, 7, 8, 9, 11, 12, 13].map((pcr) => [`vTPM:PCR${pcr}`, entry.azure.pcrs[pcr as 4]])), LAUNCH: entry.azure.launch });
      }
      expect(of('broker', `${generation}/confidential-space`)).toEqual({ IMAGE: lock.roles.broker[generation]?.image.replace('sha256:', '') });
      expect(of('counter', `${generation}/gke-snp`)).toEqual({ LAUNCH: lock.roles.counter[generation]?.gke.launch });
      const gke = lock.roles.counter[generation]?.gke;
      expect(of('counter', `${generation}/gke-tdx`)).toEqual({ MRTD: gke?.mrtd, RTMR1: gke?.rtmr1, RTMR2: gke?.rtmr2 });
    }
    expect(roles.broker.references).toHaveLength(6);
    expect(roles.counter.references).toHaveLength(8);
  });

  test('a generation that left the lock file left the policy', () => {
    const { green: _, ...broker } = readLock().roles.broker;
    const { roles } = ownerPolicy(props({ lock: { ...readLock(), roles: { ...readLock().roles, broker } } }));
    expect(roles.broker.references.map(({ id }) => id)).toEqual(['broker-blue/nitro', 'broker-blue/azure', 'broker-blue/confidential-space']);
  });

  test('no broker on a node; without nodes no counter on one either', () => {
    expect(ownerPolicy(props()).roles.broker.scopes).toEqual(['enclave', 'vm', 'container']);
    expect(ownerPolicy(props()).roles.counter.scopes).toContain('node');
    const without = ownerPolicy(props({ nodes: false }));
    expect([without.roles.counter.scopes, without.tenants[0]?.scopes]).toEqual([['enclave', 'vm'], ['enclave', 'vm']]);
    expect(without.roles.counter.references.some(({ platform }) => platform === 'gke')).toBe(false);
  });

  test('one cloud alone: its references and its region, nothing else', () => {
    const { roles, zones } = ownerPolicy(props({ clouds: ['aws'] }));
    expect(new Set([...roles.broker.references, ...roles.counter.references].map(({ platform }) => platform))).toEqual(new Set(['aws-nitro']));
    expect(zones).toEqual([{ name: 'prod', regions: [ENVIRONMENTS.prod.aws.region], origin: 'asserted' }]);
  });

  test.each([
    ['no cloud', { clouds: [] }, /policy\.roles\.broker/], ['a role without evidence', { clouds: ['gcp'], nodes: false }, /policy\.roles\.counter/], ['revision 0', { revision: 0 }, /revision/], ['no detector', { detectors: [] }, /detectors/],
  ] as const)('%s is refused', (_, more, message) => {
    expect(() => ownerPolicy(props(more as Partial<OwnerPolicyProps>))).toThrow(message);
  });
});

describe('ccc measurements', () => {
  let folder = '';
  let out = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ccc-measurements-'));
    out = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => { out += String(chunk); return true; });
    vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
  });
  afterEach(() => { vi.restoreAllMocks(); rmSync(folder, { recursive: true, force: true }); });
  const at = (name: string): string => join(folder, name);
  const write = (name: string, value: unknown): string => { writeFileSync(at(name), typeof value === 'string' ? value : JSON.stringify(value)); return at(name); };
  const refusal = async (work: Promise<number>): Promise<UserError> => work.then(() => { throw new Error('was not refused'); }, (error: unknown) => { if (error instanceof UserError) return error; throw error; });
  const signing = { env: 'prod', revision: 3, directoryRevision: 2, days: 90, now: () => NOW * 1000 } as const;

  test('check fails while one entry is a placeholder', async () => {
    expect(await measurementsCheck({ lock: write('l.json', built()), json: true })).toBe(0);
    const one = JSON.parse(JSON.stringify(built())) as MeasurementLock;
    (one.roles.gateway.blue as { provenance: unknown }).provenance = { source: 'placeholder', label: 'later' };
    out = '';
    expect(await measurementsCheck({ lock: write('l.json', one), json: true })).toBe(1);
    expect((JSON.parse(out) as { placeholders: string[] }).placeholders).toEqual(['later']);
  });

  test('lock takes over what was built, and keeps the rest', async () => {
    const lock = write('l.json', placeholderLock());
    const entry = { ...built().roles.broker.green, image: `sha256:${'12'.repeat(32)}` };
    expect(await measurementsLock({ lock, role: 'broker', generation: 'green', from: write('build.json', entry) })).toBe(0);
    const after = parseLock(readFileSync(lock, 'utf8'));
    expect(after.roles.broker.green).toEqual(entry);
    expect({ ...after.roles, broker: after.roles.broker.blue }).toEqual({ ...placeholderLock().roles, broker: placeholderLock().roles.broker.blue });
  });

  test.each([
    ['a placeholder', placeholderLock().roles.broker.green, 'NOT_BUILT'], ['an entry of another role', built().roles.gateway.blue, 'MEASUREMENTS'], ['zeros', { ...built().roles.broker.blue, nitro: { ...built().roles.broker.blue.nitro, PCR0: '0'.repeat(96) } }, 'MEASUREMENTS'],
    ['no JSON', '{', 'BUILD_FORMAT'],
  ])('lock refuses %s and leaves the file alone', async (_, entry, code) => {
    const lock = write('l.json', placeholderLock());
    expect((await refusal(measurementsLock({ lock, role: 'broker', generation: 'blue', from: write('build.json', entry) }))).code).toBe(code);
    expect(parseLock(readFileSync(lock, 'utf8'))).toEqual(placeholderLock());
  });

  test('placeholders make an unsigned document, and are never signed', async () => {
    const lock = write('l.json', placeholderLock());
    expect(await measurementsPolicy({ ...signing, lock })).toBe(0);
    expect(policySchema.parse(JSON.parse(out)).revision).toBe(3);
    const key = await makeKeyFile(at('owner.jwk'));
    const environments = { ...ENVIRONMENTS, prod: { ...ENVIRONMENTS.prod, ownerKey: b64u(key.publicKey) } };
    expect((await refusal(measurementsPolicy({ ...signing, environments, lock, key: at('owner.jwk'), out: at('p.jws') }))).code).toBe('PLACEHOLDERS');
    expect(() => readFileSync(at('p.jws'))).toThrow(/ENOENT/);
  });

  test('what was built is signed by the owner\'s key, and verifies', async () => {
    const lock = write('l.json', built());
    const key = await makeKeyFile(at('owner.jwk'));
    const environments = { ...ENVIRONMENTS, prod: { ...ENVIRONMENTS.prod, ownerKey: b64u(key.publicKey) } };
    expect(await measurementsPolicy({ ...signing, environments, lock, key: at('owner.jwk'), out: at('p.jws') })).toBe(0);
    const { policy } = await verifyPolicy(readFileSync(at('p.jws'), 'utf8').trim(), key.publicKey, NOW);
    expect(policy.roles.broker.references).toHaveLength(6);
    expect(policy.notAfter).toBe(NOW + 90 * 86_400);
  });

  test('another key than the environment names is refused, and no key too', async () => {
    const lock = write('l.json', built());
    await makeKeyFile(at('owner.jwk'));
    expect((await refusal(measurementsPolicy({ ...signing, lock, key: at('owner.jwk') }))).message).toMatch(/ownerKey/);
    expect((await refusal(measurementsPolicy({ ...signing, lock, key: write('x', '{}') }))).exit).toBe(2);
    expect((await refusal(measurementsPolicy({ ...signing, lock, cloud: ['aws', 'ibm'] }))).exit).toBe(2);
    expect(out).toBe('');
  });
});
