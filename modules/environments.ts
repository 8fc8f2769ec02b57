/**
 * Every difference between environments, in one table: sizes, regions, zones, tiers, retention, lock modes, budgets, residency. Constructs take these
 * values as props and never ask which environment they are in. Read by the stacks and, for the promises of the tiers, by the failover drill.
 */
import { need, needWhole } from './configuration-error.ts';
import { type AcceptedGeneration, checkGenerations } from './generations.ts';
import { unmirrored } from './placeholders.ts';

export const ENVIRONMENT_NAMES = ['dev', 'staging', 'prod'] as const;
export type EnvironmentName = (typeof ENVIRONMENT_NAMES)[number];
export const CLOUDS = ['aws', 'azure', 'gcp'] as const;
export type Cloud = (typeof CLOUDS)[number];

/**
 * What a tier of recovery can keep, seconds. `backup`: restored from backups, no standby. `async`: a standby with bounded lag. `sync`: an acknowledged
 * job is on the standby too. The drill judges the last two.
 */
export const TIERS = {
  backup: { rtoSeconds: 86_400, rpoSeconds: 86_400 },
  async: { rtoSeconds: 60, rpoSeconds: 30 },
  sync: { rtoSeconds: 60, rpoSeconds: 0 },
} as const;
export type Tier = keyof typeof TIERS;

export interface AwsSettings {
  readonly account: string;
  readonly region: string;
  /** Where the replica keys and the database's copy are; inside the residency. */
  readonly standbyRegion: string;
  /** Names, pinned: a list from a data source would be unknown at plan. Three. */
  readonly zones: readonly string[];
  /** Must be able to host an enclave: at least 4 vCPU on x86. */
  readonly instanceType: string;
  /** The parent's image with nitro-cli, socat and vsock-proxy in it; pinned, never an alias. */
  readonly parentImage: string;
  /** Of one enclave: whole cores, and memory in MiB (about four times the image). */
  readonly enclave: { readonly cpus: number; readonly memoryMib: number };
  /** Instances of the live colour of one role. */
  readonly fleet: { readonly min: number; readonly max: number };
  readonly vpcCidr: string;
  /** Aurora capacity units. */
  readonly database: { readonly minCapacity: number; readonly maxCapacity: number };
  readonly certificateArn: string;
  /** Of gateways, which need no enclave. */
  readonly gatewayInstanceType: string;
  /** How long nobody can remove a version of an object, days. */
  readonly objectLockDays: { readonly images: number; readonly eif: number };
  /** Advanced wants the account's subscription. */
  readonly shield: 'standard' | 'advanced';
  /** Runs GuardDuty here; false where an organization does. */
  readonly threatDetection: boolean;
  /** In five minutes, before the firewall blocks. */
  readonly requestsPerAddress: number;
}

export interface AzureSettings {
  readonly subscriptionId: string;
  readonly tenantId: string;
  readonly location: string;
  readonly standbyLocation: string;
  readonly zones: readonly string[];
  /** A confidential size with SEV-SNP: DC or EC. */
  readonly vmSize: string;
  readonly fleet: { readonly min: number; readonly max: number };
  readonly vnetCidr: string;
  /** Administrators are a group of the directory: no password of the database exists. */
  readonly database: { readonly sku: string; readonly storageMb: number; readonly administrators: { readonly objectId: string; readonly name: string } };
  /** Short name of the location in names of attestation instances (`https://<name>.<short>.attest.azure.net`). */
  readonly attestationRegion: string;
  /** Copies of stores and backups in the paired region of `location`, which Azure chooses: only where that is inside the residency. */
  readonly pairedReplication: boolean;
  /** A plan costs about 3,000 US dollars a month and serves a whole tenant. */
  readonly ddosProtection: boolean;
  /** Gallery of the measured images, `ccc-<role>`; one version per colour, the one that the lock file measured. */
  readonly images: { readonly subscriptionId: string; readonly resourceGroup: string; readonly gallery: string; readonly versions: Readonly<Record<'blue' | 'green', string>> };
  /** Attested keys are created once: rotating them is another number, which is part of their names, and the day from which it counts. Plans warn once it is over. */
  readonly keyPeriod: { readonly number: number; readonly start: string };
  /** Name of the workbook, a UUID by the provider's rule. */
  readonly workbookId: string;
  /** First month of the budget. */
  readonly budgetStart: string;
  /** An OpenSSH public key that nobody holds the private half of: the API wants one though passwords and SSH are off. */
  readonly adminPublicKey: string;
}

export interface GcpSettings {
  readonly project: string;
  readonly projectNumber: string;
  readonly billingAccount: string;
  readonly region: string;
  readonly standbyRegion: string;
  readonly zones: readonly string[];
  /** Location of the attested keys: a region or a dual region inside the residency. */
  readonly keyLocation: string;
  /** TEEs that counters have a pool of. Google's SEV-SNP is Milan: only where acceptedGenerations names it. */
  readonly counterTees: readonly ('SEV_SNP' | 'TDX')[];
  readonly snpMachineType: string;
  readonly tdxMachineType: string;
  readonly brokerMachineType: string;
  readonly counters: { readonly min: number; readonly max: number };
  readonly brokers: { readonly min: number; readonly max: number };
  readonly gateways: { readonly min: number; readonly max: number };
  /** Confidential too (SEV-SNP): the project refuses VMs that are not. */
  readonly gatewayMachineType: string;
  /** A /16: subnets, pods and services are cut from it. */
  readonly networkCidr: string;
  readonly database: { readonly tier: string; readonly diskGb: number };
  /** Production image of Confidential Space, pinned; a family would change under a running fleet, and the debug family proves nothing. */
  readonly confidentialSpaceImage: string;
  /** Who may rotate and destroy keys, and neither use nor grant them: `group:` or `user:` and an address. */
  readonly keyAdministrators: string;
  /** Google group above those that Kubernetes roles name; the service prescribes the name before the @. */
  readonly rbacGroup: string;
  /** Images of others, mirrored into the cell's own registry (nodes have no way to the internet), by digest. */
  readonly mirrored: { readonly devicePlugin: string; readonly sqlProxy: string; readonly metricsAdapter: string };
}

export interface Environment {
  readonly name: EnvironmentName;
  /** Part of every globally unique name: 4 to 6 lower-case letters and digits. */
  readonly uid: string;
  /** DNS zone of this environment's public names. */
  readonly domain: string;
  /** Public host names of the cells' own edges (each cloud's stack prints its own), in front of which `edge-<env>` puts one name. */
  readonly hosts: Readonly<Record<Cloud, string>>;
  readonly costCenter: string;
  /** Gets alerts and budget notices. */
  readonly contact: string;
  /** Owner key of the deployment, raw Ed25519, base64url: part of the measured configuration. */
  readonly ownerKey: string;
  readonly tier: Tier;
  /** What is promised to tenants, seconds; no better than the tier can keep. */
  readonly promise: { readonly rtoSeconds: number; readonly rpoSeconds: number };
  /** Every region or location that may hold anything of this environment. */
  readonly residency: Readonly<Record<Cloud, readonly string[]>>;
  /** Enclaves and VMs in debug mode: measurements are void. Never in prod. */
  readonly debug: boolean;
  /** AMD's generations that are accepted though denied by default, each with a last day and a reason. Never in prod. */
  readonly acceptedGenerations: readonly AcceptedGeneration[];
  /** Irreversible locks (object lock COMPLIANCE, locked retention, immutable vaults): prod only. */
  readonly lock: 'reversible' | 'irreversible';
  /** Keys, databases and buckets that a plan must not destroy. */
  readonly protect: boolean;
  readonly keys: { readonly rotationDays: number; readonly deletionDays: number };
  /** Days. */
  readonly retention: { readonly logs: number; readonly audit: number; readonly backups: number };
  readonly sloTarget: number;
  /** US dollars a month and cloud. */
  readonly budget: Readonly<Record<Cloud, number>>;
  /** Share of the green colour, percent of the traffic; 0: blue alone. */
  readonly canaryPercent: number;
  /** Repository whose workflows may deploy, `owner/name`. */
  readonly repository: string;
  readonly aws: AwsSettings;
  readonly azure: AzureSettings;
  readonly gcp: GcpSettings;
}

// Accounts, subscriptions, projects, certificates and keys below are of nobody: whoever deploys puts their own here.
const OWNER_KEY = 'aBSLJVb_rPx0Aw-exoVvdqsTFgOKIXxjMSTp-f-01Wc';
const ADMIN_PUBLIC_KEY = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQClGKP3sKZ/Tj5K9fejK0nqykIH6QByjV3FXYB2tlTi8zhNp4xBaWzVH+BlWNBKSWwayXEKFcbvWik4D66GtQ3vfG+lxFyUiRJ9zlwSsBdexQX72tYHCtMIO3gjHhu/Vkcx3i1u51cQBpq9wNLlsUoyLGxzRfcIjZXn65cBjhHzXzxOEIQQtboNvZm6sfhB7cWtT38FmYXEcDZkdgzAjMrLy+mQh8JbYEMILydYt6AmhRZNSo0aTcB6TW9CZbStz4FWC8js0TgK5yqT5U0rYqTZa33DF73+UJAJ/7pKtOsB2wSaGE3sVI83W795WToH0I66ayAvRBfUabglpIYrUNNLfJ8/CPkJmo91aewdmHXYcOPW5pG8G6frP2lBzPTRSE2y7rAIGyjcpmZqBKKrRvouyv7chu2G62g8nI2m2e8eWHDk8iCczRRRNvLtisVqumLkEgnDWpF3lDqX6LEQjnvJh+Kec4FTKufWAvk93KmYfQYzhNhosuvoD3FeY57Vjw8=';

const CONFIDENTIAL_SPACE = 'projects/confidential-space-images/global/images/confidential-space-260900';
const GCP_MIRRORED = unmirrored('devicePlugin', 'sqlProxy', 'metricsAdapter');

/** One gallery for all environments: an image is promoted by naming its version, never rebuilt. */
const AZURE_IMAGES = { subscriptionId: '44444444-4444-4444-8444-444444444444', resourceGroup: 'ccc-images', gallery: 'ccc_images', versions: { blue: '1.0.0', green: '1.1.0' } } as const;

const common = {
  costCenter: 'confidential-computing',
  contact: 'ccc-alerts@example.com',
  ownerKey: OWNER_KEY,
  debug: false,
  sloTarget: 0.999,
  keys: { rotationDays: 90, deletionDays: 30 },
  repository: 'example/confidential-cat-counter',
} as const;

const EU = {
  aws: ['eu-central-1', 'eu-west-1'],
  azure: ['westeurope', 'northeurope'],
  gcp: ['europe-west4', 'europe-west1'],
} as const;
const US = {
  aws: ['us-east-1', 'us-west-2'],
  azure: ['eastus', 'westus3'],
  gcp: ['us-central1', 'us-east4'],
} as const;

export const ENVIRONMENTS: Readonly<Record<EnvironmentName, Environment>> = {
  dev: {
    ...common, name: 'dev', uid: 'd7k2', domain: 'dev.ccc.example.com', hosts: { aws: 'aws.dev.cells.example.net', azure: 'azure.dev.cells.example.net', gcp: 'gcp.dev.cells.example.net' }, tier: 'backup', promise: { rtoSeconds: 86_400, rpoSeconds: 86_400 }, residency: US,
    acceptedGenerations: [{ generation: 'Milan', until: '2027-06-30T00:00:00Z', reason: 'Google has SEV-SNP on Milan alone; the path is kept working in dev, where no plaintext of others is counted.' }],
    lock: 'reversible', protect: false, retention: { logs: 365, audit: 365, backups: 7 }, budget: { aws: 800, azure: 800, gcp: 800 }, canaryPercent: 0,
    aws: {
      account: '111111111111', region: 'us-east-1', standbyRegion: 'us-west-2', zones: ['us-east-1a', 'us-east-1b', 'us-east-1c'], instanceType: 'm6i.xlarge',
      parentImage: 'ami-0123456789abcdef0', enclave: { cpus: 2, memoryMib: 4096 }, fleet: { min: 1, max: 2 }, vpcCidr: '10.20.0.0/16',
      database: { minCapacity: 0.5, maxCapacity: 2 }, certificateArn: 'arn:aws:acm:us-east-1:111111111111:certificate/11111111-1111-4111-8111-111111111111',
      gatewayInstanceType: 'm6i.large', objectLockDays: { images: 1, eif: 7 }, shield: 'standard', threatDetection: false, requestsPerAddress: 2_000,
    },
    azure: {
      subscriptionId: '11111111-1111-4111-8111-111111111111', tenantId: '99999999-9999-4999-8999-999999999999', location: 'eastus', standbyLocation: 'westus3', zones: ['1', '2', '3'],
      vmSize: 'Standard_DC4as_v6', fleet: { min: 1, max: 2 }, vnetCidr: '10.30.0.0/16', database: { sku: 'GP_Standard_D2ds_v5', storageMb: 32_768, administrators: { objectId: '11111111-1111-4111-9111-111111111111', name: 'ccc-dev-database-administrators' } }, adminPublicKey: ADMIN_PUBLIC_KEY,
      attestationRegion: 'eus', pairedReplication: false, ddosProtection: false, keyPeriod: { number: 1, start: '2026-12-01T00:00:00Z' }, workbookId: '11111111-1111-4111-a111-111111111111', budgetStart: '2026-12-01T00:00:00Z', images: AZURE_IMAGES,
    },
    gcp: {
      project: 'ccc-dev-d7k2', projectNumber: '111111111111', billingAccount: '111111-222222-333333', region: 'us-central1', standbyRegion: 'us-east4', zones: ['us-central1-a', 'us-central1-b', 'us-central1-c'],
      keyLocation: 'us-central1', counterTees: ['SEV_SNP', 'TDX'], snpMachineType: 'n2d-standard-4', tdxMachineType: 'c3-standard-4', brokerMachineType: 'c3-standard-4', counters: { min: 1, max: 2 }, brokers: { min: 1, max: 2 },
      networkCidr: '10.40.0.0/16', database: { tier: 'db-custom-2-7680', diskGb: 20 },
      gateways: { min: 1, max: 2 }, gatewayMachineType: 'n2d-standard-4', confidentialSpaceImage: CONFIDENTIAL_SPACE, keyAdministrators: 'group:ccc-dev-key-admins@example.com', rbacGroup: 'gke-security-groups@example.com', mirrored: GCP_MIRRORED,
    },
  },
  staging: {
    ...common, name: 'staging', uid: 's4m9', domain: 'staging.ccc.example.com', hosts: { aws: 'aws.staging.cells.example.net', azure: 'azure.staging.cells.example.net', gcp: 'gcp.staging.cells.example.net' }, tier: 'async', promise: { rtoSeconds: 14_400, rpoSeconds: 3_600 }, residency: EU,
    acceptedGenerations: [],
    lock: 'reversible', protect: false, retention: { logs: 365, audit: 365, backups: 14 }, budget: { aws: 2_500, azure: 2_500, gcp: 2_500 }, canaryPercent: 10,
    aws: {
      account: '222222222222', region: 'eu-central-1', standbyRegion: 'eu-west-1', zones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'], instanceType: 'm6i.xlarge',
      parentImage: 'ami-0123456789abcdef1', enclave: { cpus: 2, memoryMib: 4096 }, fleet: { min: 2, max: 6 }, vpcCidr: '10.21.0.0/16',
      database: { minCapacity: 0.5, maxCapacity: 8 }, certificateArn: 'arn:aws:acm:eu-central-1:222222222222:certificate/22222222-2222-4222-8222-222222222222',
      gatewayInstanceType: 'm6i.large', objectLockDays: { images: 7, eif: 30 }, shield: 'standard', threatDetection: true, requestsPerAddress: 10_000,
    },
    azure: {
      subscriptionId: '22222222-2222-4222-8222-222222222222', tenantId: '99999999-9999-4999-8999-999999999999', location: 'westeurope', standbyLocation: 'northeurope', zones: ['1', '2', '3'],
      vmSize: 'Standard_DC4as_v6', fleet: { min: 2, max: 6 }, vnetCidr: '10.31.0.0/16', database: { sku: 'GP_Standard_D4ds_v5', storageMb: 65_536, administrators: { objectId: '22222222-2222-4222-9222-222222222222', name: 'ccc-staging-database-administrators' } }, adminPublicKey: ADMIN_PUBLIC_KEY,
      attestationRegion: 'weu', pairedReplication: true, ddosProtection: false, keyPeriod: { number: 1, start: '2026-12-01T00:00:00Z' }, workbookId: '22222222-2222-4222-a222-222222222222', budgetStart: '2026-12-01T00:00:00Z', images: AZURE_IMAGES,
    },
    gcp: {
      project: 'ccc-staging-s4m9', projectNumber: '222222222222', billingAccount: '111111-222222-333333', region: 'europe-west4', standbyRegion: 'europe-west1', zones: ['europe-west4-a', 'europe-west4-b', 'europe-west4-c'],
      keyLocation: 'europe-west4', counterTees: ['TDX'], snpMachineType: 'n2d-standard-4', tdxMachineType: 'c3-standard-4', brokerMachineType: 'c3-standard-4', counters: { min: 1, max: 4 }, brokers: { min: 2, max: 4 },
      networkCidr: '10.41.0.0/16', database: { tier: 'db-custom-4-15360', diskGb: 50 },
      gateways: { min: 2, max: 4 }, gatewayMachineType: 'n2d-standard-4', confidentialSpaceImage: CONFIDENTIAL_SPACE, keyAdministrators: 'group:ccc-staging-key-admins@example.com', rbacGroup: 'gke-security-groups@example.com', mirrored: GCP_MIRRORED,
    },
  },
  prod: {
    ...common, name: 'prod', uid: 'p1x8', domain: 'ccc.example.com', hosts: { aws: 'aws.prod.cells.example.net', azure: 'azure.prod.cells.example.net', gcp: 'gcp.prod.cells.example.net' }, tier: 'sync', promise: { rtoSeconds: 900, rpoSeconds: 300 }, residency: EU,
    acceptedGenerations: [],
    lock: 'irreversible', protect: true, retention: { logs: 400, audit: 2_555, backups: 35 }, budget: { aws: 12_000, azure: 12_000, gcp: 12_000 }, canaryPercent: 10,
    aws: {
      account: '333333333333', region: 'eu-central-1', standbyRegion: 'eu-west-1', zones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'], instanceType: 'm6i.2xlarge',
      parentImage: 'ami-0123456789abcdef2', enclave: { cpus: 4, memoryMib: 8192 }, fleet: { min: 3, max: 24 }, vpcCidr: '10.22.0.0/16',
      database: { minCapacity: 2, maxCapacity: 32 }, certificateArn: 'arn:aws:acm:eu-central-1:333333333333:certificate/33333333-3333-4333-8333-333333333333',
      gatewayInstanceType: 'm6i.xlarge', objectLockDays: { images: 30, eif: 365 }, shield: 'advanced', threatDetection: true, requestsPerAddress: 10_000,
    },
    azure: {
      subscriptionId: '33333333-3333-4333-8333-333333333333', tenantId: '99999999-9999-4999-8999-999999999999', location: 'westeurope', standbyLocation: 'northeurope', zones: ['1', '2', '3'],
      vmSize: 'Standard_DC8as_v6', fleet: { min: 3, max: 24 }, vnetCidr: '10.32.0.0/16', database: { sku: 'MO_Standard_E4ds_v5', storageMb: 131_072, administrators: { objectId: '33333333-3333-4333-9333-333333333333', name: 'ccc-prod-database-administrators' } }, adminPublicKey: ADMIN_PUBLIC_KEY,
      attestationRegion: 'weu', pairedReplication: true, ddosProtection: true, keyPeriod: { number: 1, start: '2026-12-01T00:00:00Z' }, workbookId: '33333333-3333-4333-a333-333333333333', budgetStart: '2026-12-01T00:00:00Z', images: AZURE_IMAGES,
    },
    gcp: {
      project: 'ccc-prod-p1x8', projectNumber: '333333333333', billingAccount: '111111-222222-333333', region: 'europe-west4', standbyRegion: 'europe-west1', zones: ['europe-west4-a', 'europe-west4-b', 'europe-west4-c'],
      keyLocation: 'europe-west4', counterTees: ['TDX'], snpMachineType: 'n2d-standard-8', tdxMachineType: 'c3-standard-8', brokerMachineType: 'c3-standard-4', counters: { min: 3, max: 24 }, brokers: { min: 3, max: 6 },
      networkCidr: '10.42.0.0/16', database: { tier: 'db-custom-8-30720', diskGb: 100 },
      gateways: { min: 3, max: 12 }, gatewayMachineType: 'n2d-standard-4', confidentialSpaceImage: CONFIDENTIAL_SPACE, keyAdministrators: 'group:ccc-prod-key-admins@example.com', rbacGroup: 'gke-security-groups@example.com', mirrored: GCP_MIRRORED,
    },
  },
};

/** Sizes that can host the TEE, by documented families (iac notes of each cloud's module say the source). */
const TEE_SIZES = {
  // Enclaves need whole cores beside the parent's: 4 vCPU and more; no T family.
  aws: /^(?:[cmr](?:5|5a|5n|6a|6i|6in|7a|7i)n?)\.(?:xlarge|[1-9][0-9]*xlarge)$/,
  // SEV-SNP: release policies pin its launch measurement, and no token of the attestation service pins a guest's own under TDX.
  azure: /^Standard_(?:DC|EC)[0-9]+(?:as|ads)_v[56]$/,
  gcpSnp: /^n2d-(?:standard|highmem|highcpu)-[0-9]+$/,
  gcpTdx: /^c3-(?:standard|highmem|highcpu)-[0-9]+$/,
} as const;

/** @throws ConfigurationError with the field that cannot be deployed */
export function checkEnvironment(e: Environment): void {
  const at = (field: string): string => `environments.${e.name}.${field}`;
  need(/^[a-z][a-z0-9]{3,5}$/.test(e.uid), at('uid'), e.uid, 'a letter and 3 to 5 letters or digits, lower case');
  need(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$/.test(e.domain), at('domain'), e.domain, 'a DNS name in lower case');
  for (const cloud of CLOUDS) need(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$/.test(e.hosts[cloud]), at(`hosts.${cloud}`), e.hosts[cloud], 'a DNS name in lower case');
  need(/^[^\s@]+@[^\s@]+\.[a-z]{2,}$/.test(e.contact), at('contact'), e.contact, 'an e-mail address');
  need(/^[A-Za-z0-9_-]{43}$/.test(e.ownerKey), at('ownerKey'), e.ownerKey, 'a raw Ed25519 public key, 32 bytes in base64url');
  need(/^[\w.-]+\/[\w.-]+$/.test(e.repository), at('repository'), e.repository, 'owner/name');
  need(!(e.debug && e.name === 'prod'), at('debug'), e.debug, 'false: measurements of a TEE in debug mode prove nothing');
  need(e.lock === 'reversible' || e.name === 'prod', at('lock'), e.lock, 'reversible: what is locked here can never be removed');
  need(e.name !== 'prod' || (e.lock === 'irreversible' && e.protect), at('lock'), { lock: e.lock, protect: e.protect }, 'irreversible locks and protected resources in prod');

  const tier = TIERS[e.tier];
  need(e.promise.rtoSeconds >= tier.rtoSeconds, at('promise.rtoSeconds'), e.promise.rtoSeconds, `at least ${tier.rtoSeconds} s, which tier ${e.tier} can keep`);
  need(e.promise.rpoSeconds >= tier.rpoSeconds, at('promise.rpoSeconds'), e.promise.rpoSeconds, `at least ${tier.rpoSeconds} s, which tier ${e.tier} can keep`);
  need(e.keys.rotationDays === 90, at('keys.rotationDays'), e.keys.rotationDays, '90: the shortest that AWS KMS rotates by itself, and the longest that is allowed here');
  needWhole(at('keys.deletionDays'), e.keys.deletionDays, 30, 30, 'days (the longest window of AWS KMS)');
  needWhole(at('retention.logs'), e.retention.logs, 365, 3_653, 'days');
  needWhole(at('retention.audit'), e.retention.audit, 365, 3_653, 'days');
  needWhole(at('retention.backups'), e.retention.backups, 7, 35, 'days');
  need(e.sloTarget >= 0.99 && e.sloTarget < 1, at('sloTarget'), e.sloTarget, 'from 0.99 to below 1');
  needWhole(at('canaryPercent'), e.canaryPercent, 0, 50, 'percent');
  for (const cloud of CLOUDS) needWhole(at(`budget.${cloud}`), e.budget[cloud], 1, 1_000_000, 'US dollars');

  const residency = (field: string, cloud: Cloud, region: string): void =>
    need(e.residency[cloud].includes(region), at(field), region, `one of the residency: ${e.residency[cloud].join(', ')}`);
  residency('aws.region', 'aws', e.aws.region);
  residency('aws.standbyRegion', 'aws', e.aws.standbyRegion);
  residency('azure.location', 'azure', e.azure.location);
  residency('azure.standbyLocation', 'azure', e.azure.standbyLocation);
  residency('gcp.region', 'gcp', e.gcp.region);
  residency('gcp.standbyRegion', 'gcp', e.gcp.standbyRegion);
  residency('gcp.keyLocation', 'gcp', e.gcp.keyLocation);
  need(e.aws.region !== e.aws.standbyRegion, at('aws.standbyRegion'), e.aws.standbyRegion, 'another region than aws.region');
  need(e.azure.location !== e.azure.standbyLocation, at('azure.standbyLocation'), e.azure.standbyLocation, 'another location than azure.location');
  need(e.gcp.region !== e.gcp.standbyRegion, at('gcp.standbyRegion'), e.gcp.standbyRegion, 'another region than gcp.region');
  zones(at('aws.zones'), e.aws.zones, new RegExp(`^${e.aws.region}[a-f]$`));
  zones(at('azure.zones'), e.azure.zones, /^[123]$/);
  zones(at('gcp.zones'), e.gcp.zones, new RegExp(`^${e.gcp.region}-[a-f]$`));

  need(TEE_SIZES.aws.test(e.aws.instanceType), at('aws.instanceType'), e.aws.instanceType, 'a Nitro instance of 4 vCPU or more that can host enclaves, as m6i.xlarge');
  need(TEE_SIZES.azure.test(e.azure.vmSize), at('azure.vmSize'), e.azure.vmSize, 'a confidential size with SEV-SNP (DC or EC), as Standard_DC4as_v6');
  need(TEE_SIZES.gcpSnp.test(e.gcp.snpMachineType), at('gcp.snpMachineType'), e.gcp.snpMachineType, 'an N2D machine type, as n2d-standard-4 (SEV-SNP)');
  need(TEE_SIZES.gcpTdx.test(e.gcp.tdxMachineType), at('gcp.tdxMachineType'), e.gcp.tdxMachineType, 'a C3 machine type, as c3-standard-4 (TDX)');
  need(TEE_SIZES.gcpTdx.test(e.gcp.brokerMachineType), at('gcp.brokerMachineType'), e.gcp.brokerMachineType, 'a C3 machine type, as c3-standard-4 (TDX)');
  need(TEE_SIZES.gcpSnp.test(e.gcp.gatewayMachineType), at('gcp.gatewayMachineType'), e.gcp.gatewayMachineType, 'an N2D machine type, as n2d-standard-4: the project refuses VMs that are not confidential');
  need(/^projects\/confidential-space-images\/global\/images\/confidential-space-[0-9]{6}$/.test(e.gcp.confidentialSpaceImage), at('gcp.confidentialSpaceImage'), e.gcp.confidentialSpaceImage, 'a dated production image of Confidential Space, never a family, never a debug image');
  need(/^(?:group|user):[^\s@:]+@[^\s@:]+\.[a-z]{2,}$/.test(e.gcp.keyAdministrators), at('gcp.keyAdministrators'), e.gcp.keyAdministrators, 'group: or user: and an e-mail address');
  need(/^gke-security-groups@[a-z0-9.-]+\.[a-z]{2,}$/.test(e.gcp.rbacGroup), at('gcp.rbacGroup'), e.gcp.rbacGroup, 'gke-security-groups@ and a domain');
  need(/^10\.[0-9]{1,3}\.0\.0\/16$/.test(e.gcp.networkCidr), at('gcp.networkCidr'), e.gcp.networkCidr, 'a /16 of 10.0.0.0/8');
  need(/^[a-z][a-z0-9-]{4,28}[a-z0-9]$/.test(e.gcp.project), at('gcp.project'), e.gcp.project, 'a project id: 6 to 30 lower-case letters, digits and hyphens');
  need(/^[0-9]{6,19}$/.test(e.gcp.projectNumber), at('gcp.projectNumber'), e.gcp.projectNumber, 'a project number');
  need(/^[0-9A-F]{6}(?:-[0-9A-F]{6}){2}$/.test(e.gcp.billingAccount), at('gcp.billingAccount'), e.gcp.billingAccount, 'a billing account, as 012345-6789AB-CDEF01');
  for (const [image, digest] of Object.entries(e.gcp.mirrored)) need(/^sha256:[0-9a-f]{64}$/.test(digest) && !/^sha256:0+$/.test(digest), at(`gcp.mirrored.${image}`), digest, 'sha256: and 64 lower-case hexadecimal digits');
  need(e.gcp.counterTees.length > 0 && new Set(e.gcp.counterTees).size === e.gcp.counterTees.length, at('gcp.counterTees'), e.gcp.counterTees, 'at least one TEE, each once');
  checkGenerations(at, e);
  checkAzure(at, e);
  need(/^[0-9]{12}$/.test(e.aws.account), at('aws.account'), e.aws.account, 'twelve digits');
  for (const [field, fleet] of [['aws.fleet', e.aws.fleet], ['azure.fleet', e.azure.fleet], ['gcp.counters', e.gcp.counters], ['gcp.brokers', e.gcp.brokers], ['gcp.gateways', e.gcp.gateways]] as const) {
    needWhole(at(`${field}.min`), fleet.min, 1, 1_000);
    needWhole(at(`${field}.max`), fleet.max, fleet.min, 1_000);
  }
  needWhole(at('aws.objectLockDays.images'), e.aws.objectLockDays.images, 1, 365, 'days');
  needWhole(at('aws.objectLockDays.eif'), e.aws.objectLockDays.eif, 1, 3_653, 'days');
  needWhole(at('aws.requestsPerAddress'), e.aws.requestsPerAddress, 100, 1_000_000);
  need(/^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate\/[0-9a-f-]{36}$/.test(e.aws.certificateArn) && e.aws.certificateArn.split(':')[3] === e.aws.region, at('aws.certificateArn'), e.aws.certificateArn, 'the ARN of a certificate of ACM in aws.region');
  need(/^[cmr][5-8][a-z]*\.[a-z0-9]+$/.test(e.aws.gatewayInstanceType), at('aws.gatewayInstanceType'), e.aws.gatewayInstanceType, 'a Nitro instance type, as m6i.large');
  needWhole(at('aws.enclave.cpus'), e.aws.enclave.cpus, 2, 64, 'vCPU, whole cores');
  need(e.aws.enclave.cpus % 2 === 0, at('aws.enclave.cpus'), e.aws.enclave.cpus, 'an even number: whole cores');
  needWhole(at('aws.enclave.memoryMib'), e.aws.enclave.memoryMib, 1_024, 262_144, 'MiB');
  need(e.aws.enclave.memoryMib % 1_024 === 0, at('aws.enclave.memoryMib'), e.aws.enclave.memoryMib, 'whole GiB: the allocator takes 1 GiB pages first');
}

function zones(field: string, have: readonly string[], pattern: RegExp): void {
  need(have.length === 3 && new Set(have).size === 3 && have.every((zone) => pattern.test(zone)), field, have, `three zones that match ${pattern.source}`);
}

/** Where Azure puts geo-redundant copies; nobody can choose ("Azure paired regions"). A location without a pair has none. */
const PAIRED: Readonly<Record<string, string>> = {
  westeurope: 'northeurope', northeurope: 'westeurope', eastus: 'westus', westus: 'eastus', eastus2: 'centralus', centralus: 'eastus2', westus2: 'westcentralus', westus3: 'eastus',
  francecentral: 'francesouth', germanywestcentral: 'germanynorth', swedencentral: 'swedensouth', switzerlandnorth: 'switzerlandwest', uksouth: 'ukwest',
};

function checkAzure(at: (field: string) => string, e: Environment): void {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const { azure } = e;
  for (const [field, value] of [['subscriptionId', azure.subscriptionId], ['tenantId', azure.tenantId], ['images.subscriptionId', azure.images.subscriptionId], ['workbookId', azure.workbookId], ['database.administrators.objectId', azure.database.administrators.objectId]] as const) {
    need(uuid.test(value), at(`azure.${field}`), value, 'a UUID in lower case');
  }
  need(/^[a-z][a-z0-9]{1,7}$/.test(azure.attestationRegion), at('azure.attestationRegion'), azure.attestationRegion, 'a short name of a location, as weu');
  const pair = PAIRED[azure.location];
  need(!azure.pairedReplication || (pair !== undefined && e.residency.azure.includes(pair)), at('azure.pairedReplication'), azure.pairedReplication, `false: copies of ${azure.location} would be in ${pair ?? 'no region'}, outside the residency`);
  need(!azure.pairedReplication || azure.standbyLocation === pair, at('azure.standbyLocation'), azure.standbyLocation, `${pair}, where the paired copies and their key are`);
  needWhole(at('azure.keyPeriod.number'), azure.keyPeriod.number, 1, 10_000);
  need(/^20[0-9]{2}-[01][0-9]-[0-3][0-9]T00:00:00Z$/.test(azure.keyPeriod.start) && Number.isFinite(Date.parse(azure.keyPeriod.start)), at('azure.keyPeriod.start'), azure.keyPeriod.start, 'a day, as 2026-12-01T00:00:00Z');
  need(/^20[0-9]{2}-(?:0[1-9]|1[0-2])-01T00:00:00Z$/.test(azure.budgetStart), at('azure.budgetStart'), azure.budgetStart, 'the first of a month, as 2026-12-01T00:00:00Z');
  need(/^(?:GP_Standard_D|MO_Standard_E)[0-9]+a?d?s_v[45]$/.test(azure.database.sku), at('azure.database.sku'), azure.database.sku, 'a general-purpose or memory-optimized size: burstable ones have neither replicas nor zones');
  need([32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152, 4_193_280].includes(azure.database.storageMb), at('azure.database.storageMb'), azure.database.storageMb, 'one of the sizes that the service has, MiB');
  need(/^[A-Za-z0-9_.]{1,80}$/.test(azure.images.gallery), at('azure.images.gallery'), azure.images.gallery, 'letters, digits, underscores and dots');
  for (const [colour, version] of Object.entries(azure.images.versions)) need(/^[0-9]+\.[0-9]+\.[0-9]+$/.test(version), at(`azure.images.versions.${colour}`), version, 'three numbers, as 1.0.0: never latest');
}
