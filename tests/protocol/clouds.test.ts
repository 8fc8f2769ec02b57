/** Evidence of every cloud from the wire to an appraisal, live, by an owner's policy alone: simulated machines under its development roots, with simulated collateral. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { TrustRoot } from '../../attestation/adapter.ts';
import { d32, d64 } from '../../attestation/binding.ts';
import { hex } from '../../attestation/bytes.ts';
import type { Appraisal } from '../../attestation/claims.ts';
import { type CollateralItem, collateralOf } from '../../attestation/collateral/collateral.ts';
import type { BindingFields, Evidence, Role } from '../../attestation/evidence.ts';
import { encodeAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { encodeGkeEvidence } from '../../attestation/platforms/gke/container.ts';
import { SIMULATED_SELECTION, simulatedPcrs } from '../../attestation/platforms/simulated/azure.ts';
import { trustFromPolicy, type VerifyAttested, verifyAttested } from '../../workloads/protocol/appraised.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { type OwnerPolicy, policySchema } from '../../workloads/protocol/owner.ts';
import { azureWorld } from '../attestation/azure/support.ts';
import { gceWorld, NOW, sevNode, snpNode, tdxNode } from '../attestation/gke/support.ts';
import { BINDING } from '../attestation/support.ts';
import { codesOf } from './refusals.ts';

interface Machine { readonly evidence: Evidence; readonly roots: readonly TrustRoot[]; readonly collateral: readonly CollateralItem[] }
type Given = Parameters<typeof policySchema.parse>[0] & object;

const binding = (platform: 'azure-cvm' | 'gke', role: Role): BindingFields => ({ ...BINDING, platform, role });

async function azure(technology: 'snp' | 'tdx', role: Role): Promise<Machine> {
  const world = await azureWorld({ technology, extraData: await d32(binding('azure-cvm', role)) });
  return { ...world, evidence: { platform: 'azure-cvm', document: encodeAzureEvidence(world.parts) } };
}

async function gke(technology: 'snp' | 'tdx' | 'sev', role: Role): Promise<Machine> {
  const fields = binding('gke', role);
  const reportData = await d64(fields);
  const node = technology === 'snp' ? await snpNode({ reportData }) : technology === 'tdx' ? await tdxNode({ quote: { td: { reportData } } }) : await sevNode({ extraData: await d32(fields) });
  return { ...node, evidence: { platform: 'gke', document: encodeGkeEvidence(node.parts) } };
}

const MACHINES: Readonly<Record<string, (role: Role) => Promise<Machine>>> = {
  'Azure, SEV-SNP': (role) => azure('snp', role), 'Azure, TDX': (role) => azure('tdx', role),
  'GKE, SEV-SNP': (role) => gke('snp', role), 'GKE, TDX': (role) => gke('tdx', role), 'GKE, SEV': (role) => gke('sev', role),
};
const NAMES = Object.keys(MACHINES);
const machines = new Map<string, Machine>();
let base: Given;
const policy = (change: object = {}): OwnerPolicy => policySchema.parse({ ...base, ...change });

beforeAll(async () => {
  for (const [name, make] of Object.entries(MACHINES)) for (const role of ['counter', 'broker'] as const) machines.set(`${name} ${role}`, await make(role));
  const vtpm = (pcrs: ReadonlyMap<number, Uint8Array>) => Object.fromEntries(SIMULATED_SELECTION.map((i) => [`vTPM:PCR${i}`, hex(pcrs.get(i) as Uint8Array<ArrayBuffer>)]));
  const references = [
    { id: 'azure', platform: 'azure-cvm', registers: vtpm(simulatedPcrs()) },
    { id: 'gke-snp', platform: 'gke', registers: { LAUNCH: '04'.repeat(48) } },
    { id: 'gke-tdx', platform: 'gke', registers: { MRTD: '3d'.repeat(48), RTMR1: 'a1'.repeat(48), RTMR2: 'a2'.repeat(48) } },
    { id: 'gke-sev', platform: 'gke', registers: vtpm((await gceWorld()).pcrs) },
  ];
  const appraisal = (role: Role, scopes: string[]) => ({ id: `test/${role}`, role, references, maxAgeSeconds: 300, allowDevelopment: true, scopes });
  const roots = new Map([...machines.values()].flatMap(({ evidence, roots: list }) => list.map((r) => [`${evidence.platform} ${r.certSha256}`, { platform: evidence.platform, purpose: r.purpose, name: r.name, certSha256: r.certSha256, spkiSha256: r.spkiSha256 }])));
  base = {
    revision: 1, notAfter: NOW + 86_400, deployment: 'test', roles: { broker: appraisal('broker', ['vm']), counter: appraisal('counter', ['vm', 'node']) }, developmentRoots: [...roots.values()], revoked: [],
    zones: [{ name: 'here', regions: ['r'], origin: 'asserted' }], tenants: [{ tenant: '*', zones: ['here'], classifications: ['public'], scopes: ['vm', 'node'], egress: ['count'] }], detectors: [{ name: 'd', digest: 'd'.repeat(64), threshold: 0.5 }],
    directoryRevision: 1,
  };
});

function verify(name: string, role: Role = 'counter', change: Partial<VerifyAttested> = {}): Promise<Appraisal> {
  const { evidence, collateral } = machines.get(`${name} ${role}`) as Machine;
  const fields = binding(evidence.platform as 'azure-cvm' | 'gke', role);
  return verifyAttested({ attested: { evidence: fromEvidence(evidence), binding: fromBinding(fields) }, policy: policy(), now: NOW, mode: 'live', expect: fields, collateral: collateralOf(collateral), ...change } as VerifyAttested);
}

describe.each(NAMES)('%s', (name) => {
  it('is acceptable as a counter, as a warning: its roots are development roots', async () => {
    const appraisal = await verify(name);
    expect(appraisal.rules.filter((r) => r.outcome === 'fail')).toEqual([]);
    expect(appraisal).toMatchObject({ status: 'warning', claims: { anchor: 'development', time: { freshness: 'challenge' } } });
    expect(appraisal.claims.measurements.some((m) => m.matchedReference !== undefined)).toBe(true);
    expect(appraisal.rules.find((r) => r.id === 'revocation')?.outcome).toBe('pass');
  });

  it('is a broker only where the scope is a machine of its own', async () => {
    if (name.startsWith('GKE')) expect(await codesOf(() => verify(name, 'broker'))).toEqual(['SCOPE_NODE']);
    else expect((await verify(name, 'broker')).status).toBe('warning');
  });

  it('is refused without collateral', async () => {
    const codes = await codesOf(() => verify(name, 'counter', { collateral: undefined }));
    expect(codes.every((code) => ['CRL_ABSENT', 'COLLATERAL_ABSENT'].includes(code)), codes.join()).toBe(true);
  });

  it('is refused where its roots are not in the policy', async () => {
    const codes = await codesOf(() => verify(name, 'counter', { policy: policy({ developmentRoots: [] }) }));
    expect(codes).toContain('CHAIN_ROOT_UNPINNED');
  });
});

describe('an owner\'s demands on Google\'s machines', () => {
  it('reach the verifier', async () => {
    const gce = (demands: object) => ({ policy: policy({ gce: demands }) });
    expect(await codesOf(() => verify('GKE, SEV', 'counter', gce({ projects: ['1'] })))).toEqual(['GCE_AK']);
    expect(await codesOf(() => verify('GKE, SEV', 'counter', gce({ deniedInstances: ['7899197072425216309'] })))).toEqual(['GCE_AK']);
    expect((await verify('GKE, SEV', 'counter', gce({ projects: ['232923608972'], deniedInstances: ['1'] }))).status).toBe('warning');
    expect(await codesOf(() => verify('GKE, TDX', 'counter', gce({ owner: 'requireMatch' })))).toEqual(['PZID_ABSENT']);
    expect(await codesOf(() => verify('GKE, TDX', 'counter', gce({ host: 'require' })))).toEqual(['COLLATERAL_ABSENT']);
    expect(await codesOf(() => verify('GKE, SEV-SNP', 'counter', gce({ endorsement: { svn: 1, timestamp: 0 } })))).toEqual(['COLLATERAL_ABSENT']);
    expect(trustFromPolicy(policy({ gce: {} }), NOW).gce).toEqual({});
    // Azure's machines have none of this
    expect((await verify('Azure, TDX', 'counter', gce({ host: 'require', projects: [] }))).status).toBe('warning');
  });

  it('are optional, and closed where they are stated', () => {
    expect(policy().gce).toBeUndefined();
    for (const gce of [{ project: ['1'] }, { projects: [1] }, { projects: ['01'] }, { projects: ['1e3'] }, { host: 'maybe' }, { owner: 'require' }, { endorsement: { svn: 1 } }, { endorsement: { svn: -1, timestamp: 0 } }, null]) {
      expect(policySchema.safeParse({ ...base, gce }).success, JSON.stringify(gce)).toBe(false);
    }
  });
});
