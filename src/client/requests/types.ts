import { FedgateError } from '../../errors.js';
import { ReceivedRecord, type RecordInit } from '../../wire/record-codec.js';

export interface RequestOptions {
  /** How long the answer may take, milliseconds; it is counted down on its way. At most 600000. @default 30000 */
  readonly timeoutMs?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string | undefined;
  /** Asked again with the same key within 10 minutes, it is not carried out again and gets the first reply. 1 to 64 of 0x21 to 0x7e. */
  readonly idempotencyKey?: string | undefined;
  /** Nobody else may get it when whoever got it goes away before answering: then RESPONDER_GONE. @default false */
  readonly once?: boolean | undefined;
  /** Gives up; the responder is told, unless there is an idempotency key. */
  readonly signal?: AbortSignal | undefined;
}

/** Of what is one-way: no key, as there is no reply to remember. */
export type TellOptions = Omit<RequestOptions, 'idempotencyKey' | 'once'>;

/** Who got what is one-way, as verified by its gateway. */
export interface HandedOver {
  readonly org: string;
  readonly node: string;
}

export interface SurveyOptions {
  /** How long to wait for answers, milliseconds. At most 600000. @default 5000 */
  readonly timeoutMs?: number | undefined;
  /** After how many answers to stop. @default when all have answered */
  readonly maxAnswers?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is asked or answered: a payload, or a whole record. */
export type Content = RecordInit | RecordInit['payload'];

export interface ReplyFacts {
  readonly org: string;
  readonly node: string;
  readonly attempts: number;
  readonly duplicate: boolean;
}

/** The reply to a request. */
export class Reply extends ReceivedRecord {
  /** The organisation and the node that answered, as verified by its gateway. */
  readonly org: string;
  readonly node: string;
  /** How many responders got the request: more than 1 when one went away before it had answered. */
  readonly attempts: number;
  /** Whether this is the reply to an earlier request with the same idempotency key. */
  readonly duplicate: boolean;

  constructor(bytes: Buffer, start: number, end: number, { org, node, attempts, duplicate }: ReplyFacts) {
    super(bytes, start, end);
    this.org = org;
    this.node = node;
    this.attempts = attempts;
    this.duplicate = duplicate;
  }
}

const NO_DETAILS = new Uint8Array(0);

/**
 * A responder's own error. A handler throws one to refuse a request; whoever asked gets it, with code, message and details as they were
 * given. Everything else that goes wrong is a FedgateError that is no RequestError.
 */
export class RequestError extends FedgateError {
  /** 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly code: string;
  /** At most 2048 bytes. */
  readonly details: Uint8Array;
  /** Who said it; empty in one that was not received. */
  readonly org: string;
  readonly node: string;

  /** `message`: at most 1024 bytes. */
  constructor(code: string, message: string, options: { details?: Uint8Array; org?: string; node?: string } = {}) {
    const { details = NO_DETAILS, org = '', node = '' } = options;
    super('APPLICATION_ERROR', message, {
      application: { code, message, details },
      metadata: { code, ...(org ? { org } : {}), ...(node ? { node } : {}) },
    });
    this.code = code;
    this.details = details;
    this.org = org;
    this.node = node;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof FedgateError && value.reason === 'APPLICATION_ERROR' && 'code' in value;
  }
}

/** Makes the responder's error of what a call failed with, where it is one. */
export function withRequestError(error: FedgateError): FedgateError {
  if (error.reason !== 'APPLICATION_ERROR' || !error.application) return error;
  const { code, message, details } = error.application;
  const { org = '', node = '' } = error.metadata;
  return new RequestError(code, message, { details, org, node });
}
