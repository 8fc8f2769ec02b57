/**
 * A token of Azure Attestation for this guest: `POST /attest/AzureGuest?api-version=2020-10-01`, protocol 2.0, as Azure's published guest attestation clients speak it.
 *
 *   request    {"AttestationInfo": base64url of JSON {AttestationProtocolVersion, OSType, ..., TcgLogs, ClientPayload, TpmInfo, IsolationInfo}}
 *   answer     {"token": base64url of JSON {EncryptedInnerKey, EncryptionParams: {Iv}, AuthenticationData, Jwt}}
 *
 * The token is encrypted to the runtime key that was attested (RSAES-PKCS1-v1_5, then AES-GCM with AAD "Transport Key"): whoever opens it has the vTPM of the evidence. Nothing
 * of the service's verdict is judged here; the vault does that, by its release policy. What is looked at is whether the token is about this key and this challenge.
 */
import { z } from 'zod';
import { b64u, type Bytes, bytes, equal, fromB64u, randomBytes, text, utf8 } from '../../../attestation/bytes.ts';
import { cutDer } from '../../../attestation/devices/certificates.ts';
import { azureVcek, type MetadataOptions } from '../../../attestation/devices/imds.ts';
import { quoteWithValues, type Tpm } from '../../../attestation/devices/tpm2.ts';
import { sized } from '../../../attestation/devices/wire.ts';
import { parseHclReport } from '../../../attestation/formats/hcl-report.ts';
import { parseJwt } from '../../../attestation/formats/jwt.ts';
import { SNP_REPORT_LENGTH } from '../../../attestation/formats/snp-report.ts';
import { AK_CERTIFICATE_INDEX, AK_HANDLE, HCL_INDEX } from '../../../attestation/platforms/azure-cvm/attest.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { ask, hostOf, read, type Service, type Surroundings } from './call.ts';
import { makeRuntimeKey, type RuntimeKey, rsaSignature } from './runtime-key.ts';

export interface GuestOptions {
  readonly tpm: Tpm;
  readonly metadata: MetadataOptions;
  /** The firmware's event log; empty where there is none. */
  readonly eventLog: () => Promise<Bytes>;
  /** The own attestation instance. */
  readonly service: Service;
  readonly around: Surroundings;
}

export interface GuestToken {
  readonly token: string;
  /** To be ended by whoever got it. */
  readonly key: RuntimeKey;
}

/** What the service's own clients quote. */
const ALWAYS = [0, 1, 2, 3, 4, 5, 6, 7];
const TRANSPORT = utf8('Transport Key');
const base64 = z.string().min(4).max(65_536).regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/).transform((value) => bytes(Buffer.from(value, 'base64')));
const answerSchema = z.object({ token: z.string().min(16).max(131_072).regex(/^[A-Za-z0-9_-]+$/).transform((value) => fromB64u(value)) });
const envelopeSchema = z.object({ EncryptedInnerKey: base64, EncryptionParams: z.object({ Iv: base64 }), AuthenticationData: base64, Jwt: base64 });
const claimsSchema = z.object({
  'x-ms-attestation-type': z.literal('azurevm'), 'x-ms-azurevm-attested-pcrs': z.array(z.int().min(0).max(23)).max(24),
  'x-ms-runtime': z.object({ 'client-payload': z.object({ nonce: base64 }), keys: z.array(z.object({ kid: z.string(), kty: z.string(), n: z.string(), e: z.string() })).max(8) }),
});
export const RUNTIME_KEY_ID = 'TpmEphemeralEncryptionKey';

/** @param pcrs that are quoted besides the ones that the service wants. @throws Refusal KEY_SEALER_REFUSED, KEY_SEALER_ANSWER, KEY_SEALER_UNAVAILABLE, ATTESTER_FAILED */
export async function guestToken({ tpm, metadata, eventLog, service, around }: GuestOptions, pcrs: readonly number[]): Promise<GuestToken> {
  const indexes = [...new Set([...ALWAYS, ...pcrs])].sort((a, b) => a - b);
  const nonce = randomBytes(32);
  const report = parseHclReport(await tpm.nvRead(HCL_INDEX), 'tpm.NV.1400001');
  if (report.type !== 'snp') refuse('KEY_SEALER_REFUSED', 'tpm.NV.1400001', 'Run brokers on SEV-SNP VMs: the key is released to no other.', { have: report.type, need: 'snp' });
  const [vcek, log, ak, akCertificate] = [await azureVcek(metadata), await eventLog(), await tpm.readPublic(AK_HANDLE), cutDer(await tpm.nvRead(AK_CERTIFICATE_INDEX), 'tpm.NV.1c101d0')];
  const quote = await quoteWithValues(tpm, AK_HANDLE, nonce, 'sha256', indexes);
  const values = new Map(indexes.map((i) => [i, quote.pcrs.get(i) as Bytes]));
  const key = await makeRuntimeKey(tpm, values, AK_HANDLE);
  try {
    const info = {
      AttestationProtocolVersion: '2.0', OSType: to64(utf8('Linux')), OSDistro: to64(utf8('ccc')), OSBuild: to64(utf8('ccc')), OSVersionMajor: 0, OSVersionMinor: 0, TcgLogs: to64(log), ClientPayload: { nonce: to64(nonce) },
      TpmInfo: {
        AikCert: to64(akCertificate), AikPub: to64(sized(ak.area)), PcrQuote: to64(quote.message), PcrSignature: to64(rsaSignature(quote.signature)), PcrSet: indexes, PCRs: [...values].map(([Index, digest]) => ({ Index, Digest: to64(digest) })),
        EncKeyPub: to64(sized(key.area)), EncKeyCertifyInfo: to64(key.certifyInfo), EncKeyCertifyInfoSignature: to64(key.certifySignature),
      },
      IsolationInfo: {
        Type: 'SevSnp',
        Evidence: { Proof: to64(utf8(JSON.stringify({ SnpReport: b64u(report.hardwareReport.subarray(0, SNP_REPORT_LENGTH)), VcekCertChain: to64(utf8([vcek.vek, ...vcek.issuers].map(pem).join(''))) }))), RunTimeData: to64(report.runtimeData) },
      },
    };
    const answer = await ask(service, { method: 'POST', path: '/attest/AzureGuest?api-version=2020-10-01', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ AttestationInfo: b64u(utf8(JSON.stringify(info))) }) }, around);
    if (answer.status !== 200) refuse('KEY_SEALER_REFUSED', hostOf(service), 'The attestation instance gives this guest no token: compare its launch measurement, PCRs and settings with the instance\'s policies (measurements.lock.json).', { have: `${answer.status} ${answer.code}`.trim(), need: 'a token' });
    const token = await decrypt(read(answerSchema, answer, 'maa.token').token, key);
    checkToken(token, key, nonce, pcrs);
    return { token, key };
  } catch (error) {
    await key.end().catch(() => {});
    throw error;
  }
}

const to64 = (data: Uint8Array): string => Buffer.from(data).toString('base64');
const pem = (der: Bytes): string => `-----BEGIN CERTIFICATE-----\n${(to64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
const other = (path: string, have: string, need: string): never => refuse('KEY_SEALER_ANSWER', path, 'The attestation instance answers something else than it was asked; see whether the address in cell.json is the own instance\'s.', { have, need });

async function decrypt(sealed: Bytes, key: RuntimeKey): Promise<string> {
  const { EncryptedInnerKey, EncryptionParams: { Iv }, AuthenticationData, Jwt } = read(envelopeSchema, { status: 200, code: '', body: sealed }, 'maa.token');
  let inner: Bytes | undefined;
  try {
    inner = await key.decrypt(EncryptedInnerKey, 'pkcs1');
    const aes = await crypto.subtle.importKey('raw', inner, 'AES-GCM', false, ['decrypt']);
    return text(bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: Iv, additionalData: TRANSPORT }, aes, Buffer.concat([Jwt, AuthenticationData]))));
  } catch {
    return other('maa.token', 'a token that does not open', 'one for the runtime key of this request');
  } finally {
    inner?.fill(0);
  }
}

function checkToken(token: string, key: RuntimeKey, nonce: Bytes, pcrs: readonly number[]): void {
  const parsed = claimsSchema.safeParse({ ...parseJwt(token, 'maa.token').claims });
  if (!parsed.success) return other('maa.token.claims', printablePath(parsed.error), 'the claims of a guest\'s token');
  const { 'x-ms-runtime': runtime, 'x-ms-azurevm-attested-pcrs': attested } = parsed.data;
  if (!equal(runtime['client-payload'].nonce, nonce)) other('maa.token.nonce', 'another nonce', 'the one of this request');
  const keys = runtime.keys.filter(({ kid }) => kid === RUNTIME_KEY_ID);
  if (keys.length !== 1 || keys[0]?.kty !== 'RSA' || keys[0].e !== 'AQAB' || keys[0].n !== b64u(key.modulus)) other('maa.token.keys', `${keys.length} keys of this name`, 'the runtime key of this request');
  const missing = pcrs.filter((index) => !attested.includes(index));
  if (missing.length > 0) other('maa.token.attestedPcrs', `no PCR ${missing.join(', ')}`, pcrs.join(', '));
}

const printablePath = (error: z.ZodError): string => String(error.issues[0]?.path.join('.') ?? 'claims').slice(0, 64);
