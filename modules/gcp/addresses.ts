/** How a cell's /16 is cut. Frozen: a changed range replaces what stands in it. */
import { need } from '../configuration-error.ts';

export interface Ranges {
  readonly nodes: string;
  readonly brokers: string;
  /** Peered with Google's network of managed services: Cloud SQL, in both regions. */
  readonly services: { readonly address: string; readonly prefix: number; readonly cidr: string };
  readonly clusterServices: string;
  readonly pods: string;
  /** Addresses that others must know by name before their holder exists. */
  readonly gatewayAddress: string;
  readonly brokerAddress: string;
}

/** @throws ConfigurationError unless it is a /16 of 10.0.0.0/8 */
export function cut(cidr: string): Ranges {
  const match = /^(10\.[0-9]{1,3})\.0\.0\/16$/.exec(cidr);
  need(match !== null, 'networkCidr', cidr, 'a /16 of 10.0.0.0/8');
  const net = match[1] ?? '';
  return {
    nodes: `${net}.0.0/20`, brokers: `${net}.16.0/24`, services: { address: `${net}.32.0`, prefix: 20, cidr: `${net}.32.0/20` }, clusterServices: `${net}.48.0/20`, pods: `${net}.128.0/17`,
    gatewayAddress: `${net}.15.250`, brokerAddress: `${net}.16.250`,
  };
}

/** restricted.googleapis.com: Google's APIs, of those only what VPC Service Controls covers, with no way from there to the internet. */
export const RESTRICTED_APIS = { cidr: '199.36.153.4/30', addresses: ['199.36.153.4', '199.36.153.5', '199.36.153.6', '199.36.153.7'] } as const;
/** Google's health checks and front ends, as documented. */
export const GOOGLE_PROBES = ['35.191.0.0/16', '130.211.0.0/22'] as const;
