/**
 * The policy that a deployment's owner signs, from the lock file: what brokers, gateways and clients accept is what key policies, release policies and token conditions
 * accept. Both generations while both run. Schema: workloads/protocol/owner.ts (a test parses it with that). Pure; unsigned.
 */
import { DEFAULT_SNP } from '../attestation/appraise-snp.ts';
import { need, needWhole } from './configuration-error.ts';
import type { Cloud, Environment } from './environments.ts';
import { acceptedFor, DENIED } from './generations.ts';
import { GENERATIONS, type MeasurementLock, type TeeEntry } from './measurements.ts';

export interface OwnerPolicyProps {
  readonly environment: Environment;
  readonly lock: MeasurementLock;
  /** Higher than that of every policy that was signed before. */
  readonly revision: number;
  /** Of the signed cell directory that goes with it, or an earlier one whose word is still good enough. */
  readonly directoryRevision: number;
  /** Epoch seconds. */
  readonly notAfter: number;
  /** Clouds of the deployment. */
  readonly clouds: readonly Cloud[];
  /** Counters on GKE nodes, whose evidence names the node and not the container. */
  readonly nodes: boolean;
  /** Accepts Milan beyond what the environment's acceptedGenerations say, for both roles. */
  readonly milan: boolean;
  readonly detectors: readonly { readonly name: string; readonly digest: string; readonly threshold: number }[];
}

interface Reference { readonly id: string; readonly platform: string; readonly registers: Readonly<Record<string, string>> }

/** What evidence of each platform shows for one entry. Azure's sizes are all SEV-SNP (environments.ts), so that a launch measurement is one. */
const nitro = ({ nitro: { PCR0, PCR1, PCR2, PCR8 } }: TeeEntry) => ({ PCR0, PCR1, PCR2, PCR8 });
const azure = ({ azure: { launch, pcrs } }: TeeEntry) => ({ ...Object.fromEntries(Object.entries(pcrs).map(([pcr, value]) => [`vTPM:PCR${pcr}`, value])), LAUNCH: launch });
const snpNode = ({ gke }: TeeEntry) => ({ LAUNCH: gke.launch });
const tdxNode = ({ gke }: TeeEntry) => ({ MRTD: gke.mrtd, RTMR1: gke.rtmr1, RTMR2: gke.rtmr2 });
const container = ({ image }: TeeEntry) => ({ IMAGE: image.slice('sha256:'.length) });

type Shown = readonly { readonly cloud: Cloud; readonly platform: string; readonly of: string; readonly scope: string; readonly registers: (entry: TeeEntry) => Record<string, string> }[];
const SHOWN: Readonly<Record<'broker' | 'counter', Shown>> = {
  broker: [
    { cloud: 'aws', platform: 'aws-nitro', of: 'nitro', scope: 'enclave', registers: nitro }, { cloud: 'azure', platform: 'azure-cvm', of: 'azure', scope: 'vm', registers: azure },
    { cloud: 'gcp', platform: 'confidential-space', of: 'confidential-space', scope: 'container', registers: container },
  ],
  counter: [
    { cloud: 'aws', platform: 'aws-nitro', of: 'nitro', scope: 'enclave', registers: nitro }, { cloud: 'azure', platform: 'azure-cvm', of: 'azure', scope: 'vm', registers: azure },
    { cloud: 'gcp', platform: 'gke', of: 'gke-snp', scope: 'node', registers: snpNode }, { cloud: 'gcp', platform: 'gke', of: 'gke-tdx', scope: 'node', registers: tdxNode },
  ],
};

/** @throws ConfigurationError when no evidence could satisfy a role, or a validity is none */
export function ownerPolicy({ environment, lock, revision, directoryRevision, notAfter, clouds, nodes, milan, detectors }: OwnerPolicyProps) {
  needWhole('policy.revision', revision, 1, Number.MAX_SAFE_INTEGER);
  needWhole('policy.directoryRevision', directoryRevision, 1, Number.MAX_SAFE_INTEGER);
  needWhole('policy.notAfter', notAfter, 1, Number.MAX_SAFE_INTEGER, 'epoch seconds');
  need(detectors.length > 0, 'policy.detectors', detectors, 'at least one');
  const name = environment.name;
  const shown = (role: 'broker' | 'counter') => SHOWN[role].filter(({ cloud, scope }) => clouds.includes(cloud) && (nodes || scope !== 'node'));
  for (const { generation, until } of (['broker', 'counter'] as const).flatMap((role) => acceptedFor(environment, role, clouds))) {
    need(notAfter * 1_000 <= Date.parse(until), 'policy.notAfter', new Date(notAfter * 1_000).toISOString(), `not after ${until}, when ${generation} is no longer accepted`);
  }
  const deniedFor = (role: 'broker' | 'counter') => { const accepted = new Set(acceptedFor(environment, role, clouds).map(({ generation }) => generation)); return DENIED.filter((generation) => !milan && !accepted.has(generation)); };
  const appraisal = (role: 'broker' | 'counter') => {
    const references: Reference[] = GENERATIONS.flatMap((generation) => {
      const entry = lock.roles[role][generation];
      return entry === undefined ? [] : shown(role).map(({ platform, of, registers }) => ({ id: `${role}-${generation}/${of}`, platform, registers: registers(entry) }));
    });
    need(references.length > 0, `policy.roles.${role}`, clouds, 'a platform on which this role runs');
    return { id: `ccc-${name}/${role}`, role, maxAgeSeconds: 300, allowDevelopment: false, scopes: [...new Set(shown(role).map(({ scope }) => scope))], snp: { ...DEFAULT_SNP, deniedGenerations: deniedFor(role) }, references };
  };
  const roles = { broker: appraisal('broker'), counter: appraisal('counter') };
  return {
    revision, notAfter, deployment: `ccc-${name}`, roles, developmentRoots: [], revoked: [],
    // No evidence proves a region on every platform: the zone says that the cells' word is taken for it.
    zones: [{ name, regions: clouds.map((cloud) => regionOf(environment, cloud)), origin: 'asserted' }],
    tenants: [{ tenant: '*', zones: [name], classifications: ['public', 'internal', 'confidential', 'restricted'], scopes: roles.counter.scopes, egress: ['count', 'boxes', 'scores', 'image'] }],
    detectors: detectors.map((detector) => ({ ...detector })), directoryRevision,
  };
}

const regionOf = ({ aws, azure: az, gcp }: Environment, cloud: Cloud): string => ({ aws: aws.region, azure: az.location, gcp: gcp.region })[cloud];
