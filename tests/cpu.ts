/** Milliseconds of processor time that this process has used: what grows with the work and not with how busy the machine is. */
export const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
