/** Why a picture cannot be counted, when it is the picture's fault: its job ends `rejected`. Every other error is ours, and the job is tried again. */
export const REJECTION_CODES = [
  'IMAGE_EMPTY', 'IMAGE_FORMAT', 'IMAGE_TOO_LARGE', 'IMAGE_TRUNCATED', 'IMAGE_CORRUPT', 'IMAGE_TRAILING', 'IMAGE_FRAMES',
  'WORK_TIMEOUT', 'WORK_MEMORY', 'WORK_CRASHED',
] as const;
export type RejectionCode = (typeof REJECTION_CODES)[number];

/** The message is for people and never quotes the picture. */
export class WorkRejected extends Error {
  readonly code: RejectionCode;
  constructor(code: RejectionCode, message: string = code) {
    super(message);
    this.name = 'WorkRejected';
    this.code = code;
  }
}

export const isRejectionCode = (code: unknown): code is RejectionCode => (REJECTION_CODES as readonly unknown[]).includes(code);
