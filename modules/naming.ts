/**
 * Names of everything that is deployed: `ccc-<environment>-<part>`, cut and hashed to what the service allows. Limits are those of the services' naming
 * documents; a name that would not fit gets the first five hex digits of the SHA-256 of the whole name, so that two long parts never meet.
 */
import { createHash } from 'node:crypto';
import type { Environment } from './environments.ts';
import { need } from './configuration-error.ts';

interface Limit {
  readonly min: number;
  readonly max: number;
  /** Characters that may stand in the name; `alnum` has no separators. */
  readonly alphabet: 'kebab' | 'alnum';
  /** Carries the environment's uid: unique beyond the account. */
  readonly global?: true;
  readonly forbiddenEndings?: readonly string[];
  readonly forbiddenStarts?: readonly string[];
}

export const LIMITS = {
  // AWS
  's3-bucket': { min: 3, max: 63, alphabet: 'kebab', global: true, forbiddenEndings: ['-s3alias', '--ol-s3', '--x-s3', '--table-s3'], forbiddenStarts: ['xn--', 'sthree-', 'amzn-s3-demo-'] },
  'iam-role': { min: 1, max: 64, alphabet: 'kebab' },
  'load-balancer': { min: 1, max: 32, alphabet: 'kebab', forbiddenEndings: ['-'], forbiddenStarts: ['internal-'] },
  'target-group': { min: 1, max: 32, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'rds': { min: 1, max: 63, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'launch-template': { min: 3, max: 128, alphabet: 'kebab' },
  'autoscaling-group': { min: 1, max: 255, alphabet: 'kebab' },
  'security-group': { min: 1, max: 255, alphabet: 'kebab', forbiddenStarts: ['sg-'] },
  'kms-alias': { min: 1, max: 250, alphabet: 'kebab', forbiddenStarts: ['aws-'] },
  'log-group': { min: 1, max: 512, alphabet: 'kebab' },
  'aws-generic': { min: 1, max: 64, alphabet: 'kebab' },
  // Azure
  'resource-group': { min: 1, max: 90, alphabet: 'kebab' },
  'key-vault': { min: 3, max: 24, alphabet: 'kebab', global: true, forbiddenEndings: ['-'] },
  'key-vault-key': { min: 1, max: 127, alphabet: 'kebab' },
  'storage-account': { min: 3, max: 24, alphabet: 'alnum', global: true },
  'attestation-provider': { min: 3, max: 24, alphabet: 'alnum', global: true },
  'waf-policy': { min: 1, max: 128, alphabet: 'alnum' },
  'vmss': { min: 1, max: 64, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'computer-name-prefix': { min: 1, max: 9, alphabet: 'alnum' },
  'postgres-flexible': { min: 3, max: 63, alphabet: 'kebab', global: true, forbiddenEndings: ['-'] },
  'service-bus': { min: 6, max: 50, alphabet: 'kebab', global: true, forbiddenEndings: ['-', '-sb', '-mgmt'] },
  'front-door-endpoint': { min: 2, max: 46, alphabet: 'kebab', global: true, forbiddenEndings: ['-'] },
  'container-registry': { min: 5, max: 50, alphabet: 'alnum', global: true },
  'azure-generic': { min: 2, max: 64, alphabet: 'kebab', forbiddenEndings: ['-'] },
  // Google
  'gcs-bucket': { min: 3, max: 63, alphabet: 'kebab', global: true, forbiddenStarts: ['goog'] },
  'service-account': { min: 6, max: 30, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'workload-identity-pool': { min: 4, max: 32, alphabet: 'kebab', forbiddenStarts: ['gcp-'] },
  'gke-cluster': { min: 1, max: 40, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'gke-node-pool': { min: 1, max: 40, alphabet: 'kebab', forbiddenEndings: ['-'] },
  'cloud-sql': { min: 1, max: 84, alphabet: 'kebab', global: true, forbiddenEndings: ['-'] },
  'key-ring': { min: 1, max: 63, alphabet: 'kebab' },
  'gcp-generic': { min: 1, max: 63, alphabet: 'kebab', forbiddenEndings: ['-'] },
} as const satisfies Record<string, Limit>;
export type NameKind = keyof typeof LIMITS;

export type Namer = (kind: NameKind, part: string) => string;

/** @throws ConfigurationError when the part is not kebab-case, or the name cannot be one of this kind */
export function namer(environment: Pick<Environment, 'name' | 'uid'>): Namer {
  return (kind, part) => {
    const limit: Limit = LIMITS[kind];
    need(/^[a-z0-9]+(-[a-z0-9]+)*$/.test(part), `name of ${kind}`, part, 'lower-case words with single hyphens');
    const whole = ['ccc', environment.name, part, ...(limit.global ? [environment.uid] : [])].join('-');
    const separator = limit.alphabet === 'alnum' ? '' : '-';
    const spelled = whole.replaceAll('-', separator);
    const name = spelled.length <= limit.max ? spelled : shorten(spelled, whole, limit.max, separator);
    checkName(kind, name);
    return name;
  };
}

function shorten(spelled: string, whole: string, max: number, separator: string): string {
  const hash = createHash('sha256').update(whole).digest('hex').slice(0, 5);
  return spelled.slice(0, max - hash.length - separator.length).replace(/-+$/, '') + separator + hash;
}

/** @throws ConfigurationError naming what the service would refuse */
export function checkName(kind: NameKind, name: string): void {
  const limit: Limit = LIMITS[kind];
  const field = `name of ${kind}`;
  need(name.length >= limit.min && name.length <= limit.max, field, name, `${limit.min} to ${limit.max} characters`);
  need((limit.alphabet === 'alnum' ? /^[a-z][a-z0-9]*$/ : /^[a-z][a-z0-9-]*[a-z0-9]$/).test(name), field, name, limit.alphabet === 'alnum' ? 'lower-case letters and digits' : 'lower-case letters, digits and inner hyphens');
  for (const ending of limit.forbiddenEndings ?? []) need(!name.endsWith(ending), field, name, `no ending "${ending}"`);
  for (const start of limit.forbiddenStarts ?? []) need(!name.startsWith(start), field, name, `no beginning "${start}"`);
}
