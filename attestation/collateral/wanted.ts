/**
 * What verifying a piece of evidence takes, read from the evidence before anybody has verified it: a wish list, whose keys are names of public things. A wrong
 * one fetches something useless; it never changes a verdict.
 */
import { type Bytes, hex } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { detect } from '../detect.ts';
import { readPckPlatform } from '../formats/intel-pck.ts';
import { cutSnpReport, parseSnpReport } from '../formats/snp-report.ts';
import { parseTdxQuote } from '../formats/tdx-quote.ts';
import { readPckChain } from '../hardware/tdx/pck.ts';
import { generationOf } from '../hardware/snp/generation.ts';
import { GOOGLE_ISSUER } from '../services/google.ts';
import { claimedIssuer, MAA_ISSUER } from '../services/maa.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import type { Wanted } from './fetch.ts';

/** @param data exactly a report of 1184 bytes. @throws Refusal FMT_* */
export function wantedForSnp(data: Bytes): Wanted[] {
  const report = parseSnpReport(data, 'report');
  const found = report.cpuid === null ? undefined : generationOf(report.cpuid);
  const signer = report.signer.key;
  if (signer === 'none') return [];
  return (found === undefined ? AMD_PRODUCTS : [found]).flatMap((product): Wanted[] => [
    { kind: 'amd-chain', key: `${product}/${signer}` }, { kind: 'amd-crl', key: product },
    ...(signer === 'vcek' ? [{ kind: 'amd-vek' as const, key: `${product}/${hex(report.chipId)}/${hex(report.reportedTcb)}` }] : []),
  ]);
}

/** @throws Refusal FMT_* */
export function wantedForTdx(data: Bytes): Wanted[] {
  const quote = parseTdxQuote(data, 'quote', 'any');
  const chain = readPckChain(quote.pckChain, 'quote.pckChain', new CheckList());
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
