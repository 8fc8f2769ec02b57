/** The path PCK certificate ← Platform or Processor CA ← root, its revocation lists, and what the certificate says of the platform. */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal } from '../../bytes.ts';
import type { ChainCache } from '../../chain-cache.ts';
import type { CheckList } from '../../checks.ts';
import type { CollateralItem } from '../../collateral/collateral.ts';
import type { Crl } from '../../formats/crl.ts';
import { readPckPlatform } from '../../formats/intel-pck.ts';
import { readPem } from '../../formats/pem.ts';
import type { Certificate } from '../../formats/x509.ts';
import { once, readCertificate } from '../../kept.ts';
import { validatePath } from '../../path.ts';
import { PathMemo } from '../../path-memo.ts';
import { printable } from '../../refusal.ts';
import { type CrlFact, readCrl } from '../../revocation.ts';
import { rootsFor } from '../../trust/purposes.ts';
import type { PckFacts } from './facts.ts';

const CA_NAME = /^Intel SGX PCK (Platform|Processor) CA$/;
const platformOf = once(readPckPlatform);
const NEXT = 'Use the PCK certificate chain that Intel made for this platform.';

export const intelRoots = (trust: TrustContext): TrustRoot[] => rootsFor(trust, 'intel-sgx');

export interface PckChain { readonly pem: Bytes; readonly ders: readonly Bytes[]; readonly leaf: Certificate; readonly issuers: readonly Certificate[] }

const CHAIN_LENGTH = 3;

/** DER of the certificates of a PEM chain. @throws Refusal FMT_PEM */
export const readChain = (pem: Bytes, path: string, limit: number, cache: ChainCache | undefined): readonly Bytes[] => cache?.kept.find('pem', pem) ?? readPem(pem, 'CERTIFICATE', path, limit);
/** Of a path that holds. */
export function keepChain(pem: Bytes, ders: readonly Bytes[], cache: ChainCache | undefined): void {
  if (cache?.kept.has(ders) === false) cache.kept.keep('pem', pem, (copy) => readPem(copy, 'CERTIFICATE', 'pem', ders.length));
}

/** Exactly three certificates, the PCK's first. */
export function readPckChain(pem: Bytes, path: string, checks: CheckList, cache?: ChainCache): PckChain | undefined {
  const ders = checks.parse('TDX-PCK-PEM', path, () => readChain(pem, path, CHAIN_LENGTH, cache));
  if (ders === undefined) return undefined;
  const three = checks.that('TDX-PCK-COUNT', path, ders.length === CHAIN_LENGTH, () => ({ code: 'CHAIN_LEN', have: `${ders.length} certificates`, need: '3: PCK, CA, root', next: NEXT }));
  const all = ders.map((der, i) => checks.parse('TDX-PCK-DER', `${path}[${i}]`, () => readCertificate(der, `${path}[${i}]`, cache?.kept)));
  const [leaf, ...issuers] = all;
  return three && leaf !== undefined && !issuers.includes(undefined) ? { pem, ders, leaf, issuers: issuers as Certificate[] } : undefined;
}

export interface Lists { readonly crls: readonly Crl[]; readonly items: readonly CollateralItem[]; readonly malformed: boolean }

/** The lists of the root and of the CA that this leaf names; a list of somebody else in their place is refused. */
export function readLists({ leaf, issuers }: PckChain, trust: TrustContext, checks: CheckList): Lists {
  const ca = issuers.find((c) => equal(c.subject, leaf.issuer));
  const kind = CA_NAME.exec(ca?.commonName ?? '')?.[1]?.toLowerCase();
  const wanted: { item: CollateralItem | undefined; issuer: Certificate | undefined }[] = [
    { item: trust.collateral?.get('intel-root-crl', 'root'), issuer: issuers.find((c) => equal(c.subject, c.issuer)) },
    { item: kind === undefined ? undefined : trust.collateral?.get('intel-pck-crl', kind), issuer: ca },
  ];
  const crls: Crl[] = [];
  const items: CollateralItem[] = [];
  let malformed = false;
  for (const { item, issuer } of wanted) {
    if (item === undefined) continue;
    const path = `collateral.${item.kind}/${item.key}`;
    const crl = checks.parse('TDX-CRL-FORMAT', path, () => readCrl(item.bytes, path, trust.chainCache));
    const right = crl !== undefined && (issuer === undefined || checks.that('TDX-CRL-ISSUER', `${path}.issuer`, equal(crl.issuer, issuer.subject), () => ({ code: 'CRL_ISSUER', have: printable(crl.issuerText), need: printable(issuer.subjectText), next: 'Fetch the current revocation list of this issuer.' })));
    if (!right) malformed = true;
    else crls.push(crl);
    items.push(item);
  }
  return { crls, items, malformed };
}

/** How lists are asked for: where one is malformed, that is the reason, and not that there is none. */
export const listPolicy = (trust: TrustContext, lists: Lists): 'require' | 'ifAvailable' => (lists.malformed ? 'ifAvailable' : trust.revocation ?? 'require');

export async function verifyPckChain(chain: PckChain, lists: Lists, trust: TrustContext, at: number, path: string, checks: CheckList): Promise<{ pck: PckFacts; revocation: 'good' | 'unchecked'; crls: readonly CrlFact[]; certificates: readonly Certificate[] } | undefined> {
  const verified = await validatePath({
    prefix: 'TDX-PCK', path, leaf: chain.leaf, intermediates: chain.issuers, roots: intelRoots(trust), at, algorithms: ['ES256'], length: { min: 3, max: 3 },
    leafProfile: { keys: ['P-256'], keyUsage: ['digitalSignature'], commonName: /^Intel SGX PCK Certificate$/ },
    revoked: trust.revoked, crls: lists.crls, requireCrl: listPolicy(trust, lists), 
    // One PCK signs for a machine's quoting enclave for as long as its firmware stays
    cache: trust.chainCache, cacheLeaf: true,
  }, checks);
  const platform = checks.parse('TDX-PCK-PLATFORM', path, () => platformOf(chain.leaf, path));
  if (verified === undefined) return undefined;
  const name = verified.certificates[1]?.commonName ?? '';
  const kind = CA_NAME.exec(name)?.[1]?.toLowerCase();
  const named = checks.that('TDX-PCK-CA', `${path}.issuers[1].subject`, kind !== undefined, () => ({ code: 'CHAIN_NAME', have: printable(name), need: CA_NAME.source, next: NEXT }));
  if (platform === undefined || !named) return undefined;
  keepChain(chain.pem, chain.ders, trust.chainCache);
  return {
    pck: { leafSerial: verified.leaf.serial, ca: kind as 'platform' | 'processor', root: verified.root, notAfter: verified.notAfter, platform, ppidSha256: await (trust.chainCache?.memo ?? new PathMemo()).sha256(platform, platform.ppid) },
    revocation: verified.revocation, crls: verified.crls, certificates: verified.certificates,
  };
}
