/** Preflight and state store against tools that play the clouds' answers: shapes of the API references, no cloud. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Cloud, ENVIRONMENTS } from '../../modules/environments.ts';
import { readLock } from '../../modules/measurements.ts';
import { stateStore } from '../../modules/state-store.ts';
import { UserError } from '../../scripts/cli/output.ts';
import { preflightChecks } from '../../scripts/clouds/preflight-checks.ts';
import { stateSteps } from '../../scripts/clouds/state-steps.ts';
import { spelled, TOOLS } from '../../scripts/clouds/tool.ts';
import { bootstrapState } from '../../scripts/commands/bootstrap-state.ts';
import { type Finding, preflight } from '../../scripts/commands/preflight.ts';

const { aws, azure, gcp } = ENVIRONMENTS.prod;
const ORCHESTRATOR = 'bf7b6499-ff71-4aa2-97a4-f372087be7f0';
interface Played { readonly out?: unknown; readonly err?: string }
type Play = Record<string, Played>;

const agent = (name: string): string => `serviceAccount:service-${gcp.projectNumber}@${name}.iam.gserviceaccount.com`;
/** First words of a call, and what is answered. The first that fits counts. */
const GOOD: Readonly<Record<Cloud, Play>> = {
  aws: {
    'sts get-caller-identity': { out: { UserId: 'AIDA', Account: aws.account, Arn: `arn:aws:iam::${aws.account}:user/x` } },
    'ec2 describe-instance-types': { out: { InstanceTypes: [{ InstanceType: aws.instanceType, NitroEnclavesSupport: 'supported', VCpuInfo: { DefaultVCpus: 8, DefaultCores: 4, DefaultThreadsPerCore: 2 } }] } },
    'ec2 describe-instance-type-offerings': { out: { InstanceTypeOfferings: aws.zones.map((Location) => ({ InstanceType: aws.instanceType, LocationType: 'availability-zone', Location })) } },
    'service-quotas get-service-quota': { out: { Quota: { QuotaCode: 'L-1216C47A', QuotaName: 'Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances', Value: 640, Unit: 'None' } } },
    'ec2 describe-images': { out: { Images: [{ ImageId: aws.parentImage, State: 'available' }] } },
    'acm describe-certificate': { out: { Certificate: { CertificateArn: aws.certificateArn, Status: 'ISSUED' } } },
    's3api get-bucket-versioning': { out: { Status: 'Enabled' } },
    's3api head-object': { out: { ContentLength: 1, ETag: '"x"' } },
    'ecr describe-images': { out: { imageDetails: [{ imageDigest: 'sha256:x' }] } },
  },
  azure: {
    'account show': { out: { id: azure.subscriptionId, tenantId: azure.tenantId, state: 'Enabled' } },
    'vm list-skus': { out: [{ name: azure.vmSize, family: 'standardDCASv6Family', locationInfo: [{ location: azure.location, zones: ['1', '3', '2'] }], restrictions: [] }] },
    'vm list-usage': { out: [{ name: { value: 'cores', localizedValue: 'Total' }, limit: '10', currentValue: 0 }, { name: { value: 'standardDCASv6Family', localizedValue: 'Standard DCASv6' }, limit: '400', currentValue: 8 }] },
    'ad sp show': { out: { appId: ORCHESTRATOR, displayName: 'Confidential VM Orchestrator' } },
    'group exists': { out: true },
    'storage account show': { out: { name: 'x', allowSharedKeyAccess: false } },
    'keyvault secret show': { out: true },
  },
  gcp: {
    'projects describe': { out: { projectId: gcp.project, projectNumber: gcp.projectNumber, lifecycleState: 'ACTIVE' } },
    'compute machine-types list': { out: gcp.zones.map((zone) => ({ name: 'x', zone })) },
    'compute regions describe': { out: { name: gcp.region, quotas: [{ metric: 'N2D_CPUS', limit: 500, usage: 8 }, { metric: 'C3_CPUS', limit: 500, usage: 0 }] } },
    'projects get-iam-policy': { out: { version: 1, bindings: [{ role: 'roles/x', members: ['gcp-sa-artifactregistry', 'compute-system', 'container-engine-robot', 'gcp-sa-cloud-sql', 'gcp-sa-workflows'].map(agent) }] } },
    'storage buckets describe': { out: { name: 'x', versioning_enabled: true } },
    'artifacts docker images describe': { out: { image_summary: {} } },
  },
};

let folder = '';
let out = '';
const path = process.env['PATH'];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ccc-clouds-'));
  process.env['PATH'] = folder;
  out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => { out += String(chunk); return true; });
  vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
});
afterEach(() => { process.env['PATH'] = path; vi.restoreAllMocks(); rmSync(folder, { recursive: true, force: true }); });

/** A tool that answers as it is told and keeps what it was called with. */
function play(cloud: Cloud, answers: Play): void {
  const file = join(folder, TOOLS[cloud]);
  writeFileSync(`${file}.json`, JSON.stringify(Object.entries(answers)));
  writeFileSync(file, `#!${process.execPath}
const fs = require('node:fs');
const line = process.argv.slice(2).join(' ');
fs.appendFileSync(${JSON.stringify(`${file}.calls`)}, JSON.stringify(process.argv.slice(2)) + '\\n');
const [, answer] = JSON.parse(fs.readFileSync(${JSON.stringify(`${file}.json`)}, 'utf8')).find(([words]) => line.startsWith(words)) ?? [, { err: 'not played: ' + line }];
if (answer.err !== undefined) { process.stderr.write(answer.err + '\\n'); process.exit(254); }
process.stdout.write(typeof answer.out === 'string' ? answer.out : JSON.stringify(answer.out));
`);
  chmodSync(file, 0o755);
}
const calls = (cloud: Cloud): string[][] => readFileSync(join(folder, `${TOOLS[cloud]}.calls`), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as string[]);
const findings = (): Finding[] => (JSON.parse(out) as { findings: Finding[] }).findings;
const problems = (): Finding[] => findings().filter(({ problem }) => problem !== undefined);
const refused = (work: Promise<number>): Promise<UserError> => work.then(() => { throw new Error('was not refused'); }, (error: unknown) => { if (error instanceof UserError) return error; throw error; });

describe.each(['aws', 'azure', 'gcp'] as const)('preflight %s', (cloud) => {
  test('finds nothing where all is there, asks everything once, and only reads', async () => {
    play(cloud, GOOD[cloud]);
    expect(await preflight(cloud, { env: 'prod', json: true })).toBe(0);
    expect(findings()).toHaveLength(preflightChecks(cloud, ENVIRONMENTS.prod, readLock()).length);
    for (const args of calls(cloud)) expect(args.slice(0, 4).join(' ')).toMatch(/\b(?:get|describe|head|show|list|exists)\b/);
  });

  test('no tool, no login: says what to do', async () => {
    expect(await refused(preflight(cloud, { env: 'prod' }))).toMatchObject({ code: 'CLI_ABSENT', exit: 1 });
    const first = Object.keys(GOOD[cloud])[0] ?? '';
    play(cloud, { [first]: { err: { aws: 'Unable to locate credentials. You can configure credentials by running "aws login".', azure: "Please run 'az login' to setup account.", gcp: 'ERROR: (gcloud.projects.describe) You do not currently have an active account selected.\nPlease run:\n\n  $ gcloud auth login' }[cloud] } });
    expect(await refused(preflight(cloud, { env: 'prod' }))).toMatchObject({ code: 'NOT_LOGGED_IN' });
  });

  test('garbage is a problem of each check that gets it', async () => {
    const [first = '', ...others] = Object.keys(GOOD[cloud]);
    play(cloud, { ...Object.fromEntries(others.map((words) => [words, { out: '<html>' }])), [first]: GOOD[cloud][first] ?? {} });
    expect(await preflight(cloud, { env: 'prod', json: true })).toBe(1);
    expect(findings().map(({ problem }) => problem)).toEqual(findings().map((_, i) => (i === 0 ? undefined : 'an answer that says nothing about it')));
  });
});

test.each<[Cloud, string, Played, RegExp, RegExp]>([
  ['aws', 'ec2 describe-instance-types', { out: { InstanceTypes: [{ NitroEnclavesSupport: 'unsupported', VCpuInfo: { DefaultVCpus: 8 } }] } }, /^enclaves/, /hosts no enclaves/],
  ['aws', 'ec2 describe-instance-types', { out: { InstanceTypes: [{ NitroEnclavesSupport: 'supported', VCpuInfo: { DefaultVCpus: 4 } }] } }, /^enclaves/, /2, needed 4/],
  ['aws', 'service-quotas get-service-quota', { out: { Quota: { Value: 32 } } }, /^quota/, /32, needed/],
  ['aws', 'acm describe-certificate', { out: { Certificate: { Status: 'PENDING_VALIDATION' } } }, /certificate/, /PENDING_VALIDATION/],
  ['aws', 's3api get-bucket-versioning', { out: '' }, /state store/, /no versions/],
  ['aws', 'ec2 describe-images', { out: { Images: [] } }, /parents/, /not available/],
  ['azure', 'vm list-skus', { out: [] }, /each zone/, /not in/],
  ['azure', 'vm list-skus', { out: [{ name: azure.vmSize, family: 'f', locationInfo: [{ zones: ['1', '2', '3'] }], restrictions: [{ type: 'Location', reasonCode: 'NotAvailableForSubscription' }] }] }, /each zone/, /NotAvailableForSubscription/],
  ['azure', 'vm list-skus', { out: [{ name: azure.vmSize, family: 'f', locationInfo: [{ zones: ['1', '2'] }], restrictions: [] }] }, /each zone/, /not in 3/],
  ['azure', 'vm list-usage', { out: [{ name: { value: 'standardDCASv6Family' }, limit: '10', currentValue: 2 }] }, /quota/, /8, needed/],
  ['azure', 'vm list-usage', { out: [] }, /quota/, /no quota is listed/],
  ['azure', 'ad sp show', { err: "ERROR: Resource 'bf7b6499' does not exist or one of its queried reference-property objects are not present." }, /Orchestrator/, /does not exist/],
  ['azure', 'group exists', { out: false }, /watcher/, /not there/],
  ['azure', 'storage account show', { out: { allowSharedKeyAccess: null } }, /state store/, /shared keys/],
  ['gcp', 'compute regions describe', { out: { quotas: [{ metric: 'N2D_CPUS', limit: 500, usage: 0 }] } }, /quotas/, /C3_CPUS left: 0/],
  ['gcp', 'projects get-iam-policy', { out: { bindings: [] } }, /agents/, /gcp-sa-workflows/],
  ['gcp', 'storage buckets describe', { err: 'ERROR: (gcloud.storage.buckets.describe) gs://x not found: 404.' }, /state store/, /404/],
])('%s: %s, played wrong, is found', async (cloud, words, answer, check, problem) => {
  play(cloud, { ...GOOD[cloud], [words]: answer });
  expect(await preflight(cloud, { env: 'prod', json: true })).toBe(1);
  expect(problems().map(({ check: name }) => name)).toEqual([expect.stringMatching(check)]);
  expect(problems()[0]?.problem).toMatch(problem);
  expect(problems()[0]?.next).toBeTruthy();
});

test('another account than the environment\'s: nothing else is asked', async () => {
  play('aws', { ...GOOD.aws, 'sts get-caller-identity': { out: { Account: '000000000000' } } });
  expect(await preflight('aws', { env: 'prod', json: true })).toBe(1);
  expect(calls('aws')).toHaveLength(1);
});

describe.each(['aws', 'azure', 'gcp'] as const)('state store of %s', (cloud) => {
  const steps = stateSteps(cloud, ENVIRONMENTS.prod);
  const asked = steps.filter(({ exists }) => exists !== undefined);

  test('--dry-run calls nothing and prints what would be called', async () => {
    expect(await bootstrapState(cloud, { env: 'prod', dryRun: true })).toBe(0);
    expect(out.trim().split('\n')).toEqual(steps.map(({ make }) => spelled(cloud, make)));
    const store = stateStore(ENVIRONMENTS.prod, cloud);
    expect(out).toContain(store['bucket'] ?? store['storageAccount']);
  });

  test('makes what is missing, in order; run again it makes nothing of that', async () => {
    play(cloud, Object.fromEntries([...asked.map(({ exists }) => [exists?.join(' ') ?? '', { err: 'NotFound' }] as const), ['', { out: '{}' }] as const]));
    expect(await bootstrapState(cloud, { env: 'prod', json: true })).toBe(0);
    expect(calls(cloud).filter((args) => !asked.some(({ exists }) => exists?.join(' ') === args.join(' ')))).toEqual(steps.map(({ make }) => make));
    rmSync(join(folder, `${TOOLS[cloud]}.calls`));
    play(cloud, { '': { out: '{}' } });
    expect(await bootstrapState(cloud, { env: 'prod', json: true })).toBe(0);
    for (const { make } of asked) expect(calls(cloud)).not.toContainEqual(make);
  });

  test('a step that fails ends it, with the command to run by hand', async () => {
    const last = steps.at(-1)?.make ?? [];
    play(cloud, { [last.join(' ')]: { err: 'AccessDenied: no' }, '': { out: '{}' } });
    expect(await refused(bootstrapState(cloud, { env: 'prod' }))).toMatchObject({ code: 'STATE_STORE', message: expect.stringContaining('AccessDenied') as string, next: expect.stringContaining(spelled(cloud, last)) as string });
  });
});

test('arguments are shown as a shell would need them', () => {
  expect(spelled('aws', ['s3api', 'x', "it's {}"])).toBe("aws s3api x 'it'\\''s {}'");
});
