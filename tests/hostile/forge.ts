/** What an attacker without a key can still make of a JWS. */
import { createHmac } from 'node:crypto';
import { b64u, fromB64u, utf8 } from '../../attestation/bytes.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Another text for the same header, payload and signature: 64 bytes leave four bits of the last character unused. */
export const respelled = (jws: string): string => jws.slice(0, -1) + ALPHABET[ALPHABET.indexOf(jws.at(-1) as string) ^ 1];

const parts = (jws: string) => jws.split('.') as [string, string, string];
export const payloadOf = <T = Record<string, unknown>>(jws: string): T => JSON.parse(new TextDecoder().decode(fromB64u(parts(jws)[1]))) as T;
const encode = (value: object) => b64u(utf8(JSON.stringify(value)));

/** The same payload under other headers, each with the signature that a confused verifier would take. */
export function confused(jws: string, typ: string, publicKey: Uint8Array): Record<string, string> {
  const [, payload, signature] = parts(jws);
  const hmac = (header: object) => { const input = `${encode(header)}.${payload}`; return `${input}.${createHmac('sha256', publicKey).update(input).digest('base64url')}`; };
  const kept = (header: object) => `${encode(header)}.${payload}.${signature}`;
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: b64u(publicKey) };
  return {
    'alg none, no signature': `${encode({ alg: 'none', typ })}.${payload}.`,
    'alg none, a signature': kept({ alg: 'none', typ }),
    'HMAC with the public key': hmac({ alg: 'HS256', typ }),
    'HMAC that calls itself EdDSA': hmac({ alg: 'EdDSA', typ }),
    'another algorithm': kept({ alg: 'ES256', typ }),
    'a key of its own': kept({ alg: 'EdDSA', typ, jwk }),
    'a critical extension': kept({ alg: 'EdDSA', typ, crit: ['b64'], b64: false }),
    'no type': kept({ alg: 'EdDSA' }),
    'another spelling of the signature': respelled(jws),
    'four parts': `${jws}.${signature}`,
    'nothing': '..',
  };
}
