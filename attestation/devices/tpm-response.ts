/**
 * Response codes of a TPM (TPM 2.0 Library, Part 2, section 6.6), as names.
 *
 *   bit 7 set    format one: bits 0-5 the error; bit 6: of parameter (bits 8-11), otherwise of session (bit 11, bits 8-10) or of handle (bits 8-10)
 *   bit 7 clear  format zero: bits 0-6; bit 10: the vendor's; bit 11: a warning, otherwise an error
 */
import { Refusal } from '../refusal.ts';

const names = (text: string): ReadonlyMap<number, string> => new Map(text.trim().split(/\s+/).map((pair) => {
  const [code = '', name = ''] = pair.split(':');
  return [Number.parseInt(code, 16), name];
}));

const FORMAT_ONE = names(`01:ASYMMETRIC 02:ATTRIBUTES 03:HASH 04:VALUE 05:HIERARCHY 07:KEY_SIZE 08:MGF 09:MODE 0a:TYPE 0b:HANDLE 0c:KDF 0d:RANGE 0e:AUTH_FAIL 0f:NONCE 10:PP 12:SCHEME 15:SIZE
  16:SYMMETRIC 17:TAG 18:SELECTOR 1a:INSUFFICIENT 1b:SIGNATURE 1c:KEY 1d:POLICY_FAIL 1f:INTEGRITY 20:TICKET 21:RESERVED_BITS 22:BAD_AUTH 23:EXPIRED 24:POLICY_CC 25:BINDING 26:CURVE 27:ECC_POINT`);
const ERRORS = names(`00:INITIALIZE 01:FAILURE 03:SEQUENCE 0b:PRIVATE 19:HMAC 20:DISABLED 21:EXCLUSIVE 24:AUTH_TYPE 25:AUTH_MISSING 26:POLICY 27:PCR 28:PCR_CHANGED 2d:UPGRADE 2e:TOO_MANY_CONTEXTS
  2f:AUTH_UNAVAILABLE 30:REBOOT 31:UNBALANCED 42:COMMAND_SIZE 43:COMMAND_CODE 44:AUTHSIZE 45:AUTH_CONTEXT 46:NV_RANGE 47:NV_SIZE 48:NV_LOCKED 49:NV_AUTHORIZATION 4a:NV_UNINITIALIZED 4b:NV_SPACE
  4c:NV_DEFINED 50:BAD_CONTEXT 51:CPHASH 52:PARENT 53:NEEDS_TEST 54:NO_RESULT 55:SENSITIVE`);
const WARNINGS = names(`01:CONTEXT_GAP 02:OBJECT_MEMORY 03:SESSION_MEMORY 04:MEMORY 05:SESSION_HANDLES 06:OBJECT_HANDLES 07:LOCALITY 08:YIELDED 09:CANCELED 0a:TESTING 20:NV_RATE 21:LOCKOUT 22:RETRY
  23:NV_UNAVAILABLE`);

/** "TPM_RC_HANDLE of handle 1 (0x18b)" */
export function responseName(code: number): string {
  const show = ` (0x${code.toString(16)})`;
  if ((code & 0x80) !== 0) {
    const n = (code >> 8) & 15;
    const of = (code & 0x40) !== 0 ? ` of parameter ${n}` : n >= 8 ? ` of session ${n - 8}` : n > 0 ? ` of handle ${n}` : '';
    return `TPM_RC_${FORMAT_ONE.get(code & 0x3f) ?? 'unknown'}${of}${show}`;
  }
  if ((code & 0x500) !== 0x100) return `a code of the vendor or of TPM 1.2${show}`;
  return `TPM_RC_${((code & 0x800) !== 0 ? WARNINGS : ERRORS).get(code & 0x7f) ?? 'unknown'}${show}`;
}

/** YIELDED, TESTING, NV_RATE, RETRY: the same command may succeed later. */
export const isTransient = (code: number): boolean => [0x908, 0x90a, 0x920, 0x922].includes(code);
/** HANDLE of handle 1: an NV index or an object that is not there. */
export const isAbsent = (code: number): boolean => code === 0x18b;

/** The TPM refused a command. */
export class TpmRefusal extends Refusal {
  readonly rc: number;
  constructor(command: string, rc: number) {
    super({ code: 'ATTESTER_FAILED', path: `tpm.${command}`, have: responseName(rc), need: 'success', next: 'See what the TPM says about this command; another owner\'s password, a missing index or a foreign TPM are the usual reasons.' });
    this.rc = rc;
  }
}
