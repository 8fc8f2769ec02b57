/**
 * Quotes of TDs and enclaves, and CCELs. The first verdict takes no TCB into account; the second one does, where the companions bring Intel's
 * collateral, and takes every TCB that is not behind Intel's fixes. Companions are recognised by what is in them.
 */
import { type Bytes, equal, fromHex, utf8 } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { type Collateral, type CollateralItem, type CollateralKind, collateralOf } from '../collateral/collateral.ts';
import { parseCrl } from '../formats/crl.ts';
import type { TdBody } from '../formats/tdx-quote.ts';
import { readPem } from '../formats/pem.ts';
import { parseEventLog, replayEventLog } from '../formats/tcg-event-log.ts';
import { parseCertificate } from '../formats/x509.ts';
import { checkTcb, CURRENT_TCB } from '../hardware/tdx/appraise.ts';
import { verifyCcel } from '../hardware/tdx/ccel.ts';
import { tdxSummary } from '../hardware/tdx/claims.ts';
import type { SgxFacts, TdxFacts } from '../hardware/tdx/facts.ts';
import { type QuoteInput, verifySgxQuote, verifyTdxQuote } from '../hardware/tdx/verify.ts';
import { once } from '../kept.ts';
import { Refusal, refuse } from '../refusal.ts';
import type { TrustContext } from '../adapter.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, type Judgement, readJson, type Vector } from './judge.ts';

type Verify<F> = (input: QuoteInput, trust: TrustContext, at: number, checks: CheckList) => Promise<F | undefined>;

async function facts<F extends TdxFacts | SgxFacts>(verify: Verify<F>, vector: Vector, tcb: 'require' | 'skip'): Promise<F> {
  const { at } = vector;
  if (at === null) return refuse('FMT_FIELD', 'verified_at', 'A quote is valid at a time: state one.');
  const checks = new CheckList();
  const trust: TrustContext = { ...corpusTrust(vector), collateral: importCollateral(vector), revocation: tcb === 'require' ? 'require' : 'ifAvailable' };
  const found = await verify({ quote: vector.bytes, tcb, trailing: 'any' }, trust, at, checks);
  if (found !== undefined && tcb === 'require') checkTcb(found.tcb, CURRENT_TCB, at, checks);
  if (found !== undefined && 'body' in found.quote) checkNonce(found.quote.body, vector, checks);
  checks.refuseIfFailed();
  return found ?? refuse('INTERNAL', 'quote', 'This is a defect of the verifier: report it.');
}

/** A companion that says what was asked for: report data in full. */
function checkNonce(body: TdBody, { companions }: Vector, checks: CheckList): void {
  for (const { bytes } of companions.filter((c) => c.kind === 'nonce')) {
    checks.that('TDX-REPORT-DATA', 'quote.body.reportData', equal(bytes, body.reportData), () => ({ code: 'BINDING_MISMATCH', need: 'the report data that was asked for', next: 'Judge the quote with the nonce of its own request.' }));
  }
}

const WHOLE: readonly CollateralKind[] = ['intel-tcb-info', 'intel-qe-identity', 'intel-tcb-signing-chain', 'intel-root-crl', 'intel-pck-crl'];

function isWhole({ companions }: Vector): boolean {
  const kinds = new Set(companions.flatMap((companion) => collateralItems(companion, companion.file)).map((item) => item.kind));
  return WHOLE.every((kind) => kinds.has(kind));
}

async function withCollateral(verify: Verify<TdxFacts | SgxFacts>, vector: Vector): Promise<Pick<Judgement, 'verdictWithCollateral' | 'codes'> | undefined> {
  if (!isWhole(vector)) return undefined;
  const { verdict, codes } = await judged(() => facts(verify, vector, 'require'));
  return { verdictWithCollateral: verdict, codes };
}

/** @returns codes of the first verdict; when that is valid, those of the second, which has all of its checks and more */
export const judgeTdxQuote: Judge = async (vector) => {
  const first = await judged(async () => tdxSummary(await facts(verifyTdxQuote, vector, 'skip')));
  if (first.verdict === 'invalid') return isWhole(vector) ? { ...first, verdictWithCollateral: 'invalid' } : first;
  return { ...first, ...await withCollateral(verifyTdxQuote, vector) };
};

/** As evidence of a TD it is refused, whatever its signatures say; the second verdict is about the enclave. */
export const judgeSgxQuote: Judge = async (vector) => {
  const first = await judged(async () => tdxSummary(await facts(verifyTdxQuote, vector, 'skip')));
  const second = await withCollateral(verifySgxQuote, vector);
  return second === undefined ? first : { ...first, verdictWithCollateral: second.verdictWithCollateral };
};

/** A CCEL: with the quote of its TD, its replay must give the quoted RTMRs; alone, only its form can be judged. */
export const judgeCcel: Judge = (vector) => judged(async () => {
  const quotes = vector.companions.filter((c) => c.kind === 'tdx-quote');
  const log = parseEventLog(vector.bytes, 'log');
  if (!log.banks.includes('sha384')) refuse('EVENTLOG_ALGORITHM', 'log.header.algorithms', 'RTMRs are SHA-384: send the CCEL.', { have: log.banks.join(', '), need: 'sha384' });
  const registers = (await replayEventLog(log, 'sha384')).size;
  for (const quote of quotes) {
    const td = await facts(verifyTdxQuote, { ...vector, ...quote, companions: [] }, 'skip');
    const checks = new CheckList();
    await verifyCcel(td, vector.bytes, checks, 'log');
    checks.refuseIfFailed();
  }
  return { events: log.events.length, registers, replayed: quotes.length > 0 };
});

/** Intel's statements and lists among the companions of a vector. */
export const importCollateral = ({ companions }: Pick<Vector, 'companions'>): Collateral => collateralOf(companions.flatMap((companion) => collateralItems(companion, companion.file)));

/** What a companion brings, by its content; nothing when it is no collateral. When it was fetched, a corpus does not say. */
const collateralItems = once(({ kind, bytes }: CorpusFile): CollateralItem[] => {
  const item = (itemKind: CollateralKind, key: string, data: Bytes): CollateralItem => ({ kind: itemKind, key, bytes: data, source: 'evidence', fetchedAt: 0 });
  try {
    if (kind === 'crl-der') return crlItem(bytes, item);
    if (kind === 'cert-chain-pem') return chainItems(bytes, item);
    if (kind === 'tdx-collateral') return jsonItems(bytes, item);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return [];
});

type MakeItem = (kind: CollateralKind, key: string, data: Bytes) => CollateralItem;

function crlItem(der: Bytes, item: MakeItem): CollateralItem[] {
  const ca = /CN=Intel SGX PCK (Platform|Processor) CA(?:,|$)/.exec(parseCrl(der, 'crl').issuerText)?.[1];
  return [ca === undefined ? item('intel-root-crl', 'root', der) : item('intel-pck-crl', ca.toLowerCase(), der)];
}

function chainItems(pem: Bytes, item: MakeItem): CollateralItem[] {
  const [first] = readPem(pem, 'CERTIFICATE', 'chain', 3);
  if (first === undefined || parseCertificate(first, 'chain').commonName !== 'Intel SGX TCB Signing') return [];
  return [item('intel-tcb-signing-chain', 'tcb-info', pem), item('intel-tcb-signing-chain', 'qe-identity', pem)];
}

/** A response of Intel's service, or everything for one quote: chains as PEM, lists as hex, statements as their signed text. */
function jsonItems(data: Bytes, item: MakeItem): CollateralItem[] {
  const json = readJson(data, 'collateral');
  const inner = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null ? value as Record<string, unknown> : {});
  const infoItem = (info: Record<string, unknown>, bytes: Bytes): CollateralItem[] => (typeof info['fmspc'] === 'string' ? [item('intel-tcb-info', `${info['id'] === 'SGX' ? 'sgx/' : ''}${info['fmspc'].toLowerCase()}`, bytes)] : []);
  const qeItem = (identity: Record<string, unknown>, bytes: Bytes): CollateralItem[] => [item('intel-qe-identity', identity['id'] === 'QE' ? 'sgx' : 'td', bytes)];
  if ('tcbInfo' in json) return infoItem(inner(json['tcbInfo']), data);
  if ('enclaveIdentity' in json) return qeItem(inner(json['enclaveIdentity']), data);

  const out: CollateralItem[] = [];
  const field = (name: string): string | undefined => (typeof json[name] === 'string' ? json[name] : undefined);
  const statement = (name: string, json1: string, signature: string): Bytes => utf8(`{"${name}":${json1},"signature":${JSON.stringify(signature)}}`);
  const [info, infoSignature, identity, identitySignature] = [field('tcb_info'), field('tcb_info_signature'), field('qe_identity'), field('qe_identity_signature')];
  if (info !== undefined && infoSignature !== undefined) out.push(...infoItem(readJson(utf8(info), 'tcb_info'), statement('tcbInfo', info, infoSignature)));
  if (identity !== undefined && identitySignature !== undefined) out.push(...qeItem(readJson(utf8(identity), 'qe_identity'), statement('enclaveIdentity', identity, identitySignature)));
  for (const [name, key] of [['tcb_info_issuer_chain', 'tcb-info'], ['qe_identity_issuer_chain', 'qe-identity']] as const) {
    const pem = field(name);
    if (pem !== undefined) out.push(item('intel-tcb-signing-chain', key, utf8(pem)));
  }
  for (const name of ['root_ca_crl', 'pck_crl']) {
    const der = field(name);
    if (der !== undefined && /^(?:[0-9a-f]{2})+$/.test(der)) out.push(...crlItem(fromHex(der), item));
  }
  return out;
}
