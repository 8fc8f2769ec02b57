import type { CLASSIFICATIONS } from '../../protocol/context.ts';

export type Classification = (typeof CLASSIFICATIONS)[number];
