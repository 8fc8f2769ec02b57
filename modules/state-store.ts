/** Where an environment's states are, by cloud: a store that `ccc bootstrap-state` makes and no stack does. */
import type { Cloud, Environment } from './environments.ts';
import { namer } from './naming.ts';

/** What `ccc bootstrap-state` makes and the backends name. */
export function stateStore(environment: Environment, cloud: Cloud): Readonly<Record<string, string>> {
  const name = namer(environment);
  switch (cloud) {
    case 'aws':
      return { bucket: name('s3-bucket', 'tfstate'), region: environment.aws.region, kmsKey: `alias/${name('kms-alias', 'tfstate')}` };
    case 'azure':
      return { resourceGroup: name('resource-group', 'tfstate'), storageAccount: name('storage-account', 'tfst'), container: 'tfstate', subscriptionId: environment.azure.subscriptionId, tenantId: environment.azure.tenantId };
    case 'gcp':
      return {
        bucket: name('gcs-bucket', 'tfstate'), location: environment.gcp.region,
        kmsKey: `projects/${environment.gcp.project}/locations/${environment.gcp.region}/keyRings/${name('key-ring', 'tfstate')}/cryptoKeys/tfstate`,
      };
  }
}
