/**
 * Release, batched: for each job, header -> context -> policy -> tenant key -> data key -> commitment and header tag. What holds
 * gets a receipt; once all receipts of the batch are stored, the data keys are sealed to the session's attested key.
 */
import { b64u, fromB64u } from '../../../attestation/bytes.ts';
import { type RefusalCode, Refusal, refuse } from '../../../attestation/refusal.ts';
import { seal } from '../../protocol/hpke.ts';
import { releaseAad, releaseInfo } from '../../protocol/labels.ts';
import { type ParsedHeader, checkDataKey, parseHeader } from '../../protocol/message.ts';
import type { EpochJudge, JudgedEpoch } from '../../protocol/epoch-judge.ts';
import type { ReleaseResponse, TenantEpoch } from '../../protocol/messages.ts';
import type { OwnerPolicy } from '../../protocol/owner.ts';
import { toProblem } from '../../protocol/problem.ts';
import { unwrapDataKey } from '../../protocol/wrap.ts';
import { checkContext, checkMessage, checkWorkload, type Place, placeOf, tenantRule } from './access.ts';
import type { ReceiptEntry, Receipts } from './receipts.ts';
import type { BrokerSession } from './sessions.ts';
import { type OpenKey, type TenantKeys, wipe } from './tenant-keys.ts';

export interface ReleaseItem { readonly tenant_id: string; readonly job_id: string; readonly header: string }
type Answer = ReleaseResponse['items'][number];

export interface ReleaseDeps { readonly tenantKeys: Pick<TenantKeys, 'of'>; readonly receipts: Pick<Receipts, 'append'>; /** Of the cell: see {@link placeOf}. */ readonly region: string; readonly epochs: Pick<EpochJudge, 'judge' | 'requireStill'> }

/** Refusals that no other counter, and no waiting, would change: the job ends. */
const PERMANENT: ReadonlySet<string> = new Set<RefusalCode>([
  'MESSAGE_FORMAT', 'MESSAGE_SUITE', 'MESSAGE_COMMITMENT', 'MESSAGE_HEADER_TAG', 'CONTEXT_FORMAT', 'CONTEXT_MISMATCH', 'TENANT_MISMATCH',
  'ZONE_DENIED', 'CLASSIFICATION_DENIED', 'KEY_UNKNOWN', 'KEY_STATE', 'KEY_UNWRAP',
]);

interface Judged {
  readonly item: ReleaseItem;
  readonly parsed?: ParsedHeader;
  readonly opened?: { keyId: string; dataKey: Uint8Array };
  readonly epoch?: JudgedEpoch;
  readonly error?: unknown;
}

/** One answer per item, in order. Never throws for an item. */
export async function release(deps: ReleaseDeps, session: BrokerSession, policy: OwnerPolicy, items: readonly ReleaseItem[], shown: readonly TenantEpoch[] = []): Promise<ReleaseResponse> {
  const proofs = new Map(shown.map(({ tenant_id, ...proof }) => [tenant_id, proof]));
  let leased = false;
  const epochOf = async (tenantId: string): Promise<JudgedEpoch> => {
    const epoch = await deps.epochs.judge(tenantId, policy, proofs.get(tenantId) ?? { promises: [] });
    leased ||= epoch.until !== undefined;
    return epoch;
  };
  const keyrings = new Map<string, Promise<OpenKey[]>>();
  const keysOf = (tenantId: string): Promise<OpenKey[]> => {
    let keys = keyrings.get(tenantId);
    if (keys === undefined) {
      keys = deps.tenantKeys.of(tenantId);
      keyrings.set(tenantId, keys);
    }
    return keys;
  };
  const place = placeOf(session.claims, deps.region);
  const judged: Judged[] = [];
  try {
    for (const item of items) judged.push(await judge(item, session, place, policy, keysOf, epochOf));
    const receipts = await record(deps.receipts, session, place, judged);
    // Under leased epochs there are other cells, and a key of theirs may be on its way: the job waits for it.
    const comes = (code: string): boolean => code === 'KEY_UNKNOWN' && leased;
    return { items: await Promise.all(judged.map((each, i) => answer(each, receipts[i], session, deps, (code) => PERMANENT.has(code) && !comes(code)))) };
  } finally {
    for (const { opened } of judged) opened?.dataKey.fill(0);
    for (const keys of await Promise.allSettled(keyrings.values())) if (keys.status === 'fulfilled') wipe(keys.value);
  }
}

async function judge(item: ReleaseItem, session: BrokerSession, place: Place, policy: OwnerPolicy, keysOf: (tenantId: string) => Promise<OpenKey[]>, epochOf: (tenantId: string) => Promise<JudgedEpoch>): Promise<Judged> {
  let parsed: ParsedHeader | undefined;
  try {
    parsed = parseHeader(fromB64u(item.header));
    const { context } = parsed;
    checkContext(context, item);
    const rule = tenantRule(policy, item.tenant_id);
    checkMessage(policy, rule, context);
    checkWorkload(policy, rule, context.compliance_zone, session.claims, place);
    const epoch = await epochOf(item.tenant_id);
    const opened = await unwrap(parsed, await keysOf(item.tenant_id));
    try {
      await checkDataKey(parsed, opened.dataKey);
    } catch (error) {
      opened.dataKey.fill(0);
      throw error;
    }
    return { item, parsed, opened, epoch };
  } catch (error) {
    return { item, ...(parsed === undefined ? {} : { parsed }), error };
  }
}

/** @throws Refusal KEY_UNKNOWN, KEY_STATE, KEY_UNWRAP, ZONE_DENIED */
async function unwrap(parsed: ParsedHeader, keys: readonly OpenKey[]): Promise<{ keyId: string; dataKey: Uint8Array }> {
  let unusable: OpenKey | undefined;
  const zone = parsed.context.compliance_zone;
  try {
    return await unwrapDataKey(parsed, (keyId) => {
      const key = keys.find(({ id }) => id === keyId);
      if (key === undefined) return undefined;
      if (key.zone !== zone) refuse('ZONE_DENIED', 'context.compliance_zone', 'Encrypt for the zone that the key is bound to.', { have: zone, need: key.zone });
      if (key.state === 'active' || key.state === 'retiring') return key;
      unusable = key;
      return undefined;
    });
  } catch (error) {
    if (unusable === undefined || !(error instanceof Refusal) || error.code !== 'KEY_UNKNOWN') throw error;
    refuse('KEY_STATE', 'header.wraps', 'Encrypt to an active key of the current key manifest.', { have: `${unusable.id} is ${unusable.state}`, need: 'active or retiring' });
  }
}

const codeOf = (error: unknown): string => toProblem(error).code;

/** The stored receipt of each item that may be released; `undefined` where there is none. */
async function record(receipts: Pick<Receipts, 'append'>, session: BrokerSession, place: Place, judged: readonly Judged[]): Promise<(string | undefined)[]> {
  try {
    return await receipts.append(judged.map((each) => entry(each, session, place)));
  } catch {
    return judged.map(() => undefined);
  }
}

function entry({ item, parsed, opened, epoch, error }: Judged, session: BrokerSession, { origin }: Place): ReceiptEntry {
  return {
    operation: opened === undefined ? 'refused' : 'released',
    tenant_id: item.tenant_id,
    job_id: item.job_id,
    ...(opened === undefined ? {} : { key_id: opened.keyId }),
    // A header that could not be read names no zone.
    zone: parsed?.context.compliance_zone ?? 'unknown',
    origin,
    session: session.payload.sid,
    claims_digest: session.claimsDigest,
    ...(parsed === undefined ? {} : { message_id: b64u(parsed.messageId) }),
    policy_revision: session.payload.policy_revision,
    ...(epoch?.until === undefined ? {} : { epoch: epoch.epoch }),
    ...(opened === undefined ? { code: codeOf(error) } : {}),
  };
}

async function answer({ item, parsed, opened, epoch, error }: Judged, receipt: string | undefined, session: BrokerSession, { epochs }: Pick<ReleaseDeps, 'epochs'>, isPermanent: (code: string) => boolean): Promise<Answer> {
  const { job_id } = item;
  try {
    if (parsed === undefined || opened === undefined || epoch === undefined) throw error;
    if (receipt === undefined) refuse('RECEIPT_NOT_STORED', 'receipts', 'Nothing was released. Try again once the gateway stores receipts.');
    const info = releaseInfo(session.claimsDigest, session.policyDigest);
    const data_key = await seal(session.receivingKey, info, releaseAad(item.tenant_id, job_id, parsed.messageId), opened.dataKey);
    // Receipts take as long as the gateway likes: what ended meanwhile is not answered.
    epochs.requireStill(epoch);
    return { job_id, ok: true, data_key, receipt };
  } catch (failure) {
    const problem = toProblem(failure);
    return { job_id, ok: false, permanent: isPermanent(problem.code), problem };
  }
}
