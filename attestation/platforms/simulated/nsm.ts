/**
 * Builds Nitro attestation documents: the writing side of formats/nsm.ts and formats/cose.ts, same bytes as the security
 * module's, under whatever key it is given. Every part can be set, for tests of the verifier. Isomorphic.
 */
import { encode } from 'cborg';
import { type Bytes, bytes, concat } from '../../bytes.ts';
import { sigStructure } from '../../formats/cose.ts';

/** In the order of the security module. */
export interface NsmFields {
  readonly moduleId: string;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  readonly pcrs: ReadonlyMap<number, Bytes>;
  readonly certificate: Bytes;
  readonly cabundle: readonly Bytes[];
  readonly publicKey: Bytes | null;
  readonly userData: Bytes | null;
  readonly nonce: Bytes | null;
}

/** Keys and already encoded values, in the order in which they are written. */
export type Entries = [key: Bytes, value: Bytes][];

export const PROTECTED_ES384 = bytes([0xa1, 0x01, 0x38, 0x22]);
const EMPTY_MAP = bytes([0xa0]);
const ES384 = { name: 'ECDSA', hash: 'SHA-384' } as const;

export const cbor = (value: unknown): Bytes => bytes(encode(value));

export function entriesOf(fields: NsmFields): Entries {
  const pairs: [string, unknown][] = [
    ['module_id', fields.moduleId], ['digest', 'SHA384'], ['timestamp', fields.timestamp], ['pcrs', fields.pcrs], ['certificate', fields.certificate],
    ['cabundle', fields.cabundle], ['public_key', fields.publicKey], ['user_data', fields.userData], ['nonce', fields.nonce],
  ];
  return pairs.map(([key, value]) => [cbor(key), cbor(value)]);
}

/** Indefinite length, as the security module writes since December 2025, unless told. */
export function encodePayload(entries: Entries, { indefinite = true } = {}): Bytes {
  const body = concat(...entries.flat());
  return indefinite ? concat(bytes([0xbf]), body, bytes([0xff])) : concat(bytes([0xa0 | entries.length]), body);
}

export interface SignOptions {
  readonly protectedHeader?: Bytes;
  readonly unprotectedHeader?: Bytes;
  readonly tag18?: boolean;
}

/** COSE_Sign1 over exactly these payload bytes. */
export async function signDocument(payload: Bytes, key: CryptoKey, options: SignOptions = {}): Promise<Bytes> {
  const protectedHeader = options.protectedHeader ?? PROTECTED_ES384;
  const signature = new Uint8Array(await crypto.subtle.sign(ES384, key, sigStructure(protectedHeader, payload)));
  return concat(options.tag18 === true ? bytes([0xd2]) : bytes([]), bytes([0x84]), cbor(protectedHeader), options.unprotectedHeader ?? EMPTY_MAP, cbor(payload), cbor(signature));
}

export const buildDocument = (fields: NsmFields, key: CryptoKey): Promise<Bytes> => signDocument(encodePayload(entriesOf(fields)), key);
