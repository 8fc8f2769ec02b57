/**
 * What the private halves of tenant keys rest under. Backends: a local file (sealers/local-file.ts) now; cloud key services whose
 * release is gated by attestation take its place in a cloud. Each says what it proves.
 */
import type { Bytes } from '../../attestation/bytes.ts';

export interface KeySealer {
  /** `aad` names what is sealed; it must be the same at `open`. */
  seal(aad: Bytes, plaintext: Bytes): Promise<Bytes>;
  /** @throws Refusal KEY_SEALER_LOST when the secret is gone, is another one, or the blob or its name was changed */
  open(aad: Bytes, sealed: Bytes): Promise<Bytes>;
  /** For people: where the secret is and what that means. */
  describe(): { readonly backend: string; readonly location: string; readonly proves: string };
}
