/** Promotion against tools that play registries and buckets: they keep what is copied, and know references only as the clouds spell them. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Cloud, CLOUDS, ENVIRONMENTS, type EnvironmentName } from '../../modules/environments.ts';
import { type MeasurementLock, placeholderEntry, placeholderLock } from '../../modules/measurements.ts';
import { type Promotions, parsePromotions, readPromotions } from '../../modules/promotions.ts';
import { UserError } from '../../scripts/cli/output.ts';
import { headCommit } from '../../scripts/clouds/head-commit.ts';
import { TOOLS } from '../../scripts/clouds/tool.ts';
import { promote, type PromoteOptions } from '../../scripts/commands/promote.ts';

const COMMIT = 'c'.repeat(40);
const BUILT = { source: 'built', commit: 'b'.repeat(40) } as const;
const tee = (label: string) => ({ ...placeholderEntry(label), provenance: BUILT });
const lockOf = (version: string): MeasurementLock => ({
  version: 1,
  roles: { gateway: { blue: { provenance: BUILT, image: tee(`g${version}`).image } }, broker: { blue: tee(`b${version}`) }, counter: { blue: tee(`c${version}`) } },
});
const LOCK = lockOf('1');
const EIF = (n: number): string => `sha256:${String(n).repeat(64)}`;

/** What is where, spelled by hand: names of the services are not taken from what is tested. */
function places(cloud: Cloud, environment: EnvironmentName, lock = LOCK): Record<string, string> {
  const { uid, aws, gcp } = ENVIRONMENTS[environment];
  const { gateway, broker, counter } = lock.roles;
  const images = { gateway: gateway.blue.image, broker: broker.blue.image, counter: counter.blue.image };
  if (cloud === 'aws') return {
    [`${aws.account}.dkr.ecr.${aws.region}.amazonaws.com/ccc-${environment}-gateway@${images.gateway}`]: images.gateway,
    [`s3://ccc-${environment}-eif-${uid}/eif/${broker.blue.nitro.PCR0}.eif`]: EIF(1), [`s3://ccc-${environment}-eif-${uid}/eif/${counter.blue.nitro.PCR0}.eif`]: EIF(2),
  };
  const registry = cloud === 'azure' ? `ccc${environment}images${uid}.azurecr.io/ccc-` : `${gcp.region}-docker.pkg.dev/${gcp.project}/ccc-${environment}-images/`;
  return Object.fromEntries(Object.entries(images).map(([role, image]) => [`${registry}${role}@${image}`, image]));
}

let folder = '';
let out = '';
const path = process.env['PATH'];
const file = (name: string): string => join(folder, name);
const PLAYER = `#!${process.execPath}
const fs = require('node:fs'), { basename, join } = require('node:path');
const folder = __dirname, tool = basename(__filename), args = process.argv.slice(2), line = [tool, ...args].join(' ');
fs.appendFileSync(join(folder, 'calls'), line + '\\n');
const world = JSON.parse(fs.readFileSync(join(folder, 'world'), 'utf8'));
const fail = (err) => { process.stderr.write(err + '\\n'); process.exit(254); };
for (const [words, err] of Object.entries(world.fail)) if (line.startsWith(words)) fail(err);
const of = (name) => args[args.indexOf(name) + 1];
const put = (from, to) => {
  const have = world.have[from];
  if (have === undefined) fail('NAME_UNKNOWN: ' + from);
  world.have[to(have)] = world.corrupt ?? have;
  fs.writeFileSync(join(folder, 'world'), JSON.stringify(world));
};
const answer = (ref, absent, shape) => { const have = world.have[ref]; if (have === undefined) fail(absent); process.stdout.write(JSON.stringify(shape(have))); };
if (line.startsWith('crane copy ')) put(args[1], (digest) => { const [repository, tag] = args[2].split(':'); if (tag !== digest.replace(':', '-')) fail('tag ' + tag); return repository + '@' + digest; });
else if (line.startsWith('aws s3api copy-object ')) put('s3://' + of('--copy-source'), () => 's3://' + of('--bucket') + '/' + of('--key'));
else if (line.startsWith('aws s3api head-object ')) answer('s3://' + of('--bucket') + '/' + of('--key'), 'An error occurred (404) when calling the HeadObject operation: Not Found', (d) => (world.parts ? { ETag: 'x' } : { ChecksumSHA256: Buffer.from(d.slice(7), 'hex').toString('base64') }));
else if (line.startsWith('aws ecr describe-images ')) answer(of('--registry-id') + '.dkr.ecr.' + of('--region') + '.amazonaws.com/' + of('--repository-name') + '@' + of('--image-ids').slice(12), 'An error occurred (ImageNotFoundException) when calling the DescribeImages operation', (imageDigest) => ({ imageDetails: [{ imageDigest }] }));
else if (line.startsWith('az acr repository show ')) answer(of('--name') + '.azurecr.io/' + of('--image'), 'ERROR: 2026-11-24 Error: manifest sha256:x is not found. Correlation ID: x.', (digest) => ({ digest }));
else if (line.startsWith('gcloud artifacts docker images describe ')) answer(args[4], 'ERROR: (gcloud.artifacts.docker.images.describe) Image not found.', (digest) => ({ image_summary: { digest } }));
else fail('not played: ' + line);
`;
interface World { have: Record<string, string>; fail: Record<string, string>; corrupt?: string; parts?: boolean }
const world = (change: Partial<World> = {}): World => {
  const now: World = { ...(existsSync(file('world')) ? JSON.parse(readFileSync(file('world'), 'utf8')) as World : { have: {}, fail: {} }), ...change };
  writeFileSync(file('world'), JSON.stringify(now));
  return now;
};
const calls = (): string[] => (existsSync(file('calls')) ? readFileSync(file('calls'), 'utf8').trim().split('\n') : []);
const forget = (): void => rmSync(file('calls'), { force: true });
const records = (): Promotions['environments'] => readPromotions(file('promotions')).environments;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ccc-promote-'));
  process.env['PATH'] = folder;
  for (const tool of Object.values(TOOLS)) { writeFileSync(file(tool), PLAYER); chmodSync(file(tool), 0o755); }
  world({ have: Object.assign({}, ...CLOUDS.map((cloud) => places(cloud, 'dev'))) as Record<string, string>, fail: {} });
  writeFileSync(file('lock'), JSON.stringify(LOCK));
  writeFileSync(file('promotions'), JSON.stringify({ version: 1, environments: { dev: [], staging: [], prod: [] } }));
  out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => { out += String(chunk); return true; });
  vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
});
afterEach(() => { process.env['PATH'] = path; vi.restoreAllMocks(); rmSync(folder, { recursive: true, force: true }); });

const run = (options: Omit<PromoteOptions, 'lock' | 'promotions'>): Promise<number> => promote({ lock: file('lock'), promotions: file('promotions'), now: () => Date.UTC(2026, 10, 24), commit: async () => COMMIT, ...options });
const refused = (work: Promise<unknown>): Promise<UserError> => work.then(() => { throw new Error('was not refused'); }, (error: unknown) => { if (error instanceof UserError) return error; throw error; });
/** Writes the records of a run without the run. */
function recorded(cloud: Cloud, ...environments: EnvironmentName[]): void {
  const { gateway, broker, counter } = LOCK.roles;
  const entry = (role: string, { image }: { image: string }, more: object) => ({ role, generation: 'blue', built: BUILT.commit, image, ...(cloud === 'aws' ? more : {}) });
  const entries = [entry('gateway', gateway.blue, {}), entry('broker', broker.blue, { PCR0: broker.blue.nitro.PCR0, eif: EIF(1) }), entry('counter', counter.blue, { PCR0: counter.blue.nitro.PCR0, eif: EIF(2) })];
  const at = (name: EnvironmentName) => (environments.includes(name) ? [{ cloud, commit: COMMIT, at: '2026-11-24T00:00:00.000Z', entries }] : []);
  writeFileSync(file('promotions'), JSON.stringify({ version: 1, environments: { dev: at('dev'), staging: at('staging'), prod: at('prod') } }));
}
const nothingRecorded = (environment: EnvironmentName): void => expect(records()[environment]).toEqual([]);

describe.each(CLOUDS)('%s', (cloud) => {
  test('dev admits, staging gets the same digests, a second run calls nothing', async () => {
    expect(await run({ to: 'dev', cloud: [cloud] })).toBe(0);
    expect(calls().some((line) => / copy/.test(line))).toBe(false);
    expect(await run({ from: 'dev', to: 'staging', cloud: [cloud], json: true })).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ ok: true, clouds: [{ cloud, recorded: true, copied: [expect.any(String), expect.any(String), expect.any(String)] }] });
    expect(world().have).toMatchObject(places(cloud, 'staging'));
    const { dev, staging } = records();
    expect(staging).toEqual(dev);
    expect(staging[0]).toMatchObject({ cloud, commit: COMMIT, at: '2026-11-24T00:00:00.000Z' });
    const before = readFileSync(file('promotions'), 'utf8');
    forget();
    for (const options of [{ to: 'dev' }, { from: 'dev', to: 'staging' }] as const) expect(await run({ ...options, cloud: [cloud] })).toBe(0);
    expect(calls()).toEqual([]);
    expect(readFileSync(file('promotions'), 'utf8')).toBe(before);
  });

  test('what is at the target with another digest stays, and nothing is recorded', async () => {
    recorded(cloud, 'dev');
    const [there = ''] = Object.keys(places(cloud, 'staging')).slice(-1);
    world({ have: { ...world().have, [there]: EIF(9) } });
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'DIGEST_DIFFERS', exit: 1, message: expect.stringContaining(`have ${EIF(9)}, need sha256:`) as string });
    expect(world().have[there]).toBe(EIF(9));
    nothingRecorded('staging');
  });

  test('another digest at the source than was recorded, or than was built, goes nowhere', async () => {
    const [there = ''] = Object.keys(places(cloud, 'dev'));
    const [enclave = there] = Object.keys(places(cloud, 'dev')).slice(-1);
    world({ have: { ...world().have, [enclave]: EIF(9) } });
    recorded(cloud, 'dev');
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'DIGEST_DIFFERS', message: expect.stringContaining('in dev') as string });
    expect(Object.values(world().have)).toHaveLength(CLOUDS.length * 3 + 2);
    nothingRecorded('staging');
    writeFileSync(file('promotions'), JSON.stringify({ version: 1, environments: { dev: [], staging: [], prod: [] } }));
    world({ have: { ...world().have, [there]: EIF(9) } });
    expect(await refused(run({ to: 'dev', cloud: [cloud] }))).toMatchObject({ code: 'DIGEST_DIFFERS' });
    nothingRecorded('dev');
  });

  test('a copy that does not keep the digest is not recorded', async () => {
    recorded(cloud, 'dev');
    world({ corrupt: EIF(8) });
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'DIGEST_DIFFERS' });
    nothingRecorded('staging');
  });

  test('missing at the source: at admission and later', async () => {
    const [gone = ''] = Object.keys(places(cloud, 'dev')).slice(-1);
    const { [gone]: _, ...have } = world().have;
    world({ have });
    expect(await refused(run({ to: 'dev', cloud: [cloud] }))).toMatchObject({ code: 'ARTIFACT_MISSING', exit: 1 });
    nothingRecorded('dev');
    recorded(cloud, 'dev');
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'ARTIFACT_MISSING', next: expect.stringContaining('never build') as string });
    nothingRecorded('staging');
  });

  test('no login of the cloud, an answer that is no "not there", no tool', async () => {
    recorded(cloud, 'dev');
    world({ fail: { [TOOLS[cloud]]: { aws: 'Unable to locate credentials.', azure: "Please run 'az login'", gcp: '$ gcloud auth login' }[cloud] } });
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'NOT_LOGGED_IN', exit: 1 });
    world({ fail: { [TOOLS[cloud]]: 'AccessDenied: no' } });
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'ASK_FAILED', message: expect.stringContaining('AccessDenied') as string });
    rmSync(file(TOOLS[cloud]));
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'CLI_ABSENT' });
    nothingRecorded('staging');
  });

  test('crane without a login, and one that fails', async () => {
    recorded(cloud, 'dev');
    world({ fail: { crane: 'Error: GET https://x/v2/: UNAUTHORIZED: authentication required' } });
    const login = { aws: /eu-central-1 \| crane auth login 222222222222/, azure: /az acr login --name cccstagingimages/, gcp: /configure-docker europe-west4-docker/ }[cloud];
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'NOT_LOGGED_IN', next: expect.stringMatching(login) as string });
    world({ fail: { crane: 'Error: connection reset' } });
    expect(await refused(run({ from: 'dev', to: 'staging', cloud: [cloud] }))).toMatchObject({ code: 'COPY_FAILED', next: expect.stringContaining('crane copy') as string });
    nothingRecorded('staging');
  });

  test('interrupted: a part is copied, or all of it and nothing recorded: goes on without copying twice', async () => {
    recorded(cloud, 'dev');
    const [first, ...others] = Object.entries(places(cloud, 'staging'));
    world({ have: { ...world().have, ...Object.fromEntries([first ?? []]) as Record<string, string> } });
    expect(await run({ from: 'dev', to: 'staging', cloud: [cloud] })).toBe(0);
    expect(calls().filter((line) => / copy/.test(line))).toHaveLength(others.length);
    recorded(cloud, 'dev');
    forget();
    expect(await run({ from: 'dev', to: 'staging', cloud: [cloud] })).toBe(0);
    expect(calls().filter((line) => / copy/.test(line))).toEqual([]);
    expect(records().staging).toHaveLength(1);
  });
});

test('to prod from staging, with dev empty', async () => {
  recorded('aws', 'dev', 'staging');
  world({ have: places('aws', 'staging') });
  expect(await run({ from: 'staging', to: 'prod', cloud: ['aws'] })).toBe(0);
  expect(world().have).toMatchObject(places('aws', 'prod'));
  for (const line of calls().filter((one) => one.includes('copy-object'))) expect(line).toMatch(/--expected-source-bucket-owner 222222222222 .*--expected-bucket-owner 333333333333 .*--checksum-algorithm SHA256/);
});

test('the first cloud is recorded before the second one fails', async () => {
  world({ fail: { gcloud: 'PERMISSION_DENIED' } });
  expect(await refused(run({ to: 'dev', cloud: ['azure', 'gcp'] }))).toMatchObject({ code: 'ASK_FAILED' });
  expect(records().dev.map(({ cloud }) => cloud)).toEqual(['azure']);
});

test.each<[string, Pick<PromoteOptions, 'from' | 'to' | 'cloud'>, string, RegExp]>([
  ['dev to prod', { from: 'dev', to: 'prod' }, 'SKIPS_ENVIRONMENT', /have --from dev, need --from staging/],
  ['prod to dev', { from: 'prod', to: 'dev' }, 'SKIPS_ENVIRONMENT', /need no --from/],
  ['staging to itself', { from: 'staging', to: 'staging' }, 'SKIPS_ENVIRONMENT', /need --from dev/],
  ['staging from nowhere', { to: 'staging' }, 'SKIPS_ENVIRONMENT', /have no --from/],
  ['another cloud', { to: 'dev', cloud: ['ibm'] }, 'CLOUD', /have ibm/],
])('wrong arguments: %s', async (_, options, code, message) => {
  recorded('aws', 'dev', 'staging');
  expect(await refused(run(options))).toMatchObject({ code, exit: 2, message: expect.stringMatching(message) as string });
  expect(calls()).toEqual([]);
});

test('placeholders, what the source has not recorded, and what the lock file does not hold: nothing is called', async () => {
  expect(await refused(run({ from: 'dev', to: 'staging', cloud: ['aws'] }))).toMatchObject({ code: 'NOT_RECORDED', exit: 1, next: 'ccc promote --to dev --cloud aws' });
  recorded('aws', 'dev');
  expect(await refused(run({ from: 'dev', to: 'staging', cloud: ['azure'] }))).toMatchObject({ code: 'NOT_RECORDED' });
  writeFileSync(file('lock'), JSON.stringify({ ...LOCK, roles: { ...LOCK.roles, counter: lockOf('2').roles.counter } }));
  const { code, message } = await refused(run({ from: 'dev', to: 'staging', cloud: ['aws'] }));
  expect({ code, have: message.includes(`have counter blue ${LOCK.roles.counter.blue.image}`), need: message.includes(`need counter blue ${lockOf('2').roles.counter.blue.image}`), gateway: message.includes('gateway') }).toEqual({ code: 'LOCK_DIFFERS', have: true, need: true, gateway: false });
  writeFileSync(file('lock'), JSON.stringify({ ...LOCK, roles: { ...LOCK.roles, broker: { ...LOCK.roles.broker, green: placeholderLock().roles.broker.green } } }));
  for (const options of [{ to: 'dev' }, { from: 'dev', to: 'staging' }] as const) expect(await refused(run({ ...options, cloud: ['aws'] }))).toMatchObject({ code: 'PLACEHOLDER', message: expect.stringContaining('broker-green') as string });
  expect(calls()).toEqual([]);
});

test('an enclave file without a SHA-256 of the whole is not admitted', async () => {
  world({ parts: true });
  expect(await refused(run({ to: 'dev', cloud: ['aws'] }))).toMatchObject({ code: 'DIGEST_UNKNOWN', next: expect.stringContaining('--checksum-algorithm SHA256') as string });
  nothingRecorded('dev');
});

test('--dry-run prints what a run would call, and calls nothing', async () => {
  recorded('aws', 'dev');
  expect(await run({ from: 'dev', to: 'staging', cloud: ['aws'], dryRun: true })).toBe(0);
  const printed = out.trim().split('\n');
  expect(calls()).toEqual([]);
  nothingRecorded('staging');
  await run({ from: 'dev', to: 'staging', cloud: ['aws'] });
  expect([...new Set(calls())].sort()).toEqual(printed.sort());
});

test('a lock file that no commit holds is not promoted', async () => {
  expect(await refused(headCommit(file('lock')))).toMatchObject({ code: 'NO_COMMIT' });
  const git = (status: string): void => { writeFileSync(file('git'), `#!${process.execPath}\nprocess.stdout.write(process.argv.includes('rev-parse') ? '${COMMIT}\\n' : process.argv.includes('status') ? '${status}' : 'lock\\n');\n`); chmodSync(file('git'), 0o755); };
  git(' M lock');
  expect(await refused(headCommit(file('lock')))).toMatchObject({ code: 'LOCK_UNCOMMITTED' });
  git('');
  expect(await headCommit(file('lock'))).toBe(COMMIT);
});

describe('promotions.json', () => {
  test('the committed one parses', () => { expect(readPromotions().version).toBe(1); });

  type Loose = Record<'dev' | 'staging' | 'prod', { at: string; commit: string; cloud: string; entries: Record<string, string>[] }[]>;
  test.each<[string, (e: Loose) => void, RegExp]>([
    ['staging without dev', (e) => { e.dev = []; }, /staging\.0: .*dev recorded/],
    ['another digest in staging', (e) => { e.staging[0]!.entries[0]!['image'] = EIF(7); }, /staging\.0: .*dev recorded/],
    ['staging before dev', (e) => { e.staging[0]!.at = '2026-11-23T00:00:00Z'; }, /staging\.0: .*before/],
    ['records out of order', (e) => { e.dev.push({ ...e.dev[0]!, at: '2026-11-23T00:00:00Z' }); }, /dev\.1\.at/],
    ['an unknown field', (e) => { e.dev[0]!.entries[0]!['tag'] = 'latest'; }, /dev\.0\.entries\.0/],
    ['a role twice', (e) => { e.dev[0]!.entries.push(e.dev[0]!.entries[0]!); }, /one entry per role/],
    ['an enclave without its file', (e) => { delete e.dev[0]!.entries[1]!['eif']; }, /PCR0 and eif/],
    ['a gateway with PCR0', (e) => { e.dev[0]!.entries[0]!['PCR0'] = 'a'.repeat(96); }, /PCR0 and eif/],
    ['a short commit', (e) => { e.dev[0]!.commit = 'abc'; }, /dev\.0\.commit/],
  ])('%s is refused, by its field', (_, change, message) => {
    recorded('aws', 'dev', 'staging');
    const value = JSON.parse(readFileSync(file('promotions'), 'utf8')) as { environments: Loose };
    expect(() => parsePromotions(JSON.stringify(value))).not.toThrow();
    change(value.environments);
    expect(() => parsePromotions(JSON.stringify(value))).toThrow(message);
  });

  test('no JSON, no file', async () => {
    expect(() => parsePromotions('{')).toThrow(/no JSON/);
    writeFileSync(file('promotions'), '{}');
    expect(await refused(run({ to: 'dev' }))).toMatchObject({ code: 'PROMOTION_FILE', exit: 1 });
    rmSync(file('promotions'));
    expect(await refused(run({ to: 'dev' }))).toMatchObject({ code: 'FILE', exit: 2 });
  });
});
