/** The Kubernetes objects of a cell's GKE cluster. The cluster is looked up by name: a reference across stacks would leak values into outputs and states. */
import { DataGoogleClientConfig } from '@cdktf/provider-google/lib/data-google-client-config/index.js';
import { DataGoogleContainerCluster } from '@cdktf/provider-google/lib/data-google-container-cluster/index.js';
import type { Construct } from 'constructs';
import { cellFile, PORTS } from '../modules/cell-config.ts';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { accountEmail, NAMESPACES } from '../modules/gcp/accounts.ts';
import { cut } from '../modules/gcp/addresses.ts';
import { edgeNames } from '../modules/gcp/edge.ts';
import { registryOf } from '../modules/gcp/images.ts';
import { Counters } from '../modules/gcp/k8s-counters.ts';
import { DevicePlugin } from '../modules/gcp/k8s-device-plugin.ts';
import { K8sEdge } from '../modules/gcp/k8s-edge.ts';
import { Gateways } from '../modules/gcp/k8s-gateways.ts';
import { ADAPTER_PORT, MetricsAdapter } from '../modules/gcp/k8s-metrics.ts';
import { CellNamespace, from, to } from '../modules/gcp/k8s-namespace.ts';
import { shareOf } from '../modules/gcp/k8s-pod.ts';
import { teeLabel } from '../modules/gcp/node-pool.ts';
import { entryOf, type Generation } from '../modules/measurements.ts';
import { googleProvider, kubernetesProvider } from '../modules/providers.ts';

export class GcpK8sStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'gcp', props);
    const { environment, lock, named } = this;
    const { gcp, canaryPercent } = environment;
    const { project, region } = gcp;
    googleProvider(this, environment);
    this.gate(props, 'gcp');
    const cluster = new DataGoogleContainerCluster(this, 'cluster', { name: named('gke-cluster', 'cell'), location: region, project });
    const caller = new DataGoogleClientConfig(this, 'caller', {});
    // The DNS endpoint has a certificate that everybody trusts, and lets in whom IAM lets in.
    kubernetesProvider(this, { host: `https://${cluster.controlPlaneEndpointsConfig.get(0).dnsEndpointConfig.get(0).endpoint}`, token: caller.accessToken });

    const ranges = cut(gcp.networkCidr);
    const cell = cellFile(environment, 'gcp');
    const registry = registryOf(named, project, region);
    const gatewayAddress = `${ranges.gatewayAddress}/32`;
    const broker = to.addresses([`${ranges.brokerAddress}/32`], PORTS.broker);

    const system = new CellNamespace(this, 'system', { name: NAMESPACES.system, profile: 'privileged', serviceAccount: 'device-plugin', ingress: [], egress: [] });
    new DevicePlugin(this, 'device-plugin', { namespace: system.name, serviceAccount: system.serviceAccount, image: `${registry}/cc-device-plugin@${gcp.mirrored.devicePlugin}` });

    const metrics = new CellNamespace(this, 'metrics', {
      name: NAMESPACES.metrics, profile: 'restricted', serviceAccount: 'metrics', account: accountEmail(named, 'metrics', project),
      ingress: [from.namespace('kube-system', ADAPTER_PORT), from.addresses([ranges.nodes], ADAPTER_PORT)], egress: [to.dns, to.metadata, to.apis, to.addresses([ranges.clusterServices, ranges.nodes], 443)],
    });
    new MetricsAdapter(this, 'metrics-adapter', { namespace: metrics.name, serviceAccount: metrics.serviceAccount, image: `${registry}/custom-metrics-stackdriver-adapter@${gcp.mirrored.metricsAdapter}` });

    const account = accountEmail(named, 'gateway', project);
    const gateway = new CellNamespace(this, 'gateway', {
      name: NAMESPACES.gateway, profile: 'restricted', serviceAccount: 'gateway', account, cell,
      ingress: [from.edge(PORTS.public), from.namespace(NAMESPACES.counter, PORTS.internal), from.addresses([ranges.brokers], PORTS.internal)], egress: [to.dns, to.metadata, to.apis, to.database(ranges), broker],
    });
    const gateways = (generation: Generation, percent: number): Gateways =>
      new Gateways(this, `gateways-${generation}`, {
        namespace: gateway.name, serviceAccount: gateway.serviceAccount, configMap: gateway.configMap, generation, account, image: `${registry}/gateway@${(lock.roles.gateway[generation] ?? lock.roles.gateway.blue).image}`,
        bucket: named('gcs-bucket', 'ciphertext'), sqlProxyImage: `${registry}/cloud-sql-proxy@${gcp.mirrored.sqlProxy}`, sqlInstance: `${project}:${region}:${named('cloud-sql', 'ledger')}`, min: shareOf(gcp.gateways.min, percent), max: shareOf(gcp.gateways.max, percent),
      });
    const blue = gateways('blue', 100);
    const green = canaryPercent > 0 ? gateways('green', canaryPercent) : undefined;
    new K8sEdge(this, 'edge', {
      namespace: gateway.name, domains: [environment.hosts.gcp, `api.${environment.domain}`], blue: blue.service, ...(green === undefined ? {} : { green: green.service }), canaryPercent, names: edgeNames(named), internalAddress: named('gcp-generic', 'gateway-internal'),
    });

    const counter = new CellNamespace(this, 'counter', {
      name: NAMESPACES.counter, profile: 'restricted', serviceAccount: 'counter', cell, ingress: [], egress: [to.dns, to.namespace(NAMESPACES.gateway, PORTS.internal), to.addresses([gatewayAddress], PORTS.internal), broker],
    });
    for (const tee of gcp.counterTees) {
      for (const [generation, percent] of [['blue', 100], ...(canaryPercent > 0 ? [['green', canaryPercent] as const] : [])] as const) {
        new Counters(this, `counters-${teeLabel(tee)}-${generation}`, {
          namespace: counter.name, serviceAccount: counter.serviceAccount, configMap: counter.configMap, tee, generation, image: `${registry}/counter@${entryOf(lock, 'counter', generation).image}`,
          min: shareOf(gcp.counters.min, percent), max: shareOf(gcp.counters.max, percent), oldestDueSeconds: 30, backlogPerCounter: 20,
        });
      }
    }
  }
}
