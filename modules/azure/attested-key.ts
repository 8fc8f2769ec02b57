/**
 * The key of a cell, in a premium (HSM) vault, that leaves it only into a confidential VM of ours: RSA-HSM, exportable only with a release policy. The vault
 * holds keys of this kind and no other; the infrastructure's keys are in a vault of their own, with other people.
 *
 * Microsoft.KeyVault/vaults/keys goes through azapi: azurerm knows neither `exportable` nor `release_policy`. Keys are created once; what changes a policy
 * changes the key's name. Rotation after 90 days is therefore a new key (a new period below), re-sealed by the broker, not a rotation policy: whether Key
 * Vault carries a release policy over to a rotated version is not documented.
 */
import { AttestationProvider } from '@cdktf/provider-azurerm/lib/attestation-provider/index.js';
import { KeyVault } from '@cdktf/provider-azurerm/lib/key-vault/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { TerraformLocal, TerraformStack } from 'cdktf';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { TeeEntry } from '../measurements.ts';
import { AzapiResource } from '../untyped.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import type { PrivateLinks } from './private-link.ts';
import { attestationPolicyJwt, attestationUri, diskReleasePolicy, policyData, policyTag, type ReleasePolicy, releasePolicy, sevSnpPolicy, tpmPolicy } from './release-policy.ts';
import { type AzureScope, guarded, placed } from './scope.ts';

export interface AttestedKeyProps {
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  readonly logs: Destinations;
  /** Azure's short name of the location in names of attestation instances, as `weu`. */
  readonly attestationRegion: string;
  /** Who may have the data key: brokers. */
  readonly broker: readonly TeeEntry[];
  /** Who may have an attestation token: every TEE of the cell. */
  readonly tees: readonly TeeEntry[];
  readonly softDeleteDays: number;
  readonly rotationDays: number;
  /** Raised by one each rotation: part of the keys' names, with the day from which it counts. */
  readonly period: { readonly number: number; readonly start: string };
}

const KEY_TYPE = 'Microsoft.KeyVault/vaults/keys@2023-07-01';

export class AttestedKey extends Construct {
  readonly vault: KeyVault;
  readonly attestation: AttestationProvider;
  readonly attestationUri: string;
  readonly dataKey: AzapiResource;
  readonly diskKey: AzapiResource;
  /** `https://<vault>.vault.azure.net/keys/<name>`: for the broker's configuration. */
  readonly dataKeyUri: string;

  constructor(parent: Construct, id: string, props: AttestedKeyProps) {
    super(parent, id);
    const { scope, links, logs } = props;
    needWhole('keys.rotationDays', props.rotationDays, 1, 90, 'days');
    needWhole('keys.period', props.period.number, 1, 10_000);
    // A warning of each plan, the nightly one too; it must not stop a deployment that is itself a repair.
    const start = new TerraformLocal(this, 'key-period-start', props.period.start);
    TerraformStack.of(this).addOverride('check.attested-keys-are-young.assert', [{
      condition: `\${timecmp(plantimestamp(), timeadd(${start.fqn}, "${24 * props.rotationDays}h")) < 0}`,
      error_message: `The attested keys of period ${props.period.number} are older than ${props.rotationDays} days: raise azure.keyPeriod and let the broker seal again.`,
    }]);
    needWhole('soft delete', props.softDeleteDays, 90, 90, 'days');
    need(props.broker.every((entry) => props.tees.includes(entry)), 'broker entries', props.broker.length, 'entries that are also among the TEEs of the cell');
    const { named } = scope;

    const instance = named('attestation-provider', 'maa');
    this.attestationUri = attestationUri(instance, props.attestationRegion);
    this.attestation = new AttestationProvider(this, 'attestation', {
      ...placed(scope), name: instance, sevSnpPolicyBase64: attestationPolicyJwt(sevSnpPolicy(props.tees)), tpmPolicyBase64: attestationPolicyJwt(tpmPolicy(props.tees)),
      // The service writes default policies for the TEE kinds that are not used here, and the provider reads them back as a difference.
      lifecycle: guarded(scope.protect, { ignoreChanges: ['open_enclave_policy_base64', 'sgx_enclave_policy_base64'] }),
    });
    links.connect('attestation', 'attestation', this.attestation.id);
    diagnose(this, 'attestation-logs', this.attestation.id, logs, { metrics: [] });

    this.vault = new KeyVault(this, 'vault', {
      ...placed(scope), name: named('key-vault', 'att'), tenantId: scope.tenantId, skuName: 'premium', rbacAuthorizationEnabled: true, purgeProtectionEnabled: true, softDeleteRetentionDays: props.softDeleteDays,
      publicNetworkAccessEnabled: false, enabledForDeployment: false, enabledForDiskEncryption: false, enabledForTemplateDeployment: false,
      // The exception is the disk service, which reads the disk key through it; people and workloads come through the endpoint.
      networkAcls: { bypass: 'AzureServices', defaultAction: 'Deny', ipRules: [], virtualNetworkSubnetIds: [] },
      lifecycle: guarded(scope.protect),
    });
    links.connect('attested-vault', 'vault', this.vault.id);
    diagnose(this, 'vault-logs', this.vault.id, logs, { dedicated: true });

    // No decrypt and no unwrapKey: the vault itself never opens anything with this key, whoever asks. The one way to its private half is a release.
    const data = this.#key('data-key', 'data', releasePolicy(this.attestationUri, props.broker), ['encrypt', 'wrapKey'], props);
    this.dataKey = data.key;
    this.dataKeyUri = data.uri;
    // The one key whose authority is the platform's instance, of the own location: the orchestrator that boots the VMs asks no other.
    this.diskKey = this.#key('disk-key', 'disk', diskReleasePolicy(attestationUri(`shared${props.attestationRegion}`, props.attestationRegion)), ['wrapKey', 'unwrapKey'], props).key;
  }

  /** May release the data key, given the evidence, and read its public half; nothing else in the vault. */
  grantRelease(id: string, principalId: string): RoleAssignment[] {
    return ['Key Vault Crypto Service Release User', 'Key Vault Reader'].map((role, index) =>
      new RoleAssignment(this, `${id}-${index === 0 ? 'release' : 'read'}`, { scope: this.dataKey.id, roleDefinitionName: role, principalId, principalType: 'ServicePrincipal', description: 'a broker of this cell' }));
  }

  #key(id: string, part: string, policy: ReleasePolicy, keyOps: readonly string[], { scope, period, rotationDays }: AttestedKeyProps): { key: AzapiResource; uri: string } {
    const name = scope.named('key-vault-key', `${part}-${period.number}-${policyTag(policy)}`);
    const key = new AzapiResource(this, id, {
      type: KEY_TYPE, parentId: this.vault.id, name,
      body: {
        properties: {
          kty: 'RSA-HSM', keySize: 3072, keyOps, attributes: { enabled: true, exportable: true },
          release_policy: { contentType: 'application/json; charset=utf-8', data: policyData(policy) },
        },
      },
      tags: { 'rotation-days': String(rotationDays) },
      responseExportValues: ['properties.keyUriWithVersion'],
      dependsOn: [this.attestation],
      lifecycle: guarded(scope.protect, {
        precondition: [{
          condition: `\${trimsuffix(${this.attestation.fqn}.attestation_uri, "/") == "${this.attestationUri}"}`,
          errorMessage: `The attestation instance is not ${this.attestationUri}: azure.attestationRegion is not this location's short name. A key that trusts another instance is not made.`,
        }],
      }),
    });
    return { key, uri: `https://${scope.named('key-vault', 'att')}.vault.azure.net/keys/${name}` };
  }
}
