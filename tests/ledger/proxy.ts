/** A TCP proxy before the database that loses connections at a chosen moment: what a network, a failover or a crash does. */
import { type Socket, connect, createServer } from 'node:net';

export interface Proxy {
  readonly url: string;
  /**
   * Cuts the connection that sends the n-th request from now (1 is the next one). `request`: the server never sees it. `answer`: the
   * server carries it out and its answer is lost.
   */
  cutAt(n: number, side: 'request' | 'answer'): void;
  /** No more cuts. True when the last one was carried out. */
  calm(): boolean;
  cutAll(): void;
  close(): Promise<void>;
}

export async function startProxy(target: string): Promise<Proxy> {
  const to = new URL(target);
  const sockets = new Set<Socket>();
  let plan: { left: number; side: 'request' | 'answer' } | undefined;
  let done = false;
  const server = createServer((client) => {
    const upstream = connect(Number(to.port), to.hostname);
    const both = [client, upstream];
    const destroy = () => { for (const s of both) { s.destroy(); sockets.delete(s); } };
    let mute = false;
    for (const s of both) {
      sockets.add(s);
      s.setNoDelay(true);
      s.on('error', destroy);
      s.on('close', destroy);
    }
    client.on('data', (chunk) => {
      if (plan !== undefined && --plan.left === 0) {
        const { side } = plan;
        plan = undefined;
        done = true;
        if (side === 'request') return destroy();
        mute = true;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => (mute ? destroy() : client.write(chunk)));
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const url = new URL(target);
  url.port = String(address.port);
  return {
    url: url.href,
    cutAt: (n, side) => { plan = { left: n, side }; done = false; },
    calm: () => { plan = undefined; return done; },
    cutAll: () => { for (const s of sockets) s.destroy(); sockets.clear(); },
    close: () => new Promise((closed) => { for (const s of sockets) s.destroy(); server.close(() => closed()); }),
  };
}
