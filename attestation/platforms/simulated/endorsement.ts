/**
 * Simulated launch endorsements of GCE's firmware: the real protobuf under a development root shaped like Google's (RSA-4096 with PSS, a signer without CA
 * in between). Every field, and every byte behind it, can be set otherwise under signatures that verify. Isomorphic.
 */
import type { TrustRoot } from '../../adapter.ts';
import { type Bytes, bytes, concat, fromHex, hex, sha256, utf8 } from '../../bytes.ts';
import { GCE_FAMILY_ID } from '../../hardware/gce-endorsement.ts';
import { type AuthorityOptions, dn, type Issued, makeAuthority } from './issue.ts';
import { KeyRing, type SigningKey, signRaw } from './keys.ts';
import { pemOf } from './tokens.ts';

/** One field: its number, and a varint or bytes. */
export type ProtoField = readonly [number: number, value: bigint | number | Uint8Array];

export function varint(value: bigint | number): Bytes {
  const out: number[] = [];
  let rest = BigInt(value);
  do {
    out.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes(out);
}

/** Fields in this order; those of the value 0 are written out too. */
export const message = (...fields: readonly ProtoField[]): Bytes =>
  concat(...fields.map(([number, value]) => (value instanceof Uint8Array ? concat(varint((number << 3) | 2), varint(value.length), value) : concat(varint(number << 3), varint(value)))));

export interface EndorsementFields {
  /** Epoch seconds. */
  readonly timestamp: number;
  readonly clSpec: number;
  readonly commit: Bytes;
  /** DER. */
  readonly cert: Bytes;
  readonly digest: Bytes;
  /** PEM; empty: absent. */
  readonly caBundle: Bytes;
  readonly snp: { readonly svn: number; readonly rows: readonly (readonly [vcpus: number, measurement: Bytes])[]; readonly familyId: Bytes; readonly imageId: Bytes; readonly policy: bigint } | null;
  readonly tdx: { readonly svn: number; readonly rows: readonly { readonly ramGib: number; readonly earlyAccept: boolean; readonly mrtd: Bytes }[] } | null;
  /** Behind the others. */
  readonly more: readonly ProtoField[];
}

/** VMGoldenMeasurement. */
export function encodeGolden(f: EndorsementFields): Bytes {
  const snp = f.snp === null ? [] : [[7, message(
    [1, f.snp.svn], ...f.snp.rows.map(([vcpus, measurement]): ProtoField => [2, message([1, vcpus], [2, measurement])]), [3, f.snp.familyId], [4, f.snp.imageId], [5, f.snp.policy],
  )] as const];
  const tdx = f.tdx === null ? [] : [[8, message([1, f.tdx.svn], ...f.tdx.rows.map((row): ProtoField => [2, message([1, row.ramGib], ...(row.earlyAccept ? [[2, 1] as const] : []), [3, row.mrtd])]))] as const];
  return message([1, message([1, f.timestamp])], [2, f.clSpec], [3, f.commit], [4, f.cert], [5, f.digest], ...(f.caBundle.length === 0 ? [] : [[6, f.caBundle] as const]), ...snp, ...tdx, ...f.more);
}

export interface EndorsementPki { readonly root: Issued; readonly signer: Issued; readonly trustRoot: TrustRoot }

const YEAR = 365 * 86_400;
const subject = (cn: string): Bytes => dn([['O', 'Simulated, proves nothing about firmware'], ['OU', 'Engineering'], ['CN', cn]]);

/** A root and a signer; each one's options can be set otherwise. */
export async function makeEndorsementPki(now: number, change: { readonly root?: Partial<AuthorityOptions>; readonly signer?: Partial<AuthorityOptions> } = {}, ring: KeyRing = new KeyRing()): Promise<EndorsementPki> {
  const [rootKey, signerKey] = await Promise.all([ring.get('RSA-4096', 'gce-root'), ring.get('RSA-4096', 'gce-signer')]);
  const root = await makeAuthority({ key: rootKey, subject: subject('DEVELOPMENT ROOT simulated GCE-cc-tcb-root'), notBefore: now - YEAR, notAfter: now + 9 * YEAR, pathLen: 0, algorithm: 'PS256', ...change.root });
  const signer = await makeAuthority({ key: signerKey, subject: subject('GCE-uefi-signer'), issuer: root, notBefore: now - YEAR / 2, notAfter: now + YEAR, pathLen: null, algorithm: 'PS256', ...change.signer });
  const trustRoot: TrustRoot = { name: 'simulated GCE-cc-tcb-root', purpose: 'gce-tcb', anchor: 'development', certSha256: hex(await sha256(root.certificate)), spkiSha256: hex(await sha256(root.key.spki)) };
  return { root, signer, trustRoot };
}

/** What a test changes one thing of. Google's own policy value allows a migration agent (bit 18). */
export const endorsementFields = (pki: EndorsementPki, now: number, change: Partial<EndorsementFields> = {}): EndorsementFields => ({
  timestamp: now - 86_400, clSpec: 700_000_000, commit: bytes([]), cert: pki.signer.certificate, digest: new Uint8Array(48).fill(0xd1), caBundle: utf8(pemOf(pki.root.certificate)),
  snp: { svn: 3, rows: [[2, new Uint8Array(48).fill(0x52)], [4, new Uint8Array(48).fill(0x54)]], familyId: fromHex(GCE_FAMILY_ID), imageId: new Uint8Array(16).fill(7), policy: 0x70000n },
  tdx: { svn: 2, rows: [{ ramGib: 16, earlyAccept: false, mrtd: new Uint8Array(48).fill(0x16) }, { ramGib: 32, earlyAccept: true, mrtd: new Uint8Array(48).fill(0x32) }] },
  more: [], ...change,
});

/** VMLaunchEndorsement. @param options.golden other bytes in place of the fields' */
export async function signEndorsement(fields: EndorsementFields, key: SigningKey, options: { readonly golden?: Bytes; readonly algorithm?: 'PS256' | 'PS384' | 'RS256'; readonly more?: readonly ProtoField[] } = {}): Promise<Bytes> {
  const golden = options.golden ?? encodeGolden(fields);
  return message([1, golden], [2, await signRaw(key, options.algorithm ?? 'PS256', golden)], ...(options.more ?? []));
}
