/**
 * Every check that an adapter can record, by what its evidence is of: closed lists, so that an acceptance can say of each check what became of it, and
 * nobody has to guess whether one that is not mentioned was made. A check that is recorded under another id fails a test (check-ids.test.ts).
 *
 * In no list: what is recorded where it refuses only, `<chain>-CHAIN-ROOT-KEY` (a pinned certificate with another key) and `GCE-AK-PRESENT` (no certificate).
 */
import type { Check } from './claims.ts';

const under = (prefix: string, ...names: string[]): string[] => names.map((name) => `${prefix}-${name}`);
/** What path.ts and path-checks.ts make of a chain, and revocation.ts of its lists. */
const chain = (prefix: string): string[] => [
  ...under(`${prefix}-CHAIN`, 'ALGORITHM', 'CA', 'CRITICAL', 'KEY-ID', 'KEY-USAGE', 'LENGTH', 'LINK', 'NOT-AFTER', 'NOT-BEFORE', 'PATHLEN', 'POOL', 'REVOKED', 'ROOT', 'SIGNATURE'),
  ...under(`${prefix}-LEAF`, 'CA', 'KEY', 'KEY-USAGE'),
];
const crl = (prefix: string): string[] => under(`${prefix}-CRL`, 'ISSUER', 'KEY-ID', 'NEXT-UPDATE', 'PRESENT', 'SERIAL', 'SIGN', 'SIGNATURE', 'THIS-UPDATE');

const NITRO = under('NITRO', 'AGE', 'CERTIFICATE-PROFILE', 'CHAIN-CA', 'CHAIN-CRITICAL', 'CHAIN-KEY-USAGE', 'CHAIN-LENGTH', 'CHAIN-LINK', 'CHAIN-NOT-AFTER', 'CHAIN-NOT-BEFORE', 'CHAIN-PATHLEN', 'CHAIN-REVOKED', 'CHAIN-ROOT',
  'CHAIN-ROOT-KEY', 'CHAIN-SIGNATURE', 'COSE', 'KEY', 'LEAF-CA', 'LEAF-KEY-USAGE', 'MODULE', 'NONCE', 'NOT-AHEAD', 'PAYLOAD', 'PLATFORM', 'REGION', 'SIGNATURE', 'TRANSCRIPT');

const SNP = [
  ...under('SNP', 'CERTIFICATE', 'CHAIN', 'CHAIN-UNUSED', 'CHIP-ID', 'COLLATERAL', 'CPUID', 'CRL-FORMAT', 'CSP-ID', 'GENERATION', 'HINT', 'ISSUER-KIND', 'ISSUER-NAME', 'ISSUER-PIN', 'PRODUCT', 'REPORT', 'SIGNATURE', 'SIGNED', 'SIGNER-KIND',
    'TCB-LAYOUT', 'TCB-ORDER', 'VEK', 'VEK-TCB', 'VERSION-TWO'),
  ...chain('SNP'), ...crl('SNP'),
];

const TDX = [
  ...under('TDX', 'COLLATERAL', 'COLLATERAL-CURRENT', 'COLLATERAL-ISSUED', 'COLLATERAL-SIGNATURE', 'CRL-FORMAT', 'CRL-ISSUER', 'FORMAT', 'MODULE', 'MODULE-ATTRIBUTES', 'MODULE-LEVEL', 'MODULE-SIGNER', 'QE-BINDING', 'QE-DEBUG', 'QE-IDENTITY',
    'QE-IDENTITY-MATCH', 'QE-LEVEL', 'QE-SIGNATURE', 'SIGNATURE', 'TCB-INFO', 'TCB-INFO-PLATFORM', 'TCB-LEVEL'),
  ...under('TDX-PCK', 'CA', 'CHAIN-UNUSED', 'COUNT', 'DER', 'LEAF-NAME', 'PEM', 'PLATFORM'), ...chain('TDX-PCK'), ...crl('TDX-PCK'),
  ...under('TDX-SIGNER', 'CERTIFICATE', 'CHAIN-UNUSED', 'LEAF-NAME', 'PEM'), ...chain('TDX-SIGNER'), ...crl('TDX-SIGNER'),
  ...under('TDX-TD', 'DEBUG', 'KL', 'MIGRATABLE', 'PERFMON', 'PKS', 'RESERVED', 'SEAM-ATTRIBUTES', 'SEAM-SIGNER', 'SEPT-VE', 'SERVICE-TD', 'XFAM'),
];

const TPM = under('TPM', 'SIGNATURE-FORMAT', ...under('QUOTE', 'BANK', 'CLOCK', 'DIGEST', 'EXTRA-DATA', 'FORMAT', 'NOT-EMPTY', 'REQUIRED', 'SELECTION', 'SIGNATURE', 'VALUES'));
const EVENT_LOG = under('EVENTLOG', 'BANK', 'EXIT-BOOT-SERVICES', 'FORMAT', 'QUOTED', 'REPLAY', 'SEPARATOR');
const HCL = under('HCL', 'BINDING', 'BINDING-REST', 'FORMAT', 'RUNTIME-DATA');

const AZURE = [
  ...under('AZURE', 'BOOT', 'CONTAINER', 'HARDWARE-KIND', 'PLATFORM', 'REQUIRED'),
  ...under('AZURE-AK', 'BOUND', 'CERTIFICATE', 'CHAIN-EXTENDED-KEY-USAGE', 'CHAIN-UNUSED', 'CRL-FORMAT', 'LEAF-EXTENDED-KEY-USAGE', 'LEAF-NAME'), ...chain('AZURE-AK'), ...crl('AZURE-AK'),
  ...HCL, ...TPM, ...EVENT_LOG,
];

const GKE = under('GKE', 'BOOT', 'CONTAINER', 'PLATFORM', 'REQUIRED');
const ENDORSEMENT = [...under('GCE', 'CERTIFICATE', 'CRL', 'ENDORSEMENT'), ...chain('GCE'), ...under('GCE-ENDORSEMENT', 'CHAIN', 'MEASUREMENT', 'NOT-AHEAD', 'PRESENT', 'ROW', 'SIGNATURE', 'SVN', 'TIMESTAMP')];

const CONFIDENTIAL_SPACE = [
  ...under('CS', 'AGE', 'AUDIENCE', 'AUDIENCE-FORM', 'CERTIFICATE', 'CHAIN-UNUSED', 'CLAIMS', 'COMMAND', 'CONTAINER', 'CRL-FORMAT', 'DEBUG', 'DENIED', 'ENVIRONMENT', 'EXP', 'HW-MODEL', 'IAT', 'IMAGE', 'ISSUER', 'KEY', 'MONITORING', 'NBF', 'NONCE', 'OEM', 'PLATFORM', 'PROJECT',
    'PROJECT-NUMBER', 'REQUIRED', 'RESTART', 'SECBOOT', 'SIGNATURE', 'SOFTWARE', 'SUPPORT', 'TDX-STATUS', 'TIMES', 'TOKEN', 'VERSION'),
  ...chain('CS'), ...crl('CS'),
];

const list = (...ids: string[]): readonly string[] => Object.freeze([...new Set(ids)].sort());

export const CHECK_IDS = Object.freeze({
  'aws-nitro': list(...NITRO),
  'confidential-space': list(...CONFIDENTIAL_SPACE),
  'azure-cvm/sev-snp': list(...AZURE, ...SNP),
  'azure-cvm/tdx': list(...AZURE, ...under('AZURE', 'TD-QUOTE', 'TD-QUOTE-BINDING'), ...TDX),
  'gke/sev-snp': list(...GKE, ...SNP, 'SNP-REPORT-DATA', 'GCE-PROJECT', ...ENDORSEMENT, 'GCE-ENDORSEMENT-FAMILY', 'GCE-ENDORSEMENT-POLICY'),
  'gke/tdx': list(...GKE, 'GKE-REPORT-DATA', ...TDX, ...under('TDX-GCE', 'HOST', 'HOST-AGE', 'HOST-ENTRY', 'HOST-FORMAT', 'OWNER'), 'GCE-DENIED', 'GCE-PROJECT', ...ENDORSEMENT, ...EVENT_LOG),
  'gke/sev': list(...GKE, 'GKE-TECHNOLOGY', ...under('GCE-AK', 'CERTIFICATE', 'CHAIN-UNUSED', 'CRL-FORMAT', 'DENIED', 'INSTANCE', 'NAMES', 'PRODUCTION', 'PROJECT', 'PURPOSE'), ...chain('GCE-AK'), ...crl('GCE-AK'), ...TPM, ...EVENT_LOG),
});
export type CheckedKind = keyof typeof CHECK_IDS;

/** The checks of an acceptance, and `not-applicable` for those of its kind that nothing in this evidence, and no demand of the policy, called for. */
export function allChecks(kind: CheckedKind, done: readonly Check[]): Check[] {
  const made = new Set(done.map((c) => c.id));
  return [...done, ...CHECK_IDS[kind].filter((id) => !made.has(id)).map((id): Check => ({ id, result: 'not-applicable', evidenceRef: 'evidence' }))];
}
