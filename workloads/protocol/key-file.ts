/** A signing key that outlives its process: a private OKP JWK (RFC 8037) in a file that only its owner reads. */
import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { fromB64u } from '../../attestation/bytes.ts';
import { generateSigningKey, importSigningKey, type SigningKey } from './jws.ts';
import { b64uText } from './wire.ts';

const fileSchema = z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: b64uText(32), d: b64uText(32) });

/** `undefined` when there is no such file. @throws Error for a file that is no such key */
export async function readKeyFile(path: string): Promise<SigningKey | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const jwk = fileSchema.parse(JSON.parse(text));
  return { publicKey: fromB64u(jwk.x), privateKey: await importSigningKey(jwk) };
}

/** @throws Error when the file exists */
export async function makeKeyFile(path: string): Promise<SigningKey> {
  const { privateKey } = await generateSigningKey({ extractable: true });
  const { kty, crv, x, d } = await crypto.subtle.exportKey('jwk', privateKey);
  await writeFile(path, `${JSON.stringify({ kty, crv, x, d })}\n`, { mode: 0o600, flag: 'wx' });
  return await readKeyFile(path) as SigningKey;
}
