/** What a gateway keeps for a broker, in memory: rows and receipts as the protocol says, each request's proof checked. Tests break it on purpose. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { type StoredKey, brokerReceiptSchema, putTenantKeysSchema, receiptsRequestSchema } from '../../workloads/protocol/messages.ts';
import { decodeJwsUnverified } from '../../workloads/protocol/jws.ts';
import { JtiStore, verifyPop } from '../../workloads/protocol/pop.ts';
import { CccError, toProblem } from '../../workloads/protocol/problem.ts';
import { close, listen } from './world.ts';

export type Handler = (request: { method: string; path: string; query: URLSearchParams; body: Bytes; headers: IncomingMessage['headers'] }) => Promise<Uint8Array | object | undefined>;

export class FakeGateway {
  policy = '';
  now = (): number => 0;
  readonly keys: StoredKey[] = [];
  readonly tenants = new Set(['acme', 'globex', 'initech']);
  readonly receipts = new Map<string, { seq: number; jws: string }[]>();
  /** Routes, `POST /receipts`, that fail now. */
  readonly down = new Set<string>();
  /** Runs after the effect of a route and before its answer: a connection cut there leaves the caller not knowing. */
  readonly cut = new Set<string>();
  readonly calls: string[] = [];
  readonly routes = new Map<string, Handler>();
  broker = '';
  readonly #trusted = new Map<string, Bytes>();
  readonly #seen = new JtiStore();
  #server: Server | undefined;
  origin = '';

  constructor() {
    this.routes.set('GET /policy', async () => ({ policy: this.policy }));
    this.routes.set('GET /tenant-keys', async ({ query }) => ({ keys: this.keys.filter((key) => key.tenant_id === query.get('tenant')), sealed_total: this.keys.length }));
    this.routes.set('PUT /tenant-keys', async ({ body }) => {
      const { keys } = putTenantKeysSchema.parse(JSON.parse(new TextDecoder().decode(body)));
      if (keys.some((key) => this.keys.some(({ id }) => id === key.id))) throw new CccError('KEY_CONFLICT', 'The key exists.');
      this.keys.push(...keys);
      return undefined;
    });
    this.routes.set('POST /receipts', async ({ body }) => {
      const { receipts } = receiptsRequestSchema.parse(JSON.parse(new TextDecoder().decode(body)));
      for (const { jws } of receipts) {
        if (!this.tenants.has((decodeJwsUnverified(jws).payload as { tenant_id: string }).tenant_id)) throw new CccError('TENANT_UNKNOWN', 'Add it first.');
      }
      for (const { instance, seq, jws } of receipts) {
        const chain = this.receipts.get(instance) ?? [];
        this.receipts.set(instance, chain);
        const there = chain.find((row) => row.seq === seq);
        if (there !== undefined && there.jws !== jws) throw new CccError('RECEIPT_CONFLICT', 'Another receipt has this number.');
        if (there === undefined) chain.push({ seq, jws });
      }
      return undefined;
    });
  }

  /** Everything works again; rows and receipts stay. */
  reset(): void {
    this.down.clear();
    this.cut.clear();
    this.calls.length = 0;
  }

  trust(instance: string, signingKey: Bytes, origin: string): void {
    this.#trusted.set(instance, signingKey);
    this.broker = origin;
  }

  /** Payloads of all receipts of an instance. */
  stored(instance: string) {
    return (this.receipts.get(instance) ?? []).map(({ jws }) => brokerReceiptSchema.parse(decodeJwsUnverified(jws).payload));
  }

  async listen(): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.origin = await listen(this.#server);
  }

  async close(): Promise<void> {
    if (this.#server !== undefined) await close(this.#server);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const parts: Uint8Array[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const body = bytes(Buffer.concat(parts));
    const { pathname, searchParams: query } = new URL(url, 'http://gateway');
    const path = pathname.replace('/internal/v1', '');
    const name = `${method} ${path.startsWith('/messages/') ? '/messages' : path}`;
    this.calls.push(name);
    try {
      if (this.down.has(name)) throw new CccError('STORE_UNAVAILABLE', 'Broken by the test.');
      const handler = this.routes.get(name);
      if (handler === undefined) throw new CccError('NOT_FOUND', name);
      if (headers['ccc-broker'] !== undefined) await this.#proven(method, url, body, headers);
      const answer = await handler({ method, path, query, body, headers });
      if (this.cut.has(name)) return void request.socket.destroy();
      if (answer === undefined) return void response.writeHead(204).end();
      if (answer instanceof Uint8Array) return void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(answer);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    } catch (error) {
      const problem = toProblem(error);
      response.writeHead(problem.status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
    }
  }

  async #proven(method: string, path: string, body: Bytes, headers: IncomingMessage['headers']): Promise<void> {
    const publicKey = this.#trusted.get(String(headers['ccc-broker']));
    if (publicKey === undefined) throw new CccError('BROKER_UNVERIFIED', 'Unknown instance.');
    await verifyPop({ pop: String(headers['ccc-pop']), publicKey, method, path, body, now: Math.floor(this.now() / 1000), seen: this.#seen });
  }
}
