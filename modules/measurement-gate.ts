/** Synthesizes with placeholders, never plans with them: a precondition on a resource that everything attested depends on. */
import { Annotations, DataResource, TerraformLocal } from 'cdktf';
import { Construct } from 'constructs';
import { type MeasurementLock, placeholders } from './measurements.ts';

export class MeasurementGate extends Construct {
  constructor(scope: Construct, id: string, lock: MeasurementLock) {
    super(scope, id);
    const labels = placeholders(lock);
    if (labels.length > 0) Annotations.of(this).addWarning(`measurements.lock.json holds placeholders (${labels.join(', ')}): plans of this stack fail until the image build has written it.`);
    const waiting = new TerraformLocal(this, 'placeholder-measurements', labels);
    new DataResource(this, 'measurements-are-built', {
      input: lock.roles,
      lifecycle: {
        precondition: [{
          condition: `\${length(${waiting.fqn}) == 0}`,
          errorMessage: `measurements.lock.json holds placeholders: \${join(", ", ${waiting.fqn})}. Build the images, commit the lock file that the build writes, and plan again.`,
        }],
      },
    });
  }
}
