/** Where models, packages and pictures that were fetched or made once per checkout are kept; never committed. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

export const DEFAULT_CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

export const sha256Hex = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
