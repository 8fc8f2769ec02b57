/**
 * The software TEE: an attester that answers in the wire format of the Nitro security module, under a development root. It proves
 * nothing about hardware and says so in the root's name; claims made of it carry `anchor: "development"`. Nothing here is part of a
 * verifier, and no production trust context contains such a root. Node only: the root lives in a folder.
 *
 *   root.der   certificate     root.key.json   private key (JWK), mode 0600     region   the region that certificates name
 *
 * The root's key never leaves the folder's machine; the rest of the chain is made in memory, per process, and renewed.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrustRoot } from '../../adapter.ts';
import { d64, ed25519Spki } from '../../binding.ts';
import { type Bytes, concat, equal, fromHex, hex, sha256, sha384, utf8 } from '../../bytes.ts';
import type { Attester } from '../../evidence.ts';
import { parseCertificate } from '../../formats/x509.ts';
import { refuse } from '../../refusal.ts';
import { buildDocument } from './nsm.ts';
import { type Authority, makeChain, makeRoot, newInstanceId, newKeyPair, newModuleId, type SimulatedChain, spkiOf } from './pki.ts';
import { writeWhole } from './whole-file.ts';

const P384 = { name: 'ECDSA', namedCurve: 'P-384' } as const;
const PLATFORM = 'aws-nitro';
const REGION = /^[a-z][a-z0-9-]{1,62}$/;
const REGISTERS = 16;
/** Renew when less than this is left of the leaf, seconds. */
const RENEW_BEFORE = 1800;

const files = (folder: string) => ({ certificate: join(folder, 'root.der'), key: join(folder, 'root.key.json'), region: join(folder, 'region') });

/**
 * Makes the development root of a data folder; a root that is there is kept.
 * @param options.region what the certificates will name; may change under the same root
 * @param options.now epoch seconds
 */
export async function createDevelopmentRoot(folder: string, { region, now }: { region: string; now: number }): Promise<void> {
  if (!REGION.test(region)) refuse('FMT_FIELD', 'region', 'Use a name like us-east-1.', { have: region.slice(0, 64), need: String(REGION) });
  const at = files(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (await absent(at.certificate)) {
    const keys = await newKeyPair();
    const root = await makeRoot(now - 3600, {}, keys);
    // The key first: a folder that was cut off in between has no certificate and is made anew.
    await writeWhole(at.key, JSON.stringify(await crypto.subtle.exportKey('jwk', keys.privateKey)), 0o600);
    await writeWhole(at.certificate, root.certificate, 0o644);
  }
  await writeWhole(at.region, `${region}\n`, 0o644);
}

/** The fingerprints that a development policy names. */
export async function developmentRoot(folder: string): Promise<TrustRoot & { readonly platform: typeof PLATFORM; readonly spkiSha256: string }> {
  const der = new Uint8Array(await readFile(files(folder).certificate));
  const { spki } = parseCertificate(der, 'root.der');
  return { name: 'simulated TEE, development root', purpose: 'aws-nitro', platform: PLATFORM, anchor: 'development', certSha256: hex(await sha256(der)), spkiSha256: hex(await sha256(spki)) };
}

export interface SimulatedAttesterOptions {
  readonly folder: string;
  /** SHA-384, lower-case hex: what this process claims to be. */
  readonly registers: { readonly PCR0: string; readonly PCR1: string; readonly PCR2: string };
  /** Epoch milliseconds. */
  readonly now: () => number;
}

export async function simulatedAttester({ folder, registers, now }: SimulatedAttesterOptions): Promise<Attester> {
  const root = await loadRoot(folder);
  const region = (await readFile(files(folder).region, 'utf8')).trim();
  const instanceId = newInstanceId();
  const moduleId = newModuleId(instanceId);
  const pcrs = await registerMap(registers, instanceId);

  let chain: Promise<SimulatedChain> | undefined;
  let made: SimulatedChain | undefined;
  const chainAt = async (seconds: number): Promise<SimulatedChain> => {
    if (made !== undefined && seconds >= made.notBefore && seconds < made.notAfter - RENEW_BEFORE) return made;
    chain ??= makeChain({ region, instanceId, moduleId, now: seconds, root }).finally(() => { chain = undefined; });
    return made = await chain;
  };

  return {
    async attest({ binding }) {
      if (binding.platform !== PLATFORM) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: PLATFORM });
      const timestamp = Math.floor(now());
      const { cabundle, certificate, leafKey } = await chainAt(Math.floor(timestamp / 1000));
      const document = await buildDocument({
        moduleId, timestamp, pcrs, certificate, cabundle,
        publicKey: ed25519Spki(binding.signingKey), userData: await d64(binding), nonce: binding.nonce,
      }, leafKey);
      return { platform: PLATFORM, document };
    },
  };
}

/** Sixteen registers, as an enclave has: 0 to 2 given, 4 of the instance as AWS computes it, the others zero. */
async function registerMap(registers: SimulatedAttesterOptions['registers'], instanceId: string): Promise<Map<number, Bytes>> {
  const zero = new Uint8Array(48);
  const pcrs = new Map<number, Bytes>(Array.from({ length: REGISTERS }, (_, i) => [i, zero]));
  for (const [i, value] of [registers.PCR0, registers.PCR1, registers.PCR2].entries()) {
    const decoded = fromHex(value);
    if (decoded.length !== zero.length) refuse('FMT_PCR', `registers.PCR${i}`, 'Give SHA-384 values.', { have: `${decoded.length} bytes`, need: '48 bytes' });
    pcrs.set(i, decoded);
  }
  pcrs.set(4, await sha384(concat(zero, utf8(instanceId))));
  return pcrs;
}

async function loadRoot(folder: string): Promise<Authority> {
  const at = files(folder);
  const certificate = new Uint8Array(await readFile(at.certificate));
  const parsed = parseCertificate(certificate, 'root.der');
  const jwk = JSON.parse(await readFile(at.key, 'utf8')) as JsonWebKey;
  const { d: _, key_ops: __, ...open } = jwk;
  const keys = {
    privateKey: await crypto.subtle.importKey('jwk', jwk, P384, false, ['sign']),
    publicKey: await crypto.subtle.importKey('jwk', open, P384, true, ['verify']),
  };
  if (!equal(parsed.spki, await spkiOf(keys))) refuse('BINDING_KEY', 'simulated/root.key.json', 'Key and certificate of the development root do not belong together: remove the folder and make the cell anew.');
  const { notBefore, notAfter, subject, issuer, spki } = parsed;
  return { certificate, keys, fields: { version: 2, serial: fromHex(parsed.serial.padStart(40, '0')), issuer, subject, notBefore, notAfter, spki, ca: true, pathLen: null, keyUsage: null, extensions: [], algorithm: new Uint8Array() } };
}

async function absent(path: string): Promise<boolean> {
  try {
    await readFile(path);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
}
