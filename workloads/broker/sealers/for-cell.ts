/**
 * Which sealer this broker has: the one that `cell.json` names, on the platform that it is of. A file is for simulated cells alone, whose roots only a policy of development
 * accepts; a cell on hardware without a sealer has none, and none in its stead.
 *
 *   aws-kms     KMS and metadata service by the image's bridges on 127.0.0.1 (docs/images.md); TLS to KMS ends here
 *   azure-skr   the vTPM a second time, the VM's metadata service, vault and attestation instance over TLS; CCC_KEY_URI
 *   gcp-kms     the launcher's socket, Google's addresses over TLS
 */
import { readFile } from 'node:fs/promises';
import { type Bytes, bytes } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type CellConfig, platformOf, type SealerConfig } from '../../protocol/cell.ts';
import type { KeySealer } from '../sealer.ts';
import type { Surroundings } from './call.ts';
import { type DataKeyService, envelopeSealer } from './envelope.ts';
import { localFileSealer, type LocalSealerOptions } from './local-file.ts';

export interface SealerDeps extends LocalSealerOptions {
  readonly cell: CellConfig;
  readonly around: Surroundings;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Azure: this VM under the owner's policy (prove-self.ts). */
  readonly proveSelf: () => Promise<readonly number[]>;
}

/** The enclave's ends of the parent's bridges. */
export const BRIDGES = { kms: { host: '127.0.0.1', port: 8000 }, metadata: 'http://127.0.0.1:8002' } as const;
const PLATFORM = { 'aws-kms': 'aws-nitro', 'azure-skr': 'azure-cvm', 'gcp-kms': 'confidential-space' } as const;

/** @throws Refusal KEY_SEALER_ABSENT */
export async function sealerFor(deps: SealerDeps): Promise<KeySealer> {
  const { cell } = deps;
  const { sealer } = cell;
  if (cell.simulated) {
    if (sealer !== undefined) refuse('KEY_SEALER_ABSENT', 'cell.sealer', 'Take the sealer out of cell.json: no key service takes a simulated TEE.', { have: sealer.kind, need: 'none in a simulated cell' });
    return localFileSealer(deps);
  }
  if (sealer === undefined) return refuse('KEY_SEALER_ABSENT', 'cell.sealer', 'Name the attested key in cell.json (modules/cell-config.ts does): a file does not outlive a TEE, and proves nothing.', { have: 'no sealer', need: 'one of a key service' });
  const platform = platformOf(cell, 'broker');
  if (PLATFORM[sealer.kind] !== platform) refuse('KEY_SEALER_ABSENT', 'cell.sealer.kind', 'Name the sealer of the cloud that the brokers run on.', { have: sealer.kind, need: `one for ${platform}` });
  return envelopeSealer(await serviceFor(sealer, deps), cell.ownerKey);
}

async function serviceFor(sealer: SealerConfig, { around, env, proveSelf }: SealerDeps): Promise<DataKeyService> {
  switch (sealer.kind) {
    case 'aws-kms': {
      const [{ awsKms, regionOf }, { instanceCredentials }, { newRecipientKey, nitroRecipient }, { openNsm }] = await Promise.all([import('./aws-kms.ts'), import('./aws-credentials.ts'), import('./recipient.ts'), import('../../../attestation/devices/nsm-device.ts')]);
      const service = { origin: `https://kms.${regionOf(sealer.key)}.amazonaws.com`, road: BRIDGES.kms };
      return awsKms({ key: sealer.key, recipient: await nitroRecipient((await openNsm()).exchange, await newRecipientKey()), credentials: instanceCredentials({ origin: BRIDGES.metadata }, around), service, around });
    }
    case 'azure-skr': {
      const [{ azureSkr }, { guestToken }, { vaultToken }, { Tpm }, { tpmDevice }, { AZURE_METADATA }] = await Promise.all([
        import('./azure-skr.ts'), import('./maa-guest.ts'), import('./managed-identity.ts'), import('../../../attestation/devices/tpm2.ts'), import('../../../attestation/devices/tpm-transport.ts'), import('../../../attestation/devices/imds.ts'),
      ]);
      const tpm = new Tpm(await tpmDevice());
      const { vault, attestation } = sealer;
      const guest = { tpm, metadata: { fetch: (url: URL, init: RequestInit) => globalThis.fetch(url, init) }, eventLog, service: { origin: attestation }, around };
      return azureSkr({ keyUri: env['CCC_KEY_URI'] ?? '', vault, attestation, proveSelf, guest: (pcrs) => guestToken(guest, pcrs), credentials: vaultToken({ origin: AZURE_METADATA }, around), service: { origin: vault }, around });
    }
    case 'gcp-kms': {
      const [{ gcpKms }, { federatedToken }, { LAUNCHER_SOCKET, launcherToken }] = await Promise.all([import('./gcp-kms.ts'), import('./gcp-federation.ts'), import('../../../attestation/platforms/confidential-space/attest.ts')]);
      const token = federatedToken({ audience: sealer.audience, token: (request) => launcherToken(LAUNCHER_SOCKET, JSON.stringify(request)), service: { origin: 'https://sts.googleapis.com' }, around });
      return gcpKms({ key: sealer.key, token, service: { origin: 'https://cloudkms.googleapis.com' }, around });
    }
  }
}

const EVENT_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';
const eventLog = (): Promise<Bytes> => readFile(EVENT_LOG).then((data) => bytes(data), (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOENT') return new Uint8Array(0);
  throw error;
});
