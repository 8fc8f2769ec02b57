/**
 * How a process of a cell comes to its end: it is told to (SIGTERM, SIGINT), or whoever supervises it is gone. A supervisor that is
 * killed tells nobody; but its ends of the pipes close, and a supervised process holds one as its standard input.
 */

/** Without a supervisor nobody forces this process; then it must be gone soon by itself. */
const ORPHAN_MS = 3_000;
/** As with a shell: two Ctrl-C mean now. */
const INTERRUPTED = 130;

export type StopReason = NodeJS.Signals | 'supervisor gone';

/** Calls `stop` once. A second signal ends the process at once; so does a stop that outlasts a dead supervisor for 3 seconds. */
export function onStop(stop: (reason: StopReason) => void): void {
  let stopping = false;
  const begin = (reason: StopReason): void => {
    if (stopping) return;
    stopping = true;
    stop(reason);
  };
  const signalled = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(INTERRUPTED);
    begin(signal);
  };
  process.on('SIGTERM', signalled).on('SIGINT', signalled);
  if (process.env['CCC_SUPERVISED'] !== '1') return;
  const orphaned = (): void => {
    setTimeout(() => process.exit(1), ORPHAN_MS).unref();
    begin('supervisor gone');
  };
  process.stdin.once('end', orphaned).once('error', orphaned).resume();
}
