/** What every key of a cell has in common: HSM, rotation, a delay before destruction. */
import type { KmsCryptoKeyConfig } from '@cdktf/provider-google/lib/kms-crypto-key/index.js';
import { needWhole } from '../configuration-error.ts';

export interface KeySettings {
  /** Days between rotations: 1 to 90. */
  readonly rotationDays: number;
  /** Days from the order to destroy a version to its destruction: 30 to 120. */
  readonly deletionDays: number;
  /** Plans that would destroy the key fail. */
  readonly protect: boolean;
}

export function checkKeySettings(field: string, { rotationDays, deletionDays }: KeySettings): void {
  needWhole(`${field}.rotationDays`, rotationDays, 1, 90, 'days');
  needWhole(`${field}.deletionDays`, deletionDays, 30, 120, 'days');
}

export function encryptionKey(name: string, keyRing: string, { rotationDays, deletionDays, protect }: KeySettings): KmsCryptoKeyConfig {
  return {
    name, keyRing, purpose: 'ENCRYPT_DECRYPT', rotationPeriod: `${rotationDays * 86_400}s`, destroyScheduledDuration: `${deletionDays * 86_400}s`,
    versionTemplate: { algorithm: 'GOOGLE_SYMMETRIC_ENCRYPTION', protectionLevel: 'HSM' }, lifecycle: { preventDestroy: protect },
  };
}
