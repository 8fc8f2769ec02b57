/** What a policy can say of SEV-SNP: appraise-snp.ts applies it. */
import { z } from 'zod';
import { AMD_PRODUCTS } from './trust/purposes.ts';

const svn = z.number().int().min(0).max(255);
const zen3 = z.strictObject({ bootloader: svn, tee: svn, snp: svn, microcode: svn });
const hexOf = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * length}}$`), `${length} bytes in lower-case hex`);

export const snpRulesSchema = z.strictObject({
  /** Lowest security versions, of what the firmware reports and of what the guest was launched on. A generation that is not here is refused. */
  minimumTcb: z.strictObject({ Milan: zen3.optional(), Genoa: zen3.optional(), Turin: z.strictObject({ ...zen3.shape, fmc: svn }).optional() })
    .refine((floors) => Object.values(floors).some((f) => f !== undefined), 'minimum security versions of at least one generation'),
  /** Refused whatever their security versions. */
  deniedGenerations: z.array(z.enum(AMD_PRODUCTS)),
  /** chip_id of machines that are refused: AMD numbers all certificates of chips 0. */
  deniedChips: z.array(hexOf(64)),
  /** Lowest version of the SEV firmware. */
  minimumFirmware: z.strictObject({ major: svn, minor: svn, build: svn }).optional(),
  /** Firmware that the host may still take back: committed versions below the current ones. */
  allowProvisionalFirmware: z.boolean(),
  /** Bits that must be set in both mitigation vectors; a report before version 5 has none. */
  mitigations: hexOf(8).optional(),
  /** Memory was checked for aliases (BadRAM, CVE-2024-21944). */
  requireAliasCheck: z.boolean(),
  /** The level that the report was asked for at, exactly. */
  vmpl: svn.max(3),
  /** Lowest ABI in the guest's policy. */
  minimumAbi: z.strictObject({ major: svn, minor: svn }),
  /** Simultaneous multithreading: `warn` allows at most a warning where it is on. */
  smt: z.enum(['refuse', 'warn', 'allow']),
  /** What the guest's policy must demand of the platform. */
  require: z.array(z.enum(['singleSocket', 'aes256Xts', 'raplDisabled', 'ciphertextHiding', 'pageSwapDisabled'])),
  minimumGuestSvn: z.number().int().min(0),
  /** host_data, one of these. */
  hostData: z.array(hexOf(32)).min(1).optional(),
  authorKeyDigests: z.array(hexOf(48)).min(1).optional(),
});
export type SnpRules = z.infer<typeof snpRulesSchema>;
