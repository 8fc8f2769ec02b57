/**
 * Servers that speak the APIs of the clouds' stores, each an implementation by others: moto (S3), Azurite (Azure Blob) and fake-gcs-server (Google). They are large, so
 * nothing installs them unasked: `bash tests/ledger/stores/install-engines.sh` puts them below .cache/stores. Absent: a visible skip; with REQUIRE_STORES=1 a failure.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { openStore } from '../../../workloads/ledger/stores/open.ts';
import type { StoreUnderTest } from '../blobs-conformance.ts';
import { entraToken, type Metadata, startMetadata } from './metadata.ts';

const CACHE = fileURLToPath(new URL('../../../.cache/stores/', import.meta.url));
export const PROGRAMS = {
  s3: join(CACHE, 'moto/bin/python'),
  azblob: join(CACHE, 'azurite/node_modules/azurite/dist/src/blob/main.js'),
  gs: join(CACHE, 'fake-gcs-server'),
} as const;
export type EngineName = keyof typeof PROGRAMS;
export const here = (name: EngineName): boolean => existsSync(name === 's3' ? join(CACHE, 'moto/ready') : PROGRAMS[name]);

export interface StoreEngine {
  /** Of a new bucket. */
  open(): Promise<StoreUnderTest>;
  /** STORE_URL of a new bucket, for a process with `env`. */
  bucket(): Promise<string>;
  readonly env: Readonly<Record<string, string>>;
  readonly base: string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const START_MS = 120_000;

async function started(child: ChildProcess, ready: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + START_MS;
  while (child.exitCode === null && Date.now() < until) {
    if (await ready().then(() => true, () => false)) return;
    await sleep(100);
  }
  throw new Error(`the server did not start: exit ${child.exitCode}`);
}

async function ok(response: Response | Promise<Response>): Promise<void> {
  const { status } = await response;
  if (status < 200 || status > 299) throw new Error(`set-up was answered ${status}`);
}

/** What differs between them; every store gets a bucket of its own. */
interface Kind {
  readonly command: (port: number, folder: string) => Promise<readonly [string, readonly string[]]>;
  readonly scheme: 'http' | 'https';
  readonly url: (base: string, bucket: string) => string;
  readonly make: (base: string, bucket: string) => Promise<Response>;
  readonly read: (base: string, bucket: string, name: string) => Promise<Response>;
  readonly write: (base: string, bucket: string, name: string, data: Uint8Array<ArrayBuffer>) => Promise<Response>;
}

/** moto wants some signature, and checks none of ours. */
const signed = { authorization: 'AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0' };
const azure = (): Record<string, string> => ({ authorization: `Bearer ${entraToken(Date.now())}`, 'x-ms-version': '2023-11-03', 'x-ms-date': new Date().toUTCString() });
const KINDS: Readonly<Record<EngineName, Kind>> = {
  s3: {
    command: async (port) => [PROGRAMS.s3, ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)]], scheme: 'http',
    url: (base, bucket) => `s3://${bucket}?region=us-east-1&endpoint=${base}`,
    make: (base, bucket) => fetch(`${base}/${bucket}`, { method: 'PUT' }),
    read: (base, bucket, name) => fetch(`${base}/${bucket}/${name}`, { headers: signed }),
    write: (base, bucket, name, body) => fetch(`${base}/${bucket}/${name}`, { method: 'PUT', body, headers: signed }),
  },
  azblob: {
    command: async (port, folder) => {
      await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]);
      setDefaultCACertificates([...getCACertificates('default'), await readFile(join(folder, 'cert.pem'), 'utf8')]);
      // Tokens are taken over TLS only.
      return [process.execPath, [PROGRAMS.azblob, '--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', folder, '--silent', '--skipApiVersionCheck', '--disableTelemetry', '--oauth', 'basic', '--cert', join(folder, 'cert.pem'), '--key', join(folder, 'key.pem')]];
    },
    scheme: 'https',
    url: (base, bucket) => `azblob://devstoreaccount1/${bucket}?endpoint=${base}/devstoreaccount1`,
    make: (base, bucket) => fetch(`${base}/devstoreaccount1/${bucket}?restype=container`, { method: 'PUT', headers: azure() }),
    read: (base, bucket, name) => fetch(`${base}/devstoreaccount1/${bucket}/${name}`, { headers: azure() }),
    write: (base, bucket, name, body) => fetch(`${base}/devstoreaccount1/${bucket}/${name}`, { method: 'PUT', headers: { ...azure(), 'x-ms-blob-type': 'BlockBlob' }, body }),
  },
  gs: {
    command: async (port) => [PROGRAMS.gs, ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-backend', 'memory', '-public-host', `localhost:${port}`]], scheme: 'http',
    url: (base, bucket) => `gs://${bucket}?endpoint=${base}`,
    make: (base, bucket) => fetch(`${base}/storage/v1/b?project=test`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: bucket }) }),
    read: (base, bucket, name) => fetch(`${base}/storage/v1/b/${bucket}/o/${name}?alt=media`),
    write: (base, bucket, name, body) => fetch(`${base}/upload/storage/v1/b/${bucket}/o?uploadType=media&name=${name}`, { method: 'POST', body }),
  },
};

export async function startStore(name: EngineName): Promise<StoreEngine> {
  const kind = KINDS[name];
  const folder = await mkdtemp(join(tmpdir(), `ccc-${name}-`));
  const port = await freePort();
  const [program, args] = await kind.command(port, folder);
  const child = spawn(program, args, { stdio: 'ignore', cwd: folder });
  const base = `${kind.scheme}://localhost:${port}`;
  const metadata: Metadata = await startMetadata();
  await started(child, () => fetch(base));
  const made = async (): Promise<string> => {
    const bucket = `ccc-${randomUUID()}`;
    await ok(kind.make(base, bucket));
    return bucket;
  };
  return {
    env: metadata.env, base,
    bucket: async () => kind.url(base, await made()),
    async open() {
      const bucket = await made();
      return {
        blobs: await openStore({ url: kind.url(base, bucket), folder, around: { env: metadata.env } }),
        async damage(digest, change) {
          const found = await kind.read(base, bucket, digest);
          await ok(kind.write(base, bucket, digest, new Uint8Array(change(new Uint8Array(await found.arrayBuffer())))));
        },
        end: async () => {},
      };
    },
    async stop() {
      const over = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGKILL')) await over;
      await metadata.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A user of moto who may do what a gateway may. */
export async function iamKeys(base: string): Promise<{ readonly id: string; readonly secret: string }> {
  const iam = async (action: string, more: Record<string, string>): Promise<string> => {
    const response = await fetch(base, { method: 'POST', headers: { authorization: signed.authorization.replace('/s3/', '/iam/') }, body: new URLSearchParams({ Action: action, Version: '2010-05-08', UserName: 'gateway', ...more }) });
    await ok(response);
    return response.text();
  };
  await iam('CreateUser', {});
  await iam('PutUserPolicy', { PolicyName: 'ciphertext', PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:ListBucket'], Resource: '*' }] }) });
  const xml = await iam('CreateAccessKey', {});
  const read = (tag: string): string => new RegExp(`<${tag}>([^<]+)</${tag}>`).exec(xml)?.[1] ?? '';
  return { id: read('AccessKeyId'), secret: read('SecretAccessKey') };
}
