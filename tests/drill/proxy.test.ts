import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Network, PASS, startProxy } from '../../scripts/drill/proxy.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => { for (const one of open.splice(0)) await one.close(); });

/** Answers what it hears; `heard` is all of it. */
async function echo(): Promise<{ port: number; host: string; heard: () => string }> {
  let heard = '';
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('data', (chunk: Buffer) => { heard += chunk.toString(); socket.write(chunk); });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({ close: () => { for (const socket of sockets) socket.destroy(); server.close(); } });
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port, heard: () => heard };
}

async function client(port: number): Promise<{ socket: Socket; got: () => string; closed: () => boolean }> {
  const socket = connect(port, '127.0.0.1');
  let got = '';
  let closed = false;
  socket.on('data', (chunk: Buffer) => { got += chunk.toString(); }).on('error', () => {}).on('close', () => { closed = true; });
  open.push({ close: () => socket.destroy() });
  await once(socket, 'connect');
  return { socket, got: () => got, closed: () => closed };
}
const until = (check: () => boolean) => vi.waitFor(() => { if (!check()) throw new Error('not yet'); }, { timeout: 60_000, interval: 5 });

/** A proxy before a server, and a client through which a first word has gone there and back. */
async function linked() {
  const server = await echo();
  const proxy = await startProxy(server);
  open.push(proxy);
  const before = await client(proxy.port);
  before.socket.write('one');
  await until(() => before.got() === 'one');
  return { server, proxy, before };
}

describe('a link', () => {
  it('passes bytes both ways, in order and whole', async () => {
    const server = await echo();
    const proxy = await startProxy(server);
    open.push(proxy);
    const { socket, got } = await client(proxy.port);
    const text = 'abcdefghij'.repeat(300_000);
    socket.write(text);
    await until(() => got().length === text.length);
    expect(got() === text && server.heard() === text).toBe(true);
  });

  it('partitioned: takes connections and bytes, delivers none of them, and all of them afterwards', async () => {
    const { server, proxy, before } = await linked();
    proxy.set({ kind: 'partition' });
    before.socket.write('two');
    const during = await client(proxy.port);
    during.socket.write('three');
    // Another link to the same server is up to date: what did not arrive over this one will not.
    const other = await startProxy(server);
    open.push(other);
    const witness = await client(other.port);
    witness.socket.write('witness');
    await until(() => witness.got() === 'witness');
    expect([server.heard(), before.got(), during.got(), before.closed(), during.closed()]).toEqual(['onewitness', 'one', '', false, false]);
    proxy.set(PASS);
    await until(() => before.got() === 'onetwo' && during.got() === 'three');
  });

  it('dropped: open connections end, new ones too, and it can be mended', async () => {
    const { server, proxy, before } = await linked();
    proxy.set({ kind: 'drop' });
    await until(before.closed);
    const during = connect(proxy.port, '127.0.0.1');
    const failed = await new Promise<boolean>((done) => { during.on('error', () => done(true)).on('close', () => done(true)); });
    expect(failed).toBe(true);
    proxy.set(PASS);
    const after = await client(proxy.port);
    after.socket.write('two');
    await until(() => after.got() === 'two');
    expect(server.heard()).toBe('onetwo');
  });

  it('delayed: what was sent under a delay that is lifted comes at once, in order', async () => {
    const server = await echo();
    const proxy = await startProxy(server);
    open.push(proxy);
    const { socket, got } = await client(proxy.port);
    proxy.set({ kind: 'delay', ms: 3_600_000 });
    socket.write('one');
    await until(() => socket.writableLength === 0);
    proxy.set({ kind: 'delay', ms: 0 });
    socket.write('two');
    proxy.set(PASS);
    await until(() => got() === 'onetwo');
  });

  it('to nobody: the connection ends', async () => {
    const gone = createServer();
    gone.listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address() as { port: number };
    gone.close();
    const proxy = await startProxy({ host: '127.0.0.1', port });
    open.push(proxy);
    const { closed } = await client(proxy.port);
    await until(closed);
  });
});

describe('a network', () => {
  it('has one proxy per link, isolates a cell and leaves the others alone', async () => {
    const [a, b] = [await echo(), await echo()];
    const network = new Network();
    open.push(network);
    const link = (from: string, to: string, server: typeof a, what = 'gateway') => network.via({ from, to, what, host: server.host, port: server.port });
    const ab = await link('a', 'b', b);
    expect(await link('a', 'b', b)).toEqual(ab);
    const [ba, cb, mine] = [await link('b', 'a', a), await link('c', 'b', b), await link('client', 'a', a, 'public')];
    expect(network.size).toBe(4);
    expect(network.isolate('a', { kind: 'drop' }, ({ from }) => from === 'client')).toBe(2);
    const works = async ({ port }: { port: number }) => {
      const { socket, got, closed } = await client(port).catch(() => ({ socket: undefined, got: () => '', closed: () => true }));
      socket?.write('x');
      await until(() => got() === 'x' || closed());
      return got() === 'x';
    };
    expect([await works(ab), await works(ba), await works(cb), await works(mine)]).toEqual([false, false, true, true]);
  });
});
