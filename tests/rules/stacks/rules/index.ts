/** All rules. */
import type { Rule } from '../rule.ts';
import { auditLocks, irreversible } from './audit.ts';
import { awsFleet } from './aws-fleet.ts';
import { awsKeys } from './aws-keys.ts';
import { azureFleet, azureVault } from './azure.ts';
import { noSecrets, operations, privateServices, residency, tags } from './everywhere.ts';
import { gcpFleet, gcpKeys } from './gcp.ts';
import { snpGenerations } from './generations.ts';
import { kubernetes } from './k8s.ts';
import { lockFile } from './lock-file.ts';
import { names } from './names.ts';
import { azureRelease } from './release.ts';

export const RULES: readonly Rule[] = [
  awsFleet, awsKeys, azureFleet, azureVault, azureRelease, gcpFleet, gcpKeys, kubernetes, lockFile, auditLocks, privateServices, tags, residency, noSecrets, operations, irreversible, snpGenerations, names,
];
