/** Certificates of Google's vTPM keys in a corpus: one alone (DER, PEM, a list of hex), or with the issuers among the companions. */
import { type Bytes, equal, fromHex, text } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { type Collateral, collateralOf } from '../collateral/collateral.ts';
import { readPem } from '../formats/pem.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import { type GceAkFacts, verifyGceAk } from '../hardware/gce/ak.ts';
import { Refusal, refuse } from '../refusal.ts';
import { GOOGLE_CAS } from './google-cas.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, type Vector } from './judge.ts';

const NEXT = 'Hand over a certificate as DER or PEM, or a JSON array of certificates in hex.';
const KINDS = ['root-cert-der', 'root-cert-pem', 'intermediate-cert-der', 'cert-der', 'cert-chain-pem'];
const MAX = 8;

/** DER of the certificates of a file, leaf first. @throws Refusal FMT_* */
export function certificatesOf({ bytes: data, file }: Pick<CorpusFile, 'bytes' | 'file'>): Bytes[] {
  if (data[0] === 0x30) return [data];
  const start = data.findIndex((b) => b > 0x20);
  if (data[start] !== 0x5b) return readPem(data, 'CERTIFICATE', file, MAX);
  try {
    const list: unknown = JSON.parse(text(data));
    if (Array.isArray(list) && list.length > 0 && list.length <= MAX) return list.map((item) => fromHex(String(item).replace(/^0x/, '')));
  } catch { /* said below */ }
  return refuse('FMT_JSON', file, NEXT);
}

/** Certificates of Google's CAs among the companions; other files are for other evidence. */
function authorities(companions: readonly CorpusFile[]): Certificate[] {
  return companions.filter((c) => KINDS.includes(c.kind)).flatMap((companion) => {
    try {
      return certificatesOf(companion).map((der) => parseCertificate(der, companion.file));
    } catch (error) {
      if (error instanceof Refusal) return [];
      throw error;
    }
  }).filter((c) => c.ca && c.subjectText.includes(',O=Google LLC,'));
}

/** By key identifier, as a verifier looks issuers up. */
function byKey(certificates: readonly Certificate[], at: number): Collateral {
  return collateralOf(certificates.filter((c) => c.subjectKeyId !== null).map((c) => ({ kind: 'google-ca' as const, key: c.subjectKeyId as string, bytes: c.der, source: 'evidence' as const, fetchedAt: at })));
}

/** @param known issuers besides those of the evidence and the companions */
export async function verifyChain(chain: readonly Bytes[], vector: Pick<Vector, 'companions'>, at: number, checks: CheckList, known: readonly Bytes[] = []): Promise<GceAkFacts | undefined> {
  const found = [...known.map((der) => parseCertificate(der, 'Google')), ...authorities(vector.companions)];
  // A root that nobody asks for by its key is a root nonetheless: without it the reason would be that there is none
  const roots = found.filter((c) => equal(c.issuer, c.subject) && known.length === 0 && !chain.some((der) => equal(der, c.der))).map((c) => c.der);
  const trust = { ...corpusTrust({ ...vector, file: '', platform: '', kind: '', bytes: new Uint8Array(), at }), collateral: byKey(found, at) };
  return verifyGceAk({ chain: [...chain, ...roots], path: 'ak' }, trust, at, checks);
}

export const shownAk = ({ root, leaf, instance, revocation }: GceAkFacts): Record<string, unknown> => ({
  zone: instance.zone, projectNumber: String(instance.projectNumber), projectId: instance.projectId, instanceId: String(instance.instanceId), instanceName: instance.instanceName,
  production: instance.security?.production ?? null, key: leaf.key.kind, serial: leaf.serial, root: root.name, revocation,
});

/** Alone: at its own beginning when no time is stated, since a certificate is valid at a time. */
export const judgeGceAk: Judge = (vector) => judged(async () => {
  const chain = certificatesOf(vector);
  const at = vector.at ?? parseCertificate(chain[0] as Bytes, 'ak').notBefore;
  const checks = new CheckList();
  const facts = await verifyChain(chain, vector, at, checks, GOOGLE_CAS);
  checks.refuseIfFailed();
  return shownAk(facts as GceAkFacts);
});
