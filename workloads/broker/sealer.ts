/**
 * What the private halves of tenant keys rest under: a local file in development (sealers/local-file.ts), in a cloud a key service that wants attestation (sealers/aws-kms.ts,
 * azure-skr.ts, gcp-kms.ts). Which one is the cell's word (sealers/for-cell.ts); each says what it proves.
 */
import type { Bytes } from '../../attestation/bytes.ts';

export interface KeySealer {
  /** `aad` names what is sealed; it must be the same at `open`. @throws Refusal KEY_SEALER_* */
  seal(aad: Bytes, plaintext: Bytes): Promise<Bytes>;
  /** @throws Refusal KEY_SEALER_LOST when the secret is gone, is another one, or the blob or its name was changed; KEY_SEALER_REFUSED, _UNAVAILABLE, _ANSWER of a key service */
  open(aad: Bytes, sealed: Bytes): Promise<Bytes>;
  /** For people: where the secret is and what that means. */
  describe(): { readonly backend: string; readonly location: string; readonly proves: string };
}
