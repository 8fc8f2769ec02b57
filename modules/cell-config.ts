/**
 * `cell.json` of a deployed cell: one file, the same bytes for each of its processes. Its SHA-256 is the config digest in the evidence and in the owner's
 * directory. Schema: workloads/protocol/cell.ts (a test parses each of these with it). Ports and names are part of the contract of the images (docs/images.md).
 */
import { createHash } from 'node:crypto';
import { attestationUri } from './azure/release-policy.ts';
import type { Cloud, Environment } from './environments.ts';
import { namer } from './naming.ts';

/** Listeners of a cell, the same in each cloud. */
export const PORTS = { public: 8443, internal: 8444, broker: 8445, health: 8446 } as const;
/** Names inside a cell: private DNS, or `/etc/hosts` and socat bridges inside an enclave. */
export const HOSTS = { gateway: 'gateway.ccc.internal', broker: 'broker.ccc.internal' } as const;

const PLATFORM = { aws: 'aws-nitro', azure: 'azure-cvm', gcp: 'gke' } as const;
const REGION = { aws: (e: Environment) => e.aws.region, azure: (e: Environment) => e.azure.location, gcp: (e: Environment) => e.gcp.region } as const;

/** Where the cell's attested key is (modules/<cloud>/attested-key.ts): in this file, so that the owner's directory covers it. */
const SEALER = {
  aws: (e: Environment) => ({ kind: 'aws-kms', key: `arn:aws:kms:${e.aws.region}:${e.aws.account}:alias/${namer(e)('kms-alias', 'data')}` }),
  azure: (e: Environment) => ({ kind: 'azure-skr', vault: `https://${namer(e)('key-vault', 'att')}.vault.azure.net`, attestation: attestationUri(namer(e)('attestation-provider', 'maa'), e.azure.attestationRegion) }),
  gcp: (e: Environment) => ({
    kind: 'gcp-kms', key: `projects/${e.gcp.project}/locations/${e.gcp.keyLocation}/keyRings/${namer(e)('key-ring', 'attested')}/cryptoKeys/data`,
    audience: `https://iam.googleapis.com/projects/${e.gcp.projectNumber}/locations/global/workloadIdentityPools/${namer(e)('workload-identity-pool', 'attested')}/providers/confidential-space`,
  }),
} as const;

export interface CellFile { readonly name: string; readonly json: string; /** Hex. */ readonly digest: string }

export function cellFile(environment: Environment, cloud: Cloud): CellFile {
  const name = `${cloud}-${environment.name}`;
  const json = JSON.stringify({
    cell: name, cloud, region: REGION[cloud](environment), epoch: 1, platform: PLATFORM[cloud], ...(cloud === 'gcp' ? { brokerPlatform: 'confidential-space' } : {}), simulated: false, sealer: SEALER[cloud](environment), ownerKey: environment.ownerKey,
    gateway: { public: { host: HOSTS.gateway, port: PORTS.public }, internal: { host: HOSTS.gateway, port: PORTS.internal } },
    broker: { host: HOSTS.broker, port: PORTS.broker },
  });
  return { name, json, digest: createHash('sha256').update(json).digest('hex') };
}
