/** DNS in front of the cells of all clouds. Host names come from the configuration: no state of another cloud is read. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { DnsFailover } from '../modules/dns-failover.ts';
import { CLOUDS } from '../modules/environments.ts';
import { awsProvider } from '../modules/providers.ts';

export class EdgeStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'aws', props);
    const { environment } = props;
    awsProvider(this, environment);
    new DnsFailover(this, 'failover', {
      domain: environment.domain, cells: CLOUDS.map((cloud) => ({ cloud, host: environment.hosts[cloud] })), healthPath: '/v1/health', protect: environment.protect,
    });
  }
}
