/**
 * What verifying a piece of evidence takes, read from the evidence before anybody has verified it: a wish list, whose keys are names of public things. A wrong
 * one fetches something useless; it never changes a verdict.
 */
import { type Bytes, hex } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { detect } from '../detect.ts';
import type { Evidence } from '../evidence.ts';
import { parseHclReport } from '../formats/hcl-report.ts';
import { readPckPlatform } from '../formats/intel-pck.ts';
import { cutSnpReport, parseSnpReport } from '../formats/snp-report.ts';
import { parseTdxQuote } from '../formats/tdx-quote.ts';
import { parseJwt } from '../formats/jwt.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import type { GceTrust } from '../hardware/gce/trust.ts';
import { readPckChain } from '../hardware/tdx/pck.ts';
import { generationOf } from '../hardware/snp/generation.ts';
import { parseAzureEvidence } from '../platforms/azure-cvm/container.ts';
import { splitToken } from '../platforms/azure-cvm/token.ts';
import { parseGkeEvidence } from '../platforms/gke/container.ts';
import { Refusal } from '../refusal.ts';
import { GOOGLE_ISSUER } from '../services/google.ts';
import { claimedIssuer, MAA_ISSUER } from '../services/maa.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import type { Collateral } from './collateral.ts';
import type { Wanted } from './fetch.ts';

/** @param data exactly a report of 1184 bytes. @throws Refusal FMT_* */
export function wantedForSnp(data: Bytes): Wanted[] {
  const report = parseSnpReport(data, 'report');
  const found = report.cpuid === null ? undefined : generationOf(report.cpuid);
  const signer = report.signer.key;
  if (signer === 'none') return [];
  return (found === undefined ? AMD_PRODUCTS : [found]).flatMap((product): Wanted[] => [
    { kind: 'amd-chain', key: `${product}/${signer}` }, { kind: 'amd-crl', key: signer === 'vlek' ? `${product}/vlek` : product },
    ...(signer === 'vcek' ? [{ kind: 'amd-vek' as const, key: `${product}/${hex(report.chipId)}/${hex(report.reportedTcb)}` }] : []),
  ]);
}

const pckChainOf = (quote: Bytes): ReturnType<typeof readPckChain> => readPckChain(parseTdxQuote(quote, 'quote', 'any').pckChain, 'quote.pckChain', new CheckList());

/** @throws Refusal FMT_* */
export function wantedForTdx(data: Bytes): Wanted[] {
  const chain = pckChainOf(data);
  if (chain === undefined) return [];
  const { fmspc } = readPckPlatform(chain.leaf, 'quote.pck');
  const ca = /CN=Intel SGX PCK (Platform|Processor) CA(?:,|$)/.exec(chain.leaf.issuerText)?.[1]?.toLowerCase();
  return [
    { kind: 'intel-tcb-info', key: fmspc }, { kind: 'intel-qe-identity', key: 'td' }, { kind: 'intel-root-crl', key: 'root' }, ...(ca === undefined ? [] : [{ kind: 'intel-pck-crl' as const, key: ca }, { kind: 'intel-pck-crl-chain' as const, key: ca }]),
    { kind: 'intel-tcb-signing-chain', key: 'tcb-info' }, { kind: 'intel-tcb-signing-chain', key: 'qe-identity' },
  ];
}

/** For whatever the evidence looks like; nothing where it is of no kind that needs any. @throws Refusal FMT_* */
export function wantedFor(data: Bytes): Wanted[] {
  switch (detect(data)?.kind) {
    case 'snp-report': return wantedForSnp(cutSnpReport(data, 'report'));
    case 'tdx-quote': return wantedForTdx(data);
    case 'confidential-space-jwt': return [{ kind: 'jwks', key: GOOGLE_ISSUER }];
    case 'maa-jwt': {
      const issuer = claimedIssuer(data);
      return issuer !== undefined && MAA_ISSUER.test(issuer) ? [{ kind: 'jwks', key: issuer }] : [];
    }
    default: return [];
  }
}

/**
 * For evidence as it travels. What cannot be read wants nothing: its verifier says why.
 * @param have what was found so far: a CA that was fetched names the next one
 */
export function wantedForEvidence({ platform, document }: Evidence, have: Collateral, gce: GceTrust = {}): Wanted[] {
  try {
    switch (platform) {
      case 'azure-cvm': return wantedForAzure(document, have);
      case 'gke': return wantedForGke(document, have, gce);
      case 'confidential-space': return listsOf((parseJwt(document, 'token').x5c ?? []).map((der) => parseCertificate(der, 'x5c')), 'google');
      default: return [];
    }
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

/** Without what came with the evidence. */
const besides = (wanted: readonly Wanted[], { vek, issuers }: { readonly vek?: Bytes; readonly issuers?: readonly Bytes[] }): Wanted[] =>
  wanted.filter(({ kind }) => !(kind === 'amd-vek' && vek !== undefined) && !(kind === 'amd-chain' && issuers !== undefined));

function wantedForAzure(document: Bytes, have: Collateral): Wanted[] {
  const { document: raw, token } = splitToken(document, 'evidence');
  const parts = parseAzureEvidence(raw, 'evidence');
  const issuer = token === undefined ? undefined : claimedIssuer(token);
  const hcl = parseHclReport(parts.hcl, 'evidence.hcl');
  const hardware = hcl.type === 'snp' ? besides(wantedForSnp(hcl.hardwareReport), parts) : parts.tdQuote === undefined ? [] : wantedForTdx(parts.tdQuote);
  return [...hardware, ...(parts.ak === undefined ? [] : wantedForKey(parts.ak, 'azure-vtpm', have)), ...(issuer !== undefined && MAA_ISSUER.test(issuer) ? [{ kind: 'jwks' as const, key: issuer }] : [])];
}

function wantedForGke(document: Bytes, have: Collateral, gce: GceTrust): Wanted[] {
  const parts = parseGkeEvidence(document, 'evidence');
  const endorsed = (key: string): Wanted[] => (gce.endorsement === undefined ? [] : [{ kind: 'gce-endorsement', key }]);
  switch (parts.technology) {
    case 'sev-snp': return [...besides(wantedForSnp(parts.report), parts), ...endorsed(`sevsnp/${hex(parseSnpReport(parts.report, 'report').measurement)}`)];
    case 'tdx': return [...wantedForTdx(parts.tdQuote), ...endorsed(`tdx/${hex(parseTdxQuote(parts.tdQuote, 'quote', 'any').body.mrTd)}`), ...(gce.host === 'require' ? wantedHost(parts.tdQuote) : [])];
    case 'sev': return wantedForKey(parts.ak, 'google', have);
  }
}

function wantedHost(tdQuote: Bytes): Wanted[] {
  const chain = pckChainOf(tdQuote);
  return chain === undefined ? [] : [{ kind: 'gce-host', key: hex(readPckPlatform(chain.leaf, 'quote.pck').ppid) }];
}

/** Issuers of a vTPM's key that were not sent, one after the other, and the lists of those that are there. */
function wantedForKey(chain: readonly Bytes[], of: 'azure-vtpm' | 'google', have: Collateral): Wanted[] {
  const known = chain.map((der) => parseCertificate(der, 'ak'));
  const wanted: Wanted[] = [];
  const [leaf] = known;
  for (let top = leaf, steps = 0; top !== undefined && steps < 4 && !isRoot(top); steps++) {
    const keyId: string | null = top.authorityKeyId?.keyId ?? null;
    if (keyId === null) break;
    let next: Certificate | undefined = known.find((c) => c.subjectKeyId === keyId);
    if (next === undefined) {
      wanted.push({ kind: `${of}-ca`, key: keyId });
      const found = have.get(`${of}-ca`, keyId);
      if (found === undefined) break;
      next = parseCertificate(found.bytes, 'ca');
      known.push(next);
    }
    top = next;
  }
  return [...wanted, ...listsOf(known, of)];
}

/** A certificate that issued itself: nobody else revokes it. */
const isRoot = (c: Certificate): boolean => c.authorityKeyId?.keyId === undefined || c.authorityKeyId.keyId === c.subjectKeyId;

/** Leaves have no list: they are denied by name. */
const listsOf = (chain: readonly Certificate[], of: 'azure-vtpm' | 'google'): Wanted[] =>
  [...new Set(chain.slice(1).filter((c) => !isRoot(c)).flatMap((c) => c.authorityKeyId?.keyId ?? []))].map((key) => ({ kind: `${of}-crl`, key }));
