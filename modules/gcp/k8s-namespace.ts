/** A namespace: its security profile, its configuration, its account, and network policies that begin with nothing allowed. */
import { ConfigMapV1 } from '@cdktf/provider-kubernetes/lib/config-map-v1/index.js';
import { NamespaceV1 } from '@cdktf/provider-kubernetes/lib/namespace-v1/index.js';
import { NetworkPolicyV1, type NetworkPolicyV1SpecEgress, type NetworkPolicyV1SpecIngress } from '@cdktf/provider-kubernetes/lib/network-policy-v1/index.js';
import { ServiceAccountV1 } from '@cdktf/provider-kubernetes/lib/service-account-v1/index.js';
import { Construct } from 'constructs';
import type { CellFile } from '../cell-config.ts';
import { GOOGLE_PROBES, type Ranges, RESTRICTED_APIS } from './addresses.ts';

const tcp = (...ports: number[]) => ports.map((port) => ({ port: String(port), protocol: 'TCP' }));
const blocks = (cidrs: readonly string[]) => cidrs.map((cidr) => ({ ipBlock: { cidr } }));
const namespace = (name: string) => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } });

/** Ways out and in, one by one. */
export const to = {
  /** Cloud DNS answers at the metadata address. */
  dns: { to: blocks(['169.254.169.254/32']), ports: [{ port: '53', protocol: 'UDP' }, { port: '53', protocol: 'TCP' }] },
  /** Credentials of the pod's account: GKE's metadata server. */
  metadata: { to: blocks(['169.254.169.252/32', '169.254.169.254/32']), ports: tcp(80, 987, 988) },
  apis: { to: blocks([RESTRICTED_APIS.cidr]), ports: tcp(443) },
  database: (ranges: Ranges) => ({ to: blocks([ranges.services.cidr]), ports: tcp(3_307) }),
  addresses: (cidrs: readonly string[], port: number) => ({ to: blocks(cidrs), ports: tcp(port) }),
  namespace: (name: string, port: number) => ({ to: [namespace(name)], ports: tcp(port) }),
} as const satisfies Record<string, NetworkPolicyV1SpecEgress | ((...args: never[]) => NetworkPolicyV1SpecEgress)>;
export const from = {
  edge: (port: number) => ({ from: blocks(GOOGLE_PROBES), ports: tcp(port) }),
  addresses: (cidrs: readonly string[], port: number) => ({ from: blocks(cidrs), ports: tcp(port) }),
  namespace: (name: string, port: number) => ({ from: [namespace(name)], ports: tcp(port) }),
} as const satisfies Record<string, (...args: never[]) => NetworkPolicyV1SpecIngress>;

export interface CellNamespaceProps {
  readonly name: string;
  readonly profile: 'restricted' | 'privileged';
  /** Name of its service account; with `account`, the address of the Google account that it is. */
  readonly serviceAccount: string;
  readonly account?: string;
  readonly cell?: CellFile;
  readonly ingress: readonly NetworkPolicyV1SpecIngress[];
  readonly egress: readonly NetworkPolicyV1SpecEgress[];
}

export class CellNamespace extends Construct {
  readonly name: string;
  readonly serviceAccount: string;
  /** Named after the bytes: pods of another configuration are other pods. */
  readonly configMap: string;

  constructor(scope: Construct, id: string, props: CellNamespaceProps) {
    super(scope, id);
    const made = new NamespaceV1(this, 'namespace', {
      metadata: {
        name: props.name,
        labels: { 'app.kubernetes.io/part-of': 'ccc', ...Object.fromEntries(['enforce', 'audit', 'warn'].flatMap((mode) => [[`pod-security.kubernetes.io/${mode}`, props.profile], [`pod-security.kubernetes.io/${mode}-version`, 'latest']])) },
      },
    });
    this.name = made.metadata.name;
    const account = new ServiceAccountV1(this, 'account', {
      metadata: { name: props.serviceAccount, namespace: this.name, ...(props.account === undefined ? {} : { annotations: { 'iam.gke.io/gcp-service-account': props.account } }) }, automountServiceAccountToken: false,
    });
    this.serviceAccount = account.metadata.name;
    this.configMap = props.cell === undefined ? '' : `cell-${props.cell.digest.slice(0, 12)}`;
    if (props.cell !== undefined) new ConfigMapV1(this, 'cell', { metadata: { name: this.configMap, namespace: this.name, annotations: { 'ccc.dev/sha256': props.cell.digest } }, immutable: true, data: { 'cell.json': props.cell.json } });

    new NetworkPolicyV1(this, 'deny', { metadata: { name: 'deny-all', namespace: this.name }, spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } });
    if (props.ingress.length + props.egress.length > 0) {
      new NetworkPolicyV1(this, 'allow', { metadata: { name: 'allow', namespace: this.name }, spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'], ingress: [...props.ingress], egress: [...props.egress] } });
    }
  }
}
