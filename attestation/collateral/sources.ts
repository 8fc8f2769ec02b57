/**
 * How each kind is asked for, and what an answer brings: some answers bring a second item (the chain of what they are signed with) in a header.
 *
 * | kind | request |
 * |---|---|
 * | amd-chain | KDS /vcek/v1/<product>/cert_chain, /vlek/... |
 * | amd-crl | KDS /vcek/v1/<product>/crl, /vlek/... |
 * | amd-vek | KDS /vcek/v1/<product>/<HWID>?blSPL=..&teeSPL=..&snpSPL=..&ucodeSPL=.. (Turin: &fmcSPL=.., 8 bytes of HWID); or Azure THIM, which answers for its own VM |
 * | intel-tcb-info | PCS /tdx/certification/v4/tcb?fmspc=..&update=..; header TCB-Info-Issuer-Chain |
 * | intel-qe-identity | PCS /tdx/certification/v4/qe/identity?update=..; header SGX-Enclave-Identity-Issuer-Chain |
 * | intel-tcb-signing-chain | comes with the two above |
 * | intel-pck-crl, intel-pck-crl-chain | PCS /sgx/certification/v4/pckcrl?ca=..&encoding=der; header SGX-PCK-CRL-Issuer-Chain |
 * | intel-root-crl | Intel's certificate server, or a PCCS's /sgx/certification/v4/rootcacrl |
 * | gce-endorsement, gce-host | Google's public buckets |
 * | azure-vtpm-*, google-* | addresses configured by key identifier |
 * | jwks | addresses configured by issuer |
 *
 * Sources: AMD 57230; Intel PCS API version 4; Azure THIM ("Trusted Hardware Identity Management"); gce-tcb-verifier.
 */
import { type Bytes, hex, utf8 } from '../bytes.ts';
import { readPem } from '../formats/pem.ts';
import { printable, refuse } from '../refusal.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import type { CollateralKind } from './collateral.ts';
import { collateralPath, derOf, readVekKey } from './content.ts';
import { type Endpoints, safeUrl, under } from './endpoints.ts';

export interface Answer {
  readonly bytes: Bytes;
  /** `null` where absent. */
  header(name: string): string | null;
}
export interface Received { readonly kind: CollateralKind; readonly key: string; readonly bytes: Bytes }
export interface Source {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Largest answer, bytes. */
  readonly limit: number;
  /** @throws Refusal COLLATERAL_FORMAT */
  read(answer: Answer): Received[];
}

const KIB = 1024;
/** Nothing that vendors publish is larger. */
export const MAX_ANSWER = 5 * KIB * KIB;
const LIMITS: Readonly<Record<CollateralKind, number>> = {
  'amd-chain': 32 * KIB, 'amd-crl': 1024 * KIB, 'amd-vek': 32 * KIB, 'intel-tcb-info': 256 * KIB, 'intel-qe-identity': 64 * KIB, 'intel-tcb-signing-chain': 256 * KIB, 'intel-pck-crl': MAX_ANSWER,
  'intel-pck-crl-chain': MAX_ANSWER, 'intel-root-crl': 1024 * KIB, 'azure-vtpm-ca': 16 * KIB, 'azure-vtpm-crl': MAX_ANSWER, 'google-ca': 16 * KIB, 'google-crl': MAX_ANSWER, 'gce-endorsement': 64 * KIB,
  'gce-host': 16 * KIB, jwks: 256 * KIB,
};

/** @throws Refusal COLLATERAL_FORMAT (a key of another form), COLLATERAL_ABSENT (nobody publishes it, or no address is configured) */
export function sourceOf(kind: CollateralKind, key: string, endpoints: Endpoints): Source {
  const path = collateralPath(kind, key);
  const wrong = (need: string): never => refuse('COLLATERAL_FORMAT', path, 'Name collateral as its kind does.', { have: kind === 'gce-host' ? 'another key' : printable(key), need });
  const source = (url: string, read: Source['read'], headers: Record<string, string> = {}): Source => ({ url: safeUrl(url), headers, limit: LIMITS[kind], read });
  const plain = (url: string, decode: (data: Bytes) => Bytes = (data) => data): Source => source(url, ({ bytes }) => [{ kind, key, bytes: decode(bytes) }]);
  const configured = (table: Readonly<Record<string, string>>, decode?: (data: Bytes) => Bytes): Source => {
    const url = Object.hasOwn(table, key) ? table[key] : undefined;
    return url === undefined ? refuse('COLLATERAL_ABSENT', path, 'Bring it with the evidence, or configure the address of its issuer.', { have: 'no address' }) : plain(url, decode);
  };
  const product = (name: string | undefined): string => AMD_PRODUCTS.find((p) => p === name) ?? wrong(AMD_PRODUCTS.join(', '));
  const at = (base: string | null, rest: string): string => (base === null ? refuse('COLLATERAL_ABSENT', path, 'Configure the address of the vendor, or bring it in an offline bundle.', { have: 'no address' }) : under(base, rest));
  const pcs = (rest: string): string => at(endpoints.intelPcs, rest);

  switch (kind) {
    case 'amd-chain': {
      const [name, signer, ...rest] = key.split('/');
      if ((signer !== 'vcek' && signer !== 'vlek') || rest.length > 0) return wrong('<product>/vcek or <product>/vlek');
      return plain(at(endpoints.amdKds, `${signer}/v1/${product(name)}/cert_chain`));
    }
    case 'amd-crl': {
      const [name, signer = 'vcek', ...rest] = key.split('/');
      return rest.length > 0 || (key.includes('/') && signer !== 'vlek') ? wrong('<product> or <product>/vlek') : plain(at(endpoints.amdKds, `${signer}/v1/${product(name)}/crl`));
    }
    case 'amd-vek': {
      if (endpoints.azureThim !== null) return source(endpoints.azureThim, ({ bytes }) => fromThim(bytes, key, path), { metadata: 'true' });
      const { product: name, hwid, tcb } = readVekKey(key);
      const spl = (parameter: string, component: string): string => `${parameter}=${String(tcb[component] ?? 0).padStart(2, '0')}`;
      const fmc = 'fmc' in tcb ? [spl('fmcSPL', 'fmc')] : [];
      return plain(at(endpoints.amdKds, `vcek/v1/${name}/${hex(hwid)}?${[...fmc, spl('blSPL', 'bootloader'), spl('teeSPL', 'tee'), spl('snpSPL', 'snp'), spl('ucodeSPL', 'microcode')].join('&')}`));
    }
    case 'intel-tcb-info': {
      const match = /^(sgx\/)?([0-9a-f]{12})$/.exec(key) ?? wrong('an FMSPC of 12 digits');
      return source(pcs(`${match[1] === undefined ? 'tdx' : 'sgx'}/certification/v4/tcb?fmspc=${match[2]}&update=${endpoints.intelUpdate}`), (answer) => [
        { kind, key, bytes: answer.bytes }, ...chainIn(answer, ['tcb-info-issuer-chain', 'sgx-tcb-info-issuer-chain'], 'intel-tcb-signing-chain', 'tcb-info', path),
      ]);
    }
    case 'intel-qe-identity': {
      if (key !== 'td' && key !== 'sgx') return wrong('td or sgx');
      return source(pcs(`${key === 'td' ? 'tdx' : 'sgx'}/certification/v4/qe/identity?update=${endpoints.intelUpdate}`), (answer) => [
        { kind, key, bytes: answer.bytes }, ...chainIn(answer, ['sgx-enclave-identity-issuer-chain'], 'intel-tcb-signing-chain', 'qe-identity', path),
      ]);
    }
    case 'intel-tcb-signing-chain': {
      // Intel hands it out with what it signs; the identity is the same for every platform
      if (key === 'qe-identity') return sourceOf('intel-qe-identity', 'td', endpoints);
      return refuse('COLLATERAL_ABSENT', path, 'Fetch the TCB info of a platform: this chain comes with it.', { have: 'nothing' });
    }
    case 'intel-pck-crl': case 'intel-pck-crl-chain': {
      if (key !== 'platform' && key !== 'processor') return wrong('platform or processor');
      return source(pcs(`sgx/certification/v4/pckcrl?ca=${key}&encoding=der`), (answer) => [
        { kind: 'intel-pck-crl', key, bytes: derOf(answer.bytes) }, ...chainIn(answer, ['sgx-pck-crl-issuer-chain'], 'intel-pck-crl-chain', key, path),
      ]);
    }
    case 'intel-root-crl': return key === 'root' ? plain(endpoints.intelRootCrl ?? pcs('sgx/certification/v4/rootcacrl'), derOf) : wrong('root');
    case 'azure-vtpm-ca': case 'google-ca': return configured(endpoints.authorities);
    case 'azure-vtpm-crl': case 'google-crl': return configured(endpoints.lists);
    case 'gce-endorsement': return /^(?:sevsnp|tdx)\/[0-9a-f]{96}$/.test(key) ? plain(at(endpoints.gceEndorsements, `${key}.binarypb`)) : wrong('sevsnp or tdx, and 96 digits');
    case 'gce-host': return /^[0-9a-f]{32}$/.test(key) ? plain(at(endpoints.gceHosts, key)) : wrong('a PPID of 32 digits');
    case 'jwks': return configured(endpoints.issuers);
    default: return wrong('a kind that this version knows');
  }
}

/** A PEM in a header, its line ends encoded as in URLs. */
function chainIn(answer: Answer, names: readonly string[], kind: CollateralKind, key: string, path: string): Received[] {
  const value = names.map((name) => answer.header(name)).find((v) => v !== null) ?? null;
  const bad = (have: string): never => refuse('COLLATERAL_FORMAT', `${path}.${names[0]}`, 'Ask the service itself: something on the way drops or changes its headers.', { have, need: 'the chain of the signing certificate' });
  if (value === null || value.length > 32 * KIB) return bad(value === null ? 'no header' : `${value.length} characters`);
  try {
    return [{ kind, key, bytes: utf8(decodeURIComponent(value)) }];
  } catch {
    return bad('another encoding');
  }
}

/** `{vcekCert, certificateChain, tcbm, ...}`: the VCEK of this VM's chip, and its chain, as PEM. */
function fromThim(data: Bytes, key: string, path: string): Received[] {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data));
  } catch { /* said below */ }
  const { vcekCert, certificateChain } = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>;
  if (typeof vcekCert !== 'string') return refuse('COLLATERAL_FORMAT', path, 'Ask the metadata service of the VM whose report this is.', { need: 'vcekCert' });
  const [vcek] = readPem(vcekCert, 'CERTIFICATE', path, 1);
  return [
    { kind: 'amd-vek', key, bytes: vcek as Bytes },
    ...(typeof certificateChain === 'string' ? [{ kind: 'amd-chain' as const, key: `${readVekKey(key).product}/vcek`, bytes: utf8(certificateChain) }] : []),
  ];
}
