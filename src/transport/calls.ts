import { randomUUID, X509Certificate } from 'node:crypto';
import type { Readable } from 'node:stream';
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerReadableStream,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { FrameWriter } from './frame-writer.js';
import { toGrpcStatus } from './status.js';

/**
 * Every handler runs inside one of the four wrappers here: the caller is identified before it, whatever it throws becomes one typed
 * status, and its signal fires when the call ends for any reason.
 */

/** What a handler knows of its call. */
export interface CallContext<C = Identity> {
  readonly caller: C;
  /** `ip:port` of the caller's socket. */
  readonly remoteAddress: string;
  /** How long the caller waits by its gRPC deadline, milliseconds; Infinity: it has none. */
  readonly timeLeftMs: () => number;
  /** Fires when the call is over: answered, cancelled, failed, or cut. */
  readonly signal: AbortSignal;
  /** Ends the call with an error, whatever its handler is doing: what let it in does not hold any more. */
  readonly end: (error: FedgateError) => void;
  /** The handler wants to end itself when `end` is called: `listener` hears of it, and has a moment to finish what it has begun. */
  readonly beforeEnd: (listener: (error: FedgateError) => void) => void;
}

/** How long a handler may take for what it has begun when its call is to end, milliseconds. */
export const LAST_WORDS_MS = 2_000;

/** The certificate a call came with. */
export interface CallerCertificate {
  readonly fingerprint: string;
  /** Parses it; costs ~0.1 ms. */
  read(): X509Certificate;
}

/** What else a call shows. */
export interface CallFacts {
  /** `ip:port` of the caller's socket. */
  readonly remoteAddress: string;
  /** The values of a header; binary ones are left out. */
  header(name: string): readonly string[];
  /** All headers that are text. */
  headers(): ReadonlyMap<string, string>;
}

export interface CallPolicy<C> {
  /**
   * Decides who calls, or throws; with a promise the handler begins later, and nothing is read from the caller until then. `certificate` is
   * undefined when none was shown.
   */
  authenticate(certificate: CallerCertificate | undefined, path: string, facts: CallFacts): C | Promise<C>;
  /** A stream of a caller begins; `end` is to be called when the caller may go on no more. Returns what to call when the stream is over. */
  lasting?(caller: C, end: (error: FedgateError) => void): () => void;
  /** Hears of every call that ended with an error. `unexpected` ones are defects and carry the request id the caller was given. */
  onFailure(failure: CallFailure): void;
}

export interface CallFailure {
  readonly path: string;
  readonly remoteAddress: string;
  readonly error: FedgateError;
  readonly requestId?: string;
  /** True when the caller was refused before its handler ran. */
  readonly unauthenticated: boolean;
}

interface AnyCall {
  getPath(): string;
  getPeer(): string;
  getDeadline(): number | Date;
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer; fingerprint256: string } };
  readonly metadata: { get(key: string): (string | Buffer)[]; getMap(): { [key: string]: string | Buffer } };
  readonly cancelled: boolean;
  once(event: 'cancelled', listener: () => void): unknown;
}

export class CallWrapper<C> {
  readonly #policy: CallPolicy<C>;

  constructor(policy: CallPolicy<C>) {
    this.#policy = policy;
  }

  unary<Req, Res>(handler: (request: Req, context: CallContext<C>) => Promise<Res> | Res): handleUnaryCall<Req, Res> {
    return (call, callback) => {
      void this.#run(
        call as unknown as AnyCall,
        context => handler(call.request, context),
        response => callback(null, response),
        error => callback(error),
      );
    };
  }

  /** The handler writes to `out`; the call ends when its promise settles. */
  serverStream<Req, Res>(
    handler: (request: Req, out: FrameWriter<Res>, context: CallContext<C>) => Promise<void>,
  ): handleServerStreamingCall<Req, Res> {
    return call => {
      void this.#run(
        call as unknown as AnyCall,
        context => handler(call.request, new FrameWriter<Res>(call, context.signal), context),
        () => call.end(),
        error => failStream(call, error),
        'lasting',
      );
    };
  }

  /** The handler reads `call`; the call ends when its promise settles, whether or not all was read. */
  clientStream<Req, Res>(
    handler: (call: ServerReadableStream<Req, Res>, context: CallContext<C>) => Promise<Res>,
  ): handleClientStreamingCall<Req, Res> {
    return (call, callback) => {
      void this.#run(
        call as unknown as AnyCall,
        context => handler(call, context),
        response => {
          callback(null, response);
          discard(call);
        },
        error => {
          callback(error);
          discard(call);
        },
        'lasting',
      );
    };
  }

  /** The handler must start reading `call` before it first waits: frames that nobody reads pile up. */
  bidi<Req, Res>(
    handler: (call: ServerDuplexStream<Req, Res>, out: FrameWriter<Res>, context: CallContext<C>) => Promise<void>,
  ): handleBidiStreamingCall<Req, Res> {
    return call => {
      void this.#run(
        call as unknown as AnyCall,
        context => handler(call, new FrameWriter<Res>(call, context.signal), context),
        () => call.end(),
        error => {
          discard(call);
          failStream(call, error);
        },
        'lasting',
      );
    };
  }

  async #run<R>(
    call: AnyCall,
    body: (context: CallContext<C>) => Promise<R> | R,
    done: (result: R) => void,
    fail: (status: GrpcFailure) => void,
    lasting?: 'lasting',
  ): Promise<void> {
    const ended = new AbortController();
    // Also when a call has ended well: the library says so whenever the stream closes.
    call.once('cancelled', () => ended.abort(WENT_AWAY));
    let authenticated = false;
    let cut = false;
    let lastWords: ((error: FedgateError) => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    const endNow = (error: FedgateError): void => {
      if (cut || ended.signal.aborted) return;
      cut = true;
      this.#refuse(call, error, true, fail);
      ended.abort(error);
    };
    const end = (error: FedgateError): void => {
      if (!lastWords) return endNow(error);
      timer ??= setTimeout(endNow, LAST_WORDS_MS, error);
      lastWords(error);
      lastWords = () => undefined;
    };
    const beforeEnd = (listener: (error: FedgateError) => void): void => {
      lastWords = listener;
    };
    let release: (() => void) | undefined;
    try {
      const asked = this.#policy.authenticate(certificateOf(call), call.getPath(), factsOf(call));
      // Without a wait where there is nothing to wait for.
      const caller = asked instanceof Promise ? await asked : asked;
      if (ended.signal.aborted) return;
      authenticated = true;
      if (lasting) release = this.#policy.lasting?.(caller, end);
      const { signal } = ended;
      const remoteAddress = call.getPeer();
      const result = await body({ caller, remoteAddress, timeLeftMs: () => timeLeftOf(call), signal, end, beforeEnd });
      if (!cut) done(result);
    } catch (thrown) {
      if (!cut && !call.cancelled) this.#refuse(call, thrown, authenticated, fail);
    } finally {
      clearTimeout(timer);
      release?.();
      ended.abort(OVER);
    }
  }

  #refuse(call: AnyCall, thrown: unknown, authenticated: boolean, fail: (status: GrpcFailure) => void): void {
    const expected = thrown instanceof FedgateError && thrown.reason !== 'INTERNAL';
    const requestId = expected ? undefined : randomUUID();
    const cause = expected
      ? (thrown as FedgateError)
      : new FedgateError('INTERNAL', 'internal error', { cause: thrown });
    this.#policy.onFailure({
      path: call.getPath(),
      remoteAddress: call.getPeer(),
      error: cause,
      unauthenticated: !authenticated,
      ...(requestId === undefined ? {} : { requestId }),
    });
    const status = toGrpcStatus(cause, requestId);
    fail(Object.assign(new Error(status.details), status));
  }
}

// One each for all calls: an error costs its stack trace.
const WENT_AWAY = new FedgateError('CANCELLED', 'the caller went away');
const OVER = new FedgateError('CANCELLED', 'the call is over');

/** What still arrives is thrown away, so that a caller that keeps sending costs no memory. */
function discard(call: Readable): void {
  call.removeAllListeners('data');
  call.removeAllListeners('readable');
  call.resume();
}

type GrpcFailure = Error & ReturnType<typeof toGrpcStatus>;

const failStream = (
  call:
    | ServerWritableStream<never, never>
    | ServerDuplexStream<never, never>
    | { emit(name: 'error', error: Error): boolean },
  error: GrpcFailure,
): void => {
  call.emit('error', error);
};

const timeLeftOf = (call: AnyCall): number => Number(call.getDeadline()) - Date.now();

function certificateOf(call: AnyCall): CallerCertificate | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  if (!certificate) return undefined;
  return { fingerprint: certificate.fingerprint256, read: () => new X509Certificate(certificate.raw) };
}

const factsOf = (call: AnyCall): CallFacts => ({
  get remoteAddress() {
    return call.getPeer();
  },
  header: name => call.metadata.get(name).filter(value => typeof value === 'string'),
  headers: () =>
    new Map(
      Object.entries(call.metadata.getMap()).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    ),
});

export type Handlers<T> = { readonly [method in keyof T]: UntypedHandleCall };
