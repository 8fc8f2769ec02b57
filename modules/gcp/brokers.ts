/**
 * Brokers: Confidential Space on TDX, two colours in one regional group behind an internal load balancer. GKE nodes could not be brokers: their evidence
 * names the node, not the workload. A broker that ends is replaced by a new VM with new keys of its own; nothing of it survives on a disk.
 *
 * In the image, the launcher starts the one container that `tee-image-reference` names by digest, with `CCC_CELL` (base64url of `cell.json`) as its only
 * input; the entry point writes it to `/var/lib/ccc/cell.json` and starts the broker on every address of the VM. The token's claims, and with them the key, hang on both.
 * The image says in its labels that this may be: `tee.launch_policy.allow_env_override=CCC_CELL`, `tee.launch_policy.log_redirect=always`.
 */
import { ComputeForwardingRule } from '@cdktf/provider-google/lib/compute-forwarding-rule/index.js';
import { ComputeRegionAutoscaler } from '@cdktf/provider-google/lib/compute-region-autoscaler/index.js';
import { ComputeRegionBackendService } from '@cdktf/provider-google/lib/compute-region-backend-service/index.js';
import { ComputeRegionHealthCheck } from '@cdktf/provider-google/lib/compute-region-health-check/index.js';
import { ComputeRegionInstanceGroupManager } from '@cdktf/provider-google/lib/compute-region-instance-group-manager/index.js';
import { ComputeRegionInstanceTemplate } from '@cdktf/provider-google/lib/compute-region-instance-template/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { need, needWhole } from '../configuration-error.ts';
import { entryOf, type Generation, type MeasurementLock } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';
import { CELL_VARIABLE } from './token-condition.ts';

export interface BrokersProps {
  readonly named: Namer;
  readonly lock: MeasurementLock;
  readonly region: string;
  readonly zones: readonly string[];
  readonly machineType: string;
  /** `projects/confidential-space-images/global/images/confidential-space-NNNNNN`. */
  readonly image: string;
  /** `<region>-docker.pkg.dev/<project>/<repository>`. */
  readonly registry: string;
  /** What brokers get as `CCC_CELL`: the same string that the token condition wants. */
  readonly cell: string;
  readonly networkId: string;
  readonly subnetId: string;
  /** Reserved address of the load balancer. */
  readonly address: string;
  readonly keyId: string;
  readonly serviceAccount: string;
  readonly min: number;
  readonly max: number;
  /** Percent of the instances that are green; 0: blue alone. */
  readonly canaryPercent: number;
  readonly tags: Tags;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class Brokers extends Construct {
  constructor(scope: Construct, id: string, props: BrokersProps) {
    super(scope, id);
    const { named, region, zones, tags } = props;
    need(/^c3-(?:standard|highmem|highcpu)-[0-9]+$/.test(props.machineType), `${id}.machineType`, props.machineType, 'a machine type that has TDX, as c3-standard-4');
    need(/\/confidential-space-[0-9]{6}$/.test(props.image), `${id}.image`, props.image, 'a dated production image of Confidential Space');
    needWhole(`${id}.min`, props.min, 1, 1_000, 'instances');
    needWhole(`${id}.max`, props.max, props.min, 1_000, 'instances');
    needWhole(`${id}.canaryPercent`, props.canaryPercent, 0, 50, 'percent');
    const name = (part: string): string => named('gcp-generic', part);

    const template = (generation: Generation): ComputeRegionInstanceTemplate =>
      new ComputeRegionInstanceTemplate(this, `template-${generation}`, {
        // Templates cannot change: a new name each time, made before the old one goes.
        namePrefix: `${named('gcp-generic', `broker-${generation}`).slice(0, 36)}-`, region, machineType: props.machineType, labels: { ...tags, 'ccc-role': 'broker', 'ccc-colour': generation }, canIpForward: false,
        confidentialInstanceConfig: { enableConfidentialCompute: true, confidentialInstanceType: 'TDX' }, shieldedInstanceConfig: { enableSecureBoot: true, enableVtpm: true, enableIntegrityMonitoring: true },
        // TDX guests cannot migrate: the host's maintenance ends them, and the group makes others.
        scheduling: { onHostMaintenance: 'TERMINATE', automaticRestart: true, provisioningModel: 'STANDARD', preemptible: false },
        disk: [{ boot: true, autoDelete: true, sourceImage: props.image, diskType: 'pd-balanced', diskSizeGb: 20, diskEncryptionKey: { kmsKeySelfLink: props.keyId }, labels: { ...tags } }],
        networkInterface: [{ subnetwork: props.subnetId, nicType: 'GVNIC', stackType: 'IPV4_ONLY' }],
        serviceAccount: { email: props.serviceAccount, scopes: ['https://www.googleapis.com/auth/cloud-platform'] },
        metadata: {
          'tee-image-reference': `${props.registry}/broker@${entryOf(props.lock, 'broker', generation).image}`, 'tee-restart-policy': 'Never', 'tee-container-log-redirect': 'cloud_logging', 'tee-monitoring-memory-enable': 'false', [`tee-env-${CELL_VARIABLE}`]: props.cell,
          'enable-oslogin': 'TRUE', 'block-project-ssh-keys': 'TRUE', 'serial-port-enable': 'FALSE',
        },
        lifecycle: { createBeforeDestroy: true }, dependsOn: [...props.dependsOn],
      });
    const blue = template('blue');
    const green = props.canaryPercent > 0 ? [template('green')] : [];

    const health = new ComputeRegionHealthCheck(this, 'health', { name: name('broker'), region, checkIntervalSec: 10, timeoutSec: 5, healthyThreshold: 2, unhealthyThreshold: 3, httpHealthCheck: { port: PORTS.broker, requestPath: '/v1/health' }, logConfig: { enable: true } });
    const group = new ComputeRegionInstanceGroupManager(this, 'group', {
      name: name('brokers'), baseInstanceName: name('broker'), region, distributionPolicyZones: [...zones], distributionPolicyTargetShape: 'EVEN',
      version: [
        // Blue first and without a size: it takes what green leaves.
        { name: 'blue', instanceTemplate: blue.selfLink },
        ...green.map(({ selfLink }) => ({ name: 'green', instanceTemplate: selfLink, targetSize: { percent: props.canaryPercent } })),
      ],
      namedPort: [{ name: 'broker', port: PORTS.broker }], autoHealingPolicies: { healthCheck: health.id, initialDelaySec: 300 },
      // Sessions live in a broker's memory: one more before one less, never fewer than there were.
      updatePolicy: { type: 'PROACTIVE', minimalAction: 'REPLACE', mostDisruptiveAllowedAction: 'REPLACE', replacementMethod: 'SUBSTITUTE', instanceRedistributionType: 'PROACTIVE', maxSurgeFixed: zones.length, maxUnavailableFixed: 0 },
      waitForInstances: false,
      // The autoscaler owns the size.
      lifecycle: { ignoreChanges: ['target_size'] },
    });
    new ComputeRegionAutoscaler(this, 'autoscaler', {
      name: name('brokers'), region, target: group.id,
      autoscalingPolicy: { minReplicas: props.min, maxReplicas: props.max, cooldownPeriod: 180, mode: 'ON', cpuUtilization: { target: 0.6 }, scaleInControl: { timeWindowSec: 600, maxScaledInReplicas: { fixed: 1 } } },
    });
    const backend = new ComputeRegionBackendService(this, 'backend', {
      // A session belongs to the broker that made it: clients stay where they were.
      name: name('brokers'), region, protocol: 'TCP', loadBalancingScheme: 'INTERNAL', network: props.networkId, healthChecks: [health.id], sessionAffinity: 'CLIENT_IP', connectionDrainingTimeoutSec: 60,
      backend: [{ group: group.instanceGroup, balancingMode: 'CONNECTION' }], logConfig: { enable: true, sampleRate: 1 },
    });
    new ComputeForwardingRule(this, 'listener', {
      name: name('brokers'), region, loadBalancingScheme: 'INTERNAL', ipProtocol: 'TCP', ports: [String(PORTS.broker)], backendService: backend.id, network: props.networkId, subnetwork: props.subnetId, ipAddress: props.address, allowGlobalAccess: false, labels: { ...tags },
    });
  }
}
