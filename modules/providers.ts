/**
 * Provider factory: one place for pins and default tags. The bindings are frozen (CDKTF was archived); the providers are not, so the pins here rewrite
 * those of the bindings and let fixes of the same major version in.
 */
import { AwsProvider } from '@cdktf/provider-aws/lib/provider/index.js';
import { AzureadProvider } from '@cdktf/provider-azuread/lib/provider/index.js';
import { AzurermProvider } from '@cdktf/provider-azurerm/lib/provider/index.js';
import { GoogleProvider } from '@cdktf/provider-google/lib/provider/index.js';
import { KubernetesProvider, type KubernetesProviderConfig } from '@cdktf/provider-kubernetes/lib/provider/index.js';
import type { TerraformStack } from 'cdktf';
import type { Environment } from './environments.ts';
import { tagsOf } from './tags.ts';
import { AzapiProvider } from './untyped.ts';

export const PINS = {
  aws: { source: 'hashicorp/aws', version: '~> 6.25' },
  azurerm: { source: 'hashicorp/azurerm', version: '~> 4.55' },
  azuread: { source: 'hashicorp/azuread', version: '~> 3.7' },
  azapi: { source: 'Azure/azapi', version: '~> 2.4' },
  google: { source: 'hashicorp/google', version: '~> 6.50' },
  kubernetes: { source: 'hashicorp/kubernetes', version: '~> 2.38' },
} as const;

function pin(stack: TerraformStack, ...names: (keyof typeof PINS)[]): void {
  for (const name of names) stack.addOverride(`terraform.required_providers.${name}`, PINS[name]);
}

export function awsProvider(stack: TerraformStack, environment: Environment, region: string = environment.aws.region): AwsProvider {
  pin(stack, 'aws');
  return new AwsProvider(stack, 'aws', { region, allowedAccountIds: [environment.aws.account], defaultTags: [{ tags: { ...tagsOf(environment) } }] });
}

/** azurerm, azuread (the orchestrator's principal) and azapi (keys with a release policy); tags come from the aspect `TagEverything`. */
export function azureProviders(stack: TerraformStack, environment: Environment): void {
  const { subscriptionId, tenantId } = environment.azure;
  pin(stack, 'azurerm', 'azuread', 'azapi');
  new AzurermProvider(stack, 'azurerm', {
    features: [{ keyVault: [{ purgeSoftDeleteOnDestroy: false }] }], subscriptionId, tenantId, useOidc: true, storageUseAzuread: true, resourceProviderRegistrations: 'none',
  });
  new AzureadProvider(stack, 'azuread', { tenantId, useOidc: true });
  new AzapiProvider(stack, 'azapi', { subscriptionId, tenantId, useOidc: true });
}

export function googleProvider(stack: TerraformStack, environment: Environment): GoogleProvider {
  pin(stack, 'google');
  const provider = new GoogleProvider(stack, 'google', {
    project: environment.gcp.project, region: environment.gcp.region, addTerraformAttributionLabel: false,
    // The budget API wants a project to bill its own calls to.
    billingProject: environment.gcp.project, userProjectOverride: true,
  });
  // As an override: the binding would spell cost-center as cost_center.
  provider.addOverride('default_labels', tagsOf(environment));
  return provider;
}

export function kubernetesProvider(stack: TerraformStack, config: KubernetesProviderConfig): KubernetesProvider {
  pin(stack, 'kubernetes');
  return new KubernetesProvider(stack, 'kubernetes', config);
}
