/**
 * The Nitro Secure Module's device: one ioctl (linux/include/uapi/linux/nsm.h), whose argument says where request and response are.
 *
 *   struct nsm_raw { struct iovec request; struct iovec response; }      32 bytes on 64-bit machines: address u64, length u64, twice
 *   NSM_IOCTL_RAW   _IOWR(0x0A, 0, struct nsm_raw) = 0xC0200A00
 *
 * The driver writes the response's length back. Node offers no ioctl: koffi calls the C library's. Node only.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { type Bytes, bytes } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export const NSM_DEVICE = '/dev/nsm';
export const NSM_IOCTL_RAW = 0xc0200a00;
const MAX_REQUEST = 0x1000;
const MAX_RESPONSE = 0x3000;
const NEXT = 'Run this inside a Nitro Enclave whose kernel has the driver of the Nitro Secure Module.';
const codeOf = (error: unknown): string => (typeof error === 'object' && error !== null && 'code' in error ? String(error.code).slice(0, 40) : 'an error');

/** struct nsm_raw. */
export function nsmMessage(request: bigint, requestLength: number, response: bigint, responseLength: number): Bytes {
  const out = new Uint8Array(32);
  [request, BigInt(requestLength), response, BigInt(responseLength)].forEach((value, i) => new DataView(out.buffer).setBigUint64(8 * i, value, true));
  return out;
}

/** ioctl(2): 0, or -1 and errno. The argument is changed in place. */
export type Ioctl = (fd: number, request: number, argument: Bytes) => number;

/**
 * The exchange that nitroAttester takes.
 * @param call instead of the C library's
 * @throws Refusal ATTESTER_ABSENT without the device or the library that reaches it
 */
export async function openNsm(path = NSM_DEVICE, call?: Ioctl): Promise<{ exchange(request: Bytes): Promise<Bytes>; close(): void }> {
  const koffi = await import('koffi').then((m) => m.default, () => refuse('ATTESTER_ABSENT', 'koffi', 'Install the optional packages of the lock file (npm ci) in the enclave\'s image.', { have: 'no koffi for this machine', need: 'koffi, which calls ioctl' }));
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR);
  } catch (error) {
    return refuse('ATTESTER_ABSENT', path, NEXT, { have: codeOf(error), need: 'the device of the security module' });
  }
  const ioctl = call ?? koffi.load(null).func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)') as unknown as Ioctl;
  let closed = false;
  return {
    async exchange(request) {
      const failed = (have: string): never => refuse('ATTESTER_FAILED', path, NEXT, { have, need: 'an answer of the security module' });
      if (closed) failed('a device that was closed');
      if (request.length > MAX_REQUEST) failed(`a request of ${request.length} bytes; at most ${MAX_REQUEST} are sent`);
      // Memory outside of the collector's reach, so that the addresses hold while the kernel uses them
      const area = koffi.alloc('uint8_t', MAX_REQUEST + MAX_RESPONSE);
      try {
        const start = koffi.address(area);
        koffi.encode(area, koffi.array('uint8_t', request.length), request);
        const message = nsmMessage(start, request.length, start + BigInt(MAX_REQUEST), MAX_RESPONSE);
        if (ioctl(fd, NSM_IOCTL_RAW, message) !== 0) failed(`errno ${koffi.errno()}`);
        const length = Number(new DataView(message.buffer).getBigUint64(24, true));
        if (length === 0 || length > MAX_RESPONSE) failed(`a response of ${length} bytes`);
        return bytes(koffi.decode(area, MAX_REQUEST, koffi.array('uint8_t', length)) as Uint8Array);
      } finally {
        koffi.free(area);
      }
    },
    close() {
      if (!closed) closeSync(fd);
      closed = true;
    },
  };
}
