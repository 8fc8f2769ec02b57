/**
 * The key that Azure releases to: made in the vTPM, for this boot, usable while the PCRs stay what they are, and certified by the vTPM's attestation key (TPM 2.0 Library,
 * Part 3: TPM2_CreatePrimary, TPM2_Certify, TPM2_PolicyPCR, TPM2_RSA_Decrypt). Its private half never leaves the vTPM; a changed PCR ends it.
 */
import { type Bytes, concat, sha256 } from '../../../attestation/bytes.ts';
import { HIERARCHY, pcrSelection, type Tpm } from '../../../attestation/devices/tpm2.ts';
import { sized, u16, u32, u8 } from '../../../attestation/devices/wire.ts';

export interface RuntimeKey {
  /** TPMT_PUBLIC. */
  readonly area: Bytes;
  /** Big endian, 256 bytes; the exponent is 65537. */
  readonly modulus: Bytes;
  /** TPMS_ATTEST of the attestation key over the key's name. */
  readonly certifyInfo: Bytes;
  /** RSASSA with SHA-256. */
  readonly certifySignature: Bytes;
  /** @throws TpmRefusal when the ciphertext is for another key, or a PCR changed */
  decrypt(ciphertext: Bytes, padding: Padding): Promise<Bytes>;
  end(): Promise<void>;
}

export type Padding = 'pkcs1' | 'oaep-sha1' | 'oaep-sha256';

const ALG = { rsa: 0x0001, sha1: 0x0004, sha256: 0x000b, null: 0x0010, rsaes: 0x0015, oaep: 0x0017 } as const;
/** fixedTPM, fixedParent, sensitiveDataOrigin, noDA, decrypt: usable by its policy alone. */
const ATTRIBUTES = 0x0002_0432;
const POLICY_PCR = u32(0x17f);
const [POLICY_SESSION, KEY_BITS] = [1, 2048];
const SCHEME: Readonly<Record<Padding, Bytes>> = { pkcs1: u16(ALG.rsaes), 'oaep-sha1': concat(u16(ALG.oaep), u16(ALG.sha1)), 'oaep-sha256': concat(u16(ALG.oaep), u16(ALG.sha256)) };

/** @param pcrs of the SHA-256 bank, in the order of their indexes @param attestationKey its handle: RSA, RSASSA with SHA-256 */
export async function makeRuntimeKey(tpm: Tpm, pcrs: ReadonlyMap<number, Bytes>, attestationKey: number): Promise<RuntimeKey> {
  const selection = pcrSelection('sha256', [...pcrs.keys()]);
  const digest = await sha256(concat(...pcrs.values()));
  const policy = await sha256(concat(new Uint8Array(32), POLICY_PCR, selection, digest));
  const template = concat(u16(ALG.rsa), u16(ALG.sha256), u32(ATTRIBUTES), sized(policy), u16(ALG.null), u16(ALG.null), u16(KEY_BITS), u32(0), u16(0));
  const { handle, area } = await tpm.createPrimary(HIERARCHY.null, template);
  try {
    const r = await tpm.command('Certify', { handles: [handle, attestationKey], authorized: 2, parameters: concat(u16(0), u16(ALG.null)) });
    const certifyInfo = r.sized16('certifyInfo').slice();
    const signature = rsaSignature(r.take(r.left, 'signature'));
    return {
      area, certifyInfo, certifySignature: signature, modulus: area.slice(-(KEY_BITS / 8)),
      async decrypt(ciphertext, padding) {
        const started = await tpm.command('StartAuthSession', { handles: [HIERARCHY.null, HIERARCHY.null], returnsHandle: true, parameters: concat(sized(crypto.getRandomValues(new Uint8Array(32))), u16(0), u8(POLICY_SESSION), u16(ALG.null), u16(ALG.sha256)) });
        const session = started.u32('session');
        try {
          (await tpm.command('PolicyPCR', { handles: [session], parameters: concat(sized(digest), selection) })).end('');
          const plain = await tpm.command('RSA_Decrypt', { handles: [handle], authorized: 1, session, parameters: concat(sized(ciphertext), SCHEME[padding], u16(0)) });
          return plain.sized16('message').slice();
        } catch (error) {
          await tpm.flush(session).catch(() => {});
          throw error;
        }
      },
      end: () => tpm.flush(handle),
    };
  } catch (error) {
    await tpm.flush(handle).catch(() => {});
    throw error;
  }
}

/** The bytes inside TPMT_SIGNATURE: what follows scheme and hash, sized. */
export const rsaSignature = (signature: Bytes): Bytes => signature.slice(6);
