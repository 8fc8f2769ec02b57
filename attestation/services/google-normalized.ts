/**
 * Facts of a Google token as claims, for evidence that is nothing but the token (Confidential Space): signed by a service, and every part says so. What Google
 * does not say is not made up: no measurements of the machine, no components of its TCB, nothing of migration.
 */
import type { NormalizedClaims, TcbStatus } from '../claims.ts';
import { printable } from '../refusal.ts';
import { type GoogleFacts, googleServiceClaims, technology } from './google.ts';

export const TCB_STATUSES: readonly TcbStatus[] = ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded', 'Revoked'];

export type GoogleNormalized = Pick<NormalizedClaims, 'anchor' | 'hardware' | 'tcb' | 'guest' | 'measurements' | 'cloud'> & {
  readonly workload: Omit<NormalizedClaims['workload'], 'configDigest'>;
  readonly collateral: NonNullable<NormalizedClaims['collateral']>;
  readonly services: NonNullable<NormalizedClaims['services']>;
};

/** @returns undefined for a model that is no confidential hardware: checkGoogle refuses it with HW_MODEL */
export function googleNormalized(facts: GoogleFacts): GoogleNormalized | undefined {
  const kind = technology(facts);
  if (kind === 'none') return undefined;
  const { token, tdx, container, gce } = facts;
  const service = googleServiceClaims(facts);
  const status = TCB_STATUSES.find((s) => s === tdx?.status) ?? 'NotReported';
  return {
    anchor: service.anchor,
    hardware: {
      vendor: kind === 'tdx' ? 'intel' : 'amd', technology: kind, generation: null,
      // Without certificates, the key set stands for the root
      signer: { kind: 'service', leafSerial: token.chain?.leafSerial ?? printable(token.kid), rootSha256: token.chain?.root.certSha256 ?? token.collateral[0]?.sha256 ?? '' },
      revocation: { status: token.chain?.revocation ?? 'unchecked' },
    },
    tcb: { status, ...(service.tcbDate === undefined ? {} : { date: service.tcbDate }), ...(service.evaluationNumber === undefined ? {} : { evaluationNumber: service.evaluationNumber }) },
    guest: { debug: service.debug !== false, migratable: null, vmpl: null, smt: null, secureBoot: facts.secureBoot },
    measurements: [],
    workload: {
      ...(container === null ? { imageDigestSource: 'none' as const } : { imageDigest: container.imageDigest, imageDigestSource: 'platform-token' as const, args: container.args, env: Object.fromEntries(container.envOverride) }),
      binding: { scope: container === null ? 'vm' : 'container' },
    },
    cloud: {
      provider: 'gcp', origin: service.anchor === 'production' ? 'proven' : 'asserted',
      ...(gce === null ? {} : { zone: printable(gce.zone), region: printable(gce.zone.replace(/-[a-z]$/, '')), accountOrProject: printable(gce.projectId), instanceId: gce.instanceId }),
    },
    collateral: token.collateral, services: [service],
  };
}
