/** What page and worker say to each other. The worker encrypts and verifies, so the page never stutters; it answers with changes of the page's state. */
import type { Classification } from './classification.ts';
import type { Action } from './model.ts';
import type { SeenEntries, Settings } from './settings.ts';

export type ToWorker =
  | { readonly type: 'connect'; readonly settings: Settings; readonly seen: SeenEntries }
  | { readonly type: 'count'; readonly id: string; readonly picture: ArrayBuffer; readonly classification: Classification }
  | { readonly type: 'recheck'; readonly id: string; readonly receipt: unknown; readonly ownerKey: string };

export type FromWorker =
  | { readonly type: 'action'; readonly action: Action }
  /** Revisions seen, to be kept for the next visit. */
  | { readonly type: 'seen'; readonly seen: SeenEntries };
