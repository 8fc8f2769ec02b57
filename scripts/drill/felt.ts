/** Whether something answers, as seen from outside: what shows that a hurt hurts. */
import { connect } from 'node:net';

export type Knocked = 'answers' | 'refused' | 'silent';

const WITHIN_MS = 2_000;

/** A TCP connection, nothing more: a stopped process's kernel still takes it. */
export const knock = (host: string, port: number, withinMs = WITHIN_MS): Promise<Knocked> => new Promise((done) => {
  const socket = connect({ host, port, timeout: withinMs });
  const end = (how: Knocked): void => {
    socket.destroy();
    done(how);
  };
  socket.once('connect', () => end('answers')).once('error', () => end('refused')).once('timeout', () => end('silent'));
});

/** Any HTTP answer, whatever it says. */
export const asked = (url: string, withinMs = WITHIN_MS): Promise<Knocked> => fetch(url, { signal: AbortSignal.timeout(withinMs) }).then(
  async (answer) => { await answer.body?.cancel(); return 'answers' as const; },
  (error: unknown) => (error instanceof Error && error.name === 'TimeoutError' ? 'silent' as const : 'refused' as const),
);
