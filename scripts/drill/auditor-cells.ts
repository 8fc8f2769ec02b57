/** What the cells did: no write after the fence, no epoch of two cells, no key to the wrong requester, nothing outside the residency, chains whole. */
import { type Index, secondsBetween, type Violation } from './auditor-index.ts';
import type { EventOf, Requester } from './history.ts';

/** A write that began when another cell held a higher epoch. */
export function judgeWrites(index: Index): { violations: Violation[]; refused: number } {
  const held = Map.groupBy(index.of('held'), ({ tenant }) => tenant);
  const violations: Violation[] = [];
  let refused = 0;
  for (const write of index.of('write')) {
    const above = held.get(write.tenant)?.find(({ epoch, cell, at }) => epoch > write.epoch && cell !== write.cell && at <= write.from);
    if (above === undefined) continue;
    if (!write.accepted) refused += 1;
    else violations.push({ kind: 'fenced-write', what: `${write.op} accepted in epoch ${write.epoch} while ${above.cell} held epoch ${above.epoch}`, tenant: write.tenant, ...(write.job === undefined ? {} : { job: write.job }), cell: write.cell, at: write.at });
  }
  return { violations, refused };
}

/** Epochs of a tenant only grow from cell to cell, and each belongs to one. */
export function judgeEpochs(index: Index): Violation[] {
  const last = new Map<string, EventOf<'held'>>();
  return index.of('held').flatMap((one): Violation[] => {
    const before = last.get(one.tenant);
    if (before === undefined || one.epoch > before.epoch) last.set(one.tenant, one);
    if (before === undefined || one.cell === before.cell || one.epoch > before.epoch) return [];
    return [{ kind: 'split-epoch', what: `epoch ${one.epoch} held after ${before.cell} held epoch ${before.epoch}`, tenant: one.tenant, cell: one.cell, at: one.at }];
  });
}

export interface ReleaseRow { readonly requester: Requester; readonly expected: 'released' | 'denied'; readonly released: number; readonly denied: number }

export function judgeReleases(index: Index): { violations: Violation[]; matrix: ReleaseRow[] } {
  const violations = index.of('release').flatMap((one): Violation[] => {
    if (one.expected === one.actual) return [];
    const kind = one.actual === 'released' ? 'false-release' : 'false-denial';
    return [{ kind, what: `${one.requester}: ${one.actual}${one.code === undefined ? '' : ` (${one.code})`}, expected ${one.expected}`, tenant: one.tenant, cell: one.cell, at: one.at }];
  });
  const groups = Map.groupBy(index.of('release'), ({ requester, expected }) => `${requester} ${expected}`);
  const matrix = [...groups.values()].map((list): ReleaseRow => {
    const { requester, expected } = list[0] as EventOf<'release'>;
    const released = list.filter(({ actual }) => actual === 'released').length;
    return { requester, expected, released, denied: list.length - released };
  });
  return { violations, matrix };
}

export interface RevocationEnd { readonly cell: string; /** From the owner's signature until the last session of the image had ended. */ readonly seconds: number; readonly releasesAfter: number }

/** Once the last session of a revoked image has ended, its cell gives no key until the image counts again. */
export function judgeRevocations(index: Index): { violations: Violation[]; ends: RevocationEnd[] } {
  const violations: Violation[] = [];
  const ends = index.of('revoked').map(({ from, at, cell }): RevocationEnd => {
    const until = index.of('reinstated').find((one) => one.cell === cell && one.at >= at)?.at ?? Infinity;
    const after = index.of('write').filter((one) => one.op === 'release' && one.accepted && one.cell === cell && one.from > at && one.at < until);
    for (const { tenant, job, at: when } of after) violations.push({ kind: 'false-release', what: 'a key given to code whose last session had ended by the owner\'s revocation', tenant, ...(job === undefined ? {} : { job }), cell, at: when });
    return { cell, seconds: secondsBetween(from, at), releasesAfter: after.length };
  });
  return { violations, ends };
}

/** One finding per tenant, cell and way: a whole history in the wrong cell is one mistake. */
export function judgeResidency(index: Index): Violation[] {
  const told = new Set<string>();
  const places: { readonly what: string; readonly tenant: string; readonly cell: string; readonly at?: number }[] = [
    ...index.of('acknowledged').map((one) => ({ ...one, what: 'a job acknowledged' })),
    ...index.of('held').map((one) => ({ ...one, what: 'the epoch held' })),
    ...index.of('write').filter(({ accepted }) => accepted).map((one) => ({ ...one, what: `${one.op} accepted` })),
    ...index.of('release').filter(({ actual }) => actual === 'released').map((one) => ({ ...one, what: 'a key released' })),
    ...index.of('key').map((one) => ({ ...one, what: 'a key held' })),
    ...index.of('ciphertext').map((one) => ({ ...one, what: 'ciphertext' })),
    ...index.of('result-row').map(({ tenant, cell }) => ({ tenant, cell, what: 'a job counted' })),
  ];
  return places.flatMap(({ what, tenant, cell, at }): Violation[] => {
    const allowed = index.tenants.get(tenant)?.cells;
    const key = JSON.stringify([what, tenant, cell]);
    if (allowed === undefined || allowed.includes(cell) || told.has(key)) return [];
    told.add(key);
    return [{ kind: 'residency', what: `${what} in ${cell}; allowed: ${allowed.join(', ')}`, tenant, cell, ...(at === undefined ? {} : { at }) }];
  });
}

interface Link { readonly store: string; readonly seq: number; readonly prev: string; readonly hash: string }

/** Gaps and breaks in each store's copy, and copies that differ. */
function judgeChain(kind: 'receipt-chain' | 'audit-chain', chain: string, links: readonly Link[]): Violation[] {
  const violations: Violation[] = [];
  const hashes = new Map<number, string>();
  for (const [store, own] of Map.groupBy(links, (link) => link.store)) {
    let before: Link | undefined;
    let fork: number | undefined;
    for (const link of [...own].sort((a, b) => a.seq - b.seq)) {
      const need = (before?.seq ?? 0) + 1;
      if (link.seq !== need) violations.push({ kind, what: `${chain}: ${link.seq} where ${need} should be`, cell: store });
      else if (before !== undefined && link.prev !== before.hash) violations.push({ kind, what: `${chain}: ${link.seq} does not follow ${before.seq}`, cell: store });
      const elsewhere = hashes.get(link.seq);
      if (elsewhere !== undefined && elsewhere !== link.hash) fork ??= link.seq;
      hashes.set(link.seq, elsewhere ?? link.hash);
      before = link;
    }
    if (fork !== undefined) violations.push({ kind, what: `${chain}: another ${fork} than in another store`, cell: store });
  }
  return violations;
}

export function judgeReceipts(index: Index): Violation[] {
  const receipts = index.of('receipt');
  const chains = [...Map.groupBy(receipts, ({ instance }) => instance)].flatMap(([instance, links]) => judgeChain('receipt-chain', instance, links));
  // A store of which receipts were read must have one for each picture that was counted.
  const having = new Set(receipts.map(({ store }) => store));
  const receipted = new Set(receipts.map(({ store, tenant, job }) => JSON.stringify([store, tenant, job])));
  const missing = index.of('result-row').filter(({ store, tenant, job, outcome, standing }) => standing && outcome === 'completed' && having.has(store) && !receipted.has(JSON.stringify([store, tenant, job])));
  return [...chains, ...missing.map(({ store, tenant, job }): Violation => ({ kind: 'receipt-missing', what: 'counted, and no receipt says that the key was given out', tenant, job, cell: store }))];
}

export function judgeAudit(index: Index): Violation[] {
  const entries = Map.groupBy(index.of('audit-entry'), ({ chain }) => chain);
  const violations = [...entries].flatMap(([chain, links]) => judgeChain('audit-chain', chain, links));
  for (const [chain, heads] of Map.groupBy(index.of('audit-head'), (head) => head.chain)) {
    const known = new Map(entries.get(chain)?.map(({ seq, hash }) => [seq, hash]));
    const sizes = new Map<string, number>();
    for (const { store, size, head, at } of heads) {
      const found = (what: string): void => void violations.push({ kind: 'audit-chain', what: `${chain}: ${what}`, cell: store, at });
      if (size < (sizes.get(store) ?? 0)) found(`${size} entries, ${sizes.get(store)} before`);
      sizes.set(store, Math.max(size, sizes.get(store) ?? 0));
      const same = known.get(size);
      if (same !== undefined && same !== head) found(`another head of ${size} entries than seen elsewhere`);
      if (size > 0) known.set(size, same ?? head);
    }
    // What a head promised must be among the entries that were read of the same store.
    for (const [store, own] of Map.groupBy(entries.get(chain) ?? [], (entry) => entry.store)) {
      const most = own.reduce((max, { seq }) => Math.max(max, seq), 0);
      if (most < (sizes.get(store) ?? 0)) violations.push({ kind: 'audit-chain', what: `${chain}: ${most} entries of ${sizes.get(store)} that a head promised`, cell: store });
    }
  }
  return violations;
}
