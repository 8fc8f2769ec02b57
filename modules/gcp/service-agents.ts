/**
 * Google's own accounts that encrypt with customer-managed keys. Their addresses follow from the project's number. Each must exist before its grant
 * (`ccc preflight gcp` makes them): a grant to an account that is not there yet is the most common failure of a first apply.
 */
import { KmsCryptoKeyIamBinding } from '@cdktf/provider-google/lib/kms-crypto-key-iam-binding/index.js';
import type { Construct } from 'constructs';
import { need } from '../configuration-error.ts';

const AGENTS = {
  artifactRegistry: (n: string) => `service-${n}@gcp-sa-artifactregistry.iam.gserviceaccount.com`,
  compute: (n: string) => `service-${n}@compute-system.iam.gserviceaccount.com`,
  gke: (n: string) => `service-${n}@container-engine-robot.iam.gserviceaccount.com`,
  logging: (n: string) => `cmek-p${n}@gcp-sa-logging.iam.gserviceaccount.com`,
  sql: (n: string) => `service-${n}@gcp-sa-cloud-sql.iam.gserviceaccount.com`,
  storage: (n: string) => `service-${n}@gs-project-accounts.iam.gserviceaccount.com`,
  workflows: (n: string) => `service-${n}@gcp-sa-workflows.iam.gserviceaccount.com`,
} as const satisfies Record<string, (projectNumber: string) => string>;
export type ServiceAgent = keyof typeof AGENTS;
export const SERVICE_AGENTS = Object.keys(AGENTS) as ServiceAgent[];

export const agentEmail = (agent: ServiceAgent, projectNumber: string): string => AGENTS[agent](projectNumber);

/** The one grant of a key for data at rest: authoritative, so that a grant which somebody adds by hand is removed by the next apply. */
export function grantToAgents(scope: Construct, id: string, cryptoKeyId: string, projectNumber: string, agents: readonly ServiceAgent[]): KmsCryptoKeyIamBinding {
  need(agents.length > 0, `${id}.agents`, agents, 'at least one service agent');
  return new KmsCryptoKeyIamBinding(scope, id, { cryptoKeyId, role: 'roles/cloudkms.cryptoKeyEncrypterDecrypter', members: agents.map((agent) => `serviceAccount:${agentEmail(agent, projectNumber)}`) });
}
