/** Accepting a message: nothing is trusted, nothing is opened; only the header, which says whose it is, is read. */
import type { FastifyRequest } from 'fastify';
import { refuse } from '../../attestation/refusal.ts';
import type { JobRecord, Tier } from '../ledger/ledger.ts';
import type { EncryptionContext } from '../protocol/context.ts';
import { type ParsedMessage, parseMessage } from '../protocol/message.ts';
import type { Job } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { tenantWraps } from '../protocol/wrap.ts';
import type { Core } from './core.ts';
import { requireZone } from './policy.ts';
import { mayHold } from './residency.ts';
import { linger, promisedLength, readUpload } from './upload.ts';

/** Without result, counter and receipts. */
export const toJob = (row: JobRecord): Job => ({
  job_id: row.jobId, state: row.state, ...(row.code === undefined ? {} : { code: row.code }), message_digest: row.messageDigest, size: row.size,
  accepted_at: row.acceptedAt, ...(row.finishedAt === undefined ? {} : { finished_at: row.finishedAt }), attempts: row.attempts,
});

/** @throws Refusal TENANT_MISMATCH, ZONE_DENIED, CLASSIFICATION_DENIED; CccError TENANT_UNKNOWN */
async function requireAllowed(core: Core, tenantId: string, context: EncryptionContext): Promise<void> {
  if (context.tenant_id !== tenantId) {
    refuse('TENANT_MISMATCH', 'context.tenant_id', 'Encrypt for the tenant of your API key.', { have: context.tenant_id, need: tenantId });
  }
  const zone = await core.zones.of(tenantId);
  if (zone === undefined) throw new CccError('TENANT_UNKNOWN', 'Ask the operator.');
  if (context.compliance_zone !== zone) {
    refuse('ZONE_DENIED', 'context.compliance_zone', 'Encrypt for the zone of your tenant.', { have: context.compliance_zone, need: zone });
  }
  const { policy } = await core.documents.policy();
  const rule = requireZone(policy, tenantId, context.compliance_zone);
  if (!rule.classifications.includes(context.data_classification)) {
    refuse('CLASSIFICATION_DENIED', 'context.data_classification', 'Use a classification that the owner\'s policy allows to this tenant.', { have: context.data_classification, need: rule.classifications.join(', ') });
  }
}

/** The tenant key that the data key is wrapped to. @throws Refusal KEY_UNKNOWN, KEY_STATE */
function wrappedTo(core: Core, tenantId: string, message: ParsedMessage): Promise<string> {
  const wraps = tenantWraps(message.wraps);
  return core.keyStates.pick(tenantId, (keys) => {
    const known = wraps.flatMap((wrap) => keys.filter((key) => key.id === wrap.keyId && key.alg === wrap.alg));
    if (known.length === 0) {
      refuse('KEY_UNKNOWN', 'header.wraps', 'Encrypt to a key of the current key manifest.', { have: wraps.map((wrap) => wrap.keyId.slice(0, 100)).join(', ') || 'no wrap to a tenant key' });
    }
    const usable = known.find((key) => key.state === 'active' || key.state === 'retiring');
    if (usable === undefined) refuse('KEY_STATE', 'header.wraps', 'Get the key manifest anew and encrypt to its active key.', { have: known.map((key) => key.state).join(', '), need: 'active or retiring' });
    return usable.id;
  });
}

/** How far a tenant's job must have got before it is acknowledged: by the owner's directory, to every cell that may take over; where none is named, to the next of the tenant's order. */
async function placement({ cell, documents, epochs, standbys }: Core, tenantId: string): Promise<{ tier: Tier; standby?: string | readonly string[] }> {
  const orders = documents.knownDirectory?.directory.tenants ?? [];
  const entry = orders.find(({ tenant }) => tenant === tenantId) ?? orders.find(({ tenant }) => tenant === '*');
  const others = (entry?.order ?? []).filter((name) => name !== cell.cell);
  const heirs = entry?.tier === 'sync' ? await epochs.heirs(tenantId) : [];
  const standby = heirs.length > 0 ? heirs : entry?.tier === 'sync' ? await standbys.of(others) : others[0];
  return { tier: entry?.tier ?? 'async', ...(standby === undefined ? {} : { standby }) };
}

/** Reads, checks, stores, accepts: in this order, so that an accepted job always has its message. */
export async function acceptMessage(core: Core, tenantId: string, request: FastifyRequest): Promise<Job> {
  const { limits } = core;
  let message: Awaited<ReturnType<typeof readUpload>>;
  let release: (() => void) | undefined;
  try {
    await core.epochs.require(tenantId);
    await core.load.requireRoom();
    const promised = promisedLength(request.headers['content-length'], limits.messageBytes);
    release = core.load.reserve(promised ?? limits.messageBytes, tenantId);
    if (request.rawBody !== undefined) throw new CccError('UNSUPPORTED_MEDIA_TYPE', 'Send application/octet-stream.');
    // A request without any body, and so without a media type, has no parser that made this a stream.
    if (request.body === undefined || promised === 0) throw new CccError('BODY_EMPTY', 'Send an encrypted message as application/octet-stream.');
    message = await readUpload(request.raw, limits);
    if (message.length === 0) throw new CccError('BODY_EMPTY', 'Send an encrypted message as application/octet-stream.');
    const parsed = parseMessage(message);
    await requireAllowed(core, tenantId, parsed.context);
    const keyId = await wrappedTo(core, tenantId, parsed);
    const { job_id: jobId, compliance_zone: zone, data_classification: classification } = parsed.context;
    const { policy } = await core.documents.policy();
    const place = { ...await placement(core, tenantId), peers: mayHold(policy, core.documents.knownDirectory?.directory, tenantId, zone) };
    return await core.store.keep(message, async (messageDigest) => {
      const served = await core.epochs.require(tenantId);
      const { outcome, job } = await core.ledger.accept({ tenantId, jobId, messageDigest, size: message.length, zone, classification, keyId }, { epoch: served.epoch, ...place });
      await core.epochs.requireStill(served);
      if (place.tier === 'sync') await core.epochs.heirs(tenantId, [place.standby ?? []].flat());
      if (outcome === 'conflict') {
        throw new CccError('JOB_CONFLICT', 'Make a new job_id for another picture.', { detail: `The first message of this job has SHA-256 ${job.messageDigest}, this one ${messageDigest}` });
      }
      if (outcome === 'accepted') core.log.info('job accepted', { job_id: jobId, tenant_id: tenantId, bytes: message.length });
      return toJob(job);
    }, place);
  } catch (error) {
    linger(request.raw, limits.lingerMs);
    throw error;
  } finally {
    release?.();
  }
}
