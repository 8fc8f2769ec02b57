/** DNS in front of the cells of all clouds. Host names come from the configuration: no state of another cloud is read. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { awsProvider } from '../modules/providers.ts';

export class EdgeStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'aws', props);
    awsProvider(this, props.environment);
  }
}
