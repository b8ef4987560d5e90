import type { ApplicationError } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import type { FedgateError } from '../errors.js';
import type { Origin } from '../wire/messaging-frames.js';
import type { RecordBlock } from '../wire/records.js';

/** What somebody asks on a channel of the own organisation, from a verified sender. */
export interface Question extends Origin {
  /** One record. */
  readonly record: RecordBlock;
}

/** On which terms. */
export interface Terms {
  /** When nobody waits any more, by the monotonic clock, milliseconds. */
  readonly dueMs: number;
  /** Nobody else may get it when whoever got it goes away. */
  readonly once: boolean;
  /** Idempotency key; empty: none. */
  readonly key: string;
  /** It ends when a responder has got it: nobody waits for a reply. @default false */
  readonly oneWay?: boolean | undefined;
}

/** What a responder said. */
export type Said =
  | { readonly kind: 'reply'; readonly record: RecordBlock }
  | { readonly kind: 'error'; readonly error: ApplicationError };

/** How a request ended: with what a responder said, and who did; handed to one, when it is one-way; or without an answer. */
export type Answer = (Said & Answered) | Handed | Failed;

/** Who got what is one-way. */
export interface Handed extends Answered {
  readonly kind: 'handed';
}

export interface Answered {
  readonly node: string;
  /** How many responders got the request. */
  readonly attempts: number;
  /** Whether it answers an earlier request with the same key. */
  readonly duplicate: boolean;
}

export interface Failed {
  readonly kind: 'failed';
  readonly error: FedgateError;
  readonly attempts: number;
}

/** Why nobody waits for an answer any more. */
export type CancelCause = 'deadline' | 'caller';

/** Why a responder did not answer a survey. */
export type Why = 'no answer' | 'gone' | 'busy';

export interface SurveyEnd {
  readonly asked: number;
  readonly answered: number;
  readonly missing: readonly { readonly org: string; readonly node: string; readonly why: Why }[];
  /** Of several organisations: what became of it in each. */
  readonly orgs?: readonly OrgEnd[] | undefined;
}

/** How a survey ended in one of several organisations. */
export interface OrgEnd {
  readonly org: string;
  readonly asked: number;
  /** Answers that came from it. */
  readonly answered: number;
  /** Why nothing, or nothing more, is known of it. */
  readonly error: FedgateError | undefined;
  /** There were enough answers before it had told how it ended. */
  readonly early: boolean;
}

/** The longest time a request may take, and what it may when nothing is said, milliseconds. */
export const MAX_TIMEOUT_MS = 600_000;
export const DEFAULT_TIMEOUT_MS = 30_000;
export const DEFAULT_SURVEY_MS = 5_000;
/** How many responders get a request that none of them survives. */
export const MAX_ATTEMPTS = 5;
/** Requests that wait for a responder with room, per channel. */
export const MAX_QUEUED_PER_CHANNEL = 10_000;
/** Bytes of requests that are out to one responder, unless it is only one. */
export const MAX_OUT_BYTES = 256 * 1024;
export const DEFAULT_CAPACITY = 16;
export const MAX_CAPACITY = 10_000;
export const MAX_PATTERNS_PER_STREAM = 100;
/** Answers and responders of a survey, and those of them that are named when they do not answer. */
export const MAX_SURVEYED = 10_000;
export const MAX_MISSING_NAMED = 1_000;
/** Surveys that wait for one responder to have room. */
export const MAX_PINNED = 1_000;
