/**
 * Who gets Google credentials for the data key, from the lock file: a CEL condition on the claims of a Confidential Space token, evaluated by the
 * Security Token Service. Claims: Google's "Attestation token claims" of Confidential Space; tokens there name the container, those of GKE nodes do not.
 */
import { need } from '../configuration-error.ts';
import { entriesOf, type MeasurementLock } from '../measurements.ts';

export const TOKEN_ISSUER = 'https://confidentialcomputing.googleapis.com';
/** The environment variable that carries `cell.json`: the only one that an operator may set. */
export const CELL_VARIABLE = 'CCC_CELL';
/** Of the service, for a condition. */
const MAX_CONDITION = 4_096;

export interface TokenRequirement {
  readonly lock: MeasurementLock;
  readonly project: string;
  readonly projectNumber: string;
  readonly zones: readonly string[];
  /** Address of the service account that brokers run as. */
  readonly serviceAccount: string;
  /** Exactly what brokers get as `CCC_CELL`. */
  readonly cell: string;
}

/** `cell.json` as an instance's metadata carries it: base64url, so that neither metadata nor conditions need escapes. */
export const cellVariable = (json: string): string => Buffer.from(json, 'utf8').toString('base64url');

/** Digests of the broker's images that may run now, blue first. */
export const brokerImages = (lock: MeasurementLock): readonly string[] => [...new Set(entriesOf(lock, 'broker').map(({ image }) => image))];

/** @throws ConfigurationError when a value has characters that could end a CEL string, or the condition gets too long for the service */
export function tokenCondition({ lock, project, projectNumber, zones, serviceAccount, cell }: TokenRequirement): string {
  const container = 'assertion.submods.container';
  const condition = [
    // Hardware and image of the operating system: TDX, production image, never debugged, still supported.
    `assertion.swname == 'CONFIDENTIAL_SPACE'`,
    `assertion.hwmodel == 'GCP_INTEL_TDX'`,
    'assertion.secboot == true',
    `assertion.dbgstat == 'disabled-since-boot'`,
    `'STABLE' in assertion.submods.confidential_space.support_attributes`,
    // The workload: its image by digest, started as it was built. What an operator can override is an input, so all of it is pinned.
    `${container}.image_digest in ${list('lock.broker.image', brokerImages(lock))}`,
    `${container}.restart_policy == 'Never'`,
    `!has(${container}.cmd_override)`,
    `${container}.env_override.all(name, name == ${text('cellVariable', CELL_VARIABLE)})`,
    `${container}.env_override.${CELL_VARIABLE} == ${text('cell', cell)}`,
    // The place.
    `assertion.submods.gce.project_id == ${text('project', project)}`,
    `assertion.submods.gce.project_number == ${text('projectNumber', projectNumber)}`,
    `assertion.submods.gce.zone in ${list('zones', zones)}`,
    `${text('serviceAccount', serviceAccount)} in assertion.google_service_accounts`,
  ].join(' && ');
  need(condition.length <= MAX_CONDITION, 'tokenCondition', condition.length, `at most ${MAX_CONDITION} characters`);
  return condition;
}

/** Claims that become attributes. A subject is at most 127 characters long, so that the token's own `sub`, a URL, may not fit. */
export const ATTRIBUTE_MAPPING: Readonly<Record<string, string>> = {
  'google.subject': `'gcpcs::' + assertion.submods.container.image_digest + '::' + assertion.submods.gce.project_number + '::' + assertion.submods.gce.instance_id`,
  'attribute.image_digest': 'assertion.submods.container.image_digest',
};

function text(field: string, value: string): string {
  need(/^[A-Za-z0-9@._:-]+$/.test(value), `tokenCondition ${field}`, value, 'letters, digits and @._:- only');
  return `'${value}'`;
}

function list(field: string, values: readonly string[]): string {
  need(values.length > 0, `tokenCondition ${field}`, values, 'at least one value');
  return `[${values.map((value) => text(field, value)).join(', ')}]`;
}
