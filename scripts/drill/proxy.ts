/**
 * The network between cells, played on this machine: one TCP listener per link, whose mood can be changed while connections are open.
 *
 * | mood | |
 * |---|---|
 * | pass | bytes go through as they come |
 * | delay | each chunk arrives `ms` later, in order |
 * | partition | connections stay open and new ones are taken, but no byte arrives: what a lost route looks like to both ends |
 * | drop | open connections are reset and new ones at once: what a host looks like whose process died |
 *
 * Bytes held back by a partition arrive when it ends, as TCP would have it: nothing is lost on a connection that lives.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export type Mood = { readonly kind: 'pass' } | { readonly kind: 'delay'; readonly ms: number } | { readonly kind: 'partition' } | { readonly kind: 'drop' };
export const PASS: Mood = { kind: 'pass' };
export interface Address { readonly host: string; readonly port: number }

export interface Proxy extends Address {
  readonly mood: Mood;
  set(mood: Mood): void;
  /** Connections open now. */
  connections(): number;
  close(): Promise<void>;
}

/** Held back for a direction before its sender is told to wait, bytes. */
const MOST_HELD = 1 << 20;

interface Flow { pump(): void; end(): void }

/** One direction of one connection. `timers` are cleared when it ends. */
function flow(from: Socket, to: Socket, mood: () => Mood): Flow {
  const held: { readonly at: number; readonly bytes: Buffer | undefined }[] = [];
  let size = 0;
  let timer: NodeJS.Timeout | undefined;
  const pump = (): void => {
    clearTimeout(timer);
    if (to.writableNeedDrain) return;
    while (held.length > 0 && mood().kind !== 'partition') {
      const next = held[0] as (typeof held)[number];
      const wait = next.at - performance.now();
      if (wait > 0 && mood().kind === 'delay') {
        timer = setTimeout(pump, wait);
        return;
      }
      held.shift();
      if (next.bytes === undefined) to.end();
      else {
        size -= next.bytes.length;
        // A slow reader slows the writer down, as without a proxy.
        if (!to.write(next.bytes)) {
          from.pause();
          return;
        }
      }
    }
    if (held.length === 0) from.resume();
  };
  const hold = (bytes: Buffer | undefined): void => {
    const now = mood();
    held.push({ at: performance.now() + (now.kind === 'delay' ? now.ms : 0), bytes });
    size += bytes?.length ?? 0;
    if (size >= MOST_HELD) from.pause();
    pump();
  };
  to.on('drain', pump);
  from.on('data', hold).on('end', () => hold(undefined));
  return { pump, end: () => clearTimeout(timer) };
}

export async function startProxy(target: Address): Promise<Proxy> {
  let mood: Mood = PASS;
  const open = new Map<Socket, readonly Flow[]>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    if (mood.kind === 'drop') return void near.resetAndDestroy();
    const far = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const flows = [flow(near, far, () => mood), flow(far, near, () => mood)];
    open.set(near, flows);
    const end = (): void => {
      for (const one of flows) one.end();
      open.delete(near);
      if (!near.destroyed) near.resetAndDestroy();
      if (!far.destroyed) far.destroy();
    };
    near.on('error', end);
    far.on('error', end);
    near.on('close', end);
    far.on('close', () => { if (mood.kind !== 'partition') setImmediate(end); });
  });
  await new Promise<void>((done, failed) => { server.once('error', failed).listen(0, '127.0.0.1', done); });
  const { port } = server.address() as { port: number };
  return {
    host: '127.0.0.1', port,
    get mood() { return mood; },
    set(next) {
      mood = next;
      for (const [socket, flows] of [...open]) {
        if (next.kind === 'drop') socket.resetAndDestroy();
        else for (const one of flows) one.pump();
      }
    },
    connections: () => open.size,
    async close() {
      const closed = new Promise((done) => { server.close(done); });
      for (const socket of open.keys()) socket.destroy();
      await closed;
    },
  };
}

/** Links by name, `from>to/what`; a fleet asks for each once. */
export class Network {
  readonly #links = new Map<string, { readonly from: string; readonly to: string; readonly what: string; readonly target: Address; readonly proxy: Proxy }>();

  /** The proxy of this link; one that moved to another address gets a new one. */
  async via(link: Address & { readonly from: string; readonly to: string; readonly what: string }): Promise<Address> {
    const { from, to, what, host, port } = link;
    const name = `${from}>${to}/${what}`;
    const known = this.#links.get(name);
    if (known !== undefined && known.target.host === host && known.target.port === port) return { host: known.proxy.host, port: known.proxy.port };
    await known?.proxy.close();
    const proxy = await startProxy({ host, port });
    this.#links.set(name, { from, to, what, target: { host, port }, proxy });
    return { host: proxy.host, port: proxy.port };
  }

  /** Every link that `chosen` picks. @returns how many */
  set(chosen: (link: { readonly from: string; readonly to: string; readonly what: string }) => boolean, mood: Mood): number {
    const picked = [...this.#links.values()].filter(chosen);
    for (const { proxy } of picked) proxy.set(mood);
    return picked.length;
  }

  /** Nothing from or to this cell but what `keep` names: its own clients, say. @returns how many links */
  isolate(cell: string, mood: Mood, keep: (link: { readonly from: string; readonly to: string; readonly what: string }) => boolean = () => false): number {
    return this.set((link) => (link.from === cell || link.to === cell) && link.from !== link.to && !keep(link), mood);
  }

  get size(): number {
    return this.#links.size;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.values()].map(({ proxy }) => proxy.close()));
    this.#links.clear();
  }
}
