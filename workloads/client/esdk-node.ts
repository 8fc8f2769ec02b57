/** AWS Encryption SDK messages in Node, encrypted only: counters open them without the SDK (message-body.ts). Every class comes from the client package: one from another copy of it is refused at run time. */
import {
  AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, EncryptedDataKey, KeyringNode, KeyringTraceFlag, unwrapDataKey,
  type NodeDecryptionMaterial, type NodeEncryptionMaterial,
} from '@aws-crypto/client-node';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import type { EncryptionContext } from '../protocol/context.ts';
import { X_WING_PROVIDER } from '../protocol/labels.ts';
import { MAX_WRAPS } from '../protocol/message.ts';
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

export async function encryptMessage(plaintext: Uint8Array, context: EncryptionContext, tenantKey: TenantKey): Promise<Bytes> {
  const { result } = await client.encrypt(new XWingKeyringNode(tenantKey), plaintext, {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: { ...context }, frameLength: FRAME_LENGTH,
  });
  return bytes(result);
}
