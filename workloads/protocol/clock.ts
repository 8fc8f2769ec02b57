/** Epoch milliseconds. Every process takes its time from one of these, so tests can hold it. */
export type Clock = () => number;

export const seconds = (clock: Clock): number => Math.floor(clock() / 1000);
