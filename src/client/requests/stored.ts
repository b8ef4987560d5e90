import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  GetAnswerResponse,
  type StoredRequest as Message,
  StoredRequestServiceService as methods,
} from '../../../gen/ts/fedgate/messaging/v1/stored_request_service.js';
import { FedgateError, fieldError, isReason } from '../../errors.js';
import { callServerStream, callUnary } from '../../transport/client-calls.js';
import { FieldReader } from '../../wire/reader.js';
import { RECORDS_FIELD } from '../../wire/records.js';
import { FieldWriter } from '../../wire/writer.js';
import { checkAddress } from '../checks.js';
import type { SubscriptionHost } from '../subscription.js';
import { encodeContent } from './content.js';
import { type Content, Reply, RequestError } from './types.js';

export interface LaterOptions {
  /** How long there may be no answer, milliseconds, from 1000 to 30 days. @default 7 days */
  readonly expireAfterMs?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string | undefined;
  /** Asked again with the same key at the same address, it is the request of the first time. 1 to 64 of 0x21 to 0x7e. @default a new one */
  readonly idempotencyKey?: string | undefined;
  /** How long the gateway may take to store it, milliseconds; while it is away it is asked again. @default 30000 */
  readonly timeoutMs?: number | undefined;
}

/** A request that is stored. */
export interface StoredId {
  readonly id: string;
  /** Whether an earlier call with the same key stored it. */
  readonly duplicate: boolean;
  /** When it ends without an answer. */
  readonly expires: Date;
}

/** How a stored request stands. */
export interface StoredRequest {
  readonly id: string;
  /** `pubsub://ORG/channel`. */
  readonly address: string;
  /** `answered`: with `reply`, or with a responder's own `error`. `failed`: there is no answer, and `error` says why. */
  readonly state: 'waiting' | 'answered' | 'failed' | 'cancelled' | 'acknowledged';
  readonly created: Date;
  readonly expires: Date;
  readonly ended: Date | undefined;
  /** Who answered. */
  readonly node: string;
  /** How many responders may have got it. */
  readonly attempts: number;
  readonly reply: Reply | undefined;
  readonly error: FedgateError | undefined;
}

const TIMEOUT_MS = 20_000;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;
const STATES = ['waiting', 'waiting', 'answered', 'failed', 'cancelled', 'acknowledged'] as const;
const same = (bytes: Buffer): Buffer => bytes;
/** With records left as bytes. */
const REQUEST_LATER = { ...methods.requestLater, requestSerialize: same, requestDeserialize: same };
const GET_ANSWER = { ...methods.getAnswer, responseSerialize: same, responseDeserialize: same };
const AWAIT_ANSWER = { ...methods.awaitAnswer, responseSerialize: same, responseDeserialize: same };

/**
 * Requests that survive outages: stored by the own gateway, answered when there is somebody to answer, the answer kept until it is acknowledged. Rejects
 * with NOT_GRANTED, ORG_UNKNOWN, LIMIT_REACHED, REQUEST_UNKNOWN, STORE_FULL …
 */
export class StoredRequests {
  readonly #host: SubscriptionHost;

  /** Use `client.stored`. */
  constructor(host: SubscriptionHost) {
    this.#host = host;
  }

  /** Resolves once it is on stable storage. A gateway that goes away meanwhile is asked again, and stores it once. */
  async ask(address: string, content: Content, options: LaterOptions = {}): Promise<StoredId> {
    const { expireAfterMs = 0, idempotencyKey = randomBytes(15).toString('base64url'), timeoutMs = 30_000 } = options;
    const problem = checkAddress(address);
    if (problem) throw problem;
    if (!Number.isInteger(expireAfterMs)) throw fieldError('expireAfterMs', 'must be a whole number');
    const { headers, contentType } = options;
    const head = new FieldWriter().text(1, address).number(2, expireAfterMs).text(3, idempotencyKey);
    const frame = Buffer.concat([head.view(), encodeContent(content, { headers, contentType })]);
    const untilMs = performance.now() + timeoutMs;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      try {
        const left = Math.max(1, Math.ceil(untilMs - performance.now()));
        const stored = await callUnary(this.#host.channel(), REQUEST_LATER, frame, { timeoutMs: left });
        const { requestId, duplicate, expireTimeMs } = stored;
        return { id: requestId, duplicate, expires: new Date(Number(expireTimeMs)) };
      } catch (error) {
        if (!isAway(error) || performance.now() + waitMs >= untilMs) throw error;
        await delay(waitMs);
      }
    }
  }

  /** How one stands now. */
  async get(id: string): Promise<StoredRequest> {
    return toRequest(await callUnary(this.#host.channel(), GET_ANSWER, { requestId: id }, { timeoutMs: TIMEOUT_MS }));
  }

  /** Resolves when it has ended, however long that takes and whatever becomes of the connection. Rejects with REQUEST_UNKNOWN, CANCELLED. */
  async wait(id: string, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<StoredRequest> {
    const given = signal ?? new AbortController().signal;
    for (let waitMs = FIRST_WAIT_MS; !given.aborted; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      try {
        for await (const bytes of callServerStream(this.#host.channel(), AWAIT_ANSWER, { requestId: id }, given)) {
          const request = toRequest(bytes);
          if (request.state !== 'waiting') return request;
          waitMs = FIRST_WAIT_MS;
        }
      } catch (error) {
        if (!given.aborted && !isAway(error)) throw error;
      }
      await delay(waitMs, undefined, { signal: given }).catch(() => undefined);
    }
    throw new FedgateError('CANCELLED', 'the answer is not waited for any more', { cause: given.reason });
  }

  /** Waits for the reply. Rejects with RequestError, the responder's own, or with why there is none. It is kept until it is acknowledged. */
  async answer(id: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Reply> {
    const { reply, error, state } = await this.wait(id, options);
    if (reply) return reply;
    throw error ?? new FedgateError('CANCELLED', `the request is ${state}`);
  }

  /** The newest first, without replies. */
  async *list(): AsyncGenerator<StoredRequest> {
    let pageToken = '';
    do {
      const request = { pageSize: 0, pageToken };
      const page = await callUnary(this.#host.channel(), methods.listStoredRequests, request, {
        timeoutMs: TIMEOUT_MS,
      });
      yield* page.requests.map(each => facts(each));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** Ends one that has not ended; it may have been carried out. */
  async cancel(id: string): Promise<StoredRequest> {
    const timeout = { timeoutMs: TIMEOUT_MS };
    const { request } = await callUnary(this.#host.channel(), methods.cancelStoredRequest, { requestId: id }, timeout);
    return facts(request);
  }

  /** The answer was taken: the gateway forgets it. */
  async acknowledge(id: string): Promise<void> {
    await callUnary(this.#host.channel(), methods.acknowledgeAnswer, { requestId: id }, { timeoutMs: TIMEOUT_MS });
  }
}

const AWAY: ReadonlySet<string> = new Set(['GATEWAY_UNREACHABLE', 'DRAINING', 'OUTCOME_UNKNOWN']);
const isAway = (error: unknown): boolean => error instanceof FedgateError && AWAY.has(error.reason);

function toRequest(bytes: Buffer): StoredRequest {
  const request = facts(GetAnswerResponse.decode(bytes).request);
  const reader = new FieldReader(bytes);
  while (reader.next()) {
    if (reader.field !== RECORDS_FIELD) continue;
    const { node, attempts } = request;
    const org = orgOf(request.address);
    return { ...request, reply: new Reply(bytes, reader.start, reader.end, { org, node, attempts, duplicate: false }) };
  }
  return request;
}

function facts(message: Message | undefined): StoredRequest {
  if (!message) throw new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no stored request');
  const { requestId: id, address, state, createTimeMs, expireTimeMs, endTimeMs, node, attempts } = message;
  return {
    ...{ id, address, node, attempts, state: STATES[state] ?? 'failed', reply: undefined },
    created: new Date(Number(createTimeMs)),
    expires: new Date(Number(expireTimeMs)),
    ended: endTimeMs === 0n ? undefined : new Date(Number(endTimeMs)),
    error: errorOf(message),
  };
}

function errorOf({ error, failure, address, node }: Message): FedgateError | undefined {
  if (error) return new RequestError(error.code, error.message, { details: error.details, org: orgOf(address), node });
  if (!failure) return undefined;
  const { reason, message } = failure;
  return new FedgateError(isReason(reason) ? reason : 'OUTCOME_UNKNOWN', message, {
    metadata: { org: orgOf(address) },
  });
}

const orgOf = (address: string): string => address.split('/')[2] ?? '';
