/** The admin listener's Unix socket. */
import { existsSync } from 'node:fs';
import { chmod, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** A socket file that a crash left is removed; one that somebody answers on is not ours. */
async function freeSocket(path: string): Promise<void> {
  if (process.platform === 'win32' || !existsSync(path)) return;
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => { socket.destroy(); resolve(true); }).once('error', () => resolve(false));
  });
  if (answered) throw Object.assign(new Error('another gateway answers on the admin socket'), { code: 'ADMIN_SOCKET_TAKEN' });
  await unlink(path);
}

/** The socket file is 0600 from its first moment: umask, then chmod for certainty. */
export async function listenAdmin(admin: FastifyInstance, path: string): Promise<void> {
  await freeSocket(path);
  const umask = process.umask(0o177);
  try {
    await admin.listen({ path });
  } finally {
    process.umask(umask);
  }
  await chmod(path, 0o600);
}
