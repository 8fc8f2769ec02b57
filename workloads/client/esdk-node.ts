/** AWS Encryption SDK messages in Node. Every class comes from the client package: one from another copy of it is refused at run time. */
import {
  AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, EncryptedDataKey, KeyringNode, KeyringTraceFlag, unwrapDataKey,
  type NodeDecryptionMaterial, type NodeEncryptionMaterial,
} from '@aws-crypto/client-node';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { EncryptionContext } from '../protocol/context.ts';
import { X_WING_PROVIDER } from '../protocol/labels.ts';
import { checkDataKey, MAX_WRAPS, parseMessage } from '../protocol/message.ts';
import type { TenantKey } from '../protocol/messages.ts';
import { FRAME_LENGTH, newDataKey, requireXWing, wrapFields } from './keyring.ts';

const client = buildClient({ commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, maxEncryptedDataKeys: MAX_WRAPS });

/** Wraps only: private halves of tenant keys exist in brokers alone. */
export class XWingKeyringNode extends KeyringNode {
  readonly #tenantKey: TenantKey;

  constructor(tenantKey: TenantKey) {
    super();
    requireXWing(tenantKey);
    this.#tenantKey = tenantKey;
  }

  async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    if (!material.hasUnencryptedDataKey) {
      material.setUnencryptedDataKey(newDataKey(material.suite.keyLengthBytes), {
        keyNamespace: X_WING_PROVIDER, keyName: this.#tenantKey.id, flags: KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY,
      });
    }
    const fields = await wrapFields(this.#tenantKey, material.encryptionContext, unwrapDataKey(material.getUnencryptedDataKey()));
    return material.addEncryptedDataKey(new EncryptedDataKey(fields), KeyringTraceFlag.WRAPPING_KEY_ENCRYPTED_DATA_KEY | KeyringTraceFlag.WRAPPING_KEY_SIGNED_ENC_CTX);
  }

  async _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    return material;
  }
}

/** Supplies a data key that the broker released; the SDK then checks commitment, header and every frame. */
class ReleasedKeyring extends KeyringNode {
  readonly #dataKey: Uint8Array;

  constructor(dataKey: Uint8Array) {
    super();
    this.#dataKey = dataKey;
  }

  async _onEncrypt(): Promise<never> {
    throw new TypeError('a released data key decrypts only');
  }

  async _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    if (material.hasUnencryptedDataKey) return material;
    // A copy: the SDK zeroes what it was given.
    return material.setUnencryptedDataKey(Uint8Array.from(this.#dataKey), { keyNamespace: X_WING_PROVIDER, keyName: 'released', flags: KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY });
  }
}

export async function encryptMessage(plaintext: Uint8Array, context: EncryptionContext, tenantKey: TenantKey): Promise<Bytes> {
  const { result } = await client.encrypt(new XWingKeyringNode(tenantKey), plaintext, {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: { ...context }, frameLength: FRAME_LENGTH,
  });
  return bytes(result);
}

/**
 * @param dataKey 32 bytes, as released
 * @param expected the context of the lease: every key and value, and no other
 * @throws Refusal MESSAGE_FORMAT, MESSAGE_SUITE, CONTEXT_FORMAT, CONTEXT_MISMATCH, MESSAGE_COMMITMENT, MESSAGE_HEADER_TAG, MESSAGE_BODY
 */
export async function decryptMessage(message: Uint8Array, dataKey: Uint8Array, expected: Partial<EncryptionContext>): Promise<Bytes> {
  const parsed = parseMessage(message);
  for (const [key, need] of Object.entries(expected)) {
    const have = parsed.context[key as keyof EncryptionContext];
    if (have !== need) refuse('CONTEXT_MISMATCH', `context.${key}`, 'The message was made for another job; the job is refused.', { have: String(have), need: String(need) });
  }
  await checkDataKey(parsed, dataKey);
  try {
    const { plaintext } = await client.decrypt(new ReleasedKeyring(dataKey), message);
    return bytes(plaintext);
  } catch (cause) {
    throw new Refusal({ code: 'MESSAGE_BODY', path: 'body', next: 'The body was altered after encryption; encrypt again.' }, { cause });
  }
}
