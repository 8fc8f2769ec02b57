/**
 * Google's endorsement of the firmware of a Confidential VM: does it list this measurement, under the pinned root, and is it recent enough. It proves the
 * firmware and its origin, nothing above it: any VM of Google's with this firmware has the same measurement.
 *
 * Not taken from it: the guest policy (it would allow a migration agent). There is no revocation list for its certificates; floors of security version and
 * of time, which the caller has to state, keep old firmware out, and `trust.revoked` names certificates.
 */
import type { TrustContext, TrustRoot } from '../adapter.ts';
import { type Bytes, equal, hex, sha256 } from '../bytes.ts';
import type { CheckList } from '../checks.ts';
import type { NormalizedClaims } from '../claims.ts';
import { type LaunchEndorsement, parseLaunchEndorsement, type SnpRow, type TdxRow } from '../formats/launch-endorsement.ts';
import { parseCertificate, verifySignature } from '../formats/x509.ts';
import { iso, Judge } from '../judge.ts';
import { validatePath } from '../path.ts';
import { Refusal } from '../refusal.ts';
import { rootsFor } from '../trust/purposes.ts';

/** f73a6949-e8f3-473b-9553-e40e056fa3a2: Google's firmware for SEV-SNP. GCE launches without an id block, so reports do not repeat it. */
export const GCE_FAMILY_ID = 'f73a6949e8f3473b9553e40e056fa3a2';

export interface EndorsementInput {
  /** Absent: collateral `gce-endorsement/<kind>/<measurement>`. */
  readonly endorsement?: Bytes;
  readonly path?: string;
  /** The machine, as its verified report says. */
  readonly machine:
    | { readonly kind: 'sevsnp'; readonly measurement: Bytes; /** POLICY of the report. */ readonly guestPolicy: bigint; readonly vcpus: number | 'unknown' }
    | { readonly kind: 'tdx'; readonly measurement: Bytes; readonly ramGib: number | 'unknown' };
  /** Lowest security version, and oldest time (epoch seconds), that are acceptable. */
  readonly floor: { readonly svn: number; readonly timestamp: number };
}

export interface EndorsementFacts {
  readonly sha256: string;
  readonly kind: 'sevsnp' | 'tdx';
  readonly svn: number;
  /** Epoch seconds. */
  readonly timestamp: number;
  readonly clSpec: string;
  readonly commit: string;
  /** SHA-384 of the UEFI, hex. */
  readonly uefiSha384: string;
  /** Sizes of machines that have this measurement. */
  readonly rows: readonly ({ readonly vcpus: number } | { readonly ramGib: number; readonly earlyAccept: boolean })[];
  readonly root: TrustRoot;
  readonly leafSerial: string;
  readonly collateral: NonNullable<NormalizedClaims['collateral']>[number];
}

const FETCH = 'Fetch the endorsement of this measurement from Google\'s bucket.';
const MOVE = 'Start the VM again on current firmware.';
const MIGRATE_MA = 1n << 18n;

/** @returns undefined when a check failed */
export async function verifyEndorsement(input: EndorsementInput, trust: TrustContext, at: number, checks: CheckList): Promise<EndorsementFacts | undefined> {
  const { machine, path = 'endorsement' } = input;
  const judge = new Judge(checks, 'GCE');
  const key = `${machine.kind}/${hex(machine.measurement)}`;
  const item = input.endorsement === undefined ? trust.collateral?.get('gce-endorsement', key) : undefined;
  const data = input.endorsement ?? item?.bytes;
  if (data === undefined) {
    judge.that('ENDORSEMENT-PRESENT', `collateral.gce-endorsement/${key}`, false, () => ({ code: 'COLLATERAL_ABSENT', have: 'nothing', need: 'an endorsement', next: FETCH }));
    return undefined;
  }
  const endorsement = judge.parse('ENDORSEMENT', path, () => parseLaunchEndorsement(data, path));
  if (endorsement === undefined) return undefined;
  const verified = await checkSigner(endorsement, path, trust, at, checks, judge);
  if (verified === undefined) return undefined;
  const signed = await verifySignature(verified.leaf, 'PS256', endorsement.signature, endorsement.golden);
  if (!judge.that('ENDORSEMENT-SIGNATURE', `${path}.signature`, signed, () => ({ code: 'ENDORSEMENT_SIGNATURE', have: 'a signature that the certificate\'s key does not verify', need: 'RSASSA-PSS with SHA-256 over exactly these bytes', next: FETCH }))) return undefined;

  const listed = machine.kind === 'sevsnp' ? checkSnp(endorsement, machine, path, judge) : checkTdx(endorsement, machine, path, judge);
  if (listed !== undefined) judge.that('ENDORSEMENT-SVN', `${path}.golden.${listed.name}.svn`, listed.svn >= input.floor.svn, () => ({ code: 'ENDORSEMENT_SVN', have: String(listed.svn), need: `at least ${input.floor.svn}`, next: MOVE }));
  judge.that('ENDORSEMENT-TIMESTAMP', `${path}.golden.timestamp`, endorsement.timestamp >= input.floor.timestamp, () => ({ code: 'ENDORSEMENT_TIMESTAMP', have: iso(endorsement.timestamp), need: `from ${iso(input.floor.timestamp)}`, next: MOVE }));
  judge.that('ENDORSEMENT-NOT-AHEAD', `${path}.golden.timestamp`, endorsement.timestamp <= at + 300, () => ({ code: 'CLOCK_FUTURE', have: iso(endorsement.timestamp), need: `until ${iso(at)}`, next: 'Set the clock of the verifier.' }));
  if (judge.failed || listed === undefined) return undefined;
  const digest = hex(await sha256(data));
  return {
    sha256: digest, kind: machine.kind, svn: listed.svn, timestamp: endorsement.timestamp, clSpec: String(endorsement.clSpec), commit: endorsement.commit, uefiSha384: hex(endorsement.digest), rows: listed.rows,
    root: verified.root, leafSerial: verified.leaf.serial, collateral: { kind: 'gce-endorsement', sha256: digest, issued: endorsement.timestamp, source: item?.source ?? 'evidence' },
  };
}

async function checkSigner(endorsement: LaunchEndorsement, path: string, trust: TrustContext, at: number, checks: CheckList, judge: Judge) {
  const where = `${path}.golden.cert`;
  const verified = await validatePath({
    prefix: 'GCE', path: where, issuersPath: `${path}.golden.ca_bundle`, leaf: endorsement.cert, intermediates: [...endorsement.caBundle, ...missingIssuer(endorsement, trust)], unused: 'allow', roots: rootsFor(trust, 'gce-tcb'), at,
    algorithms: ['PS256', 'PS384', 'RS256', 'RS384'], leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'] }, length: { min: 2, max: 4 }, revoked: trust.revoked, requireCrl: 'off', cache: trust.chainCache,
  }, checks);
  judge.that('ENDORSEMENT-CHAIN', where, verified !== undefined, () => ({ code: 'ENDORSEMENT_CHAIN', have: 'a certificate that does not lead to a pinned root at this time', need: 'a path to the root of GCE\'s launch endorsements', next: FETCH }));
  return verified;
}

/** The issuer's certificate from the collateral, where the endorsement has no bundle. */
function missingIssuer({ cert, caBundle }: LaunchEndorsement, trust: TrustContext): Bytes[] {
  if (caBundle.length > 0) return [];
  try {
    const id = parseCertificate(cert, 'cert').authorityKeyId?.keyId;
    const found = id === undefined || id === null ? undefined : trust.collateral?.get('google-ca', id);
    return found === undefined ? [] : [found.bytes];
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

interface Listed { readonly name: 'sev_snp' | 'tdx'; readonly svn: number; readonly rows: EndorsementFacts['rows'] }
type Machine<K> = Extract<EndorsementInput['machine'], { kind: K }>;

function checkSnp({ snp }: LaunchEndorsement, machine: Machine<'sevsnp'>, path: string, judge: Judge): Listed | undefined {
  const at = `${path}.golden.sev_snp`;
  if (snp !== null) judge.that('ENDORSEMENT-FAMILY', `${at}.family_id`, hex(snp.familyId) === GCE_FAMILY_ID, () => ({ code: 'ENDORSEMENT_FAMILY', have: hex(snp.familyId), need: GCE_FAMILY_ID, next: FETCH }));
  // The endorsement's own policy has this bit set: it is never what a report is compared with
  judge.that('ENDORSEMENT-POLICY', 'report.policy', (machine.guestPolicy & MIGRATE_MA) === 0n, () => ({ code: 'GUEST_POLICY', have: `0x${machine.guestPolicy.toString(16)}, which allows a migration agent`, need: 'bit 18 clear, whatever the endorsement says', next: 'Start the VM without a migration agent.' }));
  const rows = listedRows<SnpRow>(snp?.rows ?? [], machine.measurement, (row) => machine.vcpus === 'unknown' || row.vcpus === machine.vcpus, `${machine.vcpus} vCPUs`, (row) => `${row.vcpus} vCPUs`, at, judge);
  return snp === null || rows === undefined ? undefined : { name: 'sev_snp', svn: snp.svn, rows: rows.map(({ vcpus }) => ({ vcpus })) };
}

function checkTdx({ tdx }: LaunchEndorsement, machine: Machine<'tdx'>, path: string, judge: Judge): Listed | undefined {
  const rows = listedRows<TdxRow>(tdx?.rows ?? [], machine.measurement, (row) => machine.ramGib === 'unknown' || row.ramGib === machine.ramGib, `${machine.ramGib} GiB`, (row) => `${row.ramGib} GiB`, `${path}.golden.tdx`, judge);
  return tdx === null || rows === undefined ? undefined : { name: 'tdx', svn: tdx.svn, rows: rows.map(({ ramGib, earlyAccept }) => ({ ramGib, earlyAccept })) };
}

/** The rows with this measurement; of them, those of the machine's size. */
function listedRows<R extends { readonly measurement: Bytes }>(rows: readonly R[], measurement: Bytes, fits: (row: R) => boolean, need: string, show: (row: R) => string, path: string, judge: Judge): R[] | undefined {
  const listed = rows.filter((row) => equal(row.measurement, measurement));
  if (!judge.that('ENDORSEMENT-MEASUREMENT', `${path}.measurements`, measurement.length === 48 && listed.length > 0, () => ({ code: 'ENDORSEMENT_MEASUREMENT', have: `${rows.length} others`, need: hex(measurement), next: FETCH }))) return undefined;
  const sized = listed.filter(fits);
  return judge.that('ENDORSEMENT-ROW', `${path}.measurements`, sized.length > 0, () => ({ code: 'ENDORSEMENT_ROW', have: listed.map(show).join(', '), need, next: 'Compare the size of the machine with what the cloud says of it.' })) ? sized : undefined;
}
