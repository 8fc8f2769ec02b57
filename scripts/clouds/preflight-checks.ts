/** What a first apply stumbles over, as commands that only read and what their answers must say. Shapes of answers: the services' API references. */
import { z } from 'zod';
import type { Cloud, Environment } from '../../modules/environments.ts';
import { entriesOf, entryOf, GENERATIONS, type MeasurementLock } from '../../modules/measurements.ts';
import { namer } from '../../modules/naming.ts';
import { stateStore } from '../../modules/state-store.ts';

export interface Check {
  readonly name: string;
  readonly args: readonly string[];
  /** What is wrong with the answer; nothing: it is right. Throws on an answer of another shape. */
  readonly judge: (answer: unknown) => string | undefined;
  readonly next: string;
}

const anything = (): undefined => undefined;
const lacking = (have: readonly string[], need: readonly string[], what: string): string | undefined => {
  const missing = need.filter((one) => !have.includes(one));
  return missing.length === 0 ? undefined : `${what}: not in ${missing.join(', ')}`;
};
/** Cores that the smallest fleets take: both colours of three roles. */
const atLeast = (have: number, need: number, what: string): string | undefined => (have >= need ? undefined : `${what}: ${have}, needed ${need}`);
const coresOf = (size: string): number => Number(/(?:standard|highmem|highcpu)-(\d+)$/.exec(size)?.[1] ?? /_[DE]C(\d+)/.exec(size)?.[1] ?? 0);

function aws({ aws: e, ...environment }: Environment, lock: MeasurementLock): Check[] {
  const named = namer(environment);
  const json = (...args: string[]): string[] => [...args, '--region', e.region, '--output', 'json'];
  const state = stateStore({ aws: e, ...environment } as Environment, 'aws');
  const eif = named('s3-bucket', 'eif');
  const types = z.object({ InstanceTypes: z.array(z.object({ NitroEnclavesSupport: z.string(), VCpuInfo: z.object({ DefaultVCpus: z.number() }) })).min(1) });
  return [
    { name: 'account', args: json('sts', 'get-caller-identity'), judge: (a) => (z.object({ Account: z.string() }).parse(a).Account === e.account ? undefined : `logged in to another account than ${e.account}`), next: 'Log in to the account of this environment.' },
    { name: `enclaves on ${e.instanceType}`, args: json('ec2', 'describe-instance-types', '--instance-types', e.instanceType), next: 'Choose an instance type that hosts enclaves.',
      judge: (a) => { const [type] = types.parse(a).InstanceTypes; return type?.NitroEnclavesSupport !== 'supported' ? 'hosts no enclaves' : atLeast(type.VCpuInfo.DefaultVCpus - 2, e.enclave.cpus, 'vCPU beside the parent'); } },
    ...[...new Set([e.instanceType, e.gatewayInstanceType])].map((type): Check => ({
      name: `${type} in each zone`, args: json('ec2', 'describe-instance-type-offerings', '--location-type', 'availability-zone', '--filters', `Name=instance-type,Values=${type}`), next: 'Choose other zones or another type.',
      judge: (a) => lacking(z.object({ InstanceTypeOfferings: z.array(z.object({ Location: z.string() })) }).parse(a).InstanceTypeOfferings.map(({ Location }) => Location), e.zones, type),
    })),
    { name: 'quota of on-demand vCPU', args: json('service-quotas', 'get-service-quota', '--service-code', 'ec2', '--quota-code', 'L-1216C47A'), next: 'Ask for more of "Running On-Demand Standard instances".',
      judge: (a) => atLeast(z.object({ Quota: z.object({ Value: z.number() }) }).parse(a).Quota.Value, 6 * e.fleet.min * Math.max(4, e.enclave.cpus + 2), 'vCPU') },
    { name: 'image of the parents', args: json('ec2', 'describe-images', '--image-ids', e.parentImage), judge: (a) => (z.object({ Images: z.array(z.object({ State: z.string() })) }).parse(a).Images[0]?.State === 'available' ? undefined : 'not available'), next: 'Bake the image, and put its id into aws.parentImage.' },
    { name: 'certificate', args: json('acm', 'describe-certificate', '--certificate-arn', e.certificateArn), judge: (a) => { const status = z.object({ Certificate: z.object({ Status: z.string() }) }).parse(a).Certificate.Status; return status === 'ISSUED' ? undefined : `is ${status}`; }, next: 'Have the certificate issued, in the region of the load balancer.' },
    { name: 'state store', args: json('s3api', 'get-bucket-versioning', '--bucket', state['bucket'] ?? ''), judge: (a) => (z.object({ Status: z.string().optional() }).parse(a ?? {}).Status === 'Enabled' ? undefined : 'has no versions'), next: `ccc bootstrap-state aws --env ${environment.name}` },
    ...(['broker', 'counter'] as const).flatMap((role) => entriesOf(lock, role).map(({ nitro }): Check => ({ name: `enclave file of the ${role}, ${nitro.PCR0.slice(0, 12)}`, args: json('s3api', 'head-object', '--bucket', eif, '--key', `eif/${nitro.PCR0}.eif`), judge: anything, next: 'Publish it; the bucket comes with a first apply of the store.' }))),
    ...['policy', 'directory'].map((name): Check => ({ name: `owner's ${name}`, args: json('s3api', 'head-object', '--bucket', eif, '--key', `owner/${name}.jws`), judge: anything, next: 'Sign it and publish it.' })),
    ...entriesOf(lock, 'gateway').map(({ image }): Check => ({ name: `image of the gateway, ${image.slice(7, 19)}`, args: json('ecr', 'describe-images', '--repository-name', named('aws-generic', 'gateway'), '--image-ids', `imageDigest=${image}`), judge: anything, next: 'Publish it; the repository comes with a first apply of the store.' })),
  ];
}

function azure({ azure: e, ...environment }: Environment): Check[] {
  const named = namer(environment);
  const json = (...args: string[]): string[] => [...args, '--subscription', e.subscriptionId, '--output', 'json'];
  const state = stateStore({ azure: e, ...environment } as Environment, 'azure');
  const skus = z.array(z.object({ name: z.string(), family: z.string(), locationInfo: z.array(z.object({ zones: z.array(z.string()) })), restrictions: z.array(z.object({ reasonCode: z.string() })) }));
  const family = /^Standard_([DE]C)\d+(ad?s)_v(\d)$/.exec(e.vmSize)?.slice(1) ?? [];
  const quota = `standard${family[0]}${family[1]}v${family[2]}Family`;
  return [
    { name: 'subscription', args: json('account', 'show'), judge: (a) => { const { id, tenantId } = z.object({ id: z.string(), tenantId: z.string() }).parse(a); return id === e.subscriptionId && tenantId === e.tenantId ? undefined : 'another subscription or tenant'; }, next: 'az login --tenant, with access to the subscription of this environment.' },
    { name: `${e.vmSize} in each zone`, args: json('vm', 'list-skus', '--location', e.location, '--resource-type', 'virtualMachines', '--size', e.vmSize, '--all'), next: 'Ask for the size, or choose another.',
      judge: (a) => { const sku = skus.parse(a).find(({ name }) => name === e.vmSize); return sku === undefined ? `not in ${e.location}` : sku.restrictions.length > 0 ? `restricted: ${sku.restrictions.map(({ reasonCode }) => reasonCode).join(', ')}` : lacking(sku.locationInfo.flatMap(({ zones }) => zones), e.zones, e.vmSize); } },
    { name: `quota of ${quota}`, args: json('vm', 'list-usage', '--location', e.location), next: 'Ask for more cores of this family.',
      judge: (a) => {
        const usage = z.array(z.object({ name: z.object({ value: z.string() }), limit: z.coerce.number(), currentValue: z.coerce.number() })).parse(a).find(({ name }) => name.value.toLowerCase() === quota.toLowerCase());
        return usage === undefined ? `no quota is listed for ${quota}` : atLeast(usage.limit - usage.currentValue, 6 * e.fleet.min * coresOf(e.vmSize), 'cores left');
      } },
    { name: 'Confidential VM Orchestrator', args: ['ad', 'sp', 'show', '--id', 'bf7b6499-ff71-4aa2-97a4-f372087be7f0', '--output', 'json'], judge: (a) => (z.object({ appId: z.string() }).parse(a).appId === 'bf7b6499-ff71-4aa2-97a4-f372087be7f0' ? undefined : 'another principal'), next: 'az ad sp create --id bf7b6499-ff71-4aa2-97a4-f372087be7f0' },
    { name: 'group of the network watcher', args: json('group', 'exists', '--name', 'NetworkWatcherRG'), judge: (a) => (z.boolean().parse(a) ? undefined : 'is not there'), next: `az network watcher configure --enabled true --resource-group NetworkWatcherRG --locations ${e.location}` },
    { name: 'state store', args: json('storage', 'account', 'show', '--name', state['storageAccount'] ?? '', '--resource-group', state['resourceGroup'] ?? ''), judge: (a) => (z.object({ allowSharedKeyAccess: z.boolean().nullable() }).parse(a).allowSharedKeyAccess === false ? undefined : 'shared keys open it'), next: `ccc bootstrap-state azure --env ${environment.name}` },
    { name: 'certificate of the origin', args: json('keyvault', 'secret', 'show', '--vault-name', named('key-vault', 'inf'), '--name', 'origin-tls', '--query', 'attributes.enabled'), judge: (a) => (z.boolean().parse(a) ? undefined : 'is disabled'), next: 'Put it into the infra vault, from a runner inside the network; the vault comes with the first apply.' },
  ];
}

function gcp({ gcp: e, ...environment }: Environment, lock: MeasurementLock): Check[] {
  const named = namer(environment);
  const json = (...args: string[]): string[] => [...args, '--project', e.project, '--format', 'json'];
  const state = stateStore({ gcp: e, ...environment } as Environment, 'gcp');
  const registry = `${e.region}-docker.pkg.dev/${e.project}/${named('gcp-generic', 'images')}`;
  const need = new Map<string, number>();
  const families = [...e.counterTees.map((tee) => [tee === 'TDX' ? e.tdxMachineType : e.snpMachineType, e.counters.min] as const), [e.brokerMachineType, e.brokers.min] as const, [e.gatewayMachineType, e.gateways.min] as const];
  for (const [type, count] of families) { const metric = `${type.split('-')[0]?.toUpperCase()}_CPUS`; need.set(metric, (need.get(metric) ?? 0) + count * coresOf(type)); }
  const quotas = z.object({ quotas: z.array(z.object({ metric: z.string(), limit: z.number(), usage: z.number() })) });
  const agents = ['artifactregistry', 'compute-system', 'container-engine-robot', 'cloud-sql', 'workflows'].map((name) => (name === 'compute-system' || name === 'container-engine-robot' ? `serviceAccount:service-${e.projectNumber}@${name}.iam.gserviceaccount.com` : `serviceAccount:service-${e.projectNumber}@gcp-sa-${name}.iam.gserviceaccount.com`));
  return [
    { name: 'project', args: ['projects', 'describe', e.project, '--format', 'json'], judge: (a) => (z.object({ projectNumber: z.string() }).parse(a).projectNumber === e.projectNumber ? undefined : `has another number than ${e.projectNumber}`), next: 'Correct gcp.project and gcp.projectNumber.' },
    ...[...new Set(families.map(([type]) => type))].map((type): Check => ({
      name: `${type} in each zone`, args: json('compute', 'machine-types', 'list', '--filter', `name=${type}`, '--zones', e.zones.join(',')), next: 'Choose other zones or another type.',
      judge: (a) => lacking(z.array(z.object({ zone: z.string() })).parse(a).map(({ zone }) => zone.split('/').at(-1) ?? ''), e.zones, type),
    })),
    { name: 'quotas of cores', args: json('compute', 'regions', 'describe', e.region), next: 'Ask for more cores of these families.',
      judge: (a) => { const have = quotas.parse(a).quotas; return [...need].map(([metric, cores]) => { const quota = have.find((q) => q.metric === metric); return atLeast(quota === undefined ? 0 : quota.limit - quota.usage, cores, `${metric} left`); }).filter(Boolean).join('; ') || undefined; } },
    { name: 'service agents', args: ['projects', 'get-iam-policy', e.project, '--format', 'json'], judge: (a) => lacking(z.object({ bindings: z.array(z.object({ members: z.array(z.string()).optional() })).optional() }).parse(a).bindings?.flatMap(({ members }) => members ?? []) ?? [], agents, 'agents'), next: `gcloud beta services identity create --service <service> --project ${e.project}, for each; and gcloud storage service-agent --project ${e.project}` },
    { name: 'state store', args: ['storage', 'buckets', 'describe', `gs://${state['bucket']}`, '--format', 'json'], judge: (a) => (z.object({ versioning_enabled: z.boolean().optional() }).parse(a).versioning_enabled === true ? undefined : 'has no versions'), next: `ccc bootstrap-state gcp --env ${environment.name}` },
    ...(['gateway', 'broker', 'counter'] as const).flatMap((role) => GENERATIONS.flatMap((generation) => (lock.roles[role][generation] === undefined ? [] : [role === 'gateway' ? lock.roles.gateway[generation]?.image ?? '' : entryOf(lock, role, generation).image]))
      .map((image): Check => ({ name: `image of the ${role}, ${image.slice(7, 19)}`, args: ['artifacts', 'docker', 'images', 'describe', `${registry}/${role}@${image}`, '--format', 'json'], judge: anything, next: 'Publish it; the registry comes with the first apply.' }))),
  ];
}

export const preflightChecks = (cloud: Cloud, environment: Environment, lock: MeasurementLock): readonly Check[] => ({ aws, azure, gcp })[cloud](environment, lock);
