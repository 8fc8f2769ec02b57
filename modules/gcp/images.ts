/** Where images come from and which may run: one registry, tags that cannot move, and a signature of the build over each digest, demanded by the cluster. */
import { ArtifactRegistryRepository } from '@cdktf/provider-google/lib/artifact-registry-repository/index.js';
import { ArtifactRegistryRepositoryIamBinding } from '@cdktf/provider-google/lib/artifact-registry-repository-iam-binding/index.js';
import { BinaryAuthorizationAttestor } from '@cdktf/provider-google/lib/binary-authorization-attestor/index.js';
import { BinaryAuthorizationPolicy } from '@cdktf/provider-google/lib/binary-authorization-policy/index.js';
import { ContainerAnalysisNote } from '@cdktf/provider-google/lib/container-analysis-note/index.js';
import { DataGoogleKmsCryptoKeyVersion } from '@cdktf/provider-google/lib/data-google-kms-crypto-key-version/index.js';
import { KmsCryptoKey } from '@cdktf/provider-google/lib/kms-crypto-key/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';

export interface ImagesProps {
  readonly named: Namer;
  readonly project: string;
  readonly region: string;
  readonly keyId: string;
  /** Ring of the signing key. */
  readonly ringId: string;
  readonly deletionDays: number;
  readonly protect: boolean;
  /** `serviceAccount:` members that pull. */
  readonly readers: readonly string[];
  readonly dependsOn: readonly ITerraformDependable[];
}

/** `<region>-docker.pkg.dev/<project>/<repository>`, known before the repository exists. */
export const registryOf = (named: Namer, project: string, region: string): string => `${region}-docker.pkg.dev/${project}/${named('gcp-generic', 'images')}`;

export class Images extends Construct {
  readonly policy: BinaryAuthorizationPolicy;

  constructor(scope: Construct, id: string, props: ImagesProps) {
    super(scope, id);
    const { named, project, region } = props;
    const repository = new ArtifactRegistryRepository(this, 'registry', {
      repositoryId: named('gcp-generic', 'images'), location: region, format: 'DOCKER', mode: 'STANDARD_REPOSITORY', description: 'Images of the cell, and mirrored ones', kmsKeyName: props.keyId, dockerConfig: { immutableTags: true },
      vulnerabilityScanningConfig: { enablementConfig: 'INHERITED' }, lifecycle: { preventDestroy: props.protect }, dependsOn: [...props.dependsOn],
    });
    new ArtifactRegistryRepositoryIamBinding(this, 'readers', { project, location: region, repository: repository.name, role: 'roles/artifactregistry.reader', members: [...props.readers] });

    // Signs only. Asymmetric keys have no automatic rotation: a new version is a change of the attestor, reviewed like one.
    const signer = new KmsCryptoKey(this, 'signer', {
      name: 'image-signer', keyRing: props.ringId, purpose: 'ASYMMETRIC_SIGN', destroyScheduledDuration: `${props.deletionDays * 86_400}s`,
      versionTemplate: { algorithm: 'EC_SIGN_P256_SHA256', protectionLevel: 'HSM' }, lifecycle: { preventDestroy: props.protect },
    });
    const version = new DataGoogleKmsCryptoKeyVersion(this, 'signer-version', { cryptoKey: signer.id });
    const note = new ContainerAnalysisNote(this, 'note', { name: named('gcp-generic', 'built'), attestationAuthority: { hint: { humanReadableName: 'Built by the reviewed pipeline' } } });
    const attestor = new BinaryAuthorizationAttestor(this, 'attestor', {
      name: named('gcp-generic', 'built'), description: 'Built by the reviewed pipeline',
      attestationAuthorityNote: { noteReference: note.name, publicKeys: [{ id: `//cloudkms.googleapis.com/v1/${signer.id}/cryptoKeyVersions/1`, pkixPublicKey: { publicKeyPem: version.publicKey.get(0).pem, signatureAlgorithm: 'ECDSA_P256_SHA256' } }] },
    });
    this.policy = new BinaryAuthorizationPolicy(this, 'policy', {
      // GKE's own system images, as Google lists them; no pattern of ours.
      globalPolicyEvaluationMode: 'ENABLE', description: 'Only what the pipeline signed',
      defaultAdmissionRule: { evaluationMode: 'REQUIRE_ATTESTATION', enforcementMode: 'ENFORCED_BLOCK_AND_AUDIT_LOG', requireAttestationsBy: [attestor.name] },
    });
  }
}
