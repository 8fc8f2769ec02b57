/**
 * The cluster that gateways and counters run in. Counters: one pool with SEV-SNP, one with TDX, so that no chip vendor's recall stops the cell. Gateways see
 * only ciphertext; their nodes are confidential all the same, because the project refuses VMs that are not (guardrails.ts).
 * Confidential nodes are set per pool: at the level of the cluster the choice is immutable, and one for all pools.
 */
import { ContainerCluster } from '@cdktf/provider-google/lib/container-cluster/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';
import { RANGE_NAMES } from './network.ts';
import { NodePool, type NodeTee, teeLabel } from './node-pool.ts';

interface Sizes { readonly min: number; readonly max: number }

export interface FleetProps {
  readonly named: Namer;
  readonly project: string;
  readonly region: string;
  readonly zones: readonly string[];
  readonly networkId: string;
  readonly subnetId: string;
  readonly keyId: string;
  /** Addresses. */
  readonly gatewayNodes: string;
  readonly counterNodes: string;
  readonly gateways: Sizes & { readonly machineType: string };
  /** Nodes of each TEE's pool. */
  readonly counters: Sizes & { readonly tees: readonly NodeTee[]; readonly snpMachineType: string; readonly tdxMachineType: string };
  /** Google group whose members' groups RBAC may name; the service wants this name: `gke-security-groups@` and the domain. */
  readonly rbacGroup: string;
  readonly protect: boolean;
  readonly tags: Tags;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class Fleet extends Construct {
  readonly clusterName: string;

  constructor(scope: Construct, id: string, props: FleetProps) {
    super(scope, id);
    const { named, project, region, zones, keyId, tags } = props;
    need(/^gke-security-groups@[a-z0-9.-]+\.[a-z]{2,}$/.test(props.rbacGroup), `${id}.rbacGroup`, props.rbacGroup, 'gke-security-groups@ and a domain');
    const cluster = new ContainerCluster(this, 'cluster', {
      name: named('gke-cluster', 'cell'), location: region, nodeLocations: [...zones], network: props.networkId, subnetwork: props.subnetId, deletionProtection: props.protect, resourceLabels: { ...tags },
      networkingMode: 'VPC_NATIVE', ipAllocationPolicy: { clusterSecondaryRangeName: RANGE_NAMES.pods, servicesSecondaryRangeName: RANGE_NAMES.services },
      // The bootstrap pool is removed at once, but it must be able to exist: confidential, private, with our account and key.
      removeDefaultNodePool: true, initialNodeCount: 1,
      nodeConfig: {
        machineType: props.gateways.machineType, minCpuPlatform: 'AMD Milan', imageType: 'COS_CONTAINERD', bootDiskKmsKey: keyId, serviceAccount: props.gatewayNodes, oauthScopes: ['https://www.googleapis.com/auth/cloud-platform'], confidentialNodes: { enabled: true, confidentialInstanceType: 'SEV_SNP' },
        shieldedInstanceConfig: { enableSecureBoot: true, enableIntegrityMonitoring: true }, workloadMetadataConfig: { mode: 'GKE_METADATA' }, metadata: { 'disable-legacy-endpoints': 'true' }, kubeletConfig: { insecureKubeletReadonlyPortEnabled: 'FALSE', cpuManagerPolicy: 'none' },
      },
      enableShieldedNodes: true, datapathProvider: 'ADVANCED_DATAPATH', enableIntranodeVisibility: true, enableL4IlbSubsetting: true, enableLegacyAbac: false, enableKubernetesAlpha: false, inTransitEncryptionConfig: 'IN_TRANSIT_ENCRYPTION_INTER_NODE_TRANSPARENT',
      // No address of the control plane at all: its DNS name, where IAM decides. That is also how the pipeline reaches it, without a bastion.
      privateClusterConfig: { enablePrivateNodes: true, enablePrivateEndpoint: true }, controlPlaneEndpointsConfig: { dnsEndpointConfig: { allowExternalTraffic: true }, ipEndpointsConfig: { enabled: false } }, masterAuthorizedNetworksConfig: { gcpPublicCidrsAccessEnabled: false },
      authenticatorGroupsConfig: { securityGroup: props.rbacGroup },
      masterAuth: { clientCertificateConfig: { issueClientCertificate: false } }, anonymousAuthenticationConfig: { mode: 'LIMITED' },
      rbacBindingConfig: { enableInsecureBindingSystemAuthenticated: false, enableInsecureBindingSystemUnauthenticated: false },
      workloadIdentityConfig: { workloadPool: `${project}.svc.id.goog` }, databaseEncryption: { state: 'ENCRYPTED', keyName: keyId }, binaryAuthorization: { evaluationMode: 'PROJECT_SINGLETON_POLICY_ENFORCE' },
      releaseChannel: { channel: 'REGULAR' }, securityPostureConfig: { mode: 'BASIC', vulnerabilityMode: 'VULNERABILITY_BASIC' }, gatewayApiConfig: { channel: 'CHANNEL_STANDARD' }, costManagementConfig: { enabled: true },
      addonsConfig: { httpLoadBalancing: { disabled: false }, dnsCacheConfig: { enabled: false }, gcePersistentDiskCsiDriverConfig: { enabled: true } },
      dnsConfig: { clusterDns: 'CLOUD_DNS', clusterDnsScope: 'CLUSTER_SCOPE', clusterDnsDomain: 'cluster.local' },
      loggingConfig: { enableComponents: ['SYSTEM_COMPONENTS', 'WORKLOADS', 'APISERVER', 'CONTROLLER_MANAGER', 'SCHEDULER'] }, monitoringConfig: { enableComponents: ['SYSTEM_COMPONENTS', 'APISERVER', 'DEPLOYMENT', 'HPA', 'POD'], managedPrometheus: { enabled: true }, advancedDatapathObservabilityConfig: { enableMetrics: true, enableRelay: false } },
      maintenancePolicy: { recurringWindow: { startTime: '2026-01-03T02:00:00Z', endTime: '2026-01-03T08:00:00Z', recurrence: 'FREQ=WEEKLY;BYDAY=SA,SU' } },
      lifecycle: {
        preventDestroy: props.protect,
        // Of the bootstrap pool, which is gone; versions are the release channel's.
        ignoreChanges: ['node_config', 'initial_node_count', 'min_master_version'],
      },
      dependsOn: [...props.dependsOn],
    });
    this.clusterName = cluster.name;

    const common = { named, cluster: cluster.name, region, zones, keyId, tags, podRange: RANGE_NAMES.pods, dependsOn: props.dependsOn };
    const { gateways, counters } = props;
    new NodePool(this, 'gateways', { ...common, role: 'gateway', tee: 'SEV_SNP', machineType: gateways.machineType, min: gateways.min, max: gateways.max, serviceAccount: props.gatewayNodes });
    for (const tee of counters.tees) {
      new NodePool(this, `counters-${teeLabel(tee)}`, { ...common, role: 'counter', tee, machineType: tee === 'TDX' ? counters.tdxMachineType : counters.snpMachineType, min: counters.min, max: counters.max, serviceAccount: props.counterNodes });
    }
  }
}
