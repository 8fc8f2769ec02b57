/**
 * One colour of one role: a Uniform scale set of confidential VMs (the other kinds have neither vTPM nor confidential disks). A change of image, measurement
 * or custom data is another colour, never an upgrade in place, so `upgradeMode` is Manual. Stateless: data disks are not confidentially encrypted.
 */
import { LinuxVirtualMachineScaleSet, type LinuxVirtualMachineScaleSetExtension } from '@cdktf/provider-azurerm/lib/linux-virtual-machine-scale-set/index.js';
import { MonitorAutoscaleSetting, type MonitorAutoscaleSettingProfileRule } from '@cdktf/provider-azurerm/lib/monitor-autoscale-setting/index.js';
import type { UserAssignedIdentity } from '@cdktf/provider-azurerm/lib/user-assigned-identity/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { need, needWhole } from '../configuration-error.ts';
import type { Generation, WorkloadRole } from '../measurements.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import { type AzureScope, placed } from './scope.ts';

/** Metrics of the gateways, as Application Insights has them: it is reached by private link, which the store of custom metrics is not. */
const TELEMETRY = 'Azure.ApplicationInsights';
export const QUEUE_METRICS = { age: 'ccc/oldest_due_seconds', backlog: 'ccc/due_jobs' } as const;
const CONFIDENTIAL_SIZE = /^Standard_(?:DC|EC)[0-9]+(?:as|ads)_v[56]$/;

export type Scaling =
  /** Processor load, percent; out above, in below. */
  | { readonly on: 'cpu'; readonly out: number; readonly in: number }
  /** Age of the oldest due job, seconds; or more due jobs for each instance than it counts in that time. */
  | { readonly on: 'queue-age'; readonly out: number; readonly in: number; readonly backlogPerInstance: number; readonly telemetryId: string };

export interface FleetProps {
  readonly scope: AzureScope;
  readonly logs: Destinations;
  readonly role: WorkloadRole;
  readonly generation: Generation;
  readonly vmSize: string;
  readonly zones: readonly string[];
  readonly subnetId: string;
  /** Version of an image in a gallery: pinned, measured in the lock file. */
  readonly imageId: string;
  readonly diskEncryptionSetId: string;
  readonly attestationUri: string;
  readonly adminPublicKey: string;
  /** `#cloud-config` text. */
  readonly customData: string;
  /** What only the apply knows, base64: read through the metadata service. */
  readonly userData?: string;
  readonly identity: UserAssignedIdentity;
  /** Instances; 0 to 0: a colour that does not run. */
  readonly count: { readonly min: number; readonly max: number };
  readonly scaling: Scaling;
  readonly pools?: readonly string[];
  /** Probe of a load balancer; without one the health extension asks the VM itself. */
  readonly probeId?: string;
  readonly dependsOn?: readonly ITerraformDependable[];
}

export class Fleet extends Construct {
  readonly set: LinuxVirtualMachineScaleSet;

  constructor(parent: Construct, id: string, props: FleetProps) {
    super(parent, id);
    const { scope, role, generation, count, zones, pools = [] } = props;
    need(CONFIDENTIAL_SIZE.test(props.vmSize), 'vmSize', props.vmSize, 'a confidential size with SEV-SNP, as Standard_DC4as_v6: keys are released to no other');
    needWhole(`${role} ${generation} count.min`, count.min, 0, 1_000);
    needWhole(`${role} ${generation} count.max`, count.max, count.min, 1_000);
    need(/\/versions\/[0-9]+\.[0-9]+\.[0-9]+$/.test(props.imageId), 'imageId', props.imageId, 'one version of a gallery image');
    const name = scope.named('vmss', `${role}-${generation}`);

    this.set = new LinuxVirtualMachineScaleSet(this, 'set', {
      ...placed(scope), name, computerNamePrefix: { gateway: 'gw', broker: 'br', counter: 'ct' }[role] + generation.slice(0, 1), sku: props.vmSize, instances: count.min, zones: [...zones], zoneBalance: true,
      overprovision: false, singlePlacementGroup: false, platformFaultDomainCount: 1, upgradeMode: 'Manual',
      adminUsername: 'unused', disablePasswordAuthentication: true, adminSshKey: [{ username: 'unused', publicKey: props.adminPublicKey }],
      sourceImageId: props.imageId, customData: Buffer.from(props.customData).toString('base64'), ...(props.userData === undefined ? {} : { userData: props.userData }),
      vtpmEnabled: true, secureBootEnabled: true,
      // Refused by the provider together with DiskWithVMGuestState, which encrypts more: the whole disk to the VM's own vTPM.
      encryptionAtHostEnabled: false,
      osDisk: { caching: 'ReadOnly', storageAccountType: 'Premium_LRS', securityEncryptionType: 'DiskWithVMGuestState', secureVmDiskEncryptionSetId: props.diskEncryptionSetId },
      // Exclusive to this set: release of a key is bound to it, beside the evidence.
      identity: { type: 'UserAssigned', identityIds: [props.identity.id] },
      networkInterface: [{
        name: 'nic', primary: true, enableAcceleratedNetworking: true, enableIpForwarding: false,
        ipConfiguration: [{ name: 'internal', primary: true, subnetId: props.subnetId, ...(pools.length > 0 ? { loadBalancerBackendAddressPoolIds: [...pools] } : {}) }],
      }],
      provisionVmAgent: true, extensionOperationsEnabled: true, extensionsTimeBudget: 'PT15M',
      // No boot diagnostics: with them comes the serial console, which is a way into the VM.
      extension: [attestationExtension(props.attestationUri), ...(props.probeId === undefined ? [healthExtension()] : [])],
      ...(props.probeId === undefined ? {} : { healthProbeId: props.probeId }),
      automaticInstanceRepair: { enabled: true, gracePeriod: 'PT30M', action: 'Replace' },
      // Longer than a counter needs to finish or return its leases.
      terminationNotification: { enabled: true, timeout: 'PT5M' },
      scaleIn: { rule: 'OldestVM', forceDeletionEnabled: false },
      ...(props.dependsOn === undefined ? {} : { dependsOn: [...props.dependsOn] }),
      // Autoscale owns the number.
      lifecycle: { ignoreChanges: ['instances'] },
    });

    if (count.max > 0) {
      const autoscale = new MonitorAutoscaleSetting(this, 'autoscale', {
        ...placed(scope), name: scope.named('azure-generic', `scale-${role}-${generation}`), targetResourceId: this.set.id, enabled: true,
        profile: [{ name: 'load', capacity: { minimum: count.min, default: count.min, maximum: count.max }, rule: rules(this.set.id, props.scaling) }],
      });
      diagnose(this, 'autoscale-logs', autoscale.id, props.logs);
    }
    diagnose(this, 'set-metrics', this.set.id, props.logs, { logs: [] });
  }
}

/** Attestation of the guest at boot, again and again; its result is the VM's health in Defender for Cloud. */
function attestationExtension(maaEndpoint: string): LinuxVirtualMachineScaleSetExtension {
  return {
    name: 'GuestAttestation', publisher: 'Microsoft.Azure.Security.LinuxAttestation', type: 'GuestAttestation', typeHandlerVersion: '1.0', autoUpgradeMinorVersion: true, automaticUpgradeEnabled: true,
    settings: JSON.stringify({ AttestationConfig: { MaaSettings: { maaEndpoint, maaTenantName: 'GuestAttestation' }, AscSettings: { ascReportingEndpoint: '', ascReportingFrequency: '' }, useCustomToken: 'false', disableAlerts: 'false' } }),
  };
}

function healthExtension(): LinuxVirtualMachineScaleSetExtension {
  return {
    name: 'ApplicationHealth', publisher: 'Microsoft.ManagedServices', type: 'ApplicationHealthLinux', typeHandlerVersion: '1.0', autoUpgradeMinorVersion: true, automaticUpgradeEnabled: true,
    settings: JSON.stringify({ protocol: 'http', port: PORTS.health, requestPath: '/' }),
  };
}

function rules(setId: string, scaling: Scaling): MonitorAutoscaleSettingProfileRule[] {
  need(scaling.in < scaling.out, 'scaling.in', scaling.in, `less than scaling.out (${scaling.out}), or sets flap`);
  type Trigger = Pick<MonitorAutoscaleSettingProfileRule['metricTrigger'], 'metricName' | 'metricNamespace' | 'metricResourceId' | 'statistic' | 'timeAggregation' | 'divideByInstanceCount'>;
  const rule = (trigger: Trigger, direction: 'Increase' | 'Decrease', threshold: number): MonitorAutoscaleSettingProfileRule => ({
    metricTrigger: { ...trigger, timeGrain: 'PT1M', timeWindow: 'PT5M', operator: direction === 'Increase' ? 'GreaterThan' : 'LessThan', threshold },
    scaleAction: { direction, type: 'ChangeCount', value: 1, cooldown: direction === 'Increase' ? 'PT5M' : 'PT15M' },
  });
  if (scaling.on === 'cpu') {
    const load: Trigger = { metricName: 'Percentage CPU', metricResourceId: setId, statistic: 'Average', timeAggregation: 'Average' };
    return [rule(load, 'Increase', scaling.out), rule(load, 'Decrease', scaling.in)];
  }
  const age: Trigger = { metricName: QUEUE_METRICS.age, metricNamespace: TELEMETRY, metricResourceId: scaling.telemetryId, statistic: 'Max', timeAggregation: 'Maximum' };
  const backlog: Trigger = { metricName: QUEUE_METRICS.backlog, metricNamespace: TELEMETRY, metricResourceId: scaling.telemetryId, statistic: 'Average', timeAggregation: 'Average', divideByInstanceCount: true };
  return [rule(age, 'Increase', scaling.out), rule(backlog, 'Increase', scaling.backlogPerInstance), rule(age, 'Decrease', scaling.in)];
}
