/** A cell of Azure's and one of Google's machines (Nitro's is in all other tests), on this machine: simulated evidence in the cloud's own formats, collateral from vendors that the cell plays itself, one picture counted and verified. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { at } from '../../scripts/cell/folder.ts';
import type { CellPlatform } from '../../scripts/cell/machines.ts';
import { prepareCell } from '../../scripts/cell/prepare.ts';
import { countPicture } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { verifyReceipt } from '../../workloads/client/receipt.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { KEYS } from '../attestation/path-support.ts';
import { clientOf, logOf, processOf, type TestCell, testCell } from './harness.ts';
import { until } from './processes.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next();
});

const EXPECTED = {
  'azure-cvm': { broker: 'azure-cvm', cloud: 'azure', scopes: ['vm', 'vm'], technology: ['sev-snp', 'sev-snp'], carried: [['amd-crl', 'azure-vtpm-crl'], ['amd-crl', 'azure-vtpm-crl']] },
  gke: { broker: 'confidential-space', cloud: 'gcp', scopes: ['container', 'node'], technology: ['tdx', 'sev-snp'], carried: [['google-crl'], ['amd-chain', 'amd-crl', 'amd-vek']] },
} as const satisfies Partial<Record<CellPlatform, unknown>>;

const kinds = (wire: readonly { readonly kind: string }[] | undefined): string[] => (wire ?? []).map(({ kind }) => kind).sort();
const picture = async (): Promise<Uint8Array> => (await demoPictures()).find((p) => p.file === 'cat-view-11.png')?.bytes as Uint8Array;

async function started(platform: CellPlatform): Promise<TestCell> {
  const cell = await testCell(1, { platform, keys: KEYS });
  cleanups.push(() => cell.close());
  return cell;
}

/** Vendors that do not answer stop a counter that starts then, for as long as they do not, and no longer. */
async function withoutVendors(cell: TestCell): Promise<void> {
  const [broker, counter] = [processOf(cell, 'broker'), processOf(cell, 'counter-1')];
  const opened = async (): Promise<number> => (await logOf(cell, 'broker')).filter((line) => line['event'] === 'session-opened').length;
  await cell.vendors?.stop();
  await Promise.all([counter.stop(), broker.stop()]);
  // Nothing at hand: neither in memory nor on disk.
  await rm(join(cell.folder, 'collateral', 'broker'), { recursive: true });
  const before = await opened();
  broker.start();
  counter.start();
  await until('the counter is refused', 40_000, async () => (await logOf(cell, 'counter-1')).some((line) => JSON.stringify(line).includes('COLLATERAL_UNAVAILABLE')));
  expect([before > 0, await opened()]).toEqual([true, before]);
  await cell.vendors?.start();
  await until('the counter is attested', 60_000, async () => await opened() > before);
}

describe.each(Object.keys(EXPECTED) as (keyof typeof EXPECTED)[])('a cell of %s', (platform) => {
  it('counts one picture, verified by a client that reaches no vendor', async () => {
    const expected = EXPECTED[platform];
    const cell = await started(platform);
    expect(cell.cell).toMatchObject({ platform, cloud: expected.cloud, simulated: true });
    const client = clientOf(cell);
    const manifest = await client.manifest();
    expect(manifest.appraisal.claims).toMatchObject({ platform: expected.broker, anchor: 'development', hardware: { technology: expected.technology[0] }, workload: { binding: { scope: expected.scopes[0] } } });
    expect(kinds(manifest.response.collateral)).toEqual(expected.carried[0]);

    const counted = await countPicture({ ...client, esdk, manifest, classification: 'internal', bytes: await picture() }).catch(async (error: unknown) => { throw new Error(`${(error as Error).message}\n${await cell.logs()}`, { cause: error }); });
    expect(counted).toMatchObject({ outcome: 'completed', counted: 1, platform, simulated: true });
    expect(kinds(counted.receipt.counter.collateral)).toEqual(expected.carried[1]);
    // All of it again from the receipt alone, and not without what the vendors signed.
    const now = Math.floor(Date.now() / 1000);
    expect((await verifyReceipt(counted.receipt, cell.ownerKey, now)).result?.count).toBe(1);
    const { collateral: _, ...bare } = counted.receipt.manifest;
    await expect(verifyReceipt({ ...counted.receipt, manifest: bare }, cell.ownerKey, now)).rejects.toThrow('CRL_ABSENT');
    // On disk, for when a vendor is away.
    for (const role of ['broker', 'gateway']) expect((await readdir(join(cell.folder, 'collateral', role))).length).toBeGreaterThan(0);
    const lock = JSON.parse(await readFile(at(cell.folder).lock, 'utf8')) as { platform: string; roles: { counter: Record<string, string> } };
    expect([lock.platform, Object.keys(lock.roles.counter).length > 0]).toEqual([platform, true]);
    if (platform === 'gke') await withoutVendors(cell);
  });
});

describe('a folder of a cell', () => {
  it('keeps its machines, their roots and its policy when it is prepared again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-platform-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const first = await prepareCell(folder, { platform: 'azure-cvm', keys: KEYS });
    const again = await prepareCell(folder);
    expect(again.cell).toEqual(first.cell);
    expect(again.policyRevision).toBe(first.policyRevision);
    // Another cloud is another configuration, and the owner signs what it needs.
    const other = await prepareCell(folder, { platform: 'gke', keys: KEYS });
    expect(other.cell).toMatchObject({ platform: 'gke', brokerPlatform: 'confidential-space', cloud: 'gcp' });
    expect(other.policyRevision).toBe(first.policyRevision + 1);
  });
});
