/**
 * What a verifier needs besides the evidence: certificates, revocation lists, TCB information, identities, key sets, endorsements. Verifiers look
 * it up here and never fetch: fetching, caching and the offline bundle are edges. An item is bytes as the vendor sent them; whoever
 * uses it checks its signature and its dates.
 */
import type { Bytes } from '../bytes.ts';
import type { Evidence } from '../evidence.ts';
import type { GceTrust } from '../hardware/gce/trust.ts';
import type { Reason } from '../refusal.ts';

/**
 * | kind | key | bytes |
 * |---|---|---|
 * | amd-chain | `<product>/<vcek or vlek>` (Milan, Genoa, Turin) | PEM: ASK or ASVK, then ARK |
 * | amd-crl | `<product>` or `<product>/vlek` | DER, signed by the ARK; a key of its own where VLEKs' certificates name another address |
 * | amd-vek | `<product>/<chip id hex>/<reported tcb hex>` | DER of the VCEK |
 * | intel-tcb-info | `<fmspc hex>` | JSON {tcbInfo, signature} as sent |
 * | intel-qe-identity | `td` | JSON {enclaveIdentity, signature} as sent |
 * | intel-tcb-signing-chain | `tcb-info` or `qe-identity` | PEM: signing certificate, root |
 * | intel-pck-crl | `platform` or `processor` | DER |
 * | intel-pck-crl-chain | `platform` or `processor` | PEM: CA, root |
 * | intel-root-crl | `root` | DER |
 * | azure-vtpm-ca | `<AKI hex>` | DER of an intermediate |
 * | azure-vtpm-crl | `<AKI hex>` | DER, of the CA with this key identifier |
 * | google-ca | `<AKI hex>` | DER of an intermediate |
 * | google-crl | `<AKI hex>` | DER |
 * | gce-endorsement | `<sevsnp or tdx>/<measurement hex>` | protobuf |
 * | gce-host | `<PPID hex>` | JSON of the host registry |
 * | jwks | `<issuer>` | JSON |
 */
export const COLLATERAL_KINDS = [
  'amd-chain', 'amd-crl', 'amd-vek', 'intel-tcb-info', 'intel-qe-identity', 'intel-tcb-signing-chain', 'intel-pck-crl', 'intel-pck-crl-chain', 'intel-root-crl',
  'azure-vtpm-ca', 'azure-vtpm-crl', 'google-ca', 'google-crl', 'gce-endorsement', 'gce-host', 'jwks',
] as const;
export type CollateralKind = (typeof COLLATERAL_KINDS)[number];
export type CollateralSource = 'live' | 'cache' | 'offline' | 'evidence';

export interface CollateralItem {
  readonly kind: CollateralKind;
  readonly key: string;
  readonly bytes: Bytes;
  readonly source: CollateralSource;
  /** Epoch seconds; when it came from the vendor. */
  readonly fetchedAt: number;
}

export interface Collateral {
  get(kind: CollateralKind, key: string): CollateralItem | undefined;
}

/** Nothing at hand: every verifier that needs something then refuses. */
export const NO_COLLATERAL: Collateral = { get: () => undefined };

export function collateralOf(items: Iterable<CollateralItem>): Collateral {
  const map = new Map([...items].map((item) => [`${item.kind} ${item.key}`, item]));
  return { get: (kind, key) => map.get(`${kind} ${key}`) };
}

/** What could be had for a piece of evidence, and why the rest could not. */
export interface Supplied { readonly items: readonly CollateralItem[]; readonly reasons: readonly Reason[] }

/** Asked for each piece of evidence before it is verified, by whoever runs a verifier. @param gce demands that need more than the evidence itself does */
export type CollateralSupply = (evidence: Evidence, gce?: GceTrust) => Promise<Supplied>;

/** Without a signature of the vendor's over them: they count only where they came from the vendor, over a connection of the verifier's own. */
const UNSIGNED: ReadonlySet<CollateralKind> = new Set(['jwks', 'gce-host']);
export const isVendorSigned = (kind: CollateralKind): boolean => !UNSIGNED.has(kind);
