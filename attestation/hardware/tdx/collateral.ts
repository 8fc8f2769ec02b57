/** TCB info and QE identity: authentic (signed by Intel's TCB signing certificate over the text as sent), current, about this platform. */
import type { TrustContext } from '../../adapter.ts';
import { type Bytes, concat } from '../../bytes.ts';
import type { ChainCache } from '../../chain-cache.ts';
import type { CheckList } from '../../checks.ts';
import type { NormalizedClaims } from '../../claims.ts';
import type { CollateralItem, CollateralKind } from '../../collateral/collateral.ts';
import { parseQeIdentity, parseTcbInfo, type QeIdentity, type Signed, type TcbInfo, type Tee } from '../../formats/intel-json.ts';
import type { PckPlatform } from '../../formats/intel-pck.ts';
import { type Certificate, verifySignature } from '../../formats/x509.ts';
import { iso } from '../../judge.ts';
import { same } from '../../kept.ts';
import { validatePath, type VerifiedPath } from '../../path.ts';
import { PathMemo } from '../../path-memo.ts';
import { intelRoots, keepChain, listPolicy, type Lists, readChain } from './pck.ts';

export interface IntelCollateral { readonly tcbInfo: TcbInfo; readonly qeIdentity: QeIdentity; readonly used: NonNullable<NormalizedClaims['collateral']>; readonly signers: readonly VerifiedPath[] }

const SKEW = 60;
const FETCH = 'Fetch the current collateral of this platform from Intel or from the cloud\'s cache of it.';

/** SGX has its own tables; TDX has the plain keys. */
const keyOf = (tee: Tee, key: string): string => (tee === 'tdx' ? key : `sgx/${key}`);

/** @returns undefined when something is absent or fails; the reasons are in `checks` */
export async function verifyCollateral(tee: Tee, platform: PckPlatform, lists: Lists, trust: TrustContext, at: number, checks: CheckList): Promise<IntelCollateral | undefined> {
  const find = (kind: CollateralKind, key: string): CollateralItem | undefined => {
    const item = trust.collateral?.get(kind, key);
    checks.that('TDX-COLLATERAL', `collateral.${kind}/${key}`, item !== undefined, () => ({ code: 'COLLATERAL_ABSENT', have: 'nothing', need: `${kind} ${key}`, next: FETCH }));
    return item;
  };
  const cache = trust.chainCache;
  const infoItem = find('intel-tcb-info', keyOf(tee, platform.fmspc));
  const infoChain = find('intel-tcb-signing-chain', 'tcb-info');
  const qeItem = find('intel-qe-identity', tee === 'tdx' ? 'td' : 'sgx');
  const qeChain = find('intel-tcb-signing-chain', 'qe-identity');
  if (infoItem === undefined || infoChain === undefined || qeItem === undefined || qeChain === undefined) return undefined;

  const infoSigner = await verifySigner(infoChain, lists, trust, at, checks);
  const qeSigner = same(infoChain.bytes, qeChain.bytes) ? infoSigner : await verifySigner(qeChain, lists, trust, at, checks);
  const [infoPath, qePath] = [pathOf(infoItem), pathOf(qeItem)];
  const info = checks.parse('TDX-TCB-INFO', infoPath, () => cache?.kept.find(`${tee}-tcb-info`, infoItem.bytes) ?? parseTcbInfo(infoItem.bytes, tee, infoPath));
  const qe = checks.parse('TDX-QE-IDENTITY', qePath, () => cache?.kept.find(`${tee}-qe-identity`, qeItem.bytes) ?? parseQeIdentity(qeItem.bytes, tee, qePath));
  const infoHolds = info !== undefined && await verifyStatement(info, infoSigner?.leaf, at, infoPath, cache, checks);
  const qeHolds = qe !== undefined && await verifyStatement(qe, qeSigner?.leaf, at, qePath, cache, checks);
  if (!infoHolds || !qeHolds) return undefined;
  if (cache?.kept.has(info) === false) cache.kept.keep(`${tee}-tcb-info`, infoItem.bytes, (copy) => parseTcbInfo(copy, tee, 'kept'));
  if (cache?.kept.has(qe) === false) cache.kept.keep(`${tee}-qe-identity`, qeItem.bytes, (copy) => parseQeIdentity(copy, tee, 'kept'));
  const about = checks.that('TDX-TCB-INFO-PLATFORM', `${infoPath}.tcbInfo`, info.value.fmspc === platform.fmspc && info.value.pceId === platform.pceId, () => ({
    code: 'COLLATERAL_MISMATCH', have: `FMSPC ${info.value.fmspc}, PCE ${info.value.pceId}`, need: `FMSPC ${platform.fmspc}, PCE ${platform.pceId}`, next: FETCH,
  }));
  if (!about || infoSigner === undefined || qeSigner === undefined) return undefined;
  const used = await Promise.all([
    describe(infoItem, info, info.value.issueDate, info.value.nextUpdate, cache), describe(qeItem, qe, qe.value.issueDate, qe.value.nextUpdate, cache), ...describeLists(lists, cache),
  ]);
  return { tcbInfo: info.value, qeIdentity: qe.value, used, signers: [infoSigner, qeSigner] };
}

const pathOf = (item: CollateralItem): string => `collateral.${item.kind}/${item.key}`;

export const describeLists = (lists: Lists, cache: ChainCache | undefined): Promise<IntelCollateral['used'][number]>[] => lists.crls.map((crl, i) => describe(lists.items[i] as CollateralItem, crl, crl.thisUpdate, crl.nextUpdate, cache));

/** @param read what was parsed of the item's bytes */
async function describe(item: CollateralItem, read: object, issued: number, nextUpdate: number, cache: ChainCache | undefined): Promise<IntelCollateral['used'][number]> {
  return { kind: item.kind, sha256: await (cache?.memo ?? new PathMemo()).sha256(read, item.bytes), issued, nextUpdate, source: item.source };
}

/** The path to the certificate that Intel signs TCB info and identities with; undefined when it fails. */
async function verifySigner(chain: CollateralItem, lists: Lists, trust: TrustContext, at: number, checks: CheckList): Promise<VerifiedPath | undefined> {
  const path = pathOf(chain);
  const ders = checks.parse('TDX-SIGNER-PEM', path, () => readChain(chain.bytes, path, 2, trust.chainCache));
  if (ders === undefined) return undefined;
  const [leaf, ...issuers] = ders as [Bytes, ...Bytes[]];
  const verified = await validatePath({
    prefix: 'TDX-SIGNER', path, leaf, intermediates: issuers, roots: intelRoots(trust), at, algorithms: ['ES256'], length: { min: 2, max: 2 },
    leafProfile: { keys: ['P-256'], keyUsage: ['digitalSignature'], commonName: /^Intel SGX TCB Signing$/ },
    revoked: trust.revoked, crls: lists.crls, requireCrl: listPolicy(trust, lists), cache: trust.chainCache, cacheLeaf: true,
  }, checks);
  if (verified !== undefined) keepChain(chain.bytes, ders, trust.chainCache);
  return verified;
}

async function verifyStatement(statement: Signed<TcbInfo | QeIdentity>, signer: Certificate | undefined, at: number, path: string, cache: ChainCache | undefined, checks: CheckList): Promise<boolean> {
  const { issueDate, nextUpdate } = statement.value;
  const begun = checks.that('TDX-COLLATERAL-ISSUED', `${path}.issueDate`, issueDate <= at + SKEW, () => ({ code: 'COLLATERAL_NOT_YET_VALID', have: iso(at), need: `from ${iso(issueDate)}`, next: 'Compare the clocks of the verifier and of Intel.' }));
  const current = checks.that('TDX-COLLATERAL-CURRENT', `${path}.nextUpdate`, nextUpdate >= at, () => ({ code: 'COLLATERAL_EXPIRED', have: iso(at), need: `until ${iso(nextUpdate)}`, next: FETCH }));
  if (signer === undefined) return false;
  const signed = await isSigned(statement, signer, cache);
  checks.that('TDX-COLLATERAL-SIGNATURE', `${path}.signature`, signed, () => ({ code: 'COLLATERAL_SIGNATURE', have: 'a signature that the signing key does not verify', need: 'one by Intel SGX TCB Signing', next: FETCH }));
  return begun && current && signed;
}

/** A signature that this key made over these bytes is remembered, as those of certificates are; dates are not. */
async function isSigned(statement: Signed<TcbInfo | QeIdentity>, signer: Certificate, cache: ChainCache | undefined): Promise<boolean> {
  const { signature, signed, value } = statement;
  const name = cache === undefined ? '' : await cache.memo.linkName(signer, statement, () => ({ issuer: signer.subjectText, serial: value.id, notAfter: value.nextUpdate, der: concat(signature, signed) }));
  if (cache?.has(name) === true) return true;
  const holds = await verifySignature(signer, 'ES256', signature, signed);
  if (holds) cache?.add(name);
  return holds;
}
