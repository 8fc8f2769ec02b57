/** Bad configuration stops the synthesis with one error that names the field. */
import './light.ts';
import { App } from 'cdktf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cellFile } from '../../modules/cell-config.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { checkEnvironment, CLOUDS, type Environment, ENVIRONMENT_NAMES, ENVIRONMENTS, TIERS } from '../../modules/environments.ts';
import { parseLock, placeholderLock } from '../../modules/measurements.ts';
import { synthesizeInto } from '../../stacks/all.ts';
import { cellSchema } from '../../workloads/protocol/cell.ts';

type Deep<T> = { [K in keyof T]?: T[K] extends readonly unknown[] ? T[K] : T[K] extends object ? Deep<T[K]> : T[K] };
function merged<T>(base: T, over: Deep<T>): T {
  const out = { ...base } as Record<string, unknown>;
  for (const [key, value] of Object.entries(over)) out[key] = value !== null && typeof value === 'object' && !Array.isArray(value) ? merged(out[key], value as never) : value;
  return out as T;
}

test.each(ENVIRONMENT_NAMES)('%s can be deployed', (name) => {
  expect(() => checkEnvironment(ENVIRONMENTS[name])).not.toThrow();
  expect(ENVIRONMENTS[name].name).toBe(name);
});

test.each<[string, Deep<Environment>, RegExp]>([
  ['uid', { uid: 'P1X8' }, /letter/],
  ['domain', { domain: 'CCC' }, /DNS/],
  ['hosts.azure', { hosts: { azure: 'https://x' } }, /DNS/],
  ['contact', { contact: 'nobody' }, /e-mail/],
  ['ownerKey', { ownerKey: 'short' }, /Ed25519/],
  ['repository', { repository: 'x' }, /owner\/name/],
  ['debug', { debug: true }, /proves? nothing|prove nothing/],
  ['lock', { lock: 'reversible' }, /irreversible/],
  ['lock', { protect: false }, /protected/],
  ['promise.rtoSeconds', { promise: { rtoSeconds: TIERS.sync.rtoSeconds - 1 } }, /tier sync/],
  ['promise.rpoSeconds', { tier: 'async', promise: { rpoSeconds: TIERS.async.rpoSeconds - 1 } }, /tier async/],
  ['keys.rotationDays', { keys: { rotationDays: 365 } }, /90/],
  ['keys.deletionDays', { keys: { deletionDays: 7 } }, /30/],
  ['retention.logs', { retention: { logs: 364 } }, /365/],
  ['retention.audit', { retention: { audit: 30 } }, /365/],
  ['retention.backups', { retention: { backups: 36 } }, /35/],
  ['sloTarget', { sloTarget: 1 }, /below 1/],
  ['canaryPercent', { canaryPercent: 51 }, /50/],
  ['budget.gcp', { budget: { gcp: 0 } }, /dollars/],
  ['aws.region', { aws: { region: 'us-east-1' } }, /residency/],
  ['aws.standbyRegion', { aws: { standbyRegion: 'mars-north-1' } }, /residency/],
  ['aws.standbyRegion', { aws: { standbyRegion: 'eu-central-1' } }, /another region/],
  ['azure.location', { azure: { location: 'eastus' } }, /residency/],
  ['azure.standbyLocation', { azure: { standbyLocation: 'westeurope' } }, /another location/],
  ['gcp.keyLocation', { gcp: { keyLocation: 'us' } }, /residency/],
  ['aws.zones', { aws: { zones: ['eu-central-1a', 'eu-central-1b'] } }, /three zones/],
  ['aws.zones', { aws: { zones: ['eu-west-1a', 'eu-west-1b', 'eu-west-1c'] } }, /three zones/],
  ['azure.zones', { azure: { zones: ['1', '1', '2'] } }, /three zones/],
  ['gcp.zones', { gcp: { zones: ['us-central1-a', 'us-central1-b', 'us-central1-c'] } }, /three zones/],
  ['aws.instanceType', { aws: { instanceType: 't3.xlarge' } }, /enclaves/],
  ['aws.instanceType', { aws: { instanceType: 'm6i.large' } }, /enclaves/],
  ['azure.vmSize', { azure: { vmSize: 'Standard_D4as_v5' } }, /confidential/],
  ['azure.vmSize', { azure: { vmSize: 'Standard_DC8as_v5' } }, /Milan is denied/],
  ['gcp.snpMachineType', { gcp: { counterTees: ['SEV_SNP', 'TDX'] } }, /Milan is denied/],
  ['gcp.counterTees', { gcp: { counterTees: [] } }, /at least one/],
  ['gcp.counterTees', { gcp: { counterTees: ['TDX', 'TDX'] } }, /each once/],
  ['acceptedGenerations.0', { azure: { vmSize: 'Standard_DC8as_v5' }, acceptedGenerations: [{ generation: 'Milan', until: '2027-06-30T00:00:00Z', reason: 'nobody would notice in production' }] }, /none in prod/],
  ['gcp.snpMachineType', { gcp: { snpMachineType: 'n2-standard-4' } }, /N2D/],
  ['gcp.tdxMachineType', { gcp: { tdxMachineType: 'n2d-standard-4' } }, /C3/],
  ['gcp.brokerMachineType', { gcp: { brokerMachineType: 'e2-standard-4' } }, /C3/],
  ['aws.account', { aws: { account: '12' } }, /twelve/],
  ['aws.fleet.max', { aws: { fleet: { min: 4, max: 3 } } }, /4/],
  ['aws.enclave.cpus', { aws: { enclave: { cpus: 3 } } }, /even|whole/],
  ['aws.enclave.memoryMib', { aws: { enclave: { memoryMib: 1_500 } } }, /GiB/],
])('%s: refused by name', (field, over, why) => {
  let thrown: unknown;
  try { checkEnvironment(merged(ENVIRONMENTS.prod, over)); } catch (error) { thrown = error; }
  expect(thrown).toBeInstanceOf(ConfigurationError);
  expect((thrown as ConfigurationError).field).toBe(`environments.prod.${field}`);
  expect((thrown as ConfigurationError).message).toMatch(why);
});

test.each<[string, Partial<Environment['acceptedGenerations'][number]>, RegExp]>([
  ['no day', { until: '2027-06-31' }, /until a day/], ['a day that is none', { until: '2027-19-30T00:00:00Z' }, /until a day/], ['no reason', { reason: 'because' }, /a reason/], ['a generation that nothing runs on', { generation: 'Genoa' as const }, /2 sizes|runs on|Milan/],
])('an acceptance with %s is refused', (_, over, why) => {
  const [accepted] = ENVIRONMENTS.dev.acceptedGenerations;
  expect(() => checkEnvironment({ ...ENVIRONMENTS.dev, azure: { ...ENVIRONMENTS.dev.azure, vmSize: 'Standard_DC4as_v5' }, gcp: { ...ENVIRONMENTS.dev.gcp, counterTees: ['TDX'] }, acceptedGenerations: [{ ...accepted, ...over } as never] })).toThrow(why);
});

test('an irreversible lock outside prod is refused', () => {
  expect(() => checkEnvironment(merged(ENVIRONMENTS.dev, { lock: 'irreversible' }))).toThrow(/environments\.dev\.lock/);
});

test.each<[string, (lock: ReturnType<typeof placeholderLock>) => unknown, RegExp]>([
  ['zero measurements', (l) => { l.roles.broker.blue.nitro.PCR0 = '0'.repeat(96); return l; }, /roles\.broker\.blue\.nitro\.PCR0.*zero/],
  ['a zero image', (l) => { l.roles.gateway.blue.image = `sha256:${'0'.repeat(64)}`; return l; }, /roles\.gateway\.blue\.image.*zero/],
  ['no counter', (l) => ({ ...l, roles: { ...l.roles, counter: undefined } }), /roles\.counter/],
  ['a missing register', (l) => { delete (l.roles.broker.blue.nitro as { PCR8?: string }).PCR8; return l; }, /PCR8/],
  ['capital digits', (l) => { l.roles.counter.blue.azure.launch = 'A'.repeat(96); return l; }, /roles\.counter\.blue\.azure\.launch/],
  ['a field more', (l) => ({ ...l, extra: 1 }), /extra/],
  ['another version', (l) => ({ ...l, version: 2 }), /version/],
])('a lock file with %s is refused by name', (_, change, why) => {
  expect(() => parseLock(JSON.stringify(change(placeholderLock())))).toThrow(why);
});

test('no JSON is refused', () => expect(() => parseLock('{')).toThrow(/measurements\.lock\.json/));

test('a bad environment stops the synthesis of all stacks', () => {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-synth-'));
  try {
    const environments = { ...ENVIRONMENTS, prod: merged(ENVIRONMENTS.prod, { debug: true }) };
    expect(() => synthesizeInto(new App({ outdir }), { environments, lock: placeholderLock() })).toThrow(/environments\.prod\.debug/);
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
});

test.each(ENVIRONMENT_NAMES.flatMap((name) => CLOUDS.map((cloud) => [name, cloud] as const)))('the cell.json of %s on %s is one that the processes take', (name, cloud) => {
  const file = cellFile(ENVIRONMENTS[name], cloud);
  const cell = cellSchema.parse(JSON.parse(file.json));
  expect(cell.simulated).toBe(false);
  expect(cell.cloud).toBe(cloud);
  expect(file.digest).toMatch(/^[0-9a-f]{64}$/);
});
