/**
 * What Google's firmware says of the machine's memory encryption: event EV_NONHOST_INFO in PCR0, before its separator (go-tpm-tools, server/firmware.go).
 *
 *   "GCE NonHostInfo\0" (16) · technology u8 · zeros (15)      0 none · 1 AMD SEV · 2 AMD SEV-ES · 3 Intel TDX · 4 AMD SEV-SNP
 *
 * It is as true as Google's vTPM: host software measured it. For SEV-SNP and TDX only the hardware report counts.
 */
import { equal, utf8 } from '../../bytes.ts';
import { digestOf, isMeasured } from '../../formats/tcg-event-log.ts';
import type { VerifiedEventLog } from '../tpm/event-log.ts';

export const GCE_TECHNOLOGIES = ['none', 'sev', 'sev-es', 'tdx', 'sev-snp'] as const;
export type GceTechnology = (typeof GCE_TECHNOLOGIES)[number];

export const EV_NONHOST_INFO = 0x11;
export const NON_HOST_INFO = utf8('GCE NonHostInfo\0');
const LENGTH = 32;

/** @returns undefined when the log says nothing, or says it twice, or PCR0 was not quoted */
export async function gceTechnology({ kind, bank, events }: VerifiedEventLog): Promise<GceTechnology | undefined> {
  if (kind !== 'tpm') return undefined;
  const separator = await digestOf(bank, new Uint8Array(4));
  const found: GceTechnology[] = [];
  for (const event of events.filter((e) => e.register === 0)) {
    if (equal(event.digests.get(bank) ?? new Uint8Array(), separator)) break;
    const { data } = event;
    // The type is not measured: what the data begins with is
    if (!equal(data.subarray(0, NON_HOST_INFO.length), NON_HOST_INFO) || !await isMeasured(event, bank)) continue;
    const technology = data.length === LENGTH && data.subarray(NON_HOST_INFO.length + 1).every((b) => b === 0) ? GCE_TECHNOLOGIES[data[NON_HOST_INFO.length] as number] : undefined;
    if (technology === undefined) return undefined;
    found.push(technology);
  }
  return found.length === 1 ? found[0] : undefined;
}
