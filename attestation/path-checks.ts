/** What is said of a certificate by its place in a path, without its signature. */
import { type Certificate } from './formats/x509.ts';
import { OID } from './formats/oid.ts';
import { iso, type Judge } from './judge.ts';
import type { PathRequest } from './path.ts';
import { printable } from './refusal.ts';
import { isDenied } from './revocation.ts';

const NEXT = 'Use certificates that their issuer made for this purpose; if they are, report it to the operator of the cell.';

/** @param chain leaf first; `partial`: it ends below a root that was not reached */
export function checkEach(chain: readonly Certificate[], request: PathRequest, judge: Judge, issuers: string, extent: 'whole' | 'partial'): void {
  for (const [i, certificate] of chain.entries()) {
    const path = i === 0 ? request.path : `${issuers}[${i}]`;
    const isRoot = extent === 'whole' && i === chain.length - 1;
    if (i === 0) checkLeaf(certificate, request, judge, path);
    else checkCa(certificate, i - 1, isRoot, request, judge, path);
    checkAny(certificate, i === 0 || !isRoot, request, judge, path);
  }
}

function checkCa(certificate: Certificate, below: number, isRoot: boolean, request: PathRequest, judge: Judge, path: string): void {
  judge.that('CHAIN-CA', `${path}.basicConstraints`, certificate.ca, () => ({ code: 'CHAIN_CA', have: 'cA false', need: 'cA true', next: NEXT }));
  judge.that('CHAIN-PATHLEN', `${path}.basicConstraints.pathLen`, certificate.pathLen === null || certificate.pathLen >= below, () => ({ code: 'CHAIN_PATHLEN', have: String(certificate.pathLen), need: `at least ${below}`, next: NEXT }));
  judge.that('CHAIN-KEY-USAGE', `${path}.keyUsage`, certificate.keyUsage?.has('keyCertSign') === true, () => ({ code: 'CHAIN_KEY_USAGE', have: usages(certificate), need: 'keyCertSign', next: NEXT }));
  const purpose = request.leafProfile.extendedKeyUsage;
  if (purpose !== undefined && !isRoot) {
    const allowed = certificate.extendedKeyUsage;
    judge.that('CHAIN-EXTENDED-KEY-USAGE', `${path}.extendedKeyUsage`, allowed === null || allowed.has(purpose) || allowed.has(OID.anyExtendedKeyUsage), () => ({ code: 'CHAIN_KEY_USAGE', have: purposes(certificate), need: `${purpose}, or no limit`, next: NEXT }));
  }
}

function checkLeaf(certificate: Certificate, { leafProfile: profile }: PathRequest, judge: Judge, path: string): void {
  const { keyUsage } = certificate;
  judge.that('LEAF-CA', `${path}.basicConstraints`, !certificate.ca, () => ({ code: 'CHAIN_CA', have: 'cA true', need: 'cA false', next: NEXT }));
  judge.that('LEAF-KEY', `${path}.subjectPublicKeyInfo`, profile.keys.includes(certificate.key.kind), () => ({ code: 'CHAIN_ALGORITHM', have: certificate.key.kind, need: profile.keys.join(' or '), next: NEXT }));
  const holds = keyUsage === null ? profile.keyUsageAbsent === 'allow' : profile.keyUsage.every((u) => keyUsage.has(u)) && !keyUsage.has('keyCertSign');
  judge.that('LEAF-KEY-USAGE', `${path}.keyUsage`, holds, () => ({ code: 'CHAIN_KEY_USAGE', have: usages(certificate), need: `${profile.keyUsage.join(', ')} without keyCertSign`, next: NEXT }));
  const purpose = profile.extendedKeyUsage;
  if (purpose !== undefined) judge.that('LEAF-EXTENDED-KEY-USAGE', `${path}.extendedKeyUsage`, certificate.extendedKeyUsage?.has(purpose) === true, () => ({ code: 'CHAIN_KEY_USAGE', have: purposes(certificate), need: purpose, next: NEXT }));
  const name = profile.commonName;
  if (name !== undefined) judge.that('LEAF-NAME', `${path}.subject`, new RegExp(name.source).test(certificate.commonName), () => ({ code: 'CHAIN_NAME', have: printable(certificate.commonName), need: name.source, next: NEXT }));
}

function checkAny(certificate: Certificate, purposesJudged: boolean, request: PathRequest, judge: Judge, path: string): void {
  const { at, skewSeconds = 60, handledCriticalExtensions: handled = [], revoked, leafProfile } = request;
  const known = purposesJudged && leafProfile.extendedKeyUsage !== undefined ? [...handled, OID.extendedKeyUsage] : handled;
  const unknown = certificate.unknownCritical.filter((id) => !known.includes(id));
  judge.that('CHAIN-CRITICAL', `${path}.extensions`, unknown.length === 0, () => ({ code: 'CHAIN_CRITICAL_EXTENSION', have: unknown.join(', '), need: ['basicConstraints', 'keyUsage', ...known].join(', '), next: NEXT }));
  judge.that('CHAIN-NOT-BEFORE', `${path}.notBefore`, certificate.notBefore <= at + skewSeconds, () => ({ code: 'CHAIN_NOT_YET_VALID', have: iso(at), need: `from ${iso(certificate.notBefore)}`, next: 'Compare the clocks of the verifier and of the attester.' }));
  judge.that('CHAIN-NOT-AFTER', `${path}.notAfter`, certificate.notAfter >= at, () => ({ code: 'CHAIN_EXPIRED', have: iso(at), need: `until ${iso(certificate.notAfter)}`, next: 'Fetch the current certificate. Judge stored evidence with verifyReplay.' }));
  judge.that('CHAIN-REVOKED', `${path}.serialNumber`, !isDenied(certificate, revoked), () => ({ code: 'REVOKED', have: `${printable(certificate.issuerText)} ${certificate.serial}`, need: 'a certificate that the policy does not revoke', next: 'The operator has revoked this certificate: move the workload to another machine.' }));
}

const usages = (c: Certificate): string => (c.keyUsage === null ? 'no keyUsage' : [...c.keyUsage].join(', '));
const purposes = (c: Certificate): string => (c.extendedKeyUsage === null ? 'no extendedKeyUsage' : [...c.extendedKeyUsage].join(', '));
