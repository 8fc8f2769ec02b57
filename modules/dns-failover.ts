/**
 * One public name in front of the cells of all clouds. Clients move by the owner's signed directory and need none of this; it is for those who only know
 * a name. Failover routing has two levels, so it is nested: the first cell, else a name inside the zone that is the second cell, else the third.
 * A drill turns a health check off (`disabled` of its API) without a plan; hence `ignoreChanges`.
 */
import { Route53HealthCheck } from '@cdktf/provider-aws/lib/route53-health-check/index.js';
import { Route53Record } from '@cdktf/provider-aws/lib/route53-record/index.js';
import { Route53Zone } from '@cdktf/provider-aws/lib/route53-zone/index.js';
import { TerraformOutput } from 'cdktf';
import { Construct } from 'constructs';
import { need } from './configuration-error.ts';
import type { Cloud } from './environments.ts';

export interface DnsFailoverProps {
  readonly domain: string;
  /** Public host names of the cells' own edges, in the order in which they take over: three. */
  readonly cells: readonly { readonly cloud: Cloud; readonly host: string }[];
  readonly healthPath: string;
  readonly protect: boolean;
}

/** Seconds a resolver may keep an answer: part of what a client without the directory waits for. */
const TTL = 60;

export class DnsFailover extends Construct {
  constructor(scope: Construct, id: string, { domain, cells, healthPath, protect }: DnsFailoverProps) {
    super(scope, id);
    need(cells.length === 3 && new Set(cells.map((c) => c.host)).size === 3, 'cells', cells.map((c) => c.host), 'three cells with different hosts');
    for (const { cloud, host } of cells) need(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$/.test(host) && host !== `api.${domain}`, `cells.${cloud}`, host, 'the host name of the cell\'s own edge');
    const zone = new Route53Zone(this, 'zone', { name: domain, comment: 'Names in front of the cells', lifecycle: { preventDestroy: protect } });
    const healthy = (cloud: Cloud, fqdn: string): string => new Route53HealthCheck(this, `${cloud}-health`, {
      type: 'HTTPS', fqdn, port: 443, resourcePath: healthPath, requestInterval: 10, failureThreshold: 3, enableSni: true, measureLatency: true, tags: { Name: `${cloud}.${domain}` },
      // Turned off and on by drills, without a plan.
      lifecycle: { ignoreChanges: ['disabled'] },
    }).id;
    const [first, second, third] = cells as [DnsFailoverProps['cells'][number], DnsFailoverProps['cells'][number], DnsFailoverProps['cells'][number]];
    const record = (id: string, name: string, type: 'PRIMARY' | 'SECONDARY', cell: { cloud: Cloud; host: string }): void => {
      new Route53Record(this, id, { zoneId: zone.zoneId, name, type: 'CNAME', ttl: TTL, records: [cell.host], setIdentifier: cell.cloud, failoverRoutingPolicy: { type }, healthCheckId: healthy(cell.cloud, cell.host) });
    };
    record('api-first', `api.${domain}`, 'PRIMARY', first);
    new Route53Record(this, 'api-others', {
      zoneId: zone.zoneId, name: `api.${domain}`, type: 'CNAME', setIdentifier: 'others', failoverRoutingPolicy: { type: 'SECONDARY' },
      alias: { name: `standby.${domain}`, zoneId: zone.zoneId, evaluateTargetHealth: true },
    });
    record('standby-second', `standby.${domain}`, 'PRIMARY', second);
    record('standby-third', `standby.${domain}`, 'SECONDARY', third);
    // Certificates of this name come from this issuer only.
    new Route53Record(this, 'caa', { zoneId: zone.zoneId, name: domain, type: 'CAA', ttl: 3_600, records: ['0 issue "amazon.com"', '0 issue "digicert.com"', '0 issue "pki.goog"', '0 issuewild ";"'] });
    new TerraformOutput(this, 'name-servers', { value: zone.nameServers });
  }
}
