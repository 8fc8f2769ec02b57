/**
 * `node scripts/stacks/pipeline-identity.ts <cloud> <env> <plan|apply>`: lines `name=value` for $GITHUB_OUTPUT, from the one table. Nothing in it is secret. Azure's
 * identities have ids that Azure makes: those are variables of the repository.
 */
import { fileURLToPath } from 'node:url';
import { type Cloud, CLOUDS, ENVIRONMENT_NAMES, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { namer } from '../../modules/naming.ts';

const PARTS = ['plan', 'apply'] as const;
export type PipelinePart = (typeof PARTS)[number];

export function pipelineIdentity(cloud: Cloud, name: EnvironmentName, part: PipelinePart): Record<string, string> {
  const { aws, azure, gcp, ...environment } = ENVIRONMENTS[name];
  const named = namer(environment);
  switch (cloud) {
    case 'aws': return { role: `arn:aws:iam::${aws.account}:role/${named('iam-role', part)}`, region: aws.region };
    case 'azure': return { tenant: azure.tenantId, subscription: azure.subscriptionId };
    case 'gcp': return {
      provider: `projects/${gcp.projectNumber}/locations/global/workloadIdentityPools/${named('workload-identity-pool', `github-${part}`)}/providers/github`,
      account: `${named('service-account', `ci-${part}`)}@${gcp.project}.iam.gserviceaccount.com`,
    };
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , cloud, name, part] = process.argv;
  if (!CLOUDS.includes(cloud as Cloud) || !ENVIRONMENT_NAMES.includes(name as EnvironmentName) || !PARTS.includes(part as PipelinePart)) {
    process.stderr.write(`usage: pipeline-identity.ts ${CLOUDS.join('|')} ${ENVIRONMENT_NAMES.join('|')} ${PARTS.join('|')}\n`);
    process.exit(2);
  }
  for (const [key, value] of Object.entries(pipelineIdentity(cloud as Cloud, name as EnvironmentName, part as PipelinePart))) process.stdout.write(`${key}=${value}\n`);
}
