/**
 * Which attester this machine has, by its devices. What is quoted of a vTPM is what the policy compares, which may change while the process runs: the attester is
 * opened anew for other registers. Without the hardware there is none (ATTESTER_ABSENT), and none in its stead. Node only.
 *
 *   azure-cvm            /dev/tpmrm0 (vTPM), the metadata service
 *   gke                  /sys/kernel/config/tsm/report with /dev/sev-guest or /dev/tdx_guest; otherwise /dev/tpmrm0: plain SEV
 *   confidential-space   the launcher's socket
 *   aws-nitro            /dev/nsm
 */
import { access, readFile } from 'node:fs/promises';
import { type Bytes, bytes } from '../bytes.ts';
import type { Fetch } from '../collateral/http.ts';
import type { Attester, Platform } from '../evidence.ts';
import type { GkeAttesterOptions } from '../platforms/gke/attest.ts';
import { refuse } from '../refusal.ts';
import { GOOGLE_METADATA } from './imds.ts';
import { Tpm } from './tpm2.ts';
import { tpmDevice, type TpmTransport } from './tpm-transport.ts';
import { TSM_ROOT } from './tsm-configfs.ts';

/** Where the devices are; the kernel's unless told otherwise. */
export interface Devices {
  readonly nsm?: string;
  readonly tpm?: string;
  readonly tsm?: string;
  readonly sevGuest?: string;
  readonly tdxGuest?: string;
  readonly launcher?: string;
  readonly eventLog?: string;
  readonly ccel?: string;
  readonly openTpm?: (path: string | undefined) => Promise<TpmTransport>;
  readonly fetch?: Fetch;
}
/** What the policy in force compares of this platform: asked for each evidence. */
export type RegistersInForce = () => Promise<readonly string[]>;

const EVENT_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';
const CCEL = '/sys/firmware/acpi/tables/data/CCEL';

const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false);
const optionalFile = (path: string) => async (): Promise<Bytes | null> => readFile(path).then((data) => bytes(data), (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOENT') return null;
  throw error;
});

/** @throws Refusal ATTESTER_ABSENT */
export async function machineAttesterFor(platform: Platform, registers: RegistersInForce, devices: Devices = {}): Promise<Attester> {
  const fetch: Fetch = devices.fetch ?? ((url, init) => globalThis.fetch(url, init));
  switch (platform) {
    case 'aws-nitro': {
      const [{ nitroAttester }, { openNsm }] = await Promise.all([import('../platforms/aws-nitro/attest.ts'), import('./nsm-device.ts')]);
      return nitroAttester((await openNsm(devices.nsm)).exchange);
    }
    case 'confidential-space': return (await import('../platforms/confidential-space/attest.ts')).confidentialSpaceAttester(devices.launcher);
    case 'azure-cvm': {
      const [{ azureAttester }, tpm] = await Promise.all([import('../platforms/azure-cvm/attest.ts'), openTpm(devices)]);
      return perRegisters(registers, (names) => azureAttester({ tpm, metadata: { fetch }, registers: names, fetch, eventLog: optionalFile(devices.eventLog ?? EVENT_LOG) }));
    }
    case 'gke': {
      const { gkeAttester } = await import('../platforms/gke/attest.ts');
      const root = devices.tsm ?? TSM_ROOT;
      const technology = await exists(devices.sevGuest ?? '/dev/sev-guest') ? 'sev-snp' : await exists(devices.tdxGuest ?? '/dev/tdx_guest') ? 'tdx' : 'sev';
      if (technology !== 'sev' && !await exists(root)) return refuse('ATTESTER_ABSENT', root, 'Mount configfs into the pod, with a kernel of 6.7 or later.', { have: 'no reports by the kernel', need: root });
      if (technology !== 'sev') return gkeAttester(tsmNode(technology, root, fetch, devices));
      const tpm = await openTpm(devices);
      return perRegisters(registers, (names) => gkeAttester({ technology, tpm, registers: names, eventLog: optionalFile(devices.eventLog ?? EVENT_LOG), fetch }));
    }
  }
}

const tsmNode = (technology: 'sev-snp' | 'tdx', root: string, fetch: Fetch, devices: Devices): GkeAttesterOptions =>
  ({ technology, tsm: { root }, ...(technology === 'tdx' ? { metadata: { fetch, base: GOOGLE_METADATA }, eventLog: optionalFile(devices.ccel ?? CCEL) } : {}) });

const openTpm = async ({ tpm, openTpm: open = (path) => tpmDevice(path) }: Devices): Promise<Tpm> => new Tpm(await open(tpm));

/** One attester for one set of registers: it keeps what it read of this boot. */
function perRegisters(registers: RegistersInForce, open: (names: readonly string[]) => Attester): Attester {
  let opened: { readonly names: string; readonly attester: Attester } | undefined;
  return {
    async attest(challenge) {
      const names = await registers();
      const key = names.join();
      if (opened?.names !== key) opened = { names: key, attester: open(names) };
      return opened.attester.attest(challenge);
    },
  };
}
