/**
 * The key that seals tenants' keys: usable by brokers in Confidential Space whose token satisfies the lock file, and by nobody else.
 *
 * What it proves and what not: the Security Token Service checks Google's signature over the claims; the federated credential is a bearer credential of at
 * most an hour, which nothing binds to the TEE that asked. Cells of other clouds get tenant keys broker to broker, so no key here is multi-region.
 */
import { IamWorkloadIdentityPool } from '@cdktf/provider-google/lib/iam-workload-identity-pool/index.js';
import { IamWorkloadIdentityPoolProvider } from '@cdktf/provider-google/lib/iam-workload-identity-pool-provider/index.js';
import { KmsCryptoKey } from '@cdktf/provider-google/lib/kms-crypto-key/index.js';
import { KmsCryptoKeyIamBinding } from '@cdktf/provider-google/lib/kms-crypto-key-iam-binding/index.js';
import { KmsKeyRing } from '@cdktf/provider-google/lib/kms-key-ring/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { checkKeySettings, encryptionKey, type KeySettings } from './key-settings.ts';
import { ATTRIBUTE_MAPPING, brokerImages, TOKEN_ISSUER, tokenCondition, type TokenRequirement } from './token-condition.ts';

export interface AttestedKeyProps extends KeySettings {
  readonly named: Namer;
  /** Region or multi-region of the key; inside the residency. */
  readonly location: string;
  readonly token: TokenRequirement;
}

export class AttestedKey extends Construct {
  readonly keyId: string;
  /** Audience that brokers ask their token for, and that the token service takes. */
  readonly audience: string;
  /** Principal sets of the images that may use the key. */
  readonly principals: readonly string[];
  /** Grant and provider: what is forbidden afterwards must wait for these. */
  readonly made: readonly ITerraformDependable[];

  constructor(scope: Construct, id: string, props: AttestedKeyProps) {
    super(scope, id);
    checkKeySettings(id, props);
    const { named, location, token } = props;
    const ring = new KmsKeyRing(this, 'ring', { name: named('key-ring', 'attested'), location, lifecycle: { preventDestroy: props.protect } });
    const key = new KmsCryptoKey(this, 'key', encryptionKey('data', ring.id, props));
    this.keyId = key.id;

    const poolId = named('workload-identity-pool', 'attested');
    const providerId = 'confidential-space';
    const resource = `projects/${token.projectNumber}/locations/global/workloadIdentityPools/${poolId}`;
    // Not the service's default audience: a token that another relying party was given is none here.
    this.audience = `https://iam.googleapis.com/${resource}/providers/${providerId}`;
    const pool = new IamWorkloadIdentityPool(this, 'pool', { workloadIdentityPoolId: poolId, displayName: 'Attested brokers', description: 'Confidential Space workloads whose measurements are in the lock file', disabled: false });
    const provider = new IamWorkloadIdentityPoolProvider(this, 'provider', {
      workloadIdentityPoolId: pool.workloadIdentityPoolId, workloadIdentityPoolProviderId: providerId, displayName: 'Confidential Space', disabled: false,
      attributeMapping: { ...ATTRIBUTE_MAPPING }, attributeCondition: tokenCondition(token), oidc: { issuerUri: TOKEN_ISSUER, allowedAudiences: [this.audience] },
    });

    // By digest, never by pool: who passes the condition of a second provider in this pool still has no key.
    this.principals = brokerImages(token.lock).map((image) => `principalSet://iam.googleapis.com/${resource}/attribute.image_digest/${image}`);
    const grant = new KmsCryptoKeyIamBinding(this, 'brokers', { cryptoKeyId: key.id, role: 'roles/cloudkms.cryptoKeyEncrypterDecrypter', members: [...this.principals], dependsOn: [pool] });
    this.made = [grant, provider];
  }
}
