/** The Kubernetes objects of a cell's GKE cluster. The cluster is looked up by name: a reference across stacks would leak values into outputs and states. */
import type { Construct } from 'constructs';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { googleProvider } from '../modules/providers.ts';

export class GcpK8sStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'gcp', props);
    googleProvider(this, props.environment);
  }
}
