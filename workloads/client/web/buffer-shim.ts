/** The AWS Encryption SDK for browsers expects Node's global `Buffer`. Imported before it. */
import { Buffer } from 'buffer';

(globalThis as { Buffer?: unknown }).Buffer ??= Buffer;
