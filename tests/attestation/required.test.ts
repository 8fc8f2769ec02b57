/**
 * The negative tests that a verifier has to have (what broke others), by number, and where each of them is: a table that fails when a test of it is renamed or
 * gone. Those of sessions, release and service (49 to 58, 61) are with the broker, the gateway and the client.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const TESTS: readonly (readonly [number: number, file: string, ...texts: string[]])[] = [
  [1, 'nitro-attacks', 'D1 nothing configured'], [2, 'nitro-attacks', 'D2 debug mode'], [3, 'nitro-attacks', 'D3 another root'], [4, 'nitro-attacks', 'D4 signature and header'], [5, 'nitro-checks', 'leaf expired a second ago', 'CHAIN_PATHLEN'],
  [6, 'nitro-attacks', 'D6 the bundle'], [7, 'nitro-attacks', 'D7 bytes'], [8, 'nitro-attacks', 'D8 nonce'], [9, 'nitro-attacks', 'D9 binding and time'], [10, 'path', 'a twin of the signature (r, n - s) is the same certificate'],
  [11, 'tdx/checks', 'QE identity, another level', 'no ${key}'], [11, 'tdx/tcb', 'QE_IDENTITY'], [12, 'tdx/checks', 'TCB info, one digit otherwise', 'TCB info of version 2', 'TCB info of SGX', 'expired TCB info'], [12, 'tdx/tcb', 'an evaluation below the floor'],
  [13, 'tdx/td', 'DEBUG_TD'], [14, 'tdx/checks', 'random bytes', 'an empty list by another issuer', 'a list with a bad signature', 'an expired list', 'PCK revoked'], [15, 'tdx/quote', 'FMT_TRAILING', 'authData'], [15, 'tdx/checks', 'four certificates', 'a PEM hidden in white space'],
  [16, 'tdx/tcb', "platform: { status: 'UpToDate' }, module: { status: 'OutOfDate' }", "platform: { status: 'OutOfDate' }, module: {"], [17, 'tdx/checks', 'another FMSPC', 'another PCE'], [17, 'tdx/tcb', 'TCB_FLOOR'], [18, 'tdx/td', 'a service TD', 'TD_ATTR'],
  [19, 'tdx/td', 'RTMR3 only when its log was replayed', 'one that passes replay and is appraised is one list'], [20, 'tdx/tcb', 'convergence'], [20, 'tdx/td', 'no policy can pin RTMR3 alone'], [21, 'snp/verify', 'D21 reserved policy bit'], [21, 'snp/appraise', 'D21'],
  [22, 'snp/verify', 'D22 signing key 7'], [22, 'snp/chain', 'D22'], [23, 'snp/chain', 'D23 a VCEK of lower'], [24, 'snp/chain', 'D24 another chip'], [25, 'snp/verify', 'D25 Venice'], [26, 'snp/appraise', 'D26'], [27, 'snp/appraise', 'D27 ALIAS_CHECK_COMPLETE'],
  [28, 'snp/appraise', 'D28 a denied generation', 'Milan never affirms'], [29, 'snp/verify', 'D29 report_data'], [30, 'snp/verify', 'D30 length 1183'], [31, 'crl', 'an intermediate revoked (D31)'], [32, 'snp/verify', 'D32 version 2'], [33, 'snp/appraise', 'D33: another measurement is refused'],
  [34, 'azure/azure-checks', 'D34: other PCRs'], [35, 'azure/azure-checks', 'D35: PCR8 is sent but not quoted'], [36, 'tpm/quote', 'SHA-256 twice', 'four bytes of selection', 'PCR_BANK'], [37, 'azure/azure-checks', 'D37: a quote by another key'], [38, 'azure/hcl', 'HCLAkPub twice', 'hash type 2'],
  [39, 'azure/azure-checks', 'user-data in the other case (D39)'], [40, 'azure/azure-checks', 'D40: certificates'], [41, 'azure/azure-checks', 'D41: the same VM after a restart', 'D41: a report of one VM'], [42, 'gke/ak', 'no machine of production'], [42, 'tokens/endorsement', 'D42: endorsement'],
  [43, 'eventlog/event-log', 'D43: shorter than the register'], [44, 'azure/appraise', 'D44: another'], [45, 'tokens/jwt', 'D45'], [46, 'tokens/maa', 'D46'], [46, 'azure/corroborated', 'of another boot: other runtime data'], [47, 'tokens/google', 'D47'], [48, 'tokens/google', 'D48: plain SEV'],
  [59, 'fuzz', 'every truncation'], [60, '../browser/corpus', 'simulated evidence of every adapter'], [60, '../collateral/bundle', 'an imported bundle serves a fetcher whose network throws'], [62, 'gke/nodes', 'MR_OWNER names the instance'], [63, 'gke/nodes', 'registry proves the origin'],
  [64, 'tokens/endorsement', "describe('D64'"], [65, 'nitro-checks', "document\\'s own time, long after the leaf expired; the live path refuses"], [66, 'path', 'two intermediates of one name'],
];

test.each(TESTS.map(([number, file, ...texts]) => ({ number, file, texts })))('D$number is in $file', ({ file, texts }) => {
  const source = readFileSync(new URL(`${file}.test.ts`, import.meta.url), 'utf8');
  for (const text of texts) expect(source.includes(text), text).toBe(true);
});

test('none is left out', () => {
  const elsewhere = [49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 61];
  expect([...new Set([...TESTS.map(([n]) => n), ...elsewhere])].sort((a, b) => a - b)).toEqual(Array.from({ length: 66 }, (_, i) => i + 1));
});
