/** Certificates as machines keep them: in areas larger than they are, with their issuers at an address that they name (RFC 5280, section 4.2.2.1). Node only. */
import { type Bytes, bytes, equal } from '../bytes.ts';
import { type Fetch, get } from '../collateral/http.ts';
import { children, oid, readDer } from '../formats/der.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import { refuse } from '../refusal.ts';

const SEQUENCE = 0x30;
const LIMIT = 16_384;
const MAX_ISSUERS = 4;
const TIMEOUT_MS = 5000;
const AUTHORITY_INFO_ACCESS = '1.3.6.1.5.5.7.1.1';
const CA_ISSUERS = '1.3.6.1.5.5.7.48.2';
/** GeneralName: uniformResourceIdentifier. */
const URI = 0x86;

/** The DER value at the front of an area whose rest is zeros or ones. @throws Refusal ATTESTER_FAILED */
export function cutDer(area: Bytes, path: string): Bytes {
  const [tag, first = 0] = area;
  const width = first < 0x80 ? 0 : first & 0x7f;
  const length = width === 0 ? first : [...area.subarray(2, 2 + width)].reduce((n, b) => n * 256 + b, 0);
  const end = 2 + width + length;
  const padding = area.subarray(end);
  if (tag !== SEQUENCE || width > 3 || end > area.length || !(padding.every((b) => b === 0) || padding.every((b) => b === 0xff))) {
    refuse('ATTESTER_FAILED', path, 'See what is stored there; this is no certificate.', { have: `${area.length} bytes that begin with ${tag?.toString(16) ?? 'nothing'}`, need: 'one DER value and padding' });
  }
  return area.slice(0, end);
}

/** Addresses of the issuer's certificate, as the certificate names them. */
export function issuerAddresses({ extensions }: Certificate): string[] {
  const extension = extensions.get(AUTHORITY_INFO_ACCESS);
  if (extension === undefined) return [];
  return children(readDer(extension.value, 'authorityInfoAccess')).flatMap((description) => {
    const [method, location] = children(description);
    return method !== undefined && location?.tag === URI && oid(method) === CA_ISSUERS ? [new TextDecoder('latin1').decode(location.value)] : [];
  });
}

/**
 * The issuers that can be reached, from the leaf's up to the root. What is missing the verifier may have as collateral, so an address that does not
 * answer ends the search and is no failure. Nothing here is trusted; the verifier validates the path.
 */
export async function fetchIssuers(leaf: Bytes, fetch: Fetch): Promise<Bytes[]> {
  const chain: Bytes[] = [];
  for (let current = leaf; chain.length < MAX_ISSUERS;) {
    const issuer = await issuerOf(current, fetch);
    if (issuer === undefined || [leaf, ...chain].some((c) => equal(c, issuer))) break;
    chain.push(issuer);
    current = issuer;
  }
  return chain;
}

async function issuerOf(der: Bytes, fetch: Fetch): Promise<Bytes | undefined> {
  try {
    for (const address of issuerAddresses(parseCertificate(der, 'certificate'))) {
      const url = new URL(address);
      if (url.protocol !== 'http:' && url.protocol !== 'https:') continue;
      const answer = await get({ url, headers: {}, limit: LIMIT, read: () => [] }, { fetch, timeoutMs: TIMEOUT_MS, now: () => 0 });
      const issuer = bytes(answer.bytes);
      parseCertificate(issuer, 'issuer');
      return issuer;
    }
  } catch { /* not reachable, or no certificate: the verifier's collateral may have it */ }
  return undefined;
}
