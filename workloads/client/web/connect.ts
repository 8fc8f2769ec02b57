/** Before any picture: has the cell proven itself to this browser? The same checks are made again, with a fresh nonce, for each picture. */
import { fromB64u } from '../../../attestation/bytes.ts';
import { claimsDigest } from '../../../attestation/claims-digest.ts';
import type { Api } from '../api.ts';
import { requestManifest } from '../manifest.ts';
import type { SeenStore } from '../seen.ts';
import type { Connection, Raw } from './model.ts';
import { toRaw } from './raw.ts';
import { toRefused } from './refused.ts';
import type { Settings } from './settings.ts';

export async function connect(api: Api, settings: Settings, seen: SeenStore, audience: string, now: () => number): Promise<Connection> {
  const began = performance.now();
  const raw: Raw[] = [];
  try {
    const { appraisal, cell, manifest, policy } = await requestManifest({
      api, audience, seen, now: Math.floor(now() / 1000), ownerKey: fromB64u(settings.ownerKey), tenant: settings.tenant, zone: settings.zone, cell: settings.cell,
      onStep: (report) => { if (report.status === 'pass') raw.push(...toRaw(report.step, report.raw)); },
    });
    const { claims, status } = appraisal;
    const rule = policy.policy.tenants.find((t) => t.tenant === manifest.tenant_id) ?? policy.policy.tenants.find((t) => t.tenant === '*');
    return {
      state: 'verified',
      facts: {
        cell: cell.name, tenant: manifest.tenant_id, zone: manifest.zone, platform: claims.platform, anchor: claims.anchor, status,
        pcr0: claims.measurements.find((m) => m.register === 'PCR0')?.value ?? '', claimsDigest: await claimsDigest(claims), policyRevision: policy.policy.revision,
        classifications: rule?.classifications ?? [], ms: performance.now() - began, raw,
      },
    };
  } catch (error) {
    return { state: 'refused', refused: toRefused(error) };
  }
}
