/**
 * Where vendors publish; `null`: no address, and what only they have is absent. All of it can be pointed elsewhere: a PCCS instead of Intel, a mirror of AMD's service, a cloud's cache. Only https, but for this
 * machine itself; a certificate's own idea of where its issuer or its list is (AIA, distribution points) is never followed.
 */
import { refuse } from '../refusal.ts';

export interface Endpoints {
  /** Key distribution service: /vcek/v1/<product>/..., /vlek/v1/<product>/... (AMD 57230). */
  readonly amdKds: string | null;
  /** Provisioning certification service, API version 4, or a PCCS: /sgx/certification/v4/..., /tdx/certification/v4/... */
  readonly intelPcs: string | null;
  /** Intel's root list; a PCCS has it at `/sgx/certification/v4/rootcacrl`, which is used where this is null. */
  readonly intelRootCrl: string | null;
  /** Which of Intel's two tables: `standard` gives operators time to update, `early` does not. */
  readonly intelUpdate: 'standard' | 'early';
  /** Azure's cache of this very VM's certificate (THIM, in the metadata service); null: ask AMD. */
  readonly azureThim: string | null;
  /** Launch endorsements: /<sevsnp or tdx>/<measurement>.binarypb */
  readonly gceEndorsements: string | null;
  /** Registry of Google's hosts: /<PPID>. */
  readonly gceHosts: string | null;
  /** Certificates of CAs by their key identifier: kinds azure-vtpm-ca, google-ca. */
  readonly authorities: Readonly<Record<string, string>>;
  /** Lists by the key identifier of their CA: kinds azure-vtpm-crl, google-crl. */
  readonly lists: Readonly<Record<string, string>>;
  /** Key sets by issuer, exactly as tokens name it. An issuer that is not here has no keys. */
  readonly issuers: Readonly<Record<string, string>>;
}

export const PUBLIC_ENDPOINTS: Endpoints = {
  amdKds: 'https://kdsintf.amd.com',
  intelPcs: 'https://api.trustedservices.intel.com',
  intelRootCrl: 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
  intelUpdate: 'standard',
  azureThim: null,
  gceEndorsements: 'https://storage.googleapis.com/gce_tcb_integrity/ovmf_x64_csm',
  gceHosts: 'https://storage.googleapis.com/confidential-host-registry',
  authorities: {},
  // Of pinned roots, at the addresses that certificates below them name; over https, which these hosts speak too
  lists: {
    // Azure Virtual TPM Root Certificate Authority 2023
    '4bfe265a94c1f633c3834826ddf3e5b064b2aa95': 'https://www.microsoft.com/pkiops/crl/Azure%20Virtual%20TPM%20Root%20Certificate%20Authority%202023.crl',
    // EK/AK CA Root
    '49e74a5b5629f59d79b7a6303c03b28fe714dd4c': 'https://privateca-content-62d71773-0000-21da-852e-f4f5e80d7778.storage.googleapis.com/032bf9d39db4fa06aade/crl.crl',
    // tpm_ek_root_1
    '65f4e4e6aaf6fd5ad2889ca85355f7008e08f7a5': 'https://pki.goog/cloud_integrity/tpm_ek_root_1.crl',
    // Confidential Space Root CA
    '17e7c1384e93875b27a4abaf21be92f3f9ad3cbe': 'https://privateca-content-65aa66b4-0000-231c-af62-14c14ee66454.storage.googleapis.com/d314ee4ff48dc3c2550a/crl.crl',
  },
  issuers: { 'https://confidentialcomputing.googleapis.com': 'https://www.googleapis.com/service_accounts/v1/metadata/jwk/signer@confidentialspace-sign.iam.gserviceaccount.com' },
};

/** Nobody is asked for anything. */
export const NO_ENDPOINTS: Endpoints = { amdKds: null, intelPcs: null, intelRootCrl: null, intelUpdate: 'standard', azureThim: null, gceEndorsements: null, gceHosts: null, authorities: {}, lists: {}, issuers: {} };

/** Of Azure's and Google's metadata service: reachable from the machine itself only, and has no certificate. */
const METADATA = '169.254.169.254';
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** @throws Refusal FMT_FIELD for anything that others on the way could answer */
export function safeUrl(url: string): URL {
  const next = 'Configure an https address without credentials.';
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return refuse('FMT_FIELD', 'endpoint', next, { have: 'no address' });
  }
  const local = LOOPBACK.test(parsed.hostname) || parsed.hostname === METADATA;
  if (parsed.username !== '' || parsed.password !== '') refuse('FMT_FIELD', 'endpoint', next, { have: 'credentials in an address' });
  if (parsed.protocol !== 'https:' && !(parsed.protocol === 'http:' && local)) refuse('FMT_FIELD', 'endpoint', next, { have: `${parsed.protocol}//${parsed.host}`, need: 'https, or this machine' });
  return parsed;
}

/** A base and a path under it, with one slash between them. */
export const under = (base: string, path: string): string => `${base.replace(/\/+$/, '')}/${path}`;
