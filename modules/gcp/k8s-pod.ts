/** What every pod of ours has in common: the restricted profile, a read-only root, and the cell's configuration as a file. */
import type {
  DeploymentV1SpecTemplateSpecContainer, DeploymentV1SpecTemplateSpecContainerSecurityContext, DeploymentV1SpecTemplateSpecSecurityContext, DeploymentV1SpecTemplateSpecTopologySpreadConstraint, DeploymentV1SpecTemplateSpecVolume,
} from '@cdktf/provider-kubernetes/lib/deployment-v1/index.js';
import type { Generation } from '../measurements.ts';

/** Folder of the process, and the uid that the images run as. */
export const DATA_FOLDER = '/var/lib/ccc';
const UID = '10001';

export const podSecurity: DeploymentV1SpecTemplateSpecSecurityContext = { runAsNonRoot: true, runAsUser: UID, runAsGroup: UID, fsGroup: UID, seccompProfile: { type: 'RuntimeDefault' } };
export const containerSecurity: DeploymentV1SpecTemplateSpecContainerSecurityContext = { allowPrivilegeEscalation: false, privileged: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } };

export const labelsOf = (role: string, more: Readonly<Record<string, string>> = {}): Record<string, string> => ({ 'app.kubernetes.io/name': role, 'app.kubernetes.io/part-of': 'ccc', ...more });
export const colourLabel = (generation: Generation): Record<string, string> => ({ 'ccc.dev/colour': generation });

/** Zones first: nodes with a TEE stop when their host is maintained. */
export const spreadOverZones = (matchLabels: Record<string, string>): DeploymentV1SpecTemplateSpecTopologySpreadConstraint[] => [
  { maxSkew: 1, topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: [{ matchLabels }] },
  { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: [{ matchLabels }] },
];

/** The folder is memory: what a process leaves there dies with it. `cell.json` lies in it with the exact bytes that were measured. */
export const dataVolumes = (configMap: string): DeploymentV1SpecTemplateSpecVolume[] => [
  { name: 'data', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
  { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
  { name: 'cell', configMap: { name: configMap, defaultMode: '0444', items: [{ key: 'cell.json', path: 'cell.json' }] } },
];
export const dataMounts: NonNullable<DeploymentV1SpecTemplateSpecContainer['volumeMount']> = [
  { name: 'data', mountPath: DATA_FOLDER }, { name: 'tmp', mountPath: '/tmp' }, { name: 'cell', mountPath: `${DATA_FOLDER}/cell.json`, subPath: 'cell.json', readOnly: true },
];

/** Green's share of a count, whole and at least one. */
export const shareOf = (count: number, percent: number): number => Math.max(1, Math.ceil((count * percent) / 100));
