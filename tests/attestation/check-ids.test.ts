/** Checks have closed lists of ids: what adapters record over a corpus of simulated evidence is in them, and each acceptance speaks of all of its list. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { d64 } from '../../attestation/binding.ts';
import { hex, sha384, utf8 } from '../../attestation/bytes.ts';
import { allChecks, CHECK_IDS, type CheckedKind } from '../../attestation/check-ids.ts';
import { CheckList } from '../../attestation/checks.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import { gceOwnerText } from '../../attestation/hardware/tdx/gce.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { simulatedPcrs } from '../../attestation/platforms/simulated/azure.ts';
import { buildEventLog, simulatedBoot } from '../../attestation/platforms/simulated/event-log.ts';
import { parseEventLog, replayEventLog } from '../../attestation/formats/tcg-event-log.ts';
import { PCK_FIELDS } from '../../attestation/platforms/simulated/tdx-pki.ts';
import { azureWorld, trustOf as azureTrust, verify as azure } from './azure/support.ts';
import { BINDING as GKE_BINDING, item, replay, sevNode, snpNode, tdxNode, verify as gke } from './gke/support.ts';
import { verify as confidentialSpace } from './confidential-space/support.ts';
import { evidence, EXPECT, world } from './support.ts';

const recorded = new Set<string>();
const spies: { mockRestore(): void }[] = [];
beforeAll(() => {
  const { that, parse, skipped } = CheckList.prototype;
  spies.push(vi.spyOn(CheckList.prototype, 'that').mockImplementation(function (this: CheckList, ...args) { recorded.add(args[0]); return that.apply(this, args); }));
  spies.push(vi.spyOn(CheckList.prototype, 'parse').mockImplementation(function (this: CheckList, ...args) { recorded.add(args[0]); return parse.apply(this, args); }));
  spies.push(vi.spyOn(CheckList.prototype, 'skipped').mockImplementation(function (this: CheckList, ...args) { recorded.add(args[0]); skipped.apply(this, args); }));
});
afterAll(() => { for (const spy of spies) spy.mockRestore(); });

type Acceptance = () => Promise<NormalizedClaims>;
const boot = async () => simulatedPcrs(Object.fromEntries(await replayEventLog(parseEventLog(await buildEventLog(simulatedBoot()), 'log'), 'sha256')));
const INSTANCE = { instanceId: 7n, numericalProjectId: 8n, zone: 'europe-west4-a' };
const HOST = item('gce-host', hex(PCK_FIELDS.ppid), utf8(JSON.stringify({ zone: 'z', timestamp: 't' })));

const ACCEPTED: Readonly<Record<CheckedKind, readonly Acceptance[]>> = {
  'aws-nitro': [
    async () => { const w = await world(); return awsNitro.verify(await evidence(w), EXPECT, w.trust); },
    async () => { const w = await world(); return awsNitro.verifyReplay(await evidence(w), EXPECT, w.trust); },
  ],
  'confidential-space': [async () => confidentialSpace({ trust: { gce: { projects: ['1000'], deniedInstances: ['1'] } } }), async () => confidentialSpace({ mode: 'replay' })],
  'azure-cvm/sev-snp': [
    async () => azure(await azureWorld()), async () => azure(await azureWorld({ events: simulatedBoot(), pcrs: await boot() }), { expect: { boot: { resetCount: 3, restartCount: 0 } } }),
    async () => azure(await azureWorld(), { parts: { ak: undefined } }), async () => { const w = await azureWorld(); return azure(w, { trust: { ...azureTrust(w), revocation: 'ifAvailable', collateral: undefined } }); },
  ],
  'azure-cvm/tdx': [async () => azure(await azureWorld({ technology: 'tdx' })), async () => azure(await azureWorld({ technology: 'tdx', tdx: { quote: { version: 5 } }, events: simulatedBoot(), pcrs: await boot() }))],
  'gke/sev-snp': [async () => gke(await snpNode()), async () => replay(await snpNode())],
  'gke/tdx': [
    async () => gke(await tdxNode()),
    async () => gke(await tdxNode({ quote: { version: 5, td: { reportData: await d64(GKE_BINDING), mrOwner: await sha384(utf8(gceOwnerText(INSTANCE))) } } }, { instance: INSTANCE }), { with: [HOST], trust: { gce: { owner: 'requireMatch', host: 'require', projects: ['8'], deniedInstances: ['9'] } } }),
  ],
  'gke/sev': [async () => gke(await sevNode()), async () => gke(await sevNode(), { trust: { gce: { projects: ['232923608972'], deniedInstances: ['1'] } }, expect: { boot: { resetCount: 3, restartCount: 0 } } })],
};

/** What only other evidence calls for: VLEKs, reports of version 2, chains out of collateral, endorsements, a firmware's log inside of a TD. Their own tests record them. */
const ELSEWHERE = /^(SNP-(CHAIN|COLLATERAL|CSP-ID|HINT|VERSION-TWO|CHIP-ID)|GCE-(?!AK-).*|EVENTLOG-.*|GKE-BOOT|AZURE-BOOT)$/;

describe.each(Object.entries(ACCEPTED) as [CheckedKind, readonly Acceptance[]][])('%s', (kind, acceptances) => {
  test('each acceptance speaks of every check, and of no other', async () => {
    recorded.clear();
    const passed = new Set<string>();
    for (const accepted of acceptances) {
      const { checks } = await accepted();
      expect([...new Set(checks.map((c) => c.id))].sort()).toEqual(CHECK_IDS[kind]);
      for (const c of checks) expect(['pass', 'not-applicable', 'skipped-by-policy']).toContain(c.result);
      const [made, absent] = [new Set(checks.filter((c) => c.result !== 'not-applicable').map((c) => c.id)), checks.filter((c) => c.result === 'not-applicable')];
      expect(absent.filter((c) => made.has(c.id))).toEqual([]);
      for (const id of made) passed.add(id);
    }
    expect([...recorded].filter((id) => !CHECK_IDS[kind].includes(id))).toEqual([]);
    expect([...passed].sort()).toEqual([...recorded].sort());
    // Nothing is in the list that nobody records
    expect(CHECK_IDS[kind].filter((id) => !recorded.has(id) && !ELSEWHERE.test(id))).toEqual([]);
  });
});

test('the lists are frozen, sorted, without doubles', () => {
  expect(Object.isFrozen(CHECK_IDS)).toBe(true);
  for (const ids of Object.values(CHECK_IDS)) {
    expect(Object.isFrozen(ids)).toBe(true);
    expect([...new Set(ids)].sort()).toEqual(ids);
    for (const id of ids) expect(id).toMatch(/^(NITRO|AZURE|CS|HCL|GKE|GCE|SNP|TDX|TPM|EVENTLOG)(-[A-Z]+)+$/);
  }
});

test('what was made stays as it was; the rest is said not to apply', () => {
  const done = [{ id: 'NITRO-AGE', result: 'skipped-by-policy', evidenceRef: 'document.timestamp' }] as const;
  const all = allChecks('aws-nitro', done);
  expect(all[0]).toBe(done[0]);
  expect(all.filter((c) => c.id === 'NITRO-AGE')).toHaveLength(1);
  expect(all.slice(1).every((c) => c.result === 'not-applicable')).toBe(true);
});

