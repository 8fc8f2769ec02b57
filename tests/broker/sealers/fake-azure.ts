/**
 * An Azure VM whose vTPM is a real one (swtpm), its metadata service, attestation instance and vault. The instance verifies report, runtime data, quote and certified key before it issues
 * a token; the vault evaluates the deployed release policy on that token's claims and wraps the key to the runtime key that it names.
 */
import { constants, createCipheriv, createPublicKey, type KeyObject, publicEncrypt, randomBytes as random } from 'node:crypto';
import { b64u, type Bytes, bytes, concat, equal, fromB64u, fromHex, hex, sha256, text, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { attestationKeyTemplate } from '../../../attestation/devices/tpm2.ts';
import { u16 } from '../../../attestation/devices/wire.ts';
import { ByteReader } from '../../../attestation/formats/byte-reader.ts';
import { readPem } from '../../../attestation/formats/pem.ts';
import { rsaSpki } from '../../../attestation/formats/spki.ts';
import { ATTRIBUTES, parseTpmtPublic } from '../../../attestation/formats/tpmt-public.ts';
import { verifySnp } from '../../../attestation/hardware/snp/verify.ts';
import { verifyTpmQuote } from '../../../attestation/hardware/tpm/quote.ts';
import { AK_CERTIFICATE_INDEX, AK_HANDLE, HCL_INDEX } from '../../../attestation/platforms/azure-cvm/attest.ts';
import { type AzureWorld, makeAzureWorld } from '../../../attestation/platforms/simulated/azure.ts';
import { der, sequence } from '../../../attestation/platforms/simulated/der-writer.ts';
import { buildEventLog, simulatedBoot } from '../../../attestation/platforms/simulated/event-log.ts';
import { runtimeFields } from '../../../attestation/platforms/simulated/hcl.ts';
import { dn, extendedKeyUsage, type Extension, type Issued, makeAuthority } from '../../../attestation/platforms/simulated/issue.ts';
import { type SigningKey, signRaw } from '../../../attestation/platforms/simulated/keys.ts';
import { jwkOf, keySet, pemOf, signToken } from '../../../attestation/platforms/simulated/tokens.ts';
import { verifyToken } from '../../../attestation/services/token.ts';
import { OID } from '../../../attestation/formats/oid.ts';
import { cellFile } from '../../../modules/cell-config.ts';
import { ENVIRONMENTS } from '../../../modules/environments.ts';
import { entriesOf, readLock } from '../../../modules/measurements.ts';
import { trustOf } from '../../attestation/azure/support.ts';
import { KEYS } from '../../attestation/path-support.ts';
import { filled, NOW } from '../../attestation/support.ts';
import { measureBoot, persist, startSwtpm, storeIndex, type Swtpm } from '../../attesters/swtpm.ts';
import { releases } from '../../rules/stacks/release-policy.ts';
import { at, resources, templates } from '../../rules/stacks/template.ts';
import { type Heard, json, Loopback, type Said } from './loopback.ts';

const stack = templates().find((t) => t.stack === 'ccc-azure-prod') ?? (() => { throw new Error('no stack'); })();
const dataKey = resources(stack, 'azapi_resource').find((b) => /^Microsoft\.KeyVault\/vaults\/keys@/.test(String(b.body['type'])) && !/disk/.test(b.name))?.body ?? {};
/** As it is deployed: base64url of JSON. */
const POLICY_DATA = String(at(dataKey, 'body', 'properties', 'release_policy', 'data'));
export const KEY_NAME = String(dataKey['name']);
export const CELL = JSON.parse(cellFile(ENVIRONMENTS.prod, 'azure').json) as { readonly ownerKey: string; readonly sealer: { readonly kind: 'azure-skr'; readonly vault: string; readonly attestation: string } };
export const KEY_URI = `${CELL.sealer.vault}/keys/${KEY_NAME}`;
export const LAUNCH = entriesOf(readLock(), 'broker').map(({ azure }) => azure.launch);
const KID = 'maa-1';

export interface Vm { readonly machine: Swtpm; readonly world: AzureWorld; readonly eventLog: Bytes }

/** The world's hardware vouches for the key that the TPM really has. */
export async function makeVm(launch: string): Promise<Vm> {
  const machine = await startSwtpm();
  const { tpm } = machine;
  const { spki } = parseTpmtPublic(await persist(tpm, attestationKeyTemplate('rsa'), AK_HANDLE), 'ak');
  const ak: SigningKey = { type: 'RSA-2048', spki, pkcs8: new Uint8Array() };
  const runtime = await runtimeFields(ak, ak, 'snp');
  const world = await makeAzureWorld({
    // swtpm's largest index has 2048 bytes: without the endorsement key, as in reports of early 2023
    runtime: { keys: runtime.keys.slice(0, 1) }, hcl: { area: 2048 }, report: { measurement: fromHex(launch) }, now: NOW, ring: KEYS, technology: 'snp', extraData: filled(32, 1),
    certificates: { ak: { key: ak, extensions: [extendedKeyUsage([OID.tpmAttestationKey])] }, ca: { extensions: [extendedKeyUsage(['2.23.133.8.1', OID.tpmAttestationKey])] } }, quote: { key: await KEYS.get('RSA-2048', 'azure-ak') },
  });
  await storeIndex(tpm, HCL_INDEX, world.parts.hcl);
  await storeIndex(tpm, AK_CERTIFICATE_INDEX, world.pki.ak.certificate, 2048);
  const eventLog = await buildEventLog(simulatedBoot());
  await measureBoot(tpm, eventLog);
  return { machine, world, eventLog };
}

interface Version { readonly pkcs8: Bytes; readonly n: string; readonly policy: string }

const named = (host: string): Extension => ({ id: '2.5.29.17', critical: false, value: sequence(der(0x82, utf8(host))) });
export const publicKey = (modulus: Bytes): KeyObject => createPublicKey({ key: Buffer.from(rsaSpki(modulus, 65_537)), format: 'der', type: 'spki' });

async function newVersion(bits: number, policy = POLICY_DATA): Promise<Version> {
  const pair = await crypto.subtle.generateKey({ name: 'RSA-OAEP', modulusLength: bits, publicExponent: bytes([1, 0, 1]), hash: 'SHA-256' }, true, ['encrypt', 'decrypt']);
  const [pkcs8, jwk] = await Promise.all([crypto.subtle.exportKey('pkcs8', pair.privateKey), crypto.subtle.exportKey('jwk', pair.publicKey)]);
  return { pkcs8: bytes(pkcs8), n: jwk.n as string, policy };
}

export class FakeAzure {
  readonly metadata = new Loopback((heard) => this.#metadata(heard));
  readonly maa = new Loopback((heard) => this.#maa(heard));
  readonly vault = new Loopback((heard) => this.#vault(heard));
  readonly vms = new Map<string, Vm>();
  vm!: Vm;
  now = NOW * 1_000;
  /** By `name/version`; the last of a name is the newest. */
  readonly keys = new Map<string, Version>();
  readonly tokens = new Set<string>();
  /** Claims of the next tokens, changed. */
  claims: (claims: any) => void = () => {};
  /** Of what the vault signs. */
  payload: (payload: any) => void = () => {};
  chain: Issued[] = [];
  root!: Issued;
  #count = 0;

  static async start(): Promise<FakeAzure> {
    const fake = new FakeAzure();
    await Promise.all([fake.metadata.start(), fake.maa.start(), fake.vault.start(), fake.add(KEY_NAME), fake.certify('*.vault.azure.net')]);
    return fake;
  }

  async stop(): Promise<void> {
    await Promise.all([this.metadata.stop(), this.maa.stop(), this.vault.stop(), ...[...this.vms.values()].map(({ machine }) => machine.stop())]);
  }

  /** Boots it, or goes back to the one that is there. */
  async boot(launch: string): Promise<Vm> {
    const found = this.vms.get(launch) ?? await makeVm(launch);
    this.vms.set(launch, found);
    return (this.vm = found);
  }

  async add(name: string, policy?: string): Promise<string> {
    const id = `${name}/${(++this.#count).toString(16).padStart(32, '0')}`;
    // The first has the length that is deployed; the others are made faster.
    this.keys.set(id, await newVersion(this.#count === 1 ? Number(at(dataKey, 'body', 'properties', 'keySize')) : 2_048, policy));
    return id;
  }

  async certify(host: string, from = NOW - 86_400, to = NOW + 86_400): Promise<void> {
    const [a, b, c] = await Promise.all([KEYS.get('RSA-2048', 'vault-root'), KEYS.get('RSA-2048', 'vault-ca'), KEYS.get('RSA-2048', 'vault-leaf')]);
    const subject = (cn: string): Bytes => dn([['O', 'Simulated'], ['CN', cn]]);
    this.root = await makeAuthority({ key: a, subject: subject('root'), notBefore: NOW - 1e6, notAfter: NOW + 1e6 });
    const ca = await makeAuthority({ key: b, subject: subject('TLS issuing CA'), issuer: this.root, notBefore: NOW - 1e6, notAfter: NOW + 1e6 });
    this.chain = [await makeAuthority({ key: c, subject: subject(host), issuer: ca, notBefore: from, notAfter: to, pathLen: null, extensions: [named(host), extendedKeyUsage(['1.3.6.1.5.5.7.3.1'])] }), ca, this.root];
  }

  get roots(): string[] { return [pemOf(this.root.certificate)]; }

  #metadata({ path, headers }: Heard): Said {
    if (headers['metadata'] !== 'true') return json(400, {});
    if (path === '/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net') {
      const token = random(48).toString('base64url');
      this.tokens.add(token);
      return json(200, { access_token: token, expires_in: '86400', resource: 'https://vault.azure.net', token_type: 'Bearer' });
    }
    if (path === '/metadata/THIM/amd/certification') {
      const { vek, issuers } = this.vm.world.parts;
      return json(200, { vcekCert: pemOf(vek as Bytes), tcbm: 'DB18000000000004', certificateChain: (issuers ?? []).map((i) => pemOf(i)).join(''), cacheControl: '86400' });
    }
    return json(404, {});
  }

  async #maa({ method, path, body }: Heard): Promise<Said> {
    const no = (why: string): Said => json(400, { error: { code: 'AttestationFailed', message: why } });
    if (method !== 'POST' || path !== '/attest/AzureGuest?api-version=2020-10-01') return json(404, {});
    const from64 = (value: string): Bytes => bytes(Buffer.from(value, 'base64'));
    const info = JSON.parse(text(fromB64u((JSON.parse(body) as { AttestationInfo: string }).AttestationInfo)));
    if (info.AttestationProtocolVersion !== '2.0' || from64(info.OSType).length === 0) return no('protocol');
    const { Proof, RunTimeData } = info.IsolationInfo.Evidence;
    const proof = JSON.parse(text(from64(Proof))) as { SnpReport: string; VcekCertChain: string };
    const [vek, ...issuers] = readPem(text(from64(proof.VcekCertChain)), 'CERTIFICATE', 'chain', 8);
    const checks = new CheckList();
    const facts = await verifySnp({ report: fromB64u(proof.SnpReport), vek: vek as Bytes, issuers }, trustOf(this.vm.world), NOW, checks);
    if (facts === undefined) return no('report');
    const { report } = facts;
    const runtime = from64(RunTimeData);
    if (!equal(report.reportData.subarray(0, 32), await sha256(runtime))) return no('runtime data');
    const { TpmInfo: tpm } = info;
    const unsized = (value: string): Bytes => new ByteReader(from64(value), { path: 'tpm2b', code: 'TPM_FORMAT', next: '', endian: 'big' }).sized16('buffer').slice();
    const ak = parseTpmtPublic(unsized(tpm.AikPub), 'ak');
    const known = (JSON.parse(text(runtime)) as { keys: { kid: string; n: string }[] }).keys.find(({ kid }) => kid === 'HCLAkPub');
    if (known === undefined || !equal(ak.spki, rsaSpki(fromB64u(known.n), 65_537))) return no('attestation key');
    const values = new Map<number, Bytes>((tpm.PCRs as { Index: number; Digest: string }[]).map(({ Index, Digest }) => [Index, from64(Digest)]));
    if (JSON.stringify([...values.keys()]) !== JSON.stringify(tpm.PcrSet)) return no('pcrs');
    const signature = concat(u16(0x14), u16(0x0b), u16(256), from64(tpm.PcrSignature));
    const { parseTpmtSignature } = await import('../../../attestation/formats/tpmt-signature.ts');
    if (await verifyTpmQuote({ path: 'quote', message: from64(tpm.PcrQuote), signature: parseTpmtSignature(signature, 'quote.signature'), key: ak, extraData: 'unknown', bank: 'sha256', required: tpm.PcrSet, pcrs: values }, checks) === undefined) return no('quote');
    const area = unsized(tpm.EncKeyPub);
    if (!await certified(from64(tpm.EncKeyCertifyInfo), from64(tpm.EncKeyCertifyInfoSignature), ak.spki, area)) return no('runtime key');
    const n = area.slice(-256);

    const claims = {
      iss: CELL.sealer.attestation, iat: Math.floor(this.now / 1_000), nbf: Math.floor(this.now / 1_000), exp: Math.floor(this.now / 1_000) + 28_800, jti: random(16).toString('hex'), 'x-ms-ver': '1.0', 'x-ms-attestation-type': 'azurevm', secureboot: true,
      'x-ms-azurevm-attestation-protocol-ver': '2.0', 'x-ms-azurevm-attested-pcrs': tpm.PcrSet, 'x-ms-azurevm-kerneldebug-enabled': false, 'x-ms-azurevm-bootdebug-enabled': false, 'x-ms-azurevm-hypervisordebug-enabled': false, 'x-ms-azurevm-testsigning-enabled': false,
      'x-ms-isolation-tee': {
        'x-ms-attestation-type': 'sevsnpvm', 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-sevsnpvm-is-debuggable': report.policy.debug, 'x-ms-sevsnpvm-migration-allowed': report.policy.migrateMa, 'x-ms-sevsnpvm-vmpl': report.vmpl,
        'x-ms-sevsnpvm-launchmeasurement': hex(report.measurement), 'x-ms-runtime': JSON.parse(text(runtime)),
      },
      'x-ms-runtime': { 'client-payload': info.ClientPayload, keys: [{ e: 'AQAB', key_ops: ['encrypt'], kid: 'TpmEphemeralEncryptionKey', kty: 'RSA', n: b64u(n) }] },
    };
    this.claims(claims);
    const jwt = await signToken(claims, { key: await KEYS.get('RSA-2048', 'maa'), header: { kid: KID, jku: `${CELL.sealer.attestation}/certs` } });
    const [inner, iv] = [random(32), random(12)];
    const cipher = createCipheriv('aes-256-gcm', inner, iv).setAAD(Buffer.from('Transport Key'));
    const sealed = Buffer.concat([cipher.update(jwt), cipher.final()]);
    const envelope = {
      EncryptedInnerKey: publicEncrypt({ key: publicKey(n), padding: constants.RSA_PKCS1_PADDING }, inner).toString('base64'), EncryptionParams: { Iv: iv.toString('base64') },
      AuthenticationData: cipher.getAuthTag().toString('base64'), Jwt: sealed.toString('base64'),
    };
    return json(200, { token: Buffer.from(JSON.stringify(envelope)).toString('base64url') });
  }

  async #vault({ method, path, headers, body }: Heard): Promise<Said> {
    const no = (status: number, code: string): Said => json(status, { error: { code, message: 'words that nobody needs' } });
    if (!this.tokens.has(/^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1] ?? '')) return no(401, 'Unauthorized');
    const match = /^\/keys\/([a-z0-9-]+)(?:\/([0-9a-f]{32})\/release)?\?api-version=7\.4$/.exec(path);
    const [, name = '', version] = match ?? [];
    const newest = [...this.keys.keys()].findLast((id) => id.startsWith(`${name}/`));
    const id = version === undefined ? newest : `${name}/${version}`;
    const key = id === undefined ? undefined : this.keys.get(id);
    if (id === undefined || key === undefined) return no(404, 'KeyNotFound');
    const kid = `${CELL.sealer.vault}/keys/${id}`;
    if (version === undefined) return method === 'GET' ? json(200, { key: { kid, kty: 'RSA-HSM', key_ops: ['encrypt', 'wrapKey'], n: key.n, e: 'AQAB' }, attributes: { enabled: true, exportable: true } }) : no(405, 'MethodNotAllowed');
    const { target, nonce, enc } = JSON.parse(body) as { target: string; nonce: string; enc: string };
    if (method !== 'POST' || enc !== 'RSA_AES_KEY_WRAP_256') return no(400, 'BadParameter');
    const seconds = Math.floor(this.now / 1_000);
    const token = await verifyToken({ prefix: 'MAA', path: 'token', token: target, issuer: CELL.sealer.attestation, keys: 'jwks', maxAgeSeconds: 28_800 }, { roots: [], revoked: [], now: seconds, collateral: collateralOf([keySet(CELL.sealer.attestation, [jwkOf(await KEYS.get('RSA-2048', 'maa'), KID)], seconds)]) }, seconds, new CheckList());
    const claims = token?.jwt.claims as Record<string, any> | undefined;
    if (claims === undefined || !releases(JSON.parse(text(fromB64u(key.policy))), { issuer: String(claims['iss']), claims: JSON.parse(JSON.stringify(claims)) as never })) return no(403, 'Forbidden');
    const recipient = claims['x-ms-runtime'].keys.find((k: { kid: string }) => k.kid === 'TpmEphemeralEncryptionKey');
    const kek = random(32);
    const wrap = createCipheriv('id-aes256-wrap-pad', kek, Buffer.from('a65959a6', 'hex'));
    const ciphertext = Buffer.concat([publicEncrypt({ key: publicKey(fromB64u(recipient.n)), padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, kek), wrap.update(key.pkcs8), wrap.final()]);
    const payload = {
      request: { 'api-version': '7.4', enc, kid, nonce },
      response: { key: {
        key: { kid, kty: 'RSA-HSM', key_ops: ['encrypt', 'wrapKey'], n: key.n, e: 'AQAB', key_hsm: Buffer.from(JSON.stringify({ schema_version: '1.0', header: { kid: recipient.kid, alg: 'dir', enc }, ciphertext: ciphertext.toString('base64url') })).toString('base64url') },
        attributes: { enabled: true, exportable: true, created: seconds, updated: seconds, recoveryLevel: 'Recoverable', recoverableDays: 90 }, tags: {}, release_policy: { contentType: 'application/json; charset=utf-8', data: key.policy, immutable: false },
      } },
    };
    this.payload(payload);
    return json(200, { value: await this.sign(JSON.stringify(payload)) });
  }

  async sign(payload: string): Promise<string> {
    const header = { alg: 'RS256', kid: 'vault', x5c: this.chain.map(({ certificate }) => Buffer.from(certificate).toString('base64')), 'x5t#S256': 'vault' };
    const input = `${b64u(utf8(JSON.stringify(header)))}.${b64u(utf8(payload))}`;
    return `${input}.${b64u(await signRaw((this.chain[0] as Issued).key, 'RS256', utf8(input)))}`;
  }
}

/** TPMS_ATTEST of TPM2_Certify: over this very key, which never leaves the TPM, signed by the attestation key. */
async function certified(info: Bytes, signature: Bytes, ak: Bytes, area: Bytes): Promise<boolean> {
  const r = new ByteReader(info, { path: 'certify', code: 'TPM_FORMAT', next: '', endian: 'big' });
  if (r.u32('magic') !== 0xff544347 || r.u16('type') !== 0x8017) return false;
  r.sized16('qualifiedSigner', 66);
  r.sized16('extraData', 64);
  r.take(17 + 8, 'clock and firmware');
  const name = r.sized16('name', 66);
  if (!equal(name, concat(u16(0x0b), await sha256(area)))) return false;
  const attributes = new DataView(area.buffer, area.byteOffset).getUint32(4);
  const has = (bit: keyof typeof ATTRIBUTES): boolean => (attributes & (1 << ATTRIBUTES[bit])) !== 0;
  if (!has('fixedTPM') || !has('fixedParent') || !has('sensitiveDataOrigin') || !has('decrypt') || has('userWithAuth') || has('sign')) return false;
  const key = await crypto.subtle.importKey('spki', ak, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['verify']);
  return crypto.subtle.verify('RSASSA-PKCS1-v1_5', key, signature, info);
}
