/** Scalars of the wire formats: each has one spelling. */
import { z } from 'zod';
import { type Bytes, fromB64u, fromHex } from '../../attestation/bytes.ts';

/** base64url without padding of `min` to `max` bytes, decoded. */
export const b64uBytes = (min: number, max = min) =>
  z.string().max(Math.ceil((max * 4) / 3)).transform((value, ctx): Bytes => {
    try {
      const decoded = fromB64u(value);
      if (decoded.length >= min && decoded.length <= max) return decoded;
    } catch { /* said below */ }
    ctx.addIssue({ code: 'custom', message: `unpadded base64url of ${min === max ? min : `${min} to ${max}`} bytes` });
    return z.NEVER;
  });

export const b64uText = (min: number, max = min) =>
  z.string().max(Math.ceil((max * 4) / 3)).regex(/^[A-Za-z0-9_-]*$/).refine((value) => {
    try {
      const { length } = fromB64u(value);
      return length >= min && length <= max;
    } catch {
      return false;
    }
  }, `unpadded base64url of ${min === max ? min : `${min} to ${max}`} bytes`);

export const hexText = (length: number) => z.string().length(2 * length).refine((v) => { try { fromHex(v); return true; } catch { return false; } }, 'lower-case hex');

/** Lower case only, version 4: a job has one spelling, in the ledger and in the encryption context. */
export const jobId = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'lower-case UUIDv4');
export const name = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, '1 to 63 of a-z, 0-9, -, neither first nor last a hyphen');
export const tenantId = name;
export const cellName = name;
export const zoneName = name;
export const keyId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}\.[a-z0-9-]{1,16}\.[0-9]{1,9}$/, 'TENANT.ALGORITHM.VERSION');
export const epochSeconds = z.number().int().min(0).max(8_640_000_000);
export const compactJws = z.string().max(262_144).regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/, 'compact JWS');
