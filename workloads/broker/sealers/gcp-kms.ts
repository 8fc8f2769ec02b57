/**
 * Google Cloud KMS (REST reference, cryptoKeys.encrypt and .decrypt) as an attested workload: data keys are made here, and wrapped there under the names of what they seal.
 *
 * Proves: whoever had the key used held a token that Google gave to an image, place and configuration which the provider's condition names. Does not prove that the caller was
 * that workload: the token is a bearer token, and the data key comes back over TLS in the clear, bound to no key of the TEE.
 */
import { z } from 'zod';
import { type Bytes, bytes, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Answer, ask, hostOf, read, type Service, type Surroundings } from './call.ts';
import { crc32c } from './crc32c.ts';
import type { Context, DataKeyService } from './envelope.ts';
import type { Kept } from './kept.ts';

export interface GcpKmsOptions {
  /** `projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>` */
  readonly key: string;
  readonly token: Kept<string>;
  readonly service: Service;
  readonly around: Surroundings;
}

const KEY = /^projects\/[a-z][a-z0-9-]{4,28}[a-z0-9]\/locations\/[a-z0-9-]{2,32}\/keyRings\/[A-Za-z0-9_-]{1,63}\/cryptoKeys\/[A-Za-z0-9_-]{1,63}$/;
const VERSION = /^\/cryptoKeyVersions\/[0-9]{1,10}$/;
const base64 = z.string().min(4).max(8_192).regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
/** int64 of JSON; a number is what some clients' servers write. */
const checksum = z.union([z.string().regex(/^(?:0|[1-9][0-9]{0,9})$/).transform(Number), z.int().min(0)]);
const encrypted = z.object({ name: z.string().max(512), ciphertext: base64, ciphertextCrc32c: checksum, verifiedPlaintextCrc32c: z.literal(true), verifiedAdditionalAuthenticatedDataCrc32c: z.literal(true), protectionLevel: z.literal('HSM') });
const decrypted = z.object({ plaintext: base64, plaintextCrc32c: checksum, protectionLevel: z.literal('HSM').optional() });
const DATA_KEY = 32;
const to64 = (data: Bytes): string => Buffer.from(data).toString('base64');
const from64 = (value: string): Bytes => bytes(Buffer.from(value, 'base64'));
const AGAIN = 'Nothing was stored or opened. Try again; if it happens again, something between the broker and the key service changes what is sent.';

/** @throws Refusal KEY_SEALER_ABSENT when the key has no name of one */
export function gcpKms({ key, token, service, around }: GcpKmsOptions): DataKeyService {
  if (!KEY.test(key)) refuse('KEY_SEALER_ABSENT', 'cell.sealer.key', 'Put the resource name of the cell\'s key into cell.json.', { have: key.slice(0, 128), need: 'projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>' });

  const call = async (action: 'encrypt' | 'decrypt', parameters: object): Promise<Answer> => {
    const answer = await ask(service, { method: 'POST', path: `/v1/${key}:${action}`, headers: { 'content-type': 'application/json' }, body: JSON.stringify(parameters) }, around,
      async (request, stale) => ({ ...request, headers: { ...request.headers, authorization: `Bearer ${await token(stale)}` } }));
    if (answer.status === 200) return answer;
    // Google says no more than this of a ciphertext, context or key that is another one.
    if (action === 'decrypt' && answer.status === 400 && answer.code === 'INVALID_ARGUMENT') refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'The row was changed, or belongs to another tenant, cell or key; restore it from a backup of the ledger.', { have: answer.code });
    return refuse('KEY_SEALER_REFUSED', `kms.${action}`, answer.status === 403
      ? 'See whether the image\'s digest is among those that may use the key (measurements.lock.json), and the deny policy of the project.'
      : 'See in the project whether the key and its versions are enabled, and what the service says of this request.', { have: `${answer.status} ${answer.code}`.trim(), need: 'the key service\'s consent' });
  };
  const checked = (data: Bytes, stated: number, path: string): Bytes => {
    const sum = crc32c(data);
    return sum === stated ? data : refuse('KEY_SEALER_ANSWER', path, AGAIN, { have: String(sum), need: String(stated) });
  };

  return {
    service: 3,
    async generate(context) {
      const plaintext = randomBytes(DATA_KEY);
      try {
        const aad = utf8(canonicalJson(context));
        const answer = read(encrypted, await call('encrypt', {
          plaintext: to64(plaintext), additionalAuthenticatedData: to64(aad), plaintextCrc32c: String(crc32c(plaintext)), additionalAuthenticatedDataCrc32c: String(crc32c(aad)),
        }), 'kms.encrypt');
        const wrapped = checked(from64(answer.ciphertext), answer.ciphertextCrc32c, 'kms.encrypt.ciphertextCrc32c');
        if (!answer.name.startsWith(key) || !VERSION.test(answer.name.slice(key.length))) refuse('KEY_SEALER_ANSWER', 'kms.encrypt.name', AGAIN, { have: answer.name.slice(0, 256), need: `${key}/cryptoKeyVersions/<n>` });
        return { plaintext, wrapped, keyId: answer.name };
      } catch (error) {
        plaintext.fill(0);
        throw error;
      }
    },
    async unwrap(context: Context, keyId: string, wrapped: Bytes) {
      // Any version of this key opens what it sealed; the key itself must be the cell's.
      if (!keyId.startsWith(key) || !VERSION.test(keyId.slice(key.length))) refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'This row was sealed with another key than the one that cell.json names.', { have: keyId, need: `${key}/cryptoKeyVersions/<n>` });
      const aad = utf8(canonicalJson(context));
      const answer = read(decrypted, await call('decrypt', {
        ciphertext: to64(wrapped), additionalAuthenticatedData: to64(aad), ciphertextCrc32c: String(crc32c(wrapped)), additionalAuthenticatedDataCrc32c: String(crc32c(aad)),
      }), 'kms.decrypt');
      const plaintext = checked(from64(answer.plaintext), answer.plaintextCrc32c, 'kms.decrypt.plaintextCrc32c');
      if (plaintext.length !== DATA_KEY) refuse('KEY_SEALER_ANSWER', 'kms.decrypt.plaintext', AGAIN, { have: `${plaintext.length} bytes`, need: `${DATA_KEY} bytes` });
      return plaintext;
    },
    describe: () => ({ backend: 'gcp-kms', location: `${key} at ${hostOf(service)}`, proves: 'who uses the key holds a token that Google gave to an attested workload of the listed images; not that the caller still is that workload (a bearer token)' }),
  };
}
