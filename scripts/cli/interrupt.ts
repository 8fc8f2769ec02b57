/** Resolves at the first Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once. */
export function interrupted(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    let seen = false;
    const on = (signal: NodeJS.Signals) => {
      if (seen) process.exit(130);
      seen = true;
      done(signal);
    };
    process.on('SIGINT', on).on('SIGTERM', on).on('SIGHUP', on);
  });
}
