/**
 * Routes of the public load balancer, whose address, certificates, TLS policy and Cloud Armor the other stack made (edge.ts), and the internal listener.
 * Gateway API objects have no typed resources: these are manifests, whose kinds a plan asks the cluster for, which exists by then.
 */
import { Manifest } from '@cdktf/provider-kubernetes/lib/manifest/index.js';
import { ServiceV1 } from '@cdktf/provider-kubernetes/lib/service-v1/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { need, needWhole } from '../configuration-error.ts';
import { labelsOf } from './k8s-pod.ts';

export interface K8sEdgeProps {
  readonly namespace: string;
  readonly domains: readonly string[];
  /** Services of the two colours. */
  readonly blue: string;
  readonly green?: string;
  /** Share of green, percent; 0 without it. */
  readonly canaryPercent: number;
  /** Names in the project. */
  readonly names: { readonly address: string; readonly certificates: string; readonly tls: string; readonly armor: string };
  /** Name of the reserved internal address. */
  readonly internalAddress: string;
}

export class K8sEdge extends Construct {
  constructor(scope: Construct, id: string, props: K8sEdgeProps) {
    super(scope, id);
    const { namespace, canaryPercent, names } = props;
    needWhole(`${id}.canaryPercent`, canaryPercent, 0, 50, 'percent');
    need((props.green === undefined) === (canaryPercent === 0), `${id}.canaryPercent`, canaryPercent, 'green gateways exactly where they get a share');
    const manifest = (part: string, apiVersion: string, kind: string, spec: Record<string, unknown>, annotations?: Record<string, string>): Manifest =>
      new Manifest(this, part, { manifest: { apiVersion, kind, metadata: { name: part, namespace, ...(annotations === undefined ? {} : { annotations }) }, spec } });
    const targetRef = (name: string) => ({ group: '', kind: 'Service', name });

    manifest('edge', 'gateway.networking.k8s.io/v1', 'Gateway', {
      gatewayClassName: 'gke-l7-global-external-managed', addresses: [{ type: 'NamedAddress', value: names.address }],
      // HTTPS only: nothing listens on port 80.
      listeners: [{ name: 'https', protocol: 'HTTPS', port: 443, allowedRoutes: { namespaces: { from: 'Same' } } }],
    }, { 'networking.gke.io/certmap': names.certificates });
    manifest('edge-tls', 'networking.gke.io/v1', 'GCPGatewayPolicy', { default: { sslPolicy: names.tls }, targetRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' } });

    const colours = [{ name: props.blue, weight: 100 - canaryPercent }, ...(props.green === undefined ? [] : [{ name: props.green, weight: canaryPercent }])];
    manifest('edge-route', 'gateway.networking.k8s.io/v1', 'HTTPRoute', {
      parentRefs: [{ kind: 'Gateway', name: 'edge' }], hostnames: [...props.domains],
      rules: [{
        matches: [{ path: { type: 'PathPrefix', value: '/' } }], backendRefs: colours.map(({ name, weight }) => ({ name, port: PORTS.public, weight })),
        filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'Strict-Transport-Security', value: 'max-age=63072000; includeSubDomains' }] } }],
      }],
    });
    for (const { name } of colours) {
      manifest(`${name}-armor`, 'networking.gke.io/v1', 'GCPBackendPolicy', { default: { securityPolicy: names.armor, timeoutSec: 75, connectionDraining: { drainingTimeoutSec: 60 }, logging: { enabled: true, sampleRate: 1_000_000 } }, targetRef: targetRef(name) });
      manifest(`${name}-health`, 'networking.gke.io/v1', 'HealthCheckPolicy', { default: { checkIntervalSec: 10, timeoutSec: 5, healthyThreshold: 2, unhealthyThreshold: 3, logConfig: { enabled: true }, config: { type: 'HTTP', httpHealthCheck: { port: PORTS.public, requestPath: '/v1/health' } } }, targetRef: targetRef(name) });
    }

    // For brokers and counters, on the reserved address that `cell.json`'s name stands for; both colours: sessions are in the ledger, not in a gateway.
    new ServiceV1(this, 'internal', {
      metadata: { name: 'gateway-internal', namespace, labels: labelsOf('gateway'), annotations: { 'networking.gke.io/load-balancer-type': 'Internal', 'networking.gke.io/load-balancer-ip-addresses': props.internalAddress } },
      spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', allocateLoadBalancerNodePorts: false, selector: labelsOf('gateway'), port: [{ name: 'internal', port: PORTS.internal, targetPort: String(PORTS.internal), protocol: 'TCP' }] },
    });
  }
}
