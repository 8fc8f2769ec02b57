/** One cell on Azure. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { MeasurementGate } from '../modules/measurement-gate.ts';
import { azureProviders } from '../modules/providers.ts';

export class AzureStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'azure', props);
    azureProviders(this, props.environment);
    new MeasurementGate(this, 'measurements', props.lock);
  }
}
