/** Quotes of enclaves: never evidence of a TD; judged by SGX's own tables where somebody asks for an enclave. */
import { expect, test } from 'vitest';
import { CheckList } from '../../../attestation/checks.ts';
import { type CollateralItem, collateralOf } from '../../../attestation/collateral/collateral.ts';
import { verifySgxQuote, verifyTdxQuote } from '../../../attestation/hardware/tdx/verify.ts';
import { isvLevel, type Json, qeIdentity, signStatement, svns, tcbInfo } from '../../../attestation/platforms/simulated/tdx-collateral.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { filled } from '../support.ts';
import { NOW, world } from './support.ts';

const SGX_INFO: Json = { id: 'SGX', tdxModule: undefined, tdxModuleIdentities: undefined, tcbLevels: [[3, 'SWHardeningNeeded'], [1, 'OutOfDate']].map(([svn, tcbStatus]) => ({ tcb: { sgxtcbcomponents: svns([svn as number]), pcesvn: 13 }, tcbDate: '2026-02-11T00:00:00Z', tcbStatus })) };
const SGX_QE: Json = { id: 'QE', mrsigner: '8C'.repeat(32), isvprodid: 1, tcbLevels: [isvLevel(8, 'UpToDate')] };
const QE = { mrSigner: filled(32, 0x8c), isvProdId: 1, isvSvn: 9 };

async function judge(change: { quote?: Parameters<typeof world>[0]; info?: Json; identity?: Json; keys?: 'td' } = {}): Promise<{ status: string | undefined; codes: RefusalCode[] }> {
  const w = await world({ ...change.quote, quote: { version: 3, enclave: { mrEnclave: filled(32, 0xec) }, qe: QE, ...change.quote?.quote } });
  const key = w.pki.signer.key;
  const [info, identity] = [await signStatement('tcbInfo', tcbInfo(NOW, { ...SGX_INFO, ...change.info }), key), await signStatement('enclaveIdentity', qeIdentity(NOW, { ...SGX_QE, ...change.identity }), key)];
  const own = (item: CollateralItem): CollateralItem => (item.kind === 'intel-tcb-info' ? { ...item, key: `sgx/${item.key}`, bytes: info } : item.kind === 'intel-qe-identity' ? { ...item, key: 'sgx', bytes: identity } : item);
  const checks = new CheckList();
  const facts = await verifySgxQuote({ quote: w.quote }, { roots: [w.root], revoked: [], now: NOW, collateral: collateralOf(w.collateral.map((i) => (change.keys === 'td' ? i : own(i)))) }, NOW, checks);
  try {
    checks.refuseIfFailed();
    expect(facts?.quote.report.mrEnclave).toEqual(filled(32, 0xec));
    return { status: facts?.tcb?.status, codes: [] };
  } catch (error) {
    expect(facts).toBeUndefined();
    return { status: undefined, codes: [...new Set((error as Refusal).codes)] };
  }
}

test('by its own tables', async () => {
  expect(await judge()).toEqual({ status: 'SWHardeningNeeded', codes: [] });
  expect(await judge({ quote: { pck: { components: [2, ...Array<number>(15).fill(0)] } } })).toEqual({ status: 'OutOfDate', codes: [] });
});

test.each<[string, readonly RefusalCode[], Parameters<typeof judge>[0]]>([
  ['below each level', ['TCB_FLOOR'], { quote: { pck: { components: Array<number>(16).fill(0) } } }],
  ['the QE of TDX', ['QE_IDENTITY'], { quote: { quote: { qe: {} } } }],
  ['TDX tables in place of SGX\'s', ['COLLATERAL_FORMAT'], { info: { id: 'TDX' } }],
  ['the identity of TDX\'s QE', ['COLLATERAL_FORMAT'], { identity: { id: 'TD_QE' } }],
  ['only TDX\'s collateral', ['COLLATERAL_ABSENT'], { keys: 'td' }],
  ['a TD', ['FMT_VERSION'], { quote: { quote: { version: 4 } } }],
])('%s', async (_, codes, change) => expect((await judge(change)).codes).toEqual(codes));

test('is no TD', async () => {
  const w = await world({ quote: { version: 3, qe: QE } });
  const checks = new CheckList();
  expect(await verifyTdxQuote({ quote: w.quote }, { roots: [w.root], revoked: [], now: NOW, collateral: collateralOf(w.collateral) }, NOW, checks)).toBeUndefined();
  expect(() => checks.refuseIfFailed()).toThrow('FMT_VERSION');
});
