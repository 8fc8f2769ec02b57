/**
 * Separated duties over keys. Administrators rotate, disable, destroy (after the delay) and restore, and can neither use a key nor change who uses it. The
 * deny policy stands above every grant, so that an owner of the project is refused too: it is to Google Cloud what the Null-deny is to a key policy of AWS.
 */
import { IamDenyPolicy } from '@cdktf/provider-google/lib/iam-deny-policy/index.js';
import { ProjectIamCustomRole } from '@cdktf/provider-google/lib/project-iam-custom-role/index.js';
import { ProjectIamMember } from '@cdktf/provider-google/lib/project-iam-member/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { agentEmail, SERVICE_AGENTS } from './service-agents.ts';

/** One by one: a wildcard would hold what Google adds tomorrow. */
export const ADMINISTRATOR_PERMISSIONS = [
  'cloudkms.cryptoKeyVersions.create', 'cloudkms.cryptoKeyVersions.destroy', 'cloudkms.cryptoKeyVersions.get', 'cloudkms.cryptoKeyVersions.list', 'cloudkms.cryptoKeyVersions.restore',
  'cloudkms.cryptoKeyVersions.update', 'cloudkms.cryptoKeys.get', 'cloudkms.cryptoKeys.getIamPolicy', 'cloudkms.cryptoKeys.list', 'cloudkms.cryptoKeys.update', 'cloudkms.keyRings.get',
  'cloudkms.keyRings.getIamPolicy', 'cloudkms.keyRings.list', 'cloudkms.locations.get', 'cloudkms.locations.list',
] as const;

/** The pipeline makes keys and writes the reviewed grants; it neither uses nor destroys any. */
export const PIPELINE_PERMISSIONS = [
  'cloudkms.cryptoKeyVersions.get', 'cloudkms.cryptoKeyVersions.list', 'cloudkms.cryptoKeyVersions.viewPublicKey', 'cloudkms.cryptoKeys.create', 'cloudkms.cryptoKeys.get', 'cloudkms.cryptoKeys.getIamPolicy', 'cloudkms.cryptoKeys.list',
  'cloudkms.cryptoKeys.setIamPolicy', 'cloudkms.cryptoKeys.update', 'cloudkms.keyRings.create', 'cloudkms.keyRings.get', 'cloudkms.keyRings.getIamPolicy', 'cloudkms.keyRings.list', 'cloudkms.locations.get', 'cloudkms.locations.list',
] as const;

export interface KeyDutiesProps {
  readonly named: Namer;
  readonly project: string;
  readonly projectNumber: string;
  /** `group:` or `user:` and an address. */
  readonly administrators: string;
  /** Principal sets that may use the attested key. */
  readonly attested: readonly string[];
  /** Address of the only account that may change grants: the reviewed pipeline. */
  readonly pipeline: string;
  /** Grants and pools that must be there before the deny policy. */
  readonly dependsOn: readonly ITerraformDependable[];
}

export class KeyDuties extends Construct {
  constructor(scope: Construct, id: string, props: KeyDutiesProps) {
    super(scope, id);
    const { named, project, projectNumber, administrators, attested, pipeline } = props;
    need(/^(?:group|user):/.test(administrators), `${id}.administrators`, administrators, 'group: or user: and an address');
    need(attested.length > 0 && attested.every((principal) => principal.includes('/attribute.image_digest/sha256:')), `${id}.attested`, attested, 'principal sets by image digest');
    // Ids of roles know no hyphens; the project is the environment.
    const role = new ProjectIamCustomRole(this, 'administrator-role', {
      roleId: 'cccKeyAdministrator', title: 'Key administrator', description: 'Rotates and destroys keys; can neither use them nor grant their use', stage: 'GA', permissions: [...ADMINISTRATOR_PERMISSIONS],
    });
    new ProjectIamMember(this, 'administrators', { project, role: role.name, member: administrators });
    const pipelineRole = new ProjectIamCustomRole(this, 'pipeline-role', {
      roleId: 'cccKeyPipeline', title: 'Key pipeline', description: 'Makes keys and writes their reviewed grants; can neither use nor destroy them', stage: 'GA', permissions: [...PIPELINE_PERMISSIONS],
    });
    new ProjectIamMember(this, 'pipeline', { project, role: pipelineRole.name, member: `serviceAccount:${pipeline}` });

    const account = (email: string): string => `principal://iam.googleapis.com/projects/-/serviceAccounts/${email}`;
    new IamDenyPolicy(this, 'deny', {
      name: named('gcp-generic', 'keys'), displayName: 'Keys: attested use, reviewed grants', parent: `cloudresourcemanager.googleapis.com%2Fprojects%2F${project}`,
      rules: [
        {
          description: 'Nobody opens or seals with a key of this project but attested brokers and the agents that encrypt data at rest',
          denyRule: {
            deniedPrincipals: ['principalSet://goog/public:all'],
            deniedPermissions: ['useToDecrypt', 'useToDecryptViaDelegation', 'useToEncrypt', 'useToEncryptViaDelegation'].map((use) => `cloudkms.googleapis.com/cryptoKeyVersions.${use}`),
            exceptionPrincipals: [...attested, ...SERVICE_AGENTS.map((agent) => account(agentEmail(agent, projectNumber)))],
          },
        },
        {
          description: 'Nobody changes who may use a key but the pipeline, which applies what was reviewed',
          denyRule: {
            deniedPrincipals: ['principalSet://goog/public:all'],
            deniedPermissions: ['cloudkms.googleapis.com/cryptoKeys.setIamPolicy', 'cloudkms.googleapis.com/keyRings.setIamPolicy'],
            exceptionPrincipals: [account(pipeline)],
          },
        },
        {
          // Who may write a condition or a mapping could let any token carry any digest.
          description: 'Nobody changes what an attested token is but the pipeline',
          denyRule: {
            deniedPrincipals: ['principalSet://goog/public:all'],
            deniedPermissions: ['workloadIdentityPoolProviders.create', 'workloadIdentityPoolProviders.undelete', 'workloadIdentityPoolProviders.update', 'workloadIdentityPools.undelete', 'workloadIdentityPools.update'].map((change) => `iam.googleapis.com/${change}`),
            exceptionPrincipals: [account(pipeline)],
          },
        },
      ],
      // Last of all: the administrator of the first apply makes the grants and pools, and from then on cannot change them.
      dependsOn: [...props.dependsOn],
    });
  }
}
