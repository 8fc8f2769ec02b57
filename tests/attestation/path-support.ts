/** A PKI of root, intermediate and leaf for the tests of paths and revocation lists, with keys that are made once per machine. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { type Bytes, bytes, hex, sha256 } from '../../attestation/bytes.ts';
import { CheckList } from '../../attestation/checks.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { type PathRequest, type PinnedRoot, validatePath, type VerifiedPath } from '../../attestation/path.ts';
import { type AuthorityOptions, dn, type Issued, makeAuthority } from '../../attestation/platforms/simulated/issue.ts';
import { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { NOW } from './support.ts';

const FOLDER = new URL('../../.cache/test-keys/', import.meta.url);

/** Test keys kept on disk: RSA keys take seconds. They sign nothing but what tests make. */
export const KEYS = new KeyRing({
  get(name) {
    try {
      return readFileSync(new URL(name, FOLDER), 'utf8');
    } catch {
      return undefined;
    }
  },
  set(name, value) {
    mkdirSync(FOLDER, { recursive: true });
    const temporary = new URL(`${name}.${process.pid}`, FOLDER);
    writeFileSync(temporary, value, { mode: 0o600 });
    renameSync(temporary, new URL(name, FOLDER));
  },
});

export const DAY = 86_400;
export const named = (cn: string): Bytes => dn([['C', 'US'], ['O', 'Test'], ['CN', cn]]);

export interface Pki { readonly root: Issued; readonly intermediate: Issued; readonly leaf: Issued }
export type PkiLevel = keyof Pki;
export type PkiChange = Partial<Record<PkiLevel, Partial<AuthorityOptions>>>;

/** P-256 throughout, as Intel's; each level's options can be set otherwise. */
export async function pki(change: PkiChange = {}): Promise<Pki> {
  const [a, b, c] = await Promise.all([KEYS.get('P-256', 'root'), KEYS.get('P-256', 'intermediate'), KEYS.get('P-256', 'leaf')]);
  const times = { notBefore: NOW - DAY, notAfter: NOW + DAY };
  const root = await makeAuthority({ key: a, subject: named('root'), pathLen: 1, ...times, ...change.root });
  const intermediate = await makeAuthority({ key: b, subject: named('intermediate'), issuer: root, pathLen: 0, ...times, ...change.intermediate });
  const leaf = await makeAuthority({ key: c, subject: named('leaf'), issuer: intermediate, pathLen: null, ...times, ...change.leaf });
  return { root, intermediate, leaf };
}

export async function pin(certificate: Bytes, name = 'test root'): Promise<PinnedRoot> {
  return { name, certSha256: hex(await sha256(certificate)), spkiSha256: hex(await sha256(parseCertificate(certificate, 'root').spki)) };
}

/** A request that the PKI as it is satisfies. */
export async function requestOf(p: Pki, change: Partial<PathRequest> = {}): Promise<PathRequest> {
  return {
    prefix: 'TEST', path: 'leaf', leaf: p.leaf.certificate, intermediates: [p.intermediate.certificate, p.root.certificate], roots: [await pin(p.root.certificate)], at: NOW,
    algorithms: ['ES256'], leafProfile: { keys: ['P-256'], keyUsage: ['digitalSignature'] }, revoked: [], requireCrl: 'off', ...change,
  };
}

/** What {@link validatePath} says: the path, or every code. */
export async function verdict(request: PathRequest): Promise<{ path?: VerifiedPath; codes: RefusalCode[]; refusal?: Refusal; checks: CheckList }> {
  const checks = new CheckList();
  const path = await validatePath(request, checks);
  expect(path === undefined).toBe(checks.failed);
  if (path !== undefined) return { path, codes: [], checks };
  try {
    checks.refuseIfFailed();
  } catch (error) {
    const refusal = error as Refusal;
    for (const reason of refusal.reasons) expect(reason.next.length).toBeGreaterThan(10);
    return { codes: [...new Set(refusal.codes)].sort(), refusal, checks };
  }
  throw new Error('unreachable');
}

export function lastByteFlipped(der: Bytes): Bytes {
  const copy = bytes(der);
  copy[copy.length - 1] = (copy[copy.length - 1] as number) ^ 1;
  return copy;
}
