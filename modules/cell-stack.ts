/** What every stack of a cell has: its environment, its names, the measurements, a backend in its own cloud. Construct ids are frozen: a changed id destroys and creates. */
import { TerraformStack } from 'cdktf';
import type { Construct } from 'constructs';
import { addBackend } from './backend.ts';
import { checkEnvironment, type Cloud, type Environment } from './environments.ts';
import { acceptedFor } from './generations.ts';
import { MeasurementGate } from './measurement-gate.ts';
import type { MeasurementLock } from './measurements.ts';
import { type Namer, namer } from './naming.ts';
import { unsettled } from './placeholders.ts';
import { type Promotions, readPromotions, unpromoted } from './promotions.ts';

export interface CellStackProps {
  readonly environment: Environment;
  readonly lock: MeasurementLock;
  /** The committed ones unless given. */
  readonly promotions?: Promotions;
}

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

  /** Stops plans of what is not built, not promoted or no longer accepted. */
  protected gate({ environment, lock, promotions = readPromotions() }: CellStackProps, cloud: Cloud): MeasurementGate {
    return new MeasurementGate(this, 'measurements', {
      lock, unsettled: unsettled(environment, cloud), unpromoted: unpromoted(lock, promotions, environment.name, cloud), accepted: acceptedFor(environment, 'counter', [cloud]),
    });
  }

  /** Nothing to prepare: a first resolution of everything would only find references between stacks, and a stack here reads no other one's state (tests/rules/stacks). */
  override prepareStack(): void {}
}
