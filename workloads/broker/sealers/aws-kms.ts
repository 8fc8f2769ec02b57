/**
 * AWS KMS with a recipient (AWS KMS Developer Guide, "Cryptographic attestation support"; API: GenerateDataKey, Decrypt): data keys leave KMS only under a key of this
 * enclave, and only when the document that vouches for that key satisfies the key's policy (modules/aws/key-policy.ts).
 *
 * Proves: whoever opens a sealed key is an enclave whose PCR0, 1, 2 and 8 the key's policy names. Does not prove: that this policy is still the reviewed one (who may
 * change it is the account's matter), nor freshness beyond KMS's own limit on documents; and KMS is known by its TLS certificate alone, which ends in the enclave.
 */
import { AwsV4Signer } from 'aws4fetch';
import { z } from 'zod';
import { type Bytes, bytes } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { AwsKeys } from './aws-credentials.ts';
import { type Answer, ask, type Call, hostOf, read, type Service, type Surroundings } from './call.ts';
import type { Context, DataKeyService } from './envelope.ts';
import type { Kept } from './kept.ts';
import type { Recipient } from './recipient.ts';

export interface AwsKmsOptions {
  /** ARN of the key, or of its alias: where data keys are made from now on. Older ones open with the key that they name, in the same account and region. */
  readonly key: string;
  readonly recipient: Recipient;
  readonly credentials: Kept<AwsKeys>;
  readonly service: Service;
  readonly around: Surroundings;
}

const ARN = /^arn:aws:kms:([a-z0-9-]{1,32}):([0-9]{12}):(?:key\/((?:mrk-)?[0-9a-f-]{32,36})|alias\/[A-Za-z0-9/_-]{1,250})$/;
const base64 = z.string().min(4).max(16_384).regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
/** `Plaintext` is null or empty for a recipient. */
const common = { KeyId: z.string().max(512), CiphertextForRecipient: base64, Plaintext: z.union([z.literal(''), z.null()]).optional() };
const generated = z.object({ ...common, CiphertextBlob: base64 });
const decrypted = z.object({ ...common, EncryptionAlgorithm: z.literal('SYMMETRIC_DEFAULT') });
/** The wrapped key, the context or the key it is for: not what was sealed. */
const OTHER_CIPHERTEXT: ReadonlySet<string> = new Set(['InvalidCiphertextException', 'IncorrectKeyException']);
const to64 = (data: Bytes): string => Buffer.from(data).toString('base64');
const from64 = (text: string): Bytes => bytes(Buffer.from(text, 'base64'));

/** @throws Refusal KEY_SEALER_ABSENT */
const placeOf = (key: string): RegExpExecArray => ARN.exec(key) ?? refuse('KEY_SEALER_ABSENT', 'cell.sealer.key', 'Put the ARN of the cell\'s data key or of its alias into cell.json.', { have: key.slice(0, 128), need: 'arn:aws:kms:<region>:<account>:key/... or alias/...' });
export const regionOf = (key: string): string => placeOf(key)[1] as string;

/** @throws Refusal KEY_SEALER_ABSENT when the key has no ARN of one */
export function awsKms({ key, recipient, credentials, service, around }: AwsKmsOptions): DataKeyService {
  const place = placeOf(key);
  const [, region = '', account = ''] = place;

  /** Id of a key of this account and region, as the last part of its ARN says it: multi-region keys have the same in all. */
  const idOf = (arn: string, path: string, need?: string): string => {
    const found = ARN.exec(arn);
    const id = found?.[3];
    if (found === null || id === undefined || found[1] !== region || found[2] !== account || (need !== undefined && id !== need)) {
      return refuse('KEY_SEALER_ANSWER', path, 'Nothing was opened or stored. See which key the alias of the cell\'s data key leads to.', { have: arn.slice(0, 128), need: `key ${need ?? 'of one kind'} in ${account}, ${region}` });
    }
    return id;
  };

  const call = async (action: 'GenerateDataKey' | 'Decrypt', parameters: object): Promise<Answer> => {
    const body = JSON.stringify({ ...parameters, Recipient: { AttestationDocument: to64(await recipient.document()), KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' } });
    const request: Call = { method: 'POST', path: '/', headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `TrentService.${action}` }, body };
    const answer = await ask(service, request, around, async (unsigned, stale) => {
      const datetime = new Date(around.now()).toISOString().replace(/[:-]|\.\d{3}/g, '');
      const signer = new AwsV4Signer({ method: 'POST', url: `${service.origin}/`, headers: { ...unsigned.headers }, body, ...(await credentials(stale)), service: 'kms', region, datetime });
      return { ...unsigned, headers: Object.fromEntries(new Headers((await signer.sign()).headers)) };
    });
    if (answer.status === 200) return answer;
    if (OTHER_CIPHERTEXT.has(answer.code)) refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'The row was changed, or belongs to another tenant, cell or key; restore it from a backup of the ledger.', { have: answer.code });
    return refuse('KEY_SEALER_REFUSED', `kms.${action}`, answer.code === 'AccessDeniedException'
      ? 'Compare the enclave\'s PCR0, 1, 2 and 8 with the key\'s policy (measurements.lock.json), and the instance\'s role with the one that it names. An enclave in debug mode gets nothing.'
      : 'See in the account whether the key is enabled and not about to be deleted, and what the service says of this request.', { have: `${answer.status} ${answer.code}`.trim(), need: 'the key service\'s consent' });
  };

  return {
    service: 1,
    async generate(context) {
      const answer = read(generated, await call('GenerateDataKey', { KeyId: key, KeySpec: 'AES_256', EncryptionContext: context }), 'kms.GenerateDataKey');
      const id = idOf(answer.KeyId, 'kms.GenerateDataKey.KeyId', place[3]);
      return { plaintext: await recipient.open(from64(answer.CiphertextForRecipient)), wrapped: from64(answer.CiphertextBlob), keyId: id };
    },
    async unwrap(context: Context, keyId: string, wrapped: Bytes) {
      const arn = `arn:aws:kms:${region}:${account}:key/${keyId}`;
      if (!ARN.test(arn)) refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'Restore the row from a backup of the ledger.', { have: `a key id of ${keyId.length} characters`, need: 'one of KMS' });
      const answer = read(decrypted, await call('Decrypt', { KeyId: arn, CiphertextBlob: to64(wrapped), EncryptionContext: context, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' }), 'kms.Decrypt');
      idOf(answer.KeyId, 'kms.Decrypt.KeyId', keyId);
      return recipient.open(from64(answer.CiphertextForRecipient));
    },
    describe: () => ({ backend: 'aws-kms', location: `${key} at ${hostOf(service)}`, proves: 'who opens a tenant key is an enclave whose PCRs the key\'s policy names; not that the account\'s owner left that policy as it was reviewed' }),
  };
}
