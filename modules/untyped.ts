/** Resources whose provider has no bindings here: `azapi_resource`, for what azurerm cannot express (keys with a release policy). */
import { type TerraformMetaArguments, TerraformProvider, TerraformResource, type TerraformStack } from 'cdktf';
import type { Construct } from 'constructs';

export interface AzapiProviderConfig { readonly subscriptionId: string; readonly tenantId: string; readonly useOidc: boolean }

export class AzapiProvider extends TerraformProvider {
  readonly #config: AzapiProviderConfig;

  constructor(scope: TerraformStack, id: string, config: AzapiProviderConfig) {
    super(scope, id, { terraformResourceType: 'azapi', terraformProviderSource: 'Azure/azapi', terraformGeneratorMetadata: { providerName: 'azapi' } });
    this.#config = config;
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { subscription_id: this.#config.subscriptionId, tenant_id: this.#config.tenantId, use_oidc: this.#config.useOidc };
  }
}

export interface AzapiResourceConfig extends TerraformMetaArguments {
  /** Resource type with API version, as `Microsoft.KeyVault/vaults/keys@2023-07-01`. */
  readonly type: string;
  readonly name: string;
  readonly parentId: string;
  readonly location?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** Body of the request, as the service's REST reference has it. */
  readonly body: unknown;
  /** Paths of the answer that become `output`. */
  readonly responseExportValues?: readonly string[];
}

export class AzapiResource extends TerraformResource {
  readonly #config: AzapiResourceConfig;
  #tags: Record<string, string> | undefined;

  constructor(scope: Construct, id: string, config: AzapiResourceConfig) {
    super(scope, id, { ...config, terraformResourceType: 'azapi_resource', terraformGeneratorMetadata: { providerName: 'azapi' } });
    this.#config = config;
    this.#tags = config.tags && { ...config.tags };
  }

  /** As the bindings have it, for the aspect that tags everything. */
  set tags(value: Record<string, string>) {
    this.#tags = value;
  }

  get tagsInput(): Record<string, string> | undefined {
    return this.#tags;
  }

  get id(): string {
    return this.getStringAttribute('id');
  }

  /** Expression of one exported value of the answer, as `properties.keyUriWithVersion`. */
  output(path: string): string {
    return `\${${this.fqn}.output.${path}}`;
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    const { type, name, parentId, location, body, responseExportValues } = this.#config;
    const tags = this.#tags;
    return {
      type, name, parent_id: parentId, body,
      ...(location === undefined ? {} : { location }), ...(tags === undefined ? {} : { tags }), ...(responseExportValues === undefined ? {} : { response_export_values: responseExportValues }),
    };
  }
}
