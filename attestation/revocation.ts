/**
 * Revocation of the certificates of a verified path (RFC 5280, section 6.3), by lists and by the operator's deny-list. A list counts only
 * when the issuer of the certificate signed it, may sign lists, and the time is within its dates; certificates are named by issuer and
 * serial, never by bytes (ECDSA signatures have twins).
 */
import { type Bytes, equal } from './bytes.ts';
import type { ChainCache } from './chain-cache.ts';
import { type Crl, parseCrl } from './formats/crl.ts';
import type { Certificate, SignatureAlgorithm } from './formats/x509.ts';
import { verifySignature } from './formats/x509.ts';
import { iso, type Judge } from './judge.ts';
import { printable } from './refusal.ts';

export interface DeniedCertificate { readonly issuer: string; readonly serial: string }

export interface CrlPolicy {
  /** DER, or parsed before. Lists of issuers that are not in the path are passed over. */
  readonly crls: readonly (Bytes | Crl)[];
  /** `require`: each certificate in scope needs a list that holds. `ifAvailable`: a list that is there must hold. `off`: none is looked at. */
  readonly require: 'require' | 'ifAvailable' | 'off';
  /** What `require` is about: everything below the root, or only the certificates of CAs (AMD publishes no list of the chips' certificates). */
  readonly scope: 'all' | 'intermediates';
  /** How long past nextUpdate a list is still taken, seconds. */
  readonly graceSeconds: number;
  readonly skewSeconds: number;
  readonly at: number;
  readonly algorithms: readonly SignatureAlgorithm[];
  readonly cache: ChainCache | undefined;
}

export interface CrlFact { readonly issuer: string; readonly number: string | null; readonly thisUpdate: number; readonly nextUpdate: number; readonly stale: boolean }
export interface Revocation { readonly status: 'good' | 'unchecked'; readonly crls: readonly CrlFact[] }

const FETCH = 'Fetch the current revocation list of this issuer.';

/** @throws Refusal as parseCrl does */
export const readCrl = (der: Bytes, path: string, cache: ChainCache | undefined): Crl => cache?.kept.find('crl', der) ?? parseCrl(der, path);

export function isDenied(certificate: Certificate, denied: readonly DeniedCertificate[]): boolean {
  return denied.some((d) => d.issuer === certificate.issuerText && d.serial.toLowerCase().replace(/^0+(?=.)/, '') === certificate.serial);
}

/** @param chain leaf first, root last, its signatures verified. @param pathOf where a certificate of the chain is, for reasons */
export async function checkRevocation(chain: readonly Certificate[], policy: CrlPolicy, judge: Judge, crlPath: string, pathOf: (i: number) => string): Promise<Revocation> {
  if (policy.require === 'off') {
    judge.skipped('CRL', crlPath);
    return { status: 'unchecked', crls: [] };
  }
  const lists = policy.crls.map((crl, i) => ('tbs' in crl ? crl : judge.parse('CRL-FORMAT', `${crlPath}[${i}]`, () => readCrl(crl, `${crlPath}[${i}]`, policy.cache))));
  const good = new Set<Crl>();
  const uncovered: string[] = [];
  for (const [i, certificate] of chain.slice(0, -1).entries()) {
    const issuer = chain[i + 1] as Certificate;
    const where = `${pathOf(i)}.serialNumber`;
    const ours = lists.map((list, at) => ({ list, at })).filter((x): x is { list: Crl; at: number } => x.list !== undefined && equal(x.list.issuer, certificate.issuer));
    let covered = false;
    for (const { list, at } of ours) {
      if (!await checkCrl(list, issuer, policy, judge, `${crlPath}[${at}]`)) continue;
      good.add(list);
      covered = true;
      const entry = list.revoked.get(certificate.serial);
      judge.that('CRL-SERIAL', where, entry === undefined, () => ({ code: 'REVOKED', have: `${printable(certificate.issuerText)} ${certificate.serial}, revoked ${iso(entry?.revokedAt ?? 0)}, reason ${entry?.reason ?? 'not given'}`, need: 'a certificate that its issuer has not revoked', next: 'Its issuer no longer vouches for this certificate: move the workload to another machine.' }));
    }
    const needed = policy.scope === 'all' || i > 0;
    if (!covered && needed) uncovered.push(where);
    if (policy.require === 'require' && needed && ours.length === 0) {
      judge.that('CRL-PRESENT', where, false, () => ({ code: 'CRL_ABSENT', have: lists.length === 0 ? 'no list' : `lists of ${[...new Set(lists.map((l) => (l === undefined ? 'nobody' : printable(l.issuerText))))].join(' and ')}`, need: `a list of ${printable(certificate.issuerText)}`, next: FETCH }));
    } else if (covered) judge.that('CRL-PRESENT', where, true, () => ({ code: 'CRL_ABSENT', next: FETCH }));
  }
  // After the others: certificates may share a place in the list of checks, and what was left out must stay visible there
  for (const where of uncovered) judge.skipped('CRL-PRESENT', where);
  const crls = [...good].map((l): CrlFact => ({ issuer: l.issuerText, number: l.number, thisUpdate: l.thisUpdate, nextUpdate: l.nextUpdate, stale: l.nextUpdate < policy.at }));
  return { status: uncovered.length === 0 ? 'good' : 'unchecked', crls };
}

/** Whether `crl` is a current, authentic list of `issuer`; each failing check leaves its reason. */
export async function checkCrl(crl: Crl, issuer: Certificate, policy: Pick<CrlPolicy, 'at' | 'skewSeconds' | 'graceSeconds' | 'algorithms' | 'cache'>, judge: Judge, path: string): Promise<boolean> {
  const { at, skewSeconds, graceSeconds, algorithms } = policy;
  const named = judge.that('CRL-ISSUER', `${path}.issuer`, equal(crl.issuer, issuer.subject), () => ({ code: 'CRL_ISSUER', have: printable(crl.issuerText), need: printable(issuer.subjectText), next: FETCH }));
  const id = crl.authorityKeyId?.keyId ?? null;
  const sameKey = judge.that('CRL-KEY-ID', `${path}.authorityKeyIdentifier`, id === null || issuer.subjectKeyId === null || id === issuer.subjectKeyId, () => ({ code: 'CRL_ISSUER', have: id ?? '', need: issuer.subjectKeyId ?? '', next: FETCH }));
  const maySign = judge.that('CRL-SIGN', `${path}.issuer.keyUsage`, issuer.keyUsage?.has('cRLSign') === true, () => ({ code: 'CRL_ISSUER', have: [...issuer.keyUsage ?? ['no keyUsage']].join(', '), need: 'cRLSign', next: FETCH }));
  const begun = judge.that('CRL-THIS-UPDATE', `${path}.thisUpdate`, crl.thisUpdate <= at + skewSeconds, () => ({ code: 'CRL_NOT_YET_VALID', have: iso(at), need: `from ${iso(crl.thisUpdate)}`, next: 'Compare the clocks of the verifier and of the issuer.' }));
  const current = judge.that('CRL-NEXT-UPDATE', `${path}.nextUpdate`, crl.nextUpdate + graceSeconds >= at, () => ({ code: 'CRL_EXPIRED', have: iso(at), need: `until ${iso(crl.nextUpdate + graceSeconds)}`, next: FETCH }));
  const allowed = algorithms.includes(crl.algorithm);
  if (!named || !sameKey) return false;
  const signed = judge.that('CRL-SIGNATURE', `${path}.signature`, allowed && await signedBy(crl, issuer, policy.cache), () => ({ code: 'CRL_SIGNATURE', have: allowed ? 'a signature that the issuer\'s key does not verify' : crl.algorithm, need: allowed ? `one by ${printable(issuer.subjectText)}` : algorithms.join(', '), next: FETCH }));
  return maySign && begun && current && signed;
}

async function signedBy(crl: Crl, issuer: Certificate, cache: ChainCache | undefined): Promise<boolean> {
  const name = cache === undefined ? '' : await cache.memo.linkName(issuer, crl, () => ({ issuer: crl.issuerText, serial: `crl ${crl.number ?? '-'}`, notAfter: crl.nextUpdate, der: crl.der }));
  if (cache?.has(name) === true) return true;
  const holds = await verifySignature(issuer, crl.algorithm, crl.signature, crl.tbs);
  if (holds) {
    cache?.add(name);
    if (cache?.kept.has(crl) === false) cache.kept.keep('crl', crl.der, (copy) => parseCrl(copy, 'crl'));
  }
  return holds;
}
