/**
 * What is promoted, as commands that ask for its digest and copy it. Images go by `crane copy`, which keeps the manifest's bytes ("crane copy", go-containerregistry):
 * no cloud's own tool copies an image between accounts here (AWS and gcloud have no such command, and Azure's registries refuse imports from them: export is off).
 * Each digest is then asked of the cloud itself. Enclave files go by S3's own copy, which computes a SHA-256 of what it stored (CopyObject, "ChecksumAlgorithm").
 */
import { z } from 'zod';
import type { Cloud, Environment } from '../../modules/environments.ts';
import { namer } from '../../modules/naming.ts';
import type { PromotedEntry } from '../../modules/promotions.ts';
import type { Tool } from './tool.ts';

export interface Artifact {
  readonly name: string;
  /** Undefined: an enclave file that nobody has recorded yet. */
  readonly digest: string | undefined;
  readonly ask: (environment: Environment) => readonly string[];
  /** `sha256:...`. Throws on an answer of another shape. */
  readonly read: (answer: unknown) => string;
  readonly copy: (from: Environment, to: Environment) => { readonly tool: Tool; readonly args: readonly string[] };
  /** What to do when the copying tool has no login, by environment. */
  readonly login: (environment: Environment) => string;
}

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
/** Of the whole object: one of parts ends in a hyphen and their number. */
const checksum = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);

function repository(cloud: Cloud, role: string, environment: Environment): string {
  const named = namer(environment);
  switch (cloud) {
    case 'aws': return `${environment.aws.account}.dkr.ecr.${environment.aws.region}.amazonaws.com/${named('aws-generic', role)}`;
    case 'azure': return `${named('container-registry', 'images')}.azurecr.io/ccc-${role}`;
    case 'gcp': return `${environment.gcp.region}-docker.pkg.dev/${environment.gcp.project}/${named('gcp-generic', 'images')}/${role}`;
  }
}

const ASK = {
  aws: (e, role, image) => ['ecr', 'describe-images', '--registry-id', e.aws.account, '--repository-name', namer(e)('aws-generic', role), '--image-ids', `imageDigest=${image}`, '--region', e.aws.region, '--output', 'json'],
  azure: (e, role, image) => ['acr', 'repository', 'show', '--name', namer(e)('container-registry', 'images'), '--image', `ccc-${role}@${image}`, '--subscription', e.azure.subscriptionId, '--output', 'json'],
  gcp: (e, role, image) => ['artifacts', 'docker', 'images', 'describe', `${repository('gcp', role, e)}@${image}`, '--project', e.gcp.project, '--format', 'json'],
} as const satisfies Record<Cloud, (e: Environment, role: string, image: string) => readonly string[]>;

const READ = {
  aws: (answer) => z.object({ imageDetails: z.tuple([z.object({ imageDigest: digest })]) }).parse(answer).imageDetails[0].imageDigest,
  azure: (answer) => z.object({ digest }).parse(answer).digest,
  gcp: (answer) => z.object({ image_summary: z.object({ digest }) }).parse(answer).image_summary.digest,
} as const satisfies Record<Cloud, (answer: unknown) => string>;

function login(cloud: Cloud, role: string, e: Environment): string {
  const [host = ''] = repository(cloud, role, e).split('/');
  switch (cloud) {
    case 'aws': return `aws ecr get-login-password --region ${e.aws.region} | crane auth login ${host} --username AWS --password-stdin`;
    case 'azure': return `az acr login --name ${host.split('.')[0]}`;
    case 'gcp': return `gcloud auth configure-docker ${host}`;
  }
}

const imageOf = (cloud: Cloud, { role, generation, image }: PromotedEntry): Artifact => ({
  name: `image of the ${role}, ${generation}`, digest: image,
  ask: (e) => ASK[cloud](e, role, image), read: READ[cloud],
  // With a tag, or registries would clean it away: named by the digest, so that it never has to move.
  copy: (from, to) => ({ tool: 'crane', args: ['copy', `${repository(cloud, role, from)}@${image}`, `${repository(cloud, role, to)}:${image.replace(':', '-')}`] }),
  login: (e) => login(cloud, role, e),
});

function enclaveOf({ role, generation, PCR0, eif }: PromotedEntry): Artifact {
  const bucket = (e: Environment): string => namer(e)('s3-bucket', 'eif');
  const key = `eif/${PCR0}.eif`;
  return {
    name: `enclave file of the ${role}, ${generation}`, digest: eif,
    ask: ({ aws, ...e }) => ['s3api', 'head-object', '--bucket', bucket({ aws, ...e }), '--key', key, '--checksum-mode', 'ENABLED', '--expected-bucket-owner', aws.account, '--region', aws.region, '--output', 'json'],
    read: (answer) => `sha256:${Buffer.from(z.object({ ChecksumSHA256: checksum }).parse(answer).ChecksumSHA256, 'base64').toString('hex')}`,
    copy: (from, to) => ({ tool: 'aws', args: ['s3api', 'copy-object', '--copy-source', `${bucket(from)}/${key}`, '--expected-source-bucket-owner', from.aws.account, '--bucket', bucket(to), '--expected-bucket-owner', to.aws.account,
      '--key', key, '--checksum-algorithm', 'SHA256', '--region', to.aws.region, '--output', 'json'] }),
    login: () => 'aws sso login (or set AWS_PROFILE)',
  };
}

/** On AWS brokers and counters run as enclave files, and only gateways as images. */
export const artifactOf = (cloud: Cloud, entry: PromotedEntry): Artifact => (cloud === 'aws' && entry.role !== 'gateway' ? enclaveOf(entry) : imageOf(cloud, entry));
