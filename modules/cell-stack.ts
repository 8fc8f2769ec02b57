/** What every stack of a cell has: its environment, its names, the measurements, a backend in its own cloud. Construct ids are frozen: a changed id destroys and creates. */
import { TerraformStack } from 'cdktf';
import type { Construct } from 'constructs';
import { addBackend } from './backend.ts';
import { checkEnvironment, type Cloud, type Environment } from './environments.ts';
import type { MeasurementLock } from './measurements.ts';
import { type Namer, namer } from './naming.ts';

export interface CellStackProps { readonly environment: Environment; readonly lock: MeasurementLock }

export class CellStack extends TerraformStack {
  readonly environment: Environment;
  readonly lock: MeasurementLock;
  readonly named: Namer;

  constructor(scope: Construct, id: string, cloud: Cloud, { environment, lock }: CellStackProps) {
    checkEnvironment(environment);
    super(scope, id);
    this.environment = environment;
    this.lock = lock;
    this.named = namer(environment);
    addBackend(this, id, environment, cloud);
    // S3 lock objects came with 1.10.
    this.addOverride('terraform.required_version', '>= 1.11.0');
  }

  /** Nothing to prepare: a first resolution of everything would only find references between stacks, and a stack here reads no other one's state (tests/rules/stacks). */
  override prepareStack(): void {}
}
