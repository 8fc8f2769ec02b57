/**
 * WebCrypto's digests and verifications in this thread, by the same OpenSSL: a digest of a hundred bytes takes a microsecond, and the way to another thread and
 * back takes a hundred of them on a busy machine. For millions of cases, one after the other, that is most of the time.
 */
import { constants, hash, KeyObject, verify } from 'node:crypto';
import { bytes } from '../../attestation/bytes.ts';

const nameOf = (algorithm: AlgorithmIdentifier): string => (typeof algorithm === 'string' ? algorithm : algorithm.name);
const openssl = (name: string): string => name.toLowerCase().replace('-', '');

const keys = new WeakMap<CryptoKey, KeyObject>();
function keyOf(key: CryptoKey): KeyObject {
  const known = keys.get(key) ?? KeyObject.from(key);
  keys.set(key, known);
  return known;
}

async function digest(algorithm: AlgorithmIdentifier, data: Uint8Array): Promise<ArrayBuffer> {
  return bytes(hash(openssl(nameOf(algorithm)), data, 'buffer')).buffer;
}

async function verifyHere(algorithm: AlgorithmIdentifier | EcdsaParams | RsaPssParams, key: CryptoKey, signature: Uint8Array, data: Uint8Array): Promise<boolean> {
  const object = keyOf(key);
  const ofKey = (): string => openssl((key.algorithm as RsaHashedKeyAlgorithm).hash.name);
  switch (key.algorithm.name) {
    case 'ECDSA': return verify(openssl(nameOf((algorithm as EcdsaParams).hash)), data, { key: object, dsaEncoding: 'ieee-p1363' }, signature);
    case 'RSA-PSS': return verify(ofKey(), data, { key: object, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: (algorithm as RsaPssParams).saltLength }, signature);
    case 'RSASSA-PKCS1-v1_5': return verify(ofKey(), data, object, signature);
    default: throw new TypeError(`${key.algorithm.name} is not used here`);
  }
}

/** For the whole process. @returns the way back */
export function stayInThread(): () => void {
  const { subtle } = crypto;
  const importKey = subtle.importKey.bind(subtle) as (format: string, data: BufferSource, algorithm: AlgorithmIdentifier, extractable: boolean, usages: readonly KeyUsage[]) => Promise<CryptoKey>;
  Object.assign(subtle, {
    digest, verify: verifyHere,
    // A public key is no secret, and only an extractable one can be handed on
    importKey: (format: string, data: BufferSource, algorithm: AlgorithmIdentifier, extractable: boolean, usages: readonly KeyUsage[]) => importKey(format, data, algorithm, extractable || format === 'spki', usages),
  });
  return () => { for (const name of ['digest', 'verify', 'importKey']) Reflect.deleteProperty(subtle, name); };
}
