/**
 * Where each stack's state is: in its own cloud, so that a cloud's outage cannot block another's deploy. `ccc bootstrap-state` makes these stores once;
 * no stack makes the store that holds its own state.
 */
import { AzurermBackend, GcsBackend, S3Backend, type TerraformStack } from 'cdktf';
import type { Cloud, Environment } from './environments.ts';
import { stateStore } from './state-store.ts';

export { stateStore };

export function addBackend(stack: TerraformStack, id: string, environment: Environment, cloud: Cloud): void {
  const store = stateStore(environment, cloud) as Record<string, string>;
  switch (cloud) {
    case 'aws': {
      const backend = new S3Backend(stack, { bucket: store['bucket'] ?? '', key: `${id}.tfstate`, region: store['region'] ?? '', encrypt: true, kmsKeyId: store['kmsKey'] ?? '' });
      // Locking by a lock object in the bucket; this release of cdktf only knows the table that Terraform 1.11 deprecated.
      backend.addOverride('use_lockfile', true);
      break;
    }
    case 'azure':
      new AzurermBackend(stack, {
        resourceGroupName: store['resourceGroup'] ?? '', storageAccountName: store['storageAccount'] ?? '', containerName: store['container'] ?? '', key: `${id}.tfstate`,
        subscriptionId: store['subscriptionId'] ?? '', tenantId: store['tenantId'] ?? '', useOidc: true, useAzureadAuth: true,
      });
      break;
    case 'gcp': {
      const backend = new GcsBackend(stack, { bucket: store['bucket'] ?? '', prefix: id });
      backend.addOverride('kms_encryption_key', store['kmsKey']);
      break;
    }
  }
}
