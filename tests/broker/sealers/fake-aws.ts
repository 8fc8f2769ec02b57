/**
 * AWS KMS as far as an attested broker sees it, and the metadata service. Nothing is believed: signatures are recomputed, documents are verified under a pinned (simulated)
 * root, and what may be done is what the deployed key policy says, evaluated with the PCRs of the document.
 */
import { createCipheriv, createDecipheriv, randomBytes as random } from 'node:crypto';
import type { TrustContext } from '../../../attestation/adapter.ts';
import { type Bytes, bytes, fromHex, hex } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { decodeCbor } from '../../../attestation/formats/cbor.ts';
import type { NsmExchange } from '../../../attestation/platforms/aws-nitro/attest.ts';
import { verifyDocument } from '../../../attestation/platforms/aws-nitro/verify.ts';
import { buildDocument, cbor, type NsmFields } from '../../../attestation/platforms/simulated/nsm.ts';
import { entriesOf, readLock } from '../../../modules/measurements.ts';
import { INSTANCE, MODULE, NOW, registers, type World, world } from '../../attestation/support.ts';
import { evaluate } from '../../rules/stacks/iam.ts';
import { isDataKey, policyOf, principals } from '../../rules/stacks/rules/aws-keys.ts';
import { type Body, resources, templates } from '../../rules/stacks/template.ts';
import { envelope } from './cms-writer.ts';
import { type Heard, json, Loopback, type Said } from './loopback.ts';
import { signatureProblem } from './sigv4.ts';

export const ACCOUNT = '333333333333';
export const AWS_REGION = 'eu-central-1';
export const KEY_ID = 'mrk-1234abcd12ab34cd56ef1234567890ab';
export const KEY_ARN = `arn:aws:kms:${AWS_REGION}:${ACCOUNT}:key/${KEY_ID}`;
export const ALIAS_ARN = `arn:aws:kms:${AWS_REGION}:${ACCOUNT}:alias/ccc-prod-data`;
export const BROKERS = entriesOf(readLock(), 'broker').map(({ nitro }) => nitro);

const stack = templates().find((t) => t.stack === 'ccc-aws-prod');
const dataKey = stack && resources(stack, 'aws_kms_key').find(isDataKey);
export const KEY_POLICY: Body = (stack && dataKey && policyOf(stack, dataKey)?.body) ?? (() => { throw new Error('no data key is synthesized'); })();
export const BROKER_ROLE = principals(KEY_POLICY).find((p) => /broker/.test(p)) ?? 'nobody';

/** The security module of an enclave with these PCRs. */
export function nsm(w: World, pcrs: Readonly<Record<string, string>>, change: (fields: NsmFields) => NsmFields = (f) => f, now: () => number = () => NOW * 1_000): NsmExchange {
  return async (request) => {
    const asked = (decodeCbor(request, { path: 'nsm', maxBytes: 4_096, maxDepth: 3 }) as Map<string, Map<string, Bytes | null>>).get('Attestation');
    if (asked === undefined) return cbor({ Error: 'InvalidOperation' });
    const fields: NsmFields = {
      moduleId: MODULE, timestamp: now(), pcrs: registers(Object.fromEntries(Object.entries(pcrs).map(([name, value]) => [Number(name.slice(3)), fromHex(value)]))), certificate: w.chain.certificate, cabundle: w.chain.cabundle,
      publicKey: asked.get('public_key') ?? null, userData: asked.get('user_data') ?? null, nonce: asked.get('nonce') ?? null,
    };
    return cbor({ Attestation: { document: await buildDocument(change(fields), w.chain.leafKey) } });
  };
}

interface Credentials { readonly secret: string; readonly token: string; readonly role: string; endsAt: number }
const KMS_MAX_AGE_MS = 300_000;

export class FakeAws {
  readonly kms: Loopback;
  readonly metadata: Loopback;
  readonly w: World;
  readonly credentials = new Map<string, Credentials>();
  readonly trust: TrustContext;
  /** Key material by key id; the last is the newest of a key. */
  readonly materials = new Map<string, Buffer[]>([[KEY_ID, [random(32)]]]);
  alias = KEY_ID;
  policy: Body = KEY_POLICY;
  now = NOW * 1_000;
  role = BROKER_ROLE;
  /** Data keys that were made. */
  readonly dataKeys: Bytes[] = [];
  ber = false;

  private constructor(w: World) {
    this.w = w;
    this.trust = w.trust;
    this.kms = new Loopback((heard) => this.#kms(heard));
    this.metadata = new Loopback((heard) => this.#metadata(heard));
  }

  static async start(): Promise<FakeAws> {
    const fake = new FakeAws(await world());
    await Promise.all([fake.kms.start(), fake.metadata.start()]);
    return fake;
  }

  async stop(): Promise<void> {
    await Promise.all([this.kms.stop(), this.metadata.stop()]);
  }

  rotate(id = KEY_ID): void { this.materials.get(id)?.push(random(32)); }

  #metadata({ method, path, headers }: Heard): Said {
    const token = 'imds-session-token==';
    if (path === '/latest/api/token') return method === 'PUT' && Number(headers['x-aws-ec2-metadata-token-ttl-seconds']) > 0 ? { status: 200, body: token } : { status: 400, body: '' };
    if (headers['x-aws-ec2-metadata-token'] !== token) return { status: 401, body: '' };
    if (path === '/latest/meta-data/iam/security-credentials/') return { status: 200, body: 'ccc-prod-broker' };
    if (path !== '/latest/meta-data/iam/security-credentials/ccc-prod-broker') return { status: 404, body: '' };
    const id = `ASIA${random(8).toString('hex').toUpperCase()}`;
    const made = { secret: random(20).toString('base64'), token: random(48).toString('base64'), role: this.role, endsAt: this.now + 6 * 3_600_000 };
    this.credentials.set(id, made);
    return json(200, { Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: id, SecretAccessKey: made.secret, Token: made.token, Expiration: new Date(made.endsAt).toISOString(), LastUpdated: new Date(this.now).toISOString() });
  }

  async #kms(heard: Heard): Promise<Said> {
    const no = (type: string, status = 400): Said => json(status, { __type: `com.amazonaws.kms#${type}`, message: 'words that nobody needs' });
    let caller: Credentials | undefined;
    const problem = signatureProblem(heard, (id, token) => { caller = this.credentials.get(id); return caller?.token === token ? caller?.secret : undefined; }, { region: AWS_REGION, service: 'kms', now: this.now });
    if (problem !== undefined || caller === undefined) return no(problem ?? 'UnrecognizedClientException');
    if (caller.endsAt <= this.now) return no('ExpiredTokenException');
    const action = /^TrentService\.(GenerateDataKey|Decrypt)$/.exec(heard.headers['x-amz-target'] ?? '')?.[1];
    if (action === undefined || heard.headers['content-type'] !== 'application/x-amz-json-1.1') return no('UnknownOperationException');
    const body = JSON.parse(heard.body) as { KeyId: string; KeySpec?: string; CiphertextBlob?: string; EncryptionContext?: Record<string, string>; EncryptionAlgorithm?: string; Recipient?: { AttestationDocument: string; KeyEncryptionAlgorithm: string } };

    const context: Record<string, string> = {};
    let spki: Bytes | undefined;
    if (body.Recipient !== undefined) {
      if (body.Recipient.KeyEncryptionAlgorithm !== 'RSAES_OAEP_SHA_256') return no('ValidationException');
      try {
        const { payload } = await verifyDocument(bytes(Buffer.from(body.Recipient.AttestationDocument, 'base64')), { ...this.trust, now: Math.floor(this.now / 1_000) });
        if (Math.abs(this.now - payload.timestamp) > KMS_MAX_AGE_MS || payload.publicKey === undefined) return no('ValidationException');
        spki = payload.publicKey;
        for (const [index, value] of payload.pcrs) context[`kms:RecipientAttestation:PCR${index}`] = hex(value);
        context['kms:RecipientAttestation:ImageSha384'] = hex(payload.pcrs.get(0) as Bytes);
      } catch {
        return no('ValidationException');
      }
    }
    if (evaluate(this.policy, { principal: caller.role, action: `kms:${action}`, context }) !== 'allow') return no('AccessDeniedException');
    const id = body.KeyId === ALIAS_ARN ? this.alias : body.KeyId.replace(`arn:aws:kms:${AWS_REGION}:${ACCOUNT}:key/`, '');
    const material = this.materials.get(id);
    if (material === undefined) return no('NotFoundException');
    const names = canonicalJson({ id, context: body.EncryptionContext ?? {} });

    if (action === 'GenerateDataKey') {
      if (body.KeySpec !== 'AES_256') return no('ValidationException');
      const dataKey = bytes(random(32));
      this.dataKeys.push(dataKey);
      const cipher = createCipheriv('aes-256-gcm', material.at(-1) as Buffer, Buffer.alloc(12, this.dataKeys.length)).setAAD(Buffer.from(names));
      const sealed = Buffer.concat([cipher.update(dataKey), cipher.final()]);
      const blob = Buffer.concat([Buffer.from([material.length - 1, this.dataKeys.length]), Buffer.from(id.padEnd(40)), sealed, cipher.getAuthTag()]);
      return json(200, { CiphertextBlob: blob.toString('base64'), KeyId: `arn:aws:kms:${AWS_REGION}:${ACCOUNT}:key/${id}`, ...await this.#answer(spki, dataKey) });
    }
    const blob = Buffer.from(body.CiphertextBlob ?? '', 'base64');
    if (blob.subarray(2, 42).toString().trim() !== id) return no('IncorrectKeyException');
    try {
      const plain = createDecipheriv('aes-256-gcm', material[blob[0] as number] as Buffer, Buffer.alloc(12, blob[1] as number)).setAAD(Buffer.from(names)).setAuthTag(blob.subarray(-16));
      const dataKey = bytes(Buffer.concat([plain.update(blob.subarray(42, -16)), plain.final()]));
      return json(200, { KeyId: `arn:aws:kms:${AWS_REGION}:${ACCOUNT}:key/${id}`, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT', ...await this.#answer(spki, dataKey) });
    } catch {
      return no('InvalidCiphertextException');
    }
  }

  async #answer(spki: Bytes | undefined, dataKey: Bytes): Promise<object> {
    if (spki === undefined) return { Plaintext: Buffer.from(dataKey).toString('base64') };
    return { Plaintext: '', CiphertextForRecipient: Buffer.from(await envelope(spki, dataKey, {}, this.ber)).toString('base64') };
  }
}
export { INSTANCE, NOW };
