/** A simulated machine that somebody may look into: the same machine and chain, in debug mode. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { d64 } from '../../attestation/binding.ts';
import { type Bytes, fromHex } from '../../attestation/bytes.ts';
import type { Attester, BindingFields, Platform } from '../../attestation/evidence.ts';
import { expectedReportData, parseHclReport } from '../../attestation/formats/hcl-report.ts';
import { encodeAzureEvidence, parseAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { encodeGkeEvidence } from '../../attestation/platforms/gke/container.ts';
import { simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { buildHcl } from '../../attestation/platforms/simulated/hcl.ts';
import { decodeMachine, machineEvidence, machineRegisters, type MachineState } from '../../attestation/platforms/simulated/machine.ts';
import { encodeSnpReport, signSnpReport, SIMULATED_POLICY, snpReportFields } from '../../attestation/platforms/simulated/snp.ts';
import type { Registers } from '../../workloads/protocol/measure.ts';

/** SEV-SNP ABI 1.51, table 10: DEBUG of the guest's policy. */
const DEBUG = 1n << 19n;
const PRODUCT = 'Genoa';

/** AWS Nitro documentation: PCRs of an enclave in debug mode are zeros. */
export async function debugAttester(folder: string, platform: Platform, registers: Registers): Promise<Attester> {
  if (platform === 'aws-nitro') {
    const zero = '0'.repeat(96);
    return simulatedAttester({ folder, registers: { PCR0: zero, PCR1: zero, PCR2: zero }, now: Date.now });
  }
  const state = decodeMachine(await readFile(join(folder, `${platform}.json`), 'utf8'));
  return { attest: async ({ binding }) => ({ platform, document: await debugEvidence(state, registers, binding) }) };
}

async function debugEvidence(state: MachineState, registers: Registers, binding: BindingFields): Promise<Bytes> {
  if (state.platform === 'confidential-space') throw new TypeError('counters do not run there');
  const report = async (change: { reportData: Bytes; measurement?: Bytes }): Promise<Bytes> => signSnpReport(encodeSnpReport(snpReportFields(PRODUCT, 'vcek', { version: 3, policy: SIMULATED_POLICY | DEBUG, ...change })), state.chip.vek.key);
  if (state.platform === 'gke') {
    const measurement = fromHex((await machineRegisters('gke', registers))['LAUNCH'] as string);
    return encodeGkeEvidence({ technology: 'sev-snp', report: await report({ reportData: await d64(binding), measurement }) });
  }
  const parts = parseAzureEvidence(await machineEvidence(state, registers, binding, Math.floor(Date.now() / 1000)), 'evidence');
  const { runtimeData } = parseHclReport(parts.hcl, 'hcl');
  return encodeAzureEvidence({ ...parts, hcl: buildHcl('snp', await report({ reportData: await expectedReportData(runtimeData) }), runtimeData) });
}
