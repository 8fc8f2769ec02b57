/** Bytes on a socket, as no HTTP client would send them. */
import { connect } from 'node:net';

export interface RawAnswer { readonly text: string; readonly statuses: number[]; /** Each once. */ readonly codes: string[] }

/** Sends `pieces` with `pause` ms between them; answers with all that came until the other side closed, or `wait` ms passed. */
export function raw(port: number, pieces: Iterable<string | Uint8Array>, { pause = 0, wait = 3_000 }: { pause?: number; wait?: number } = {}): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => socket.destroy(), wait);
    socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      const text = Buffer.concat(chunks).toString('latin1');
      resolve({ text, statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((m) => Number(m[1])), codes: [...new Set([...text.matchAll(/"code":"([A-Z_]+)"/g)].map((m) => m[1] as string))] });
    });
    const closed = new Promise((done) => { socket.once('close', done); });
    void (async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return;
        if (!socket.write(piece)) await Promise.race([new Promise((drained) => { socket.once('drain', drained); }), closed]);
        if (pause > 0) await new Promise((done) => setTimeout(done, pause));
      }
    })();
  });
}

export const request = (line: string, headers: Record<string, string | number> | [string, string | number][], body = ''): string =>
  `${line} HTTP/1.1\r\n${(Array.isArray(headers) ? headers : Object.entries(headers)).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n${body}`;
