/**
 * Verification of DCAP quotes: form, signatures, the PCK path with its revocation lists, and the TCB by Intel's signed tables. Verifies;
 * accepts nothing: a status, a debug TD or attributes are facts, and appraise.ts or the policy judges them. Only what is unknown to
 * Intel's tables (an enclave, a module, versions below every level) is refused here, since nothing true can be said of it.
 */
import type { TrustContext } from '../../adapter.ts';
import { type Bytes, concat, equal, hex, sha256 } from '../../bytes.ts';
import { CheckList } from '../../checks.ts';
import type { TcbInfo, TdxTcbInfo, Tee } from '../../formats/intel-json.ts';
import type { PckPlatform } from '../../formats/intel-pck.ts';
import { type Verifier, verifySignature } from '../../formats/signature.ts';
import { parseSgxQuote, parseTdxQuote, type SgxQuote, type TdxQuote, type Trailing } from '../../formats/tdx-quote.ts';
import { PathMemo } from '../../path-memo.ts';
import { describeLists, type IntelCollateral } from './collateral.ts';
import type { SgxFacts, TcbFacts, TdxFacts } from './facts.ts';
import { type PckChain, readPckChain } from './pck.ts';
import { verifyPck, verifyPlatform } from './platform.ts';
import { converge, isOutOfDate, isvLevel, type Level, masked, moduleIdentity, moduleVersion, platformLevel, qeMismatches } from './tcb.ts';

export interface QuoteInput {
  readonly quote: Bytes;
  /** Whether the TCB is evaluated. Default: `require`, which refuses where collateral is missing. */
  readonly tcb?: 'require' | 'skip';
  /** What may be behind the quote. Default: zeros. */
  readonly trailing?: Trailing;
  /** Where the quote is, for reasons. Default: "quote". */
  readonly path?: string;
}

const NEXT = 'Send the quote exactly as the quoting service made it.';
const UPDATE = 'Update firmware and TDX module of the platform, or move the workload to another machine.';

/** @returns undefined when a check failed, or when `checks` held a failure before; the reasons are in there */
export async function verifyTdxQuote(input: QuoteInput, trust: TrustContext, at: number, checks: CheckList): Promise<TdxFacts | undefined> {
  const path = input.path ?? 'quote';
  const quote = checks.parse('TDX-FORMAT', path, () => parseTdxQuote(input.quote, path, input.trailing));
  return quote === undefined ? undefined : verifyQuote('tdx', quote, input, trust, at, checks);
}

/** An enclave's quote, for what is not a TD: the signing parts are the same. */
export async function verifySgxQuote(input: QuoteInput, trust: TrustContext, at: number, checks: CheckList): Promise<SgxFacts | undefined> {
  const path = input.path ?? 'quote';
  const quote = checks.parse('SGX-FORMAT', path, () => parseSgxQuote(input.quote, path, input.trailing));
  return quote === undefined ? undefined : verifyQuote('sgx', quote, input, trust, at, checks);
}

async function verifyQuote<Q extends TdxQuote | SgxQuote>(tee: Tee, quote: Q, input: QuoteInput, trust: TrustContext, at: number, checks: CheckList): Promise<(TdxFacts & SgxFacts & { quote: Q }) | undefined> {
  const path = input.path ?? 'quote';
  // A quoting enclave's key signs all quotes of its machine
  const bytesOfKey = concat(quote.attestationKey, quote.authData);
  const key = trust.chainCache?.kept.find('attestation-key', bytesOfKey) ?? p256(bytesOfKey);
  // The evidence's own two signatures, each time; the rest goes on beside them and is recorded behind them
  const signed = verifySignature(key, 'ES256', quote.signature, quote.signed);
  const [chainChecks, others] = [new CheckList(), new CheckList()];
  const chain = readPckChain(quote.pckChain, `${path}.pckChain`, chainChecks, trust.chainCache);
  const signedQe = chain === undefined ? undefined : verifySignature(chain.leaf, 'ES256', quote.qeSignature, quote.qeReport.raw);
  const [bound, digest] = [(trust.chainCache?.memo ?? new PathMemo()).sha256(key, bytesOfKey), sha256(quote.bytes)];
  const facts = chain === undefined ? undefined : judgePlatform(tee, quote, chain, input, trust, at, others);
  const [holds, holdsQe, digests, rest] = await Promise.all([signed, signedQe, Promise.all([bound, digest]), facts]);

  checkKeys(quote, holds, digests[0], path, checks);
  checks.append(chainChecks);
  if (holdsQe === undefined) return undefined;
  checkQuotingEnclave(quote, holdsQe, path, checks);
  checks.append(others);
  if (rest === undefined || checks.failed) return undefined;
  if (trust.chainCache?.kept.has(key) === false) trust.chainCache.kept.keep('attestation-key', bytesOfKey, p256);
  return { quote, sha256: hex(digests[1]), ...rest } as TdxFacts & SgxFacts & { quote: Q };
}

/** Certificates, lists and tables: what is known of the platform. */
async function judgePlatform(tee: Tee, quote: TdxQuote | SgxQuote, chain: PckChain, input: QuoteInput, trust: TrustContext, at: number, checks: CheckList): Promise<Omit<TdxFacts, 'quote' | 'sha256'> | undefined> {
  const path = input.path ?? 'quote';
  if (input.tcb === 'skip') {
    const verified = await verifyPck(chain, trust, at, path, checks);
    if (verified === undefined) return undefined;
    checks.skipped('TDX-TCB', path);
    return { pck: verified.pck, revocation: verified.revocation, tcb: null, collateral: await Promise.all(describeLists(verified.lists, trust.chainCache)) };
  }
  const known = await verifyPlatform(tee, chain, trust, at, path, checks);
  const tcb = known === undefined ? undefined : evaluate(quote, known.pck.platform, known.tables, path, checks);
  return known === undefined || tcb === undefined ? undefined : { pck: known.pck, revocation: known.revocation, tcb, collateral: known.tables.used };
}

/** SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480). */
const P256_PREFIX = Uint8Array.from([0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00]);

/** @param data x and y, and whatever is behind them */
function p256(data: Bytes): Verifier {
  const point = concat(Uint8Array.of(4), data.subarray(0, 64));
  return { spki: concat(P256_PREFIX, point), key: { kind: 'P-256', bits: 256, raw: point } };
}

function checkKeys(quote: TdxQuote | SgxQuote, signed: boolean, digest: string, path: string, checks: CheckList): void {
  checks.that('TDX-SIGNATURE', `${path}.signature`, signed, () => ({ code: 'SIG_INVALID', have: 'a signature that the attestation key does not verify', need: 'one over header and body', next: NEXT }));
  const bound = `${digest}${'0'.repeat(64)}`;
  checks.that('TDX-QE-BINDING', `${path}.qeReport.reportData`, hex(quote.qeReport.reportData) === bound, () => ({ code: 'QE_BINDING', have: hex(quote.qeReport.reportData), need: bound, next: NEXT }));
}

function checkQuotingEnclave(quote: TdxQuote | SgxQuote, signed: boolean, path: string, checks: CheckList): void {
  checks.that('TDX-QE-SIGNATURE', `${path}.qeSignature`, signed, () => ({ code: 'SIG_INVALID', have: 'a signature that the PCK key does not verify', need: 'one over the report of the quoting enclave', next: NEXT }));
  checks.that('TDX-QE-DEBUG', `${path}.qeReport.attributes`, !quote.qeReport.debug, () => ({ code: 'QE_IDENTITY', have: 'a quoting enclave in debug mode', need: 'one in production mode', next: UPDATE }));
}

interface Evaluation { readonly platform: Level; readonly module: Level | null }

function evaluate(quote: TdxQuote | SgxQuote, pck: PckPlatform, { tcbInfo, qeIdentity }: IntelCollateral, path: string, checks: CheckList): TcbFacts | undefined {
  const wrong = qeMismatches(quote.qeReport, qeIdentity);
  checks.that('TDX-QE-IDENTITY-MATCH', `${path}.qeReport`, wrong.length === 0, () => ({ code: 'QE_IDENTITY', have: `another ${wrong.join(', ')}`, need: `${qeIdentity.id} of Intel`, next: UPDATE }));
  const qe = isvLevel(qeIdentity.tcbLevels, quote.qeReport.isvSvn);
  checks.that('TDX-QE-LEVEL', `${path}.qeReport.isvSvn`, qe !== undefined, () => ({ code: 'QE_IDENTITY', have: String(quote.qeReport.isvSvn), need: `at least ${Math.min(...qeIdentity.tcbLevels.map((l) => l.tcb.isvsvn))}`, next: UPDATE }));

  const start = evaluateAt('body' in quote ? quote : undefined, 'teeTcbSvn', tcbInfo, pck, path, checks);
  const has2 = 'body' in quote && quote.body.teeTcbSvn2 !== undefined;
  const now = has2 ? evaluateAt(quote, 'teeTcbSvn2', tcbInfo, pck, path, checks) : undefined;
  if (qe === undefined || start === undefined || (has2 && now === undefined)) return undefined;

  const all = [start, ...(now === undefined ? [] : [now])].flatMap((e) => [e.platform, ...(e.module === null ? [] : [e.module])]);
  const statusOf = (e: Evaluation) => converge([e.platform.status, ...(e.module === null ? [] : [e.module.status]), qe.status]);
  const levels = [...all, qe];
  return {
    status: converge(levels.map((l) => l.status)), date: Math.min(...levels.map((l) => l.date)), advisories: [...new Set(levels.flatMap((l) => l.advisories))].sort(),
    evaluationNumber: Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber), platform: start.platform, module: start.module, qe,
    ...(now === undefined ? {} : { current: { status: statusOf(now), ...now } }), relaunchAdvised: now !== undefined && isOutOfDate(statusOf(start)) && !isOutOfDate(statusOf(now)),
    issued: Math.min(tcbInfo.issueDate, qeIdentity.issueDate), nextUpdate: Math.min(tcbInfo.nextUpdate, qeIdentity.nextUpdate),
  };
}

/** Platform and module by one of the two vectors of security versions. */
function evaluateAt(quote: TdxQuote | undefined, field: 'teeTcbSvn' | 'teeTcbSvn2', info: TcbInfo, pck: PckPlatform, path: string, checks: CheckList): Evaluation | undefined {
  const svn = quote?.body[field];
  const platform = platformLevel(info, pck, svn);
  checks.that('TDX-TCB-LEVEL', `${path}.${field}`, platform !== undefined, () => ({
    code: 'TCB_FLOOR', have: `SGX ${pck.components.join('.')}, PCE ${pck.pceSvn}${svn === undefined ? '' : `, TDX ${[...svn].join('.')}`}`, need: `a level of the TCB info of ${info.fmspc}`, next: UPDATE,
  }));
  if (quote === undefined || svn === undefined) return platform === undefined ? undefined : { platform, module: null };

  const version = moduleVersion(svn);
  const identity = moduleIdentity(info as TdxTcbInfo, version);
  const known = checks.that('TDX-MODULE', `${path}.${field}`, identity !== undefined, () => ({ code: 'TDX_MODULE', have: version.id, need: (info as TdxTcbInfo).tdxModuleIdentities?.map((m) => m.id).join(', ') ?? 'a module of version 0', next: UPDATE }));
  if (identity === undefined || !known) return undefined;
  // Signer and attributes in the body are those of the module at the start
  if (field === 'teeTcbSvn') {
    checks.that('TDX-MODULE-SIGNER', `${path}.mrSignerSeam`, equal(quote.body.mrSignerSeam, identity.mrsigner), () => ({ code: 'TDX_MODULE', have: hex(quote.body.mrSignerSeam), need: hex(identity.mrsigner), next: UPDATE }));
    checks.that('TDX-MODULE-ATTRIBUTES', `${path}.seamAttributes`, masked(quote.body.seamAttributes, identity.attributesMask, identity.attributes), () => ({ code: 'TDX_MODULE', have: hex(quote.body.seamAttributes), need: `${hex(identity.attributes)} under ${hex(identity.attributesMask)}`, next: UPDATE }));
  }
  if (identity.tcbLevels === undefined) return platform === undefined ? undefined : { platform, module: null };
  const module = isvLevel(identity.tcbLevels, version.svn);
  checks.that('TDX-MODULE-LEVEL', `${path}.${field}`, module !== undefined, () => ({ code: 'TCB_FLOOR', have: `${version.id} ${version.svn}`, need: `a level of ${version.id}`, next: UPDATE }));
  return platform === undefined || module === undefined ? undefined : { platform, module };
}
