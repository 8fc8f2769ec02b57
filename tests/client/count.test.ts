import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bytes } from '../../attestation/bytes.ts';
import { ApiError } from '../../workloads/client/api.ts';
import { type CountOptions, countPicture, resumeJob } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { verifyReceipt } from '../../workloads/client/receipt.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import type { StepReport } from '../../workloads/client/steps.ts';
import { memoryJobs } from '../../workloads/client/store.ts';
import { fileJobs, fileSeen } from '../../workloads/client/store-node.ts';
import { codesOf } from '../protocol/refusals.ts';
import { type FakeApi, fakeApi, type Lies } from './fake-api.ts';
import { createFixture, type Fixture, NOW, TENANT, ZONE } from './fixture.ts';

let f: Fixture;
let picture: Uint8Array;
let folder: string;
beforeAll(async () => {
  f = await createFixture();
  picture = bytes(await sharp({ create: { width: 64, height: 48, channels: 3, background: '#c96' } }).jpeg().withMetadata({ exif: { IFD0: { Copyright: 'Katzengasse 7' } } }).toBuffer());
});
afterAll(() => f.dispose());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccc-count-'));
  return () => rm(folder, { recursive: true, force: true });
});

const options = (api: FakeApi, changed: Partial<CountOptions> = {}): CountOptions => ({
  api, esdk, ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, classification: 'confidential', bytes: picture, audience: 'https://client.example',
  seen: memorySeen(), jobs: memoryJobs(), now: () => NOW * 1000, ...changed,
});
const withLies = (lies: Lies, changed: Partial<CountOptions> = {}) => codesOf(() => countPicture(options(fakeApi(f, lies), changed)));

describe('counting a picture', () => {
  it('gives a verified count, a receipt, and every step', async () => {
    const reports: StepReport[] = [];
    const api = fakeApi(f);
    const counted = await countPicture(options(api, { onStep: (r) => reports.push(r) }));
    expect(counted).toMatchObject({ outcome: 'completed', counted: 2, simulated: true, platform: 'aws-nitro' });
    expect(counted.boxes?.length).toBe(2);
    expect(reports.filter((r) => r.status === 'pass').map((r) => r.step)).toEqual(
      ['picture', 'policy', 'directory', 'evidence', 'manifest', 'encrypted', 'accepted', 'leased', 'released', 'counted', 'verified', 'receipt']);
    const verdict = await verifyReceipt(JSON.parse(JSON.stringify(counted.receipt)), f.owner.publicKey, NOW + 1e7);
    expect([verdict.result?.count, verdict.job_id]).toEqual([2, counted.jobId]);
    // What left is neither the file nor its metadata; what the counter saw is the picture without them.
    expect(Buffer.from(picture).includes('Katzengasse')).toBe(true);
    expect(Buffer.from(api.pictures[0]!).includes('Katzengasse')).toBe(false);
    expect(Buffer.from(api.messages[0]!).includes(Buffer.from(api.pictures[0]!.subarray(-64)))).toBe(false);
    expect(JSON.stringify(reports.map((r) => r.raw ?? null))).not.toContain('private_key');
  });

  it('of a rejected picture gives the code, no count', async () => {
    const counted = await countPicture(options(fakeApi(f, { payload: { outcome: 'rejected', code: 'PICTURE_TOO_LARGE', result: undefined } })));
    expect(counted).toMatchObject({ outcome: 'rejected', code: 'PICTURE_TOO_LARGE' });
    expect('counted' in counted || 'result' in counted).toBe(false);
  });

  it('uses a key manifest for several pictures while it is fresh', async () => {
    const api = fakeApi(f);
    const { verifyManifest, newManifestRequest } = await import('../../workloads/client/manifest.ts');
    const request = newManifestRequest('https://client.example');
    const manifest = await verifyManifest({ request, response: await f.respond(request), ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen: memorySeen() });
    await countPicture(options(api, { manifest }));
    expect(api.calls).not.toContain('manifest');
    f.now = NOW + 301;
    await countPicture(options(api, { manifest, now: () => f.now * 1000 }));
    f.now = NOW;
    expect(api.calls).toContain('manifest');
  });

  it('sends nothing when the picture, the manifest or the policy is not as it should be', async () => {
    const cases: [string, Lies, Partial<CountOptions>][] = [
      ['PICTURE_FORMAT', {}, { bytes: new Uint8Array(10) }],
      ['MANIFEST_TENANT', { manifest: { manifest: { tenant_id: 'globex' } } }, {}],
      ['BINDING_ROLE', { manifest: { workload: await f.workload('counter') } }, {}],
      ['CLASSIFICATION_DENIED', {}, { classification: 'restricted' }],
      ['KEY_STATE', { manifest: { manifest: { keys: [{ ...f.tenantKey, state: 'retiring' }] } } }, {}],
    ];
    for (const [code, lies, changed] of cases) {
      const api = fakeApi(f, lies);
      expect(await codesOf(() => countPicture(options(api, changed)))).toContain(code);
      expect(api.calls).not.toContain('submit');
    }
  });

  it('believes no gateway that says it took another message, or another outcome, or that has no result', async () => {
    const api = fakeApi(f);
    const { submit } = api;
    api.submit = async (message) => ({ ...(await submit(message)), message_digest: '0'.repeat(64) });
    expect(await codesOf(() => countPicture(options(api)))).toEqual(['RESULT_MESSAGE']);
    expect(await withLies({ job: (job) => ({ ...job, state: 'failed' }) })).toEqual(['RESULT_OUTCOME']);
    expect(await withLies({ job: ({ result: _, ...job }) => job })).toEqual(['RESULT_ABSENT']);
    expect(await withLies({ job: ({ counter: _, ...job }) => ({ ...job, state: 'rejected', code: 'MESSAGE_FORMAT' }) })).toEqual(['RESULT_ABSENT']);
  });

  it('believes no result of another picture that the gateway put under this job', async () => {
    // The gateway encrypts a picture of its own to the public tenant key, with this job's id and this client's result key.
    const api = fakeApi(f);
    const { submit } = api;
    api.submit = async (message) => {
      const { parseMessage } = await import('../../workloads/protocol/message.ts');
      const answer = await submit(message);
      await submit(await esdk.encryptMessage(new Uint8Array(picture), parseMessage(message).context, f.tenantKey));
      return answer;
    };
    expect(await codesOf(() => countPicture(options(api)))).toEqual(['RESULT_MESSAGE']);
  });

  it('believes no result that was sealed to a key of the gateway, or of another job', async () => {
    const [one, two] = [fakeApi(f), fakeApi(f)];
    await countPicture(options(two));
    const foreign = (await two.jobs())[0]!;
    one.lies = { job: (job) => ({ ...job, result: foreign.result! }) };
    expect(await codesOf(() => countPicture(options(one)))).toEqual(['SEAL_OPEN']);
  });

  it('follows the owner to a new policy while a job is under way, and nobody back to an old one', async () => {
    const newer = await f.signPolicy({ revision: 8 });
    const api = fakeApi(f, { session: { policyJws: newer }, payload: { policy_revision: 8 } });
    const seen = memorySeen();
    const counting = countPicture(options(api, { seen, onStep: (r) => { if (r.step === 'accepted') api.lies.manifest = { policyJws: newer }; } }));
    const counted = await counting;
    expect([counted.counted, api.calls.filter((c) => c === 'manifest').length]).toEqual([2, 2]);
    await verifyReceipt(counted.receipt, f.owner.publicKey, NOW);
    const older = await f.signPolicy({ revision: 6 });
    const back = fakeApi(f, { session: { policyJws: older }, payload: { policy_revision: 6 } });
    expect(await codesOf(() => countPicture(options(back, { onStep: (r) => { if (r.step === 'accepted') back.lies.manifest = { policyJws: older }; } })))).toEqual(['POLICY_ROLLBACK']);
    expect(await withLies({ session: { policyJws: older } })).toEqual(['BINDING_POLICY']);
  });
});

describe('a client that was stopped', () => {
  /** The gateway cannot be reached by this call, until healed. */
  const failing = (api: FakeApi, call: 'submit' | 'job') => {
    const real = api[call];
    const cut = async () => { throw new ApiError('NETWORK', 'cut'); };
    Object.assign(api, { [call]: cut });
    return () => { Object.assign(api, { [call]: real }); };
  };

  it.each(['submit', 'job'] as const)('in %s gets its result later, in a new process', async (call) => {
    const api = fakeApi(f);
    const heal = failing(api, call);
    const stores = () => ({ seen: fileSeen(folder), jobs: fileJobs(folder) });
    await expect(countPicture(options(api, stores()))).rejects.toThrow('NETWORK');
    heal();
    const [jobId] = await stores().jobs.pending();
    const counted = await resumeJob({ ...options(api, stores()), jobId: jobId! });
    expect(counted).toMatchObject({ jobId, outcome: 'completed', counted: 2 });
    expect(await stores().jobs.pending()).toEqual([]);
    expect(new Set(api.messages.map((m) => Buffer.from(m).toString('hex'))).size).toBe(1);
    expect(JSON.parse(await readFile(fileJobs(folder).receiptPath(jobId!), 'utf8'))).toEqual(JSON.parse(JSON.stringify(counted.receipt)));
  });

  it('long ago still verifies what it stored then', async () => {
    const api = fakeApi(f);
    const heal = failing(api, 'job');
    const jobs = memoryJobs();
    await expect(countPicture(options(api, { jobs }))).rejects.toThrow('NETWORK');
    heal();
    const [jobId] = await jobs.pending();
    expect((await resumeJob({ ...options(api, { jobs, now: () => (NOW + 90 * 86_400) * 1000 }), jobId: jobId! })).counted).toBe(2);
  });

  it('keeps no key and no message once it has the result, and all files to itself', async () => {
    const api = fakeApi(f);
    const heal = failing(api, 'job');
    const store = { seen: fileSeen(folder), jobs: fileJobs(folder) };
    await expect(countPicture(options(api, store))).rejects.toThrow('NETWORK');
    const kept = await readdir(join(folder, 'jobs'));
    expect(kept.length).toBe(2);
    for (const file of [...kept.map((name) => join('jobs', name)), 'seen.json']) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
    heal();
    await resumeJob({ ...options(api, store), jobId: (await store.jobs.pending())[0]! });
    expect(await readdir(join(folder, 'jobs'))).toEqual([]);
  });

  it('is told when nothing is left to resume', async () => {
    const none = '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11';
    expect(await codesOf(() => resumeJob({ ...options(fakeApi(f)), jobId: none }))).toEqual(['RESULT_ABSENT']);
    const api = fakeApi(f);
    const heal = failing(api, 'submit');
    const jobs = fileJobs(folder);
    await expect(countPicture(options(api, { jobs }))).rejects.toThrow('NETWORK');
    heal();
    const [jobId] = await jobs.pending();
    await rm(join(folder, 'jobs', `${jobId}.message`));
    expect(await codesOf(() => resumeJob({ ...options(api, { jobs }), jobId: jobId! }))).toEqual(['RESULT_ABSENT']);
  });

  it('does not take a damaged memory for an empty one', async () => {
    await writeFile(join(folder, 'seen.json'), '{"a":');
    await expect(countPicture(options(fakeApi(f), { seen: fileSeen(folder) }))).rejects.toThrow(SyntaxError);
    await expect(fileJobs(folder).get('../seen')).rejects.toThrow();
  });

  it('remembers revisions across processes', async () => {
    await countPicture(options(fakeApi(f, { manifest: { policyJws: await f.signPolicy({ revision: 8 }) }, session: { policyJws: await f.signPolicy({ revision: 8 }) }, payload: { policy_revision: 8 } }), { seen: fileSeen(folder) }));
    expect(await withLies({}, { seen: fileSeen(folder) })).toEqual(['POLICY_ROLLBACK']);
  });
});
