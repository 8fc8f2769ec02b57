/** Leasing with a long poll: the ledger is asked, then the doorbell is waited for. */
import type { FastifyRequest } from 'fastify';
import type { LeasedJob } from '../ledger/ledger.ts';
import type { Lease, TenantEpoch } from '../protocol/messages.ts';
import type { Core } from './core.ts';

const toWire = (job: LeasedJob): Lease => ({
  tenant_id: job.tenantId, job_id: job.jobId, lease_token: job.leaseToken, lease_until: job.leaseUntil, attempt: job.attempt, message_digest: job.messageDigest, size: job.size,
});

/** @param sessionEnds epoch milliseconds: nothing is leased to a session that ended meanwhile. */
export async function longLease(
  core: Core, sessionId: string, sessionEnds: number, { max, wait_ms }: { max: number; wait_ms: number }, request: FastifyRequest,
): Promise<{ jobs: Lease[]; lease_ms: number; epochs?: TenantEpoch[] }> {
  const { ledger, limits, closing } = core;
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  request.raw.socket?.once('close', onClose);
  // It may have gone while its session was looked at: nothing is leased to nobody.
  if (request.raw.socket?.destroyed === true) onClose();
  const revision = core.documents.revision;
  // Waiting is between machines: by their clock, so a held test clock cannot make it endless.
  const deadline = performance.now() + wait_ms;
  try {
    while (!gone.signal.aborted && !closing.aborted && core.now() < sessionEnds && core.documents.revision === revision) {
      const { rung, hangUp } = doorbell(core, Math.min(limits.pollMs, Math.max(0, deadline - performance.now())), [gone.signal, closing]);
      try {
        const tenants = await core.epochs.heldTenants();
        const jobs = await ledger.lease({ max, leaseMs: limits.leaseMs, sessionId, ...(tenants === undefined ? {} : { tenants }) });
        if (jobs.length > 0) return await answer(core, jobs);
        if (performance.now() >= deadline) break;
        await rung;
      } finally {
        hangUp();
      }
    }
    return { jobs: [], lease_ms: limits.leaseMs };
  } finally {
    request.raw.socket?.off('close', onClose);
  }
}

/** Jobs of tenants whose epoch ended while they were leased are nobody's here: their leases run out. */
async function answer({ epochs, limits, phases }: Core, jobs: readonly LeasedJob[]): Promise<{ jobs: Lease[]; lease_ms: number; epochs?: TenantEpoch[] }> {
  const shown = await epochs.proofs(jobs.map(({ tenantId }) => tenantId));
  if (shown === undefined) return { jobs: jobs.map(toWire), lease_ms: limits.leaseMs };
  const held = new Set(shown.map(({ tenant_id }) => tenant_id));
  for (const tenant of held) phases.first('attest', tenant);
  return { jobs: jobs.filter(({ tenantId }) => held.has(tenantId)).map(toWire), lease_ms: limits.leaseMs, epochs: shown };
}

function doorbell(core: Core, ms: number, signals: readonly AbortSignal[]): { rung: Promise<void>; hangUp: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const ring = (): void => resolve();
  const timer = setTimeout(ring, ms);
  const off = core.ledger.onWork(ring);
  for (const signal of signals) {
    signal.addEventListener('abort', ring);
    if (signal.aborted) ring();
  }
  return { rung: promise, hangUp: () => { clearTimeout(timer); off(); for (const signal of signals) signal.removeEventListener('abort', ring); } };
}
