/**
 * Verdicts on paths against `openssl verify` and pkijs: random PKIs of up to four levels, each with random defects. What we accept they accept;
 * what they accept and we refuse is one of the few places where we are stricter on purpose.
 */
import { fromBER } from 'asn1js';
import fc from 'fast-check';
import { Certificate as PkiCertificate, CertificateChainValidationEngine, CertificateRevocationList } from 'pkijs';
import { describe, expect, test } from 'vitest';
import type { Bytes } from '../../attestation/bytes.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { type AuthorityOptions, basicConstraints, type Issued, makeAuthority, makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { NO_OPENSSL, pemOf, run } from './openssl-support.ts';
import { DAY, KEYS, lastByteFlipped, named, pin, verdict } from './path-support.ts';
import { NOW } from './support.ts';

const DEFECTS = ['none', 'expired', 'future', 'not a CA', 'no keyCertSign', 'path length', 'signature', 'critical', 'no key ids', 'revoked', 'missing'] as const;
type Defect = (typeof DEFECTS)[number];
interface Case { readonly depth: number; readonly defects: readonly { readonly level: number; readonly defect: Defect }[]; readonly crls: boolean }

const cases: fc.Arbitrary<Case> = fc.record({
  depth: fc.integer({ min: 2, max: 4 }), crls: fc.boolean(),
  defects: fc.array(fc.record({ level: fc.nat({ max: 3 }), defect: fc.constantFrom(...DEFECTS) }), { maxLength: 2 }),
});

interface Made { readonly chain: Issued[]; readonly pool: Bytes[]; readonly crls: Bytes[] }

/** Root first. */
async function make({ depth, defects, crls }: Case): Promise<Made> {
  const chain: Issued[] = [];
  const has = (level: number, defect: Defect) => defects.some((d) => d.level === level && d.defect === defect);
  const certificates: Bytes[] = [];
  for (let level = 0; level < depth; level++) {
    const isLeaf = level === depth - 1;
    const below = depth - 2 - level;
    const issuer = chain.at(-1);
    const options: AuthorityOptions = {
      key: await KEYS.get('P-256', `level-${level}`), subject: named(`level ${level}`), ...(issuer === undefined ? {} : { issuer }), pathLen: isLeaf ? null : has(level, 'path length') && below > 0 ? below - 1 : below,
      notBefore: NOW + (has(level, 'future') ? DAY : -DAY), notAfter: NOW + (has(level, 'expired') ? -1 : 2 * DAY), ...(has(level, 'no keyCertSign') ? { keyUsage: ['digitalSignature', 'cRLSign'] } : {}),
      ...(has(level, 'critical') ? { extensions: [unknownExtension(true)] } : {}),
    };
    const made = await makeAuthority(options);
    const usage = made.template.extensions.filter((e) => e.id === OID.keyUsage);
    let changed = made;
    if (has(level, 'not a CA') && !isLeaf) changed = await makeAuthority({ ...options, change: { extensions: [basicConstraints(false), ...usage, ...made.template.extensions.slice(2)] } });
    else if (has(level, 'no key ids')) changed = await makeAuthority({ ...options, change: { extensions: made.template.extensions.filter((e) => e.id === OID.basicConstraints || e.id === OID.keyUsage || e.critical) } });
    chain.push(changed);
    certificates.push(has(level, 'signature') ? lastByteFlipped(changed.certificate) : changed.certificate);
  }
  const lists = crls ? await Promise.all(chain.slice(0, -1).map((issuer, level) => makeCrl({ issuer, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY, revoked: has(level + 1, 'revoked') ? [chain[level + 1] as Issued] : [] }))) : [];
  // The root is always there: a missing one is a matter of pins
  return { chain: chain.map((c, i) => ({ ...c, certificate: certificates[i] as Bytes })), pool: certificates.slice(0, -1).filter((_, level) => level === 0 || !has(level, 'missing')), crls: lists };
}

async function ours({ chain, pool, crls }: Made) {
  const [root] = chain as [Issued];
  return verdict({
    prefix: 'TEST', path: 'leaf', leaf: (chain.at(-1) as Issued).certificate, intermediates: pool, roots: [await pin(root.certificate)], at: NOW, algorithms: ['ES256'],
    leafProfile: { keys: ['P-256'], keyUsage: ['digitalSignature'] }, revoked: [], crls, requireCrl: crls.length > 0 ? 'require' : 'off', skewSeconds: 0,
  });
}

function theirs({ chain, pool, crls }: Made): boolean {
  const leaf = chain.at(-1) as Issued;
  const { status } = run(
    ['verify', '-attime', String(NOW), '-CAfile', '{root}', ...(pool.length > 1 ? ['-untrusted', '{pool}'] : []), ...(crls.length > 0 ? ['-crl_check_all', '-CRLfile', '{crls}'] : []), '{leaf}'],
    { root: pemOf((chain[0] as Issued).certificate), pool: pool.slice(1).map((c) => pemOf(c)).join(''), crls: crls.map((c) => pemOf(c, 'X509 CRL')).join(''), leaf: pemOf(leaf.certificate) },
  );
  return status === 0;
}

/** Why we may refuse what openssl accepts. */
const STRICTER: RefusalCode[] = ['CHAIN_KEY_USAGE'];

describe.skipIf(NO_OPENSSL)('against openssl', () => {
  test('random PKIs with random defects', async () => {
    const counts = { accepted: 0, refused: 0, stricter: 0 };
    await fc.assert(fc.asyncProperty(cases, async (c) => {
      const made = await make(c);
      const { codes } = await ours(made);
      const accepted = theirs(made);
      if (codes.length === 0) expect(accepted).toBe(true);
      else if (accepted) {
        expect(codes.every((code) => STRICTER.includes(code)), `${codes} at ${JSON.stringify(c)}`).toBe(true);
        counts.stricter += 1;
      }
      counts[codes.length === 0 ? 'accepted' : 'refused'] += 1;
    }), { numRuns: 80 });
    // A run without either would say nothing
    expect(counts.accepted).toBeGreaterThan(10);
    expect(counts.refused).toBeGreaterThan(10);
  });

  test('each defect at each level alone', async () => {
    for (const defect of DEFECTS) {
      for (let level = 0; level < 4; level++) {
        const c: Case = { depth: 4, crls: defect === 'revoked', defects: [{ level, defect }] };
        const made = await make(c);
        const { codes } = await ours(made);
        expect(codes.length === 0, `${defect} at level ${level}: ${codes}`).toBe(theirs(made) && codes.every((code) => !STRICTER.includes(code)));
      }
    }
  });
});

async function pkijsVerdict({ chain, pool, crls }: Made): Promise<boolean> {
  const parse = (der: Bytes) => new PkiCertificate({ schema: fromBER(der).result });
  const engine = new CertificateChainValidationEngine({
    trustedCerts: [parse((chain[0] as Issued).certificate)], certs: [...pool.slice(1), (chain.at(-1) as Issued).certificate].map(parse), crls: crls.map((der) => new CertificateRevocationList({ schema: fromBER(der).result })), checkDate: new Date(NOW * 1000),
  });
  return (await engine.verify()).result;
}

test('what we accept pkijs accepts, and signatures, dates and revocations that it refuses we refuse', async () => {
  let [accepted, agreed] = [0, 0];
  await fc.assert(fc.asyncProperty(cases, async (c) => {
    const made = await make(c);
    const [{ codes }, their] = [await ours(made), await pkijsVerdict(made)];
    if (codes.length === 0) {
      expect(their).toBe(true);
      accepted += 1;
    }
    if (!their) expect(codes.length).toBeGreaterThan(0);
    agreed += their === (codes.length === 0) ? 1 : 0;
  }), { numRuns: 80 });
  expect(accepted).toBeGreaterThan(5);
  expect(agreed).toBeGreaterThan(20);
});
