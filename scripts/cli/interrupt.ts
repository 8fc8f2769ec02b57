/** Signals that arrive together (from the terminal's process group and forwarded by a parent) are one wish to stop. */
const SAME_WISH_MS = 1_000;

/** Aborts at the first Ctrl-C, SIGTERM or SIGHUP; asking again a second later ends the process at once. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  let first: number | undefined;
  const on = () => {
    const now = performance.now();
    if (first !== undefined && now - first > SAME_WISH_MS) process.exit(130);
    first ??= now;
    controller.abort();
  };
  process.on('SIGINT', on).on('SIGTERM', on).on('SIGHUP', on);
  return controller.signal;
}

export const untilStopped = (signal: AbortSignal): Promise<void> => new Promise((done) => {
  if (signal.aborted) done();
  else signal.addEventListener('abort', () => done(), { once: true });
});
