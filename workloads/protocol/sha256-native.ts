import { hash } from 'node:crypto';
import { bytes, useSha256 } from '../../attestation/bytes.ts';

/** Called once when a process of a cell starts. */
export function useNativeSha256(): void {
  useSha256((data) => bytes(hash('sha256', data, 'buffer')));
}
