/** One cell on AWS. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { MeasurementGate } from '../modules/measurement-gate.ts';
import { awsProvider } from '../modules/providers.ts';

export class AwsStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'aws', props);
    awsProvider(this, props.environment);
    new MeasurementGate(this, 'measurements', props.lock);
  }
}
