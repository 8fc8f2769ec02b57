/** Genuine chains of every platform, at a time when they were valid, under their production roots; and the broken ones of the vectors. */
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import type { PathRequest } from '../../attestation/path.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { lastByteFlipped, pin, verdict } from './path-support.ts';
import { NO_VECTORS, vector } from './support.ts';

const pem = (file: string): Bytes[] => readPem(vector(file), 'CERTIFICATE', file, 9);
const seconds = (date: string) => Date.parse(date) / 1000;
/** SHA-256 of the roots, from the publishers (attestation research, A0). */
const ROOTS = {
  milan: '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd', genoa: '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1', turin: '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
  intel: '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3', google: '594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2', space: '148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39', azure: 'e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95',
  oldGoogle: '9bd5285f8fb18502a7947e621ffd470266f49fcd3b73e19a190f690ad32a7caf',
};

async function judged(root: keyof typeof ROOTS, leaf: Bytes, issuers: Bytes[], at: string, rest: Pick<PathRequest, 'algorithms' | 'leafProfile'> & Partial<PathRequest>) {
  const pins = await Promise.all(issuers.map((i) => pin(i)));
  return verdict({ prefix: 'TEST', path: 'leaf', leaf, intermediates: issuers, roots: pins.filter((p) => p.certSha256 === ROOTS[root]), at: seconds(at), revoked: [], requireCrl: 'off', ...rest });
}

const AMD = (kind: 'VCEK' | 'VLEK') => ({ algorithms: ['PS384'], leafProfile: { keys: ['P-384'], keyUsage: ['digitalSignature'], keyUsageAbsent: 'allow', commonName: new RegExp(`^SEV-${kind}$`) }, length: { min: 3, max: 3 } }) as const;
const INTEL = (name: string) => ({ algorithms: ['ES256'], leafProfile: { keys: ['P-256'], keyUsage: ['digitalSignature'], commonName: new RegExp(`^${name}$`) } }) as const;
const GOOGLE = { algorithms: ['RS256'], leafProfile: { keys: ['P-256', 'RSA'], keyUsage: ['digitalSignature'] } } as const;
const AZURE = { algorithms: ['RS256', 'RS384'], leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'], extendedKeyUsage: OID.tpmAttestationKey, commonName: /^[0-9a-f]+\.ConfidentialVM\.Azure\.windows\.net$/ } } as const;

describe.skipIf(NO_VECTORS)('genuine', () => {
  const snp: [string, keyof typeof ROOTS, 'VCEK' | 'VLEK', string, string][] = [
    ['amd-sev-snp/trustee/milan-v2.vcek.der', 'milan', 'VCEK', 'ask_ark_milan.pem', '2026-01-01T00:00:00Z'], ['amd-sev-snp/attestation-rs/genoa-v5.vcek.der', 'genoa', 'VCEK', 'ask_ark_genoa.pem', '2026-06-01T00:00:00Z'],
    ['amd-sev-snp/oak/turin.vcek.der', 'turin', 'VCEK', 'ask_ark_turin_vcek.pem', '2026-06-01T00:00:00Z'], ['amd-sev-snp/trustee/milan-v3-vlek-aws.vlek.der', 'milan', 'VLEK', 'ask_ark_milan_vlek.pem', '2025-12-01T00:00:00Z'],
  ];
  test.each(snp)('%s', async (file, root, kind, chain, at) => {
    const issuers = pem(`amd-sev-snp/roots/${chain}`);
    const { codes, path } = await judged(root, vector(file), issuers, at, AMD(kind));
    expect(codes).toEqual([]);
    expect(path?.certificates.length).toBe(3);
    expect((await judged(root, lastByteFlipped(vector(file)), issuers, at, AMD(kind))).codes).toEqual(['CHAIN_SIGNATURE']);
    expect((await judged(root, vector(file), issuers, '2046-01-01T00:00:00Z', AMD(kind))).codes).toContain('CHAIN_EXPIRED');
  });

  test('a VLEK is not of the ASK, nor a Genoa chip of Milan (D22)', async () => {
    const [milan, vlek] = [pem('amd-sev-snp/roots/ask_ark_milan.pem'), pem('amd-sev-snp/roots/ask_ark_milan_vlek.pem')];
    expect((await judged('milan', vector('amd-sev-snp/trustee/milan-v3-vlek-aws.vlek.der'), milan, '2025-12-01T00:00:00Z', AMD('VLEK'))).codes).toEqual(['CHAIN_ORDER']);
    expect((await judged('milan', vector('amd-sev-snp/trustee/milan-v2.vcek.der'), vlek, '2026-01-01T00:00:00Z', AMD('VCEK'))).codes).toEqual(['CHAIN_ORDER']);
    expect((await judged('milan', vector('amd-sev-snp/attestation-rs/genoa-v5.vcek.der'), milan, '2026-06-01T00:00:00Z', AMD('VCEK'))).codes).toEqual(['CHAIN_ORDER']);
  });

  test('Intel: the signer of TCB info with both lists, and the CA of PCKs', async () => {
    const [signer, root] = pem('intel-tdx/attestation-rs/collateral/tcb_signing_chain.pem') as [Bytes, Bytes];
    const crls = ['root_ca_crl', 'pck_crl_platform'].map((f) => vector(`intel-tdx/attestation-rs/collateral/${f}.der`));
    const tcb = INTEL('Intel SGX TCB Signing');
    expect((await judged('intel', signer, [root], '2026-04-01T00:00:00Z', { ...tcb, crls, requireCrl: 'require' })).path).toMatchObject({ revocation: 'good' });
    expect((await judged('intel', signer, [root], '2026-04-01T00:00:00Z', { ...tcb, crls: crls.slice(1), requireCrl: 'require' })).codes).toEqual(['CRL_ABSENT']);
    expect((await judged('intel', signer, [root], '2027-03-01T00:00:00Z', { ...tcb, crls, requireCrl: 'require' })).codes).toEqual(['CRL_EXPIRED']);
  });

  test('Google: an AK of the newer CA, of the older one, and the token\'s signer', async () => {
    const [ak, ...chain] = pem('gcp-vtpm/vaportpm/gcp-amd.ak-chain.pem') as [Bytes, ...Bytes[]];
    expect((await judged('google', ak, chain, '2026-03-01T00:00:00Z', GOOGLE)).codes).toEqual([]);
    const token = vector('gcp-confidential-space/oak/pki-debug-sev.jwt');
    const [x5cLeaf, ...x5c] = (JSON.parse(Buffer.from(Buffer.from(token).toString().split('.')[0] as string, 'base64url').toString()) as { x5c: string[] }).x5c.map((c) => bytes(Buffer.from(c, 'base64'))) as [Bytes, ...Bytes[]];
    const space = { algorithms: ['RS256'], leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'], keyUsageAbsent: 'allow', commonName: /^Confidential Space Leaf Certificate$/ } } as const;
    expect((await judged('space', x5cLeaf, x5c, '2025-06-23T14:23:31Z', space)).path?.notAfter).toBe(seconds('2025-08-18T04:35:44Z'));
    expect((await judged('space', x5cLeaf, x5c, '2025-06-01T00:00:00Z', space)).codes).toEqual(['CHAIN_NOT_YET_VALID']);
  });

  test('Google: an intermediate of the same name with another key (D66)', async () => {
    const [ak] = pem('gcp-vtpm/vaportpm/gcp-amd.ak-chain.pem') as [Bytes];
    const root = vector('gcp-vtpm/roots/gcp_ek_ak_ca_root.der');
    expect((await judged('google', ak, [vector('gcp-vtpm/roots/gcp_ek_ak_ca_intermediate_v3.der'), root], '2026-03-01T00:00:00Z', GOOGLE)).codes).toEqual(['CHAIN_ORDER']);
    expect((await judged('google', ak, [root], '2026-03-01T00:00:00Z', GOOGLE)).codes).toEqual(['CHAIN_ORDER']);
  });

  test('Google: an AK of 2021, whose subject is in a critical alternative name', async () => {
    const issuers = [vector('gcp-vtpm/roots/tpm_ek_intermediate_2.crt.der'), vector('gcp-vtpm/roots/tpm_ek_intermediate_3.crt.der'), vector('gcp-vtpm/roots/tpm_ek_root_1.cer.der')];
    const request = { ...GOOGLE, unused: 'allow' } as const;
    const ak = vector('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.ak.der');
    expect((await judged('oldGoogle', ak, issuers, '2021-10-01T00:00:00Z', request)).codes).toEqual(['CHAIN_CRITICAL_EXTENSION']);
    const { path } = await judged('oldGoogle', ak, issuers, '2021-10-01T00:00:00Z', { ...request, handledCriticalExtensions: [OID.subjectAltName] });
    expect(path?.certificates.map((c) => c.der)).toEqual([ak, issuers[0], issuers[2]]);
  });

  test('Azure: the AK of a confidential VM', async () => {
    const issuers = ['global-virtual-tpm-ca-03', 'azure-virtual-tpm-root-2023'].flatMap((f) => pem(`azure-cvm/roots/${f}.pem`));
    const ak = vector('azure-cvm/flashbots/1764662251.ak.der');
    const cases: [Partial<PathRequest>, RefusalCode[]][] = [
      [{}, []], [{ leafProfile: { ...AZURE.leafProfile, extendedKeyUsage: '2.23.133.8.1' } }, ['CHAIN_KEY_USAGE']], [{ leafProfile: { ...AZURE.leafProfile, commonName: /^TrustedLaunch/ } }, ['CHAIN_NAME']],
      [{ algorithms: ['RS256'] }, ['CHAIN_ALGORITHM']], [{ at: seconds('2026-12-01T00:00:00Z') }, ['CHAIN_EXPIRED']], [{ requireCrl: 'require' }, ['CRL_ABSENT']],
    ];
    for (const [change, codes] of cases) expect((await judged('azure', ak, issuers, '2026-01-01T00:00:00Z', { ...AZURE, ...change })).codes).toEqual(codes);
  });
});
