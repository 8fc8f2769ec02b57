/** Commands that make a state store: versions, encryption, no public access, no shared keys. Steps without `exists` set what may be set again. */
import { fileURLToPath } from 'node:url';
import type { Cloud, Environment } from '../../modules/environments.ts';
import { stateStore } from '../../modules/state-store.ts';

const TEMPLATE = fileURLToPath(new URL('state-key.json', import.meta.url));

export interface Step { readonly name: string; /** Succeeds when it was done before. */ readonly exists?: readonly string[]; readonly make: readonly string[] }

export function stateSteps(cloud: Cloud, environment: Environment): readonly Step[] {
  const store = stateStore(environment, cloud);
  const at = (key: string): string => store[key] ?? '';
  switch (cloud) {
    case 'aws': {
      const [bucket, region, alias] = [at('bucket'), at('region'), at('kmsKey')];
      const s3 = (verb: string, ...args: string[]): string[] => ['s3api', verb, '--bucket', bucket, '--region', region, ...args];
      const only = (condition: object): object => ({ Version: '2012-10-17', Statement: [{ Sid: 'TlsOnly', Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`], Condition: condition }] });
      return [
        // Key and alias in one: an alias by commands would need the id that the first one prints.
        { name: `key ${alias}`, exists: ['kms', 'describe-key', '--key-id', alias, '--region', region], make: ['cloudformation', 'deploy', '--stack-name', alias.replace('alias/', ''), '--region', region, '--template-file', TEMPLATE, '--parameter-overrides', `Alias=${alias}`, '--no-fail-on-empty-changeset'] },
        { name: `bucket ${bucket}`, exists: s3('head-bucket'), make: s3('create-bucket', '--object-ownership', 'BucketOwnerEnforced', ...(region === 'us-east-1' ? [] : ['--create-bucket-configuration', `LocationConstraint=${region}`])) },
        { name: 'no public access', make: s3('put-public-access-block', '--public-access-block-configuration', 'BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true') },
        { name: 'versions', make: s3('put-bucket-versioning', '--versioning-configuration', 'Status=Enabled') },
        { name: 'encryption', make: s3('put-bucket-encryption', '--server-side-encryption-configuration', JSON.stringify({ Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: alias }, BucketKeyEnabled: true }] })) },
        { name: 'TLS only', make: s3('put-bucket-policy', '--policy', JSON.stringify(only({ Bool: { 'aws:SecureTransport': 'false' } }))) },
      ];
    }
    case 'azure': {
      const [group, account] = [at('resourceGroup'), at('storageAccount')];
      const subscription = ['--subscription', at('subscriptionId')];
      return [
        { name: `group ${group}`, make: ['group', 'create', '--name', group, '--location', environment.azure.location, ...subscription] },
        { name: `account ${account}`, exists: ['storage', 'account', 'show', '--name', account, '--resource-group', group, ...subscription], make: ['storage', 'account', 'create', '--name', account, '--resource-group', group, '--location', environment.azure.location, '--sku', 'Standard_ZRS', '--kind', 'StorageV2', '--min-tls-version', 'TLS1_2', '--https-only', 'true', '--allow-blob-public-access', 'false', '--allow-shared-key-access', 'false', '--require-infrastructure-encryption', 'true', ...subscription] },
        { name: 'versions', make: ['storage', 'account', 'blob-service-properties', 'update', '--account-name', account, '--resource-group', group, '--enable-versioning', 'true', '--enable-delete-retention', 'true', '--delete-retention-days', '30', ...subscription] },
        { name: `container ${at('container')}`, make: ['storage', 'container-rm', 'create', '--name', at('container'), '--storage-account', account, '--resource-group', group, ...subscription] },
        { name: 'lock', make: ['lock', 'create', '--name', 'keep', '--lock-type', 'CanNotDelete', '--resource-group', group, ...subscription] },
      ];
    }
    case 'gcp': {
      const { project, projectNumber, region } = environment.gcp;
      const ring = at('kmsKey').split('/')[5] ?? '';
      const key = ['tfstate', '--keyring', ring, '--location', region, '--project', project];
      const bucket = `gs://${at('bucket')}`;
      return [
        { name: `key ring ${ring}`, exists: ['kms', 'keyrings', 'describe', ring, '--location', region, '--project', project], make: ['kms', 'keyrings', 'create', ring, '--location', region, '--project', project] },
        { name: 'key', exists: ['kms', 'keys', 'describe', ...key], make: ['kms', 'keys', 'create', ...key, '--purpose', 'encryption', '--rotation-period', '90d', '--next-rotation-time', '+p90d'] },
        { name: 'use of the key by Cloud Storage', make: ['kms', 'keys', 'add-iam-policy-binding', ...key, '--member', `serviceAccount:service-${projectNumber}@gs-project-accounts.iam.gserviceaccount.com`, '--role', 'roles/cloudkms.cryptoKeyEncrypterDecrypter'] },
        { name: `bucket ${bucket}`, exists: ['storage', 'buckets', 'describe', bucket], make: ['storage', 'buckets', 'create', bucket, '--project', project, '--location', region, '--default-encryption-key', at('kmsKey'), '--uniform-bucket-level-access', '--public-access-prevention'] },
        { name: 'versions', make: ['storage', 'buckets', 'update', bucket, '--versioning'] },
      ];
    }
  }
}
