/** Which stacks exist. Split by cloud and environment and not further, but for Kubernetes objects (their provider needs a cluster) and the names in front of all clouds. */
import type { App } from 'cdktf';
import { ConfigurationError } from '../modules/configuration-error.ts';
import { type Environment, ENVIRONMENT_NAMES, ENVIRONMENTS } from '../modules/environments.ts';
import { type MeasurementLock, readLock } from '../modules/measurements.ts';
import { type Promotions, readPromotions } from '../modules/promotions.ts';
import { AwsStack } from './aws.ts';
import { AzureStack } from './azure.ts';
import { EdgeStack } from './edge.ts';
import { GcpK8sStack } from './gcp-k8s.ts';
import { GcpStack } from './gcp.ts';

export interface Inputs {
  readonly environments: Readonly<Record<string, Environment>>;
  readonly lock: MeasurementLock;
  readonly promotions?: Promotions;
}

export function synthesizeInto(app: App, { environments, lock, promotions = readPromotions() }: Inputs = { environments: ENVIRONMENTS, lock: readLock() }): void {
  for (const name of ENVIRONMENT_NAMES) {
    const environment = environments[name];
    if (environment === undefined) throw new ConfigurationError(`environments.${name}`, undefined, 'an environment');
    const props = { environment, lock, promotions };
    new AwsStack(app, `ccc-aws-${name}`, props);
    new AzureStack(app, `ccc-azure-${name}`, props);
    new GcpStack(app, `ccc-gcp-${name}`, props);
    new GcpK8sStack(app, `ccc-gcp-k8s-${name}`, props);
    new EdgeStack(app, `edge-${name}`, props);
  }
}
