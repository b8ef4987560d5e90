import { RequestServiceService } from '../../../gen/ts/fedgate/messaging/v1/request_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { Fifo } from '../../fifo.js';
import { fromGrpcError } from '../../transport/status.js';
import { FieldReader } from '../../wire/reader.js';
import { readRequestResponse } from '../../wire/request-frames.js';
import { FieldWriter } from '../../wire/writer.js';
import { checkAddress } from '../checks.js';
import type { SubscriptionHost } from '../subscription.js';
import { encodeContent } from './content.js';
import {
  type Content,
  type HandedOver,
  Reply,
  type RequestOptions,
  type TellOptions,
  withRequestError,
} from './types.js';

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 600_000;
/** How much longer than the request's own time its call may take: the gateway says more precisely what went wrong. */
const GRACE_MS = 2_000;
const KEY = /^[\x21-\x7e]{1,64}$/;
/**
 * Bytes of requests that are on their way at once, unless it is only one: replies come back on the same connection, and two sides that both
 * send more than sockets keep stand still (decision 22).
 */
export const MAX_ASKING_BYTES = 256 * 1024;

/** With these it is sure that nobody got the request. */
const UNASKED: ReadonlySet<FedgateError['reason']> = new Set(['DRAINING', 'GATEWAY_UNREACHABLE', 'TOKEN_EXPIRED']);

const same = (bytes: Buffer): Buffer => bytes;

/** Asks, each request in a call of its own. */
export class Asker {
  readonly #host: SubscriptionHost;
  readonly #waiting = new Fifo<{ readonly bytes: number; readonly go: () => void }>();
  #bytes = 0;

  constructor(host: SubscriptionHost) {
    this.#host = host;
  }

  /** See FedgateClient.request. */
  async request(address: string, content: Content, options: RequestOptions): Promise<Reply> {
    return readReply(await this.#ask(address, content, options, false));
  }

  /** See FedgateClient.tell. */
  async tell(address: string, content: Content, options: TellOptions): Promise<HandedOver> {
    const { org, node } = readRequestResponse(await this.#ask(address, content, options, true)).facts;
    return { org, node };
  }

  async #ask(address: string, content: Content, options: RequestOptions, oneWay: boolean): Promise<Buffer> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    const frame = encodeRequest(address, content, options, oneWay);
    const untilMs = performance.now() + timeoutMs;
    for (;;) {
      if (signal?.aborted) throw gaveUp(signal);
      await this.#room(frame.record.length);
      try {
        const left = Math.ceil(untilMs - performance.now());
        if (left <= 0) throw new FedgateError('DEADLINE_EXCEEDED', `the gateway could not be asked in ${timeoutMs} ms`);
        return await this.#call(frame.with(left), left + GRACE_MS, signal);
      } catch (error) {
        await this.#mayAskAgain(error as FedgateError, untilMs);
      } finally {
        this.#leave(frame.record.length);
      }
    }
  }

  #call(bytes: Buffer, timeoutMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const { path } = RequestServiceService.request;
      const deadline = Date.now() + timeoutMs;
      const call = this.#host
        .channel()
        .makeUnaryRequest<Buffer, Buffer>(path, same, same, bytes, { deadline }, (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (!error && response) resolve(response);
          else if (signal?.aborted) reject(gaveUp(signal));
          else reject(withRequestError(fateOf(error)));
        });
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** A gateway that stops has not taken it: it is asked once it is back. Throws what it is not asked again for. */
  async #mayAskAgain(error: FedgateError, untilMs: number): Promise<void> {
    const lost =
      error.reason === 'GATEWAY_UNREACHABLE' || error.reason === 'OUTCOME_UNKNOWN' || error.reason === 'TOKEN_EXPIRED';
    if (lost) void this.#host.reconnected(error).catch(() => undefined);
    if (!UNASKED.has(error.reason)) throw error;
    const left = untilMs - performance.now();
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(error), Math.max(0, left));
    });
    try {
      await Promise.race([this.#host.reconnected(error), over]);
    } finally {
      clearTimeout(timer);
    }
  }

  #room(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#bytes += bytes;
      return Promise.resolve();
    }
    return new Promise(go => this.#waiting.push({ bytes, go }));
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= MAX_ASKING_BYTES;
  }

  #leave(bytes: number): void {
    this.#bytes -= bytes;
    for (let next = this.#waiting.peek(); next && this.#fits(next.bytes); next = this.#waiting.peek()) {
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.go();
    }
  }
}

/** A RequestRequest but for its time. Throws FIELD_INVALID, FRAME_TOO_LARGE. */
function encodeRequest(address: string, content: Content, options: RequestOptions, oneWay: boolean) {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, idempotencyKey: key = '', once = false, headers, contentType } = options;
  const problem = checkAddress(address);
  if (problem) throw problem;
  checkTimeout(timeoutMs);
  if (key && !KEY.test(key)) throw fieldError('idempotencyKey', 'must be up to 64 of the characters 0x21 to 0x7e');
  const record = encodeContent(content, { headers, contentType });
  return {
    record,
    with: (leftMs: number): Buffer => {
      const head = new FieldWriter()
        .text(1, address)
        .number(2, leftMs)
        .text(3, key)
        .number(4, once ? 1 : 0)
        .number(5, oneWay ? 1 : 0);
      return Buffer.concat([head.view(), record]);
    },
  };
}

/** Throws FIELD_INVALID. */
export function checkTimeout(timeoutMs: number): void {
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS)
    throw fieldError('timeoutMs', `must be a whole number from 1 to ${MAX_TIMEOUT_MS}`);
}

function readReply(bytes: Buffer): Reply {
  const { facts, record } = readRequestResponse(bytes);
  const reader = new FieldReader(bytes, record);
  if (!reader.next()) throw new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no reply');
  return new Reply(bytes, reader.start, reader.end, facts);
}

/** What became of a request whose call failed. Only when no connection was there is it sure that the gateway never got it. */
export function fateOf(error: unknown): FedgateError {
  const known = fromGrpcError(error);
  const cutOff = known.reason === 'GATEWAY_UNREACHABLE' || known.reason === 'CANCELLED';
  if (!cutOff || isUnsent(known)) return known;
  return new FedgateError(
    'OUTCOME_UNKNOWN',
    `the connection to the gateway broke before the answer: ${known.message}`,
    {
      cause: error,
    },
  );
}

/** grpc-js's words for a connection that it could not make. */
const isUnsent = ({ message }: FedgateError): boolean => /No connection established/.test(message);

const gaveUp = (signal: AbortSignal): FedgateError =>
  new FedgateError('CANCELLED', 'the request was given up', { cause: signal.reason });
