import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, MultiKeyringNode, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from '@aws-crypto/client-node';
import { describe, expect, it } from 'vitest';
import { bytes, utf8 } from '../../attestation/bytes.ts';
import { encryptMessage, XWingKeyringNode } from '../../workloads/client/esdk-node.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { checkDataKey, parseMessage, type ParsedMessage } from '../../workloads/protocol/message.ts';
import { openMessage } from '../../workloads/protocol/message-body.ts';
import { unwrapDataKey } from '../../workloads/protocol/wrap.ts';
import { codesOf } from './refusals.ts';
import { context, privateKeys, rsaTenantKey, stockKeyring, stockMessage, tenantKey } from './samples.ts';

const plaintext = utf8('a picture');
const keyOf = (id: string) => privateKeys[id];

describe('data-key wraps', () => {
  it('opens what a stock AWS Encryption SDK client encrypted with a raw RSA keyring', async () => {
    const message = await stockMessage(plaintext);
    const parsed = parseMessage(message);
    const { keyId, dataKey } = await unwrapDataKey(parsed, keyOf);
    await checkDataKey(parsed, dataKey);
    expect([keyId, await openMessage(parsed, dataKey)]).toEqual([rsaTenantKey.id, plaintext]);
  });

  it('finds its wrap among those of others, and takes any that opens', async () => {
    const aes = new RawAesKeyringNode({ keyName: 'k', keyNamespace: 'mine', unencryptedMasterKey: new Uint8Array(32), wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING });
    const keyring = new MultiKeyringNode({ generator: aes, children: [stockKeyring(), new XWingKeyringNode(tenantKey)] });
    const { encrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
    const { result } = await encrypt(keyring, plaintext, { suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY, encryptionContext: context() });
    const parsed = parseMessage(bytes(result));
    expect(parsed.wraps.length).toBe(3);
    for (const id of [tenantKey.id, rsaTenantKey.id]) {
      const { keyId, dataKey } = await unwrapDataKey(parsed, (wanted) => (wanted === id ? privateKeys[id] : undefined));
      await checkDataKey(parsed, dataKey);
      expect(keyId).toBe(id);
    }
  });

  it('refuses a wrap to a key it has not', async () => {
    const parsed = parseMessage(await encryptMessage(plaintext, context(), tenantKey));
    expect(await codesOf(() => unwrapDataKey(parsed, () => undefined))).toEqual(['KEY_UNKNOWN']);
    expect(await codesOf(() => unwrapDataKey({ ...parsed, wraps: [] }, keyOf))).toEqual(['KEY_UNKNOWN']);
    // A key id under the other provider names no key.
    expect(await codesOf(() => unwrapDataKey(parsed, () => privateKeys[rsaTenantKey.id]))).toEqual(['KEY_UNKNOWN']);
  });

  it('refuses a wrap that was made under another context, key id or key', async () => {
    const parsed = parseMessage(await encryptMessage(plaintext, context(), tenantKey));
    const unwrap = (changed: Partial<ParsedMessage>, key = keyOf) => codesOf(() => unwrapDataKey({ ...parsed, ...changed }, key));
    for (const changed of [{ tenant_id: 'other' }, { job_id: '1b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11' }, { compliance_zone: 'us' }, { data_classification: 'public' as const }]) {
      expect(await unwrap({ context: context(changed) })).toEqual(['KEY_UNWRAP']);
    }
    expect(await unwrap({ wraps: [{ ...parsed.wraps[0]!, providerInfo: utf8('acme.x-wing.2') }] }, () => privateKeys[tenantKey.id])).toEqual(['KEY_UNWRAP']);
    const other = await generateReceivingKey();
    expect(await unwrap({}, () => ({ alg: 'X-Wing', privateKey: other.privateKey }))).toEqual(['KEY_UNWRAP']);
    for (const length of [0, 47, 1120, 1167]) {
      expect(await unwrap({ wraps: [{ ...parsed.wraps[0]!, ciphertext: parsed.wraps[0]!.ciphertext.slice(0, length) }] })).toEqual(['KEY_UNWRAP']);
    }
    const stock = parseMessage(await stockMessage(plaintext));
    const altered = bytes(stock.wraps[0]!.ciphertext);
    altered[9]! ^= 1;
    expect(await codesOf(() => unwrapDataKey({ ...stock, wraps: [{ ...stock.wraps[0]!, ciphertext: altered }] }, keyOf))).toEqual(['KEY_UNWRAP']);
  });
});
