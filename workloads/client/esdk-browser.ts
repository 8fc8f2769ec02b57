/** AWS Encryption SDK messages in browsers: the same as esdk-node.ts over WebCrypto. Every class comes from the client package. */
import {
  AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, EncryptedDataKey, importForWebCryptoEncryptionMaterial, KeyringTraceFlag, KeyringWebCrypto, unwrapDataKey,
  type WebCryptoDecryptionMaterial, type WebCryptoEncryptionMaterial,
} from '@aws-crypto/client-browser';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import type { EncryptionContext } from '../protocol/context.ts';
import { X_WING_PROVIDER } from '../protocol/labels.ts';
import { MAX_WRAPS } from '../protocol/message.ts';
import type { TenantKey } from '../protocol/messages.ts';
import { FRAME_LENGTH, newDataKey, requireXWing, wrapFields } from './keyring.ts';

const client = buildClient({ commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, maxEncryptedDataKeys: MAX_WRAPS });

export class XWingKeyringWebCrypto extends KeyringWebCrypto {
  readonly #tenantKey: TenantKey;

  constructor(tenantKey: TenantKey) {
    super();
    requireXWing(tenantKey);
    this.#tenantKey = tenantKey;
  }

  async _onEncrypt(material: WebCryptoEncryptionMaterial): Promise<WebCryptoEncryptionMaterial> {
    if (!material.hasUnencryptedDataKey) {
      material.setUnencryptedDataKey(newDataKey(material.suite.keyLengthBytes), {
        keyNamespace: X_WING_PROVIDER, keyName: this.#tenantKey.id, flags: KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY,
      });
    }
    const fields = await wrapFields(this.#tenantKey, material.encryptionContext, unwrapDataKey(material.getUnencryptedDataKey()));
    material.addEncryptedDataKey(new EncryptedDataKey(fields), KeyringTraceFlag.WRAPPING_KEY_ENCRYPTED_DATA_KEY | KeyringTraceFlag.WRAPPING_KEY_SIGNED_ENC_CTX);
    return importForWebCryptoEncryptionMaterial(material);
  }

  async _onDecrypt(material: WebCryptoDecryptionMaterial): Promise<WebCryptoDecryptionMaterial> {
    return material;
  }
}

export async function encryptMessage(plaintext: Uint8Array, context: EncryptionContext, tenantKey: TenantKey): Promise<Bytes> {
  // `bytes` copies: client-browser reads `plaintext.buffer` from its start, whatever part of it the view shows.
  const { result } = await client.encrypt(new XWingKeyringWebCrypto(tenantKey), bytes(plaintext), {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: { ...context }, frameLength: FRAME_LENGTH,
  });
  return bytes(result);
}
