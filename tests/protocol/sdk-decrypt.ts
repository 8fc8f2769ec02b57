/** The AWS Encryption SDK's own decryption under a given data key: what ours is compared with. */
import { buildClient, CommitmentPolicy, KeyringNode, KeyringTraceFlag, type NodeDecryptionMaterial } from '@aws-crypto/client-node';
import { type Bytes, bytes } from '../../attestation/bytes.ts';

const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

class GivenKeyring extends KeyringNode {
  readonly #dataKey: Uint8Array;

  constructor(dataKey: Uint8Array) {
    super();
    this.#dataKey = dataKey;
  }

  async _onEncrypt(): Promise<never> {
    throw new TypeError('decrypts only');
  }

  async _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    // A copy: the SDK zeroes what it was given.
    return material.setUnencryptedDataKey(Uint8Array.from(this.#dataKey), { keyNamespace: 'tests', keyName: 'given', flags: KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY });
  }
}

/** @throws Error of the SDK */
export async function sdkDecrypt(message: Uint8Array, dataKey: Uint8Array): Promise<Bytes> {
  return bytes((await client.decrypt(new GivenKeyring(dataKey), message)).plaintext);
}
