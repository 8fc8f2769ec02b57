/** Production roots, pinned by fingerprint. A development root is never in this list: it comes from the owner's policy. */
import type { TrustRoot } from '../adapter.ts';

export const PRODUCTION_ROOTS: readonly TrustRoot[] = [
  {
    // https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip; valid until 2049-10-28
    name: 'AWS Nitro Enclaves Root G1',
    platform: 'aws-nitro',
    anchor: 'production',
    certSha256: '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b',
    spkiSha256: 'f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225',
  },
];
