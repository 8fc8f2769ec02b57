/**
 * Ends the server when its parent is gone, even after kill -9: a shell waits on a pipe whose other end only the parent has. The
 * kernel closes that end with the parent; the shell then asks the server for a fast shutdown, if it still is the one it knew.
 */
import { type ChildProcess, spawn } from 'node:child_process';

const SCRIPT = 'read -r _; [ "$(head -n 1 "$2/postmaster.pid" 2>/dev/null)" = "$1" ] && kill -INT "$1"';

export function watch(pid: number, data: string): ChildProcess {
  const dog = spawn('/bin/sh', ['-c', SCRIPT, 'ccc-watchdog', String(pid), data], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' } });
  dog.on('error', () => {});
  dog.stdin?.on('error', () => {});
  dog.unref();
  (dog.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return dog;
}
