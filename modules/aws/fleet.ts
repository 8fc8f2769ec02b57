/**
 * The instances of one role, in two colours: autoscaling groups over three zones, each with a launch template of its own, since the image of a colour is pinned in its
 * user data. Brokers and counters are parents of Nitro Enclaves; gateways, which never see plaintext, run a container on plain instances. Not Fargate: a gateway's listener
 * wants its own name in /etc/hosts, the database's token wants a process beside it, and one kind of host means one thing to patch and watch.
 */
import { AutoscalingGroup } from '@cdktf/provider-aws/lib/autoscaling-group/index.js';
import { AutoscalingLifecycleHook } from '@cdktf/provider-aws/lib/autoscaling-lifecycle-hook/index.js';
import { AutoscalingPolicy } from '@cdktf/provider-aws/lib/autoscaling-policy/index.js';
import { DataAwsEc2InstanceType } from '@cdktf/provider-aws/lib/data-aws-ec2-instance-type/index.js';
import { IamInstanceProfile } from '@cdktf/provider-aws/lib/iam-instance-profile/index.js';
import type { IamRole } from '@cdktf/provider-aws/lib/iam-role/index.js';
import { LaunchTemplate } from '@cdktf/provider-aws/lib/launch-template/index.js';
import { Fn, type ITerraformDependable, Token } from 'cdktf';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import { GENERATIONS, type Generation, type WorkloadRole } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import { permit, type Statement } from './policy.ts';
import { type Scaling, scalingPolicy } from './scaling.ts';
import { BOOT_HOOK, DRAIN_HOOK } from './user-data.ts';

export interface Colour {
  readonly min: number;
  readonly max: number;
  /** Plain text: what only the apply knows stands in it as a word of capitals. */
  readonly userData: string;
  /** Word to reference. */
  readonly values: Readonly<Record<string, string>>;
  readonly targetGroups: readonly string[];
}

export interface FleetProps {
  readonly named: Namer;
  readonly role: WorkloadRole;
  readonly subnets: readonly string[];
  readonly group: string;
  readonly instanceType: string;
  readonly image: string;
  /** What one enclave takes; none: plain instances. */
  readonly enclave?: { readonly cpus: number; readonly memoryMib: number };
  readonly diskKeyArn: string;
  readonly instanceRole: IamRole;
  readonly permissions: readonly Statement[];
  readonly autoscalingRole: string;
  readonly colours: Readonly<Record<Generation, Colour>>;
  readonly scaling: Readonly<Record<Generation, readonly Scaling[]>>;
  /** Names of alarms that roll a refresh back. */
  readonly rollbackAlarms: readonly string[];
  /** What a boot reaches for: endpoints, log groups. */
  readonly waitFor: readonly ITerraformDependable[];
  readonly tags: Readonly<Record<string, string>>;
}

/** User data may be 16 KiB, before it is encoded. */
const MAX_USER_DATA = 16_384;

export const groupName = (named: Namer, role: WorkloadRole, generation: Generation): string => named('autoscaling-group', `${role}-${generation}`);

export class Fleet extends Construct {
  constructor(scope: Construct, id: string, props: FleetProps) {
    super(scope, id);
    const { named, role, subnets, group, instanceType, image, enclave, diskKeyArn, instanceRole, permissions, autoscalingRole, colours, scaling, rollbackAlarms, waitFor, tags } = props;
    need(/^ami-[0-9a-f]{17}$/.test(image), 'aws.parentImage', image, 'ami- and 17 hexadecimal digits: pinned, never an alias');
    need(subnets.length === 3, `${id}.subnets`, subnets.length, 'three, one a zone');
    const permitted = permit(this, 'instance', instanceRole, permissions);
    const profile = new IamInstanceProfile(this, 'profile', { name: instanceRole.name, role: instanceRole.name });
    const type = new DataAwsEc2InstanceType(this, 'type', { instanceType });
    const precondition = enclave === undefined ? [] : [
      { condition: `\${${type.fqn}.nitro_enclaves_support == "supported"}`, errorMessage: `${instanceType} cannot host Nitro Enclaves.` },
      { condition: `\${${type.fqn}.default_vcpus - 2 >= ${enclave.cpus}}`, errorMessage: `${instanceType} has too few vCPU: the enclave takes ${enclave.cpus}, the parent keeps two.` },
      { condition: `\${${type.fqn}.memory_size - 2048 >= ${enclave.memoryMib}}`, errorMessage: `${instanceType} has too little memory: the enclave takes ${enclave.memoryMib} MiB, the parent keeps 2048.` },
    ];

    for (const generation of GENERATIONS) {
      const { min, max, userData, values, targetGroups } = colours[generation];
      needWhole(`${id}.${generation}.min`, min, 0, 1_000);
      needWhole(`${id}.${generation}.max`, max, min, 1_000);
      need(!/[$%]\{/.test(userData), `${id}.${generation}.userData`, 'an interpolation', 'text that Terraform leaves as it is');
      need(userData.length <= MAX_USER_DATA, `${id}.${generation}.userData`, userData.length, `at most ${MAX_USER_DATA} bytes`);
      const label = named('launch-template', `${role}-${generation}`);
      const all = { ...tags, Name: label, role, colour: generation };
      const template = new LaunchTemplate(this, `${generation}-template`, {
        name: label, description: `${role}, ${generation}`, imageId: image, instanceType, updateDefaultVersion: true, ebsOptimized: 'true', enclaveOptions: { enabled: enclave !== undefined },
        iamInstanceProfile: { arn: profile.arn }, monitoring: { enabled: true }, instanceInitiatedShutdownBehavior: 'terminate',
        metadataOptions: { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1, httpProtocolIpv6: 'disabled', instanceMetadataTags: 'disabled' },
        networkInterfaces: [{ deviceIndex: 0, associatePublicIpAddress: 'false', deleteOnTermination: 'true', securityGroups: [group] }],
        blockDeviceMappings: [{ deviceName: '/dev/xvda', ebs: { encrypted: 'true', kmsKeyId: diskKeyArn, volumeSize: 30, volumeType: 'gp3', deleteOnTermination: 'true' } }],
        userData: Fn.base64encode(Object.entries(values).reduce((text, [word, value]) => Fn.replace(text, word, value), Fn.rawString(userData))), tagSpecifications: ['instance', 'volume', 'network-interface'].map((resourceType) => ({ resourceType, tags: all })),
      });
      const name = groupName(named, role, generation);
      const fleet = new AutoscalingGroup(this, generation, {
        name, minSize: min, maxSize: max, vpcZoneIdentifier: [...subnets], targetGroupArns: [...targetGroups], 
        // Not ELB: a gateway is not ready while brokers are away, and replacing gateways for that would turn one outage into two. Balancers route by readiness; the watch of each instance replaces what is dead.
        healthCheckType: 'EC2', healthCheckGracePeriod: 300, defaultInstanceWarmup: 180, maxInstanceLifetime: 604_800,
        launchTemplate: { id: template.id, version: Token.asString(template.latestVersion) }, serviceLinkedRoleArn: autoscalingRole, enabledMetrics: ['GroupInServiceInstances', 'GroupDesiredCapacity', 'GroupPendingInstances', 'GroupTerminatingInstances'], metricsGranularity: '1Minute',
        terminationPolicies: ['OldestLaunchTemplate', 'OldestInstance'], waitForCapacityTimeout: '0', availabilityZoneDistribution: { capacityDistributionStrategy: 'balanced-best-effort' }, instanceMaintenancePolicy: { minHealthyPercentage: 100, maxHealthyPercentage: 110 },
        // No warm pool: huge pages fragment while a host waits, and an enclave's memory is reserved at boot.
        initialLifecycleHook: [{ name: BOOT_HOOK, lifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING', defaultResult: 'ABANDON', heartbeatTimeout: 600 }],
        instanceRefresh: { strategy: 'Rolling', preferences: { minHealthyPercentage: 100, maxHealthyPercentage: 110, autoRollback: true, instanceWarmup: '180', skipMatching: true, scaleInProtectedInstances: 'Wait', standbyInstances: 'Ignore', alarmSpecification: { alarms: [...rollbackAlarms] } } },
        dependsOn: [permitted, ...waitFor],
        tag: Object.entries(all).map(([key, value]) => ({ key, value, propagateAtLaunch: true })),
        lifecycle: {
          // The scaling policies move it.
          ignoreChanges: ['desired_capacity'], precondition,
        },
      });
      new AutoscalingLifecycleHook(this, `${generation}-drain`, { name: DRAIN_HOOK, autoscalingGroupName: fleet.name, lifecycleTransition: 'autoscaling:EC2_INSTANCE_TERMINATING', defaultResult: 'CONTINUE', heartbeatTimeout: 120 });
      for (const one of scaling[generation]) new AutoscalingPolicy(this, `${generation}-${one.name}`, { ...scalingPolicy(one, fleet.name), name: named('aws-generic', `${role}-${generation}-${one.name}`), autoscalingGroupName: fleet.name });
    }
  }
}
