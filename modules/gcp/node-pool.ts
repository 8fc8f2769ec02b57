/** One pool of confidential GKE nodes. TEE and machine type are part of its name: a changed machine type is not applied to a pool that keeps its name. */
import { ContainerNodePool } from '@cdktf/provider-google/lib/container-node-pool/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';

export type NodeTee = 'SEV_SNP' | 'TDX';
/** Machine families that have the TEE, and what else each needs (Google: "Confidential VM supported configurations"). */
const TEES = {
  SEV_SNP: { machines: /^n2d-(?:standard|highmem|highcpu)-[0-9]+$/, example: 'n2d-standard-4', minCpuPlatform: 'AMD Milan', label: 'snp' },
  TDX: { machines: /^c3-(?:standard|highmem|highcpu)-[0-9]+$/, example: 'c3-standard-4', minCpuPlatform: undefined, label: 'tdx' },
} as const;

/** Taint and label of nodes that count; only counters tolerate it. */
export const COUNTER_TAINT = { key: 'ccc.dev/counter', value: 'true' } as const;
export const ROLE_LABEL = 'ccc.dev/role';
export const TEE_LABEL = 'ccc.dev/tee';
export const teeLabel = (tee: NodeTee): string => TEES[tee].label;

export interface NodePoolProps {
  readonly named: Namer;
  readonly role: 'gateway' | 'counter';
  readonly tee: NodeTee;
  readonly machineType: string;
  readonly cluster: string;
  readonly region: string;
  /** Where the region has the TEE. */
  readonly zones: readonly string[];
  /** Nodes of the whole pool. */
  readonly min: number;
  readonly max: number;
  readonly keyId: string;
  /** Address. */
  readonly serviceAccount: string;
  readonly podRange: string;
  readonly tags: Tags;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class NodePool extends Construct {
  constructor(scope: Construct, id: string, props: NodePoolProps) {
    super(scope, id);
    const { role, tee, machineType } = props;
    const { machines, example, minCpuPlatform, label } = TEES[tee];
    need(machines.test(machineType), `${id}.machineType`, machineType, `a machine type that has ${tee}, as ${example}`);
    needWhole(`${id}.min`, props.min, 0, 1_000, 'nodes');
    needWhole(`${id}.max`, props.max, Math.max(props.min, 1), 1_000, 'nodes');
    need(props.zones.length >= 2, `${id}.zones`, props.zones, 'two zones and more: nodes with this TEE stop when their host is maintained');

    new ContainerNodePool(this, 'pool', {
      name: props.named('gke-node-pool', `${role}-${label}-${machineType}`), cluster: props.cluster, location: props.region, nodeLocations: [...props.zones], initialNodeCount: 1,
      autoscaling: { totalMinNodeCount: props.min, totalMaxNodeCount: props.max, locationPolicy: 'BALANCED' }, management: { autoRepair: true, autoUpgrade: true },
      upgradeSettings: { strategy: 'BLUE_GREEN', blueGreenSettings: { nodePoolSoakDuration: '1800s', standardRolloutPolicy: { batchPercentage: 0.34, batchSoakDuration: '300s' } } },
      networkConfig: { enablePrivateNodes: true, podRange: props.podRange },
      nodeConfig: {
        machineType, ...(minCpuPlatform === undefined ? {} : { minCpuPlatform }), imageType: 'COS_CONTAINERD', diskType: 'pd-balanced', diskSizeGb: 50, bootDiskKmsKey: props.keyId, serviceAccount: props.serviceAccount,
        // IAM decides what the account may do; scopes are the older, coarser way.
        oauthScopes: ['https://www.googleapis.com/auth/cloud-platform'],
        confidentialNodes: { enabled: true, confidentialInstanceType: tee }, shieldedInstanceConfig: { enableSecureBoot: true, enableIntegrityMonitoring: true }, workloadMetadataConfig: { mode: 'GKE_METADATA' }, gvnic: { enabled: true },
        metadata: { 'disable-legacy-endpoints': 'true' }, kubeletConfig: { insecureKubeletReadonlyPortEnabled: 'FALSE', cpuManagerPolicy: 'static', podPidsLimit: 2_048 },
        labels: { [ROLE_LABEL]: role, [TEE_LABEL]: label }, resourceLabels: { ...props.tags }, ...(role === 'counter' ? { taint: [{ ...COUNTER_TAINT, effect: 'NO_SCHEDULE' }] } : {}),
      },
      lifecycle: {
        createBeforeDestroy: true,
        // The autoscaler owns the count, the release channel the version.
        ignoreChanges: ['initial_node_count', 'node_count', 'version'],
      },
      dependsOn: [...props.dependsOn],
    });
  }
}
