import type { FedgateError } from '../../errors.js';

/** Tables of the store. Ids are 16 bytes, numbers 8. */
export const TABLE = {
  /** id → AskedRow */
  asked: 'stored-asked',
  /** organisation, id → TakenRow */
  taken: 'stored-taken',
  /** organisation, id → what is asked, as an entry of `Batch.records` */
  question: 'stored-question',
  /** organisation, number → a StoredExchange that was not looked at yet */
  inbox: 'stored-inbox',
} as const;

/** Bytes of an encoded record that is asked or answered: it goes to the other gateway in one record of a control channel. */
export const MAX_STORED_RECORD_BYTES = 480 * 1024;
export const MIN_EXPIRE_MS = 1_000;
export const DEFAULT_EXPIRE_MS = 7 * 86_400_000;
export const MAX_EXPIRE_MS = 30 * 86_400_000;
/** Requests of one own node that have not ended or whose answers were not acknowledged, and what they hold. */
export const MAX_ASKED_PER_NODE = 10_000;
export const MAX_ASKED_BYTES_PER_NODE = 64 * 1024 * 1024;
/** The same of all nodes. */
export const MAX_ASKED = 100_000;
export const MAX_ASKED_BYTES = 1024 * 1024 * 1024;
/** How long an end is kept that nobody acknowledges. */
export const KEEP_ENDED_MS = 7 * 86_400_000;
/** How long an idempotency key is remembered after its answer was acknowledged. */
export const KEEP_KEY_MS = 10 * 60_000;
/** Requests of one organisation that wait here, and what they hold. */
export const MAX_TAKEN_PER_ORG = 10_000;
export const MAX_TAKEN_BYTES_PER_ORG = 256 * 1024 * 1024;
/** How long it is remembered that a request was answered, after its time; and of how many of an organisation. */
export const KEEP_OVER_MS = 86_400_000;
export const MAX_OVER_PER_ORG = 10_000;
/** Messages of one organisation that were not looked at yet. */
export const MAX_INBOX_PER_ORG = 30_000;
/** Requests that are out to responders at once, and what they hold. */
export const MAX_OUT = 1_000;
export const MAX_OUT_STORED_BYTES = 64 * 1024 * 1024;
/** How long one responder has before another one gets it too. */
export const ATTEMPT_MS = 600_000;
/** Responders that may get a request which none of them survives, or answers. */
export const MAX_STORED_ATTEMPTS = 20;
/** After how long it is given to the next one: twice as long each time. */
export const FIRST_RETRY_MS = 100;
export const LONGEST_RETRY_MS = 60_000;
/** After how long the disk is tried again. */
export const DISK_RETRY_MS = 1_000;
export const MAX_FAILURE_CHARACTERS = 500;

/** What its operator should hear of. */
export type StoredEvent =
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'row-damaged'; readonly table: string; readonly key: string }
  | { readonly kind: 'refused'; readonly org: string; readonly error: FedgateError }
  | { readonly kind: 'ignored'; readonly org: string; readonly what: string };
