/**
 * What Intel says of a platform: its certificate, the lists that could revoke it, and the tables that judge its versions. A platform that held is known again by the
 * very same certificates, collateral and roots, as long as none of their dates has ended; the operator's deny-list is asked each time.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { CheckList } from '../../checks.ts';
import { type Collateral, type CollateralItem, type CollateralKind, NO_COLLATERAL } from '../../collateral/collateral.ts';
import type { Tee } from '../../formats/intel-json.ts';
import type { Certificate } from '../../formats/x509.ts';
import { isDenied } from '../../revocation.ts';
import { type IntelCollateral, verifyCollateral } from './collateral.ts';
import type { TdxFacts } from './facts.ts';
import { intelRoots, type Lists, type PckChain, readLists, verifyPckChain } from './pck.ts';

export type PckVerified = Pick<TdxFacts, 'pck' | 'revocation'> & { readonly lists: Lists; readonly certificates: readonly Certificate[] };
export interface PlatformFacts extends Pick<TdxFacts, 'pck' | 'revocation'> { readonly tables: IntelCollateral }

/** Certificate and lists alone. */
export async function verifyPck(chain: PckChain, trust: TrustContext, at: number, path: string, checks: CheckList): Promise<PckVerified | undefined> {
  const lists = readLists(chain, trust, checks);
  const verified = await verifyPckChain(chain, lists, trust, at, `${path}.pck`, checks);
  return verified === undefined ? undefined : { pck: verified.pck, revocation: { status: verified.revocation, crls: verified.crls }, certificates: verified.certificates, lists };
}

interface Asked { readonly kind: CollateralKind; readonly key: string; readonly item: CollateralItem | undefined }
interface Known {
  readonly tee: Tee; readonly path: string; readonly policy: TrustContext['revocation']; readonly roots: readonly TrustRoot[]; readonly issuers: readonly Certificate[]; readonly asked: readonly Asked[];
  /** When it held, and until when all dates do; epoch seconds. */
  readonly since: number; readonly until: number;
  readonly certificates: readonly Certificate[]; readonly checks: CheckList; readonly facts: PlatformFacts;
}

/** By the PCK certificate, which is one object as long as its cache keeps it. */
const known = new WeakMap<Certificate, Known>();

export async function verifyPlatform(tee: Tee, chain: PckChain, trust: TrustContext, at: number, path: string, checks: CheckList): Promise<PlatformFacts | undefined> {
  const before = known.get(chain.leaf);
  if (before !== undefined && holdsAgain(before, tee, chain, trust, at, path)) {
    checks.append(before.checks);
    return before.facts;
  }
  const [done, asked] = [new CheckList(), [] as Asked[]];
  const { collateral = NO_COLLATERAL } = trust;
  const recorded: Collateral = { get: (kind, key) => {
    const item = collateral.get(kind, key);
    asked.push({ kind, key, item });
    return item;
  } };
  const verified = await verifyPck(chain, { ...trust, collateral: recorded }, at, path, done);
  const tables = verified === undefined ? undefined : await verifyCollateral(tee, verified.pck.platform, verified.lists, { ...trust, collateral: recorded }, at, done);
  checks.append(done);
  if (verified === undefined || tables === undefined || done.failed) return undefined;
  const facts = { pck: verified.pck, revocation: verified.revocation, tables };
  if (trust.chainCache?.kept.has(chain.leaf) === true) {
    const certificates = [...verified.certificates, ...tables.signers.flatMap((s) => s.certificates)];
    const until = Math.min(...certificates.map((c) => c.notAfter), ...tables.used.map((u) => u.nextUpdate ?? at));
    known.set(chain.leaf, { tee, path, policy: trust.revocation, roots: intelRoots(trust), issuers: chain.issuers, asked, since: at, until, certificates, checks: done, facts });
  }
  return facts;
}

/** Whatever had begun then has begun now. Collateral is nobody's to change once it was handed over: its bytes are the same by being the same. */
function holdsAgain(before: Known, tee: Tee, { issuers }: PckChain, trust: TrustContext, at: number, path: string): boolean {
  const { collateral = NO_COLLATERAL } = trust;
  const alike = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((one, i) => one === b[i]);
  return before.tee === tee && before.path === path && before.policy === trust.revocation && at >= before.since && at <= before.until
    && alike(before.issuers, issuers) && alike(before.roots, intelRoots(trust))
    && before.asked.every(({ kind, key, item }) => { const now = collateral.get(kind, key); return now === item || (now !== undefined && now.bytes === item?.bytes && now.source === item.source); })
    && !before.certificates.some((c) => isDenied(c, trust.revoked));
}
