/**
 * Google's device plugin for Confidential Computing: nodes offer their TEE as a resource (`google.com/cc`: vTPM, `amd.com/sev-snp`, `intel.com/tdx`), so that a
 * counter gets the one device it attests with and needs no privileges itself. The plugin does: it talks to the kubelet and reads the host's devices.
 */
import { DaemonSetV1 } from '@cdktf/provider-kubernetes/lib/daemon-set-v1/index.js';
import { Construct } from 'constructs';
import { labelsOf } from './k8s-pod.ts';
import { COUNTER_TAINT, ROLE_LABEL } from './node-pool.ts';

export interface DevicePluginProps { readonly namespace: string; readonly serviceAccount: string; /** With digest. */ readonly image: string }

const HOST_FOLDERS = { 'device-plugin': '/var/lib/kubelet/device-plugins', dev: '/dev', sys: '/sys', run: '/run' } as const;

export class DevicePlugin extends Construct {
  constructor(scope: Construct, id: string, { namespace, serviceAccount, image }: DevicePluginProps) {
    super(scope, id);
    const labels = labelsOf('device-plugin');
    new DaemonSetV1(this, 'plugin', {
      metadata: { name: 'device-plugin', namespace, labels }, waitForRollout: false,
      spec: {
        selector: { matchLabels: labels }, strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '1' } },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: serviceAccount, automountServiceAccountToken: false, priorityClassName: 'system-node-critical', nodeSelector: { [ROLE_LABEL]: 'counter' }, toleration: [{ key: COUNTER_TAINT.key, operator: 'Equal', value: COUNTER_TAINT.value, effect: 'NoSchedule' }],
            container: [{
              name: 'device-plugin', image, imagePullPolicy: 'IfNotPresent', resources: { requests: { cpu: '50m', memory: '20Mi' }, limits: { cpu: '50m', memory: '20Mi' } }, securityContext: { privileged: true, readOnlyRootFilesystem: true },
              volumeMount: Object.entries(HOST_FOLDERS).map(([name, mountPath]) => ({ name, mountPath, readOnly: name === 'sys' })),
            }],
            volume: Object.entries(HOST_FOLDERS).map(([name, path]) => ({ name, hostPath: { path, type: 'Directory' } })),
          },
        },
      },
    });
  }
}
