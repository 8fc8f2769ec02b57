/** One cell on Google Cloud. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { MeasurementGate } from '../modules/measurement-gate.ts';
import { googleProvider } from '../modules/providers.ts';

export class GcpStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'gcp', props);
    googleProvider(this, props.environment);
    new MeasurementGate(this, 'measurements', props.lock);
  }
}
