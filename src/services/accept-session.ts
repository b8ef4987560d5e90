import type { ServerDuplexStream } from '@grpc/grpc-js';
import type {
  AcceptStreamsRequest,
  AcceptStreamsResponse,
  AcceptStreamsStart,
} from '../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { fieldError } from '../errors.js';
import type { Access } from '../messaging/access.js';
import { type Pattern, parsePattern } from '../messaging/address.js';
import { Acceptor, type AcceptorSink } from '../streams/acceptors.js';
import type { Offer } from '../streams/offer.js';
import type { Streams } from '../streams/streams.js';
import { DEFAULT_CAPACITY, full, MAX_CAPACITY, MAX_PATTERNS_PER_CALL, unexpected } from '../streams/terms.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { malformed } from '../wire/reader.js';

type Response = NonNullable<AcceptStreamsResponse['frame']>;

const MAX_REASON_BYTES = 1024;

export interface AcceptHost {
  readonly gateway: string;
  readonly streams: Streams;
  readonly access: Access;
  readonly draining: AbortSignal;
}

/** One AcceptStreams call. */
export class AcceptSession implements AcceptorSink {
  readonly #call: ServerDuplexStream<AcceptStreamsRequest, AcceptStreamsResponse>;
  readonly #out: FrameWriter<AcceptStreamsResponse>;
  readonly #node: string;
  readonly #host: AcceptHost;
  #acceptor: Acceptor | undefined;

  constructor(
    call: ServerDuplexStream<AcceptStreamsRequest, AcceptStreamsResponse>,
    out: FrameWriter<AcceptStreamsResponse>,
    node: string,
    host: AcceptHost,
  ) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#host = host;
  }

  /** Resolves when the client has ended the call; rejects with what it is to end with. */
  async run(signal: AbortSignal): Promise<void> {
    const { draining, streams } = this.#host;
    if (draining.aborted) throw draining.reason;
    let drain: () => void = () => undefined;
    let over: () => void = () => undefined;
    let unwatch: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        over = resolve;
        drain = () => reject(draining.reason);
        unwatch = this.#host.access.watch(() => this.#recheck(), reject);
        draining.addEventListener('abort', drain, { once: true });
        signal.addEventListener('abort', over, { once: true });
        this.#out.onDrain(() => this.#call.resume());
        this.#call.on('end', resolve);
        this.#call.on('data', (request: AcceptStreamsRequest) => {
          try {
            this.#take(request);
            // Reads on only while the client reads what it is told.
            if (!this.#out.writable) this.#call.pause();
          } catch (error) {
            reject(error);
          }
        });
      });
    } finally {
      unwatch();
      draining.removeEventListener('abort', drain);
      signal.removeEventListener('abort', over);
      if (this.#acceptor) streams.acceptors.remove(this.#acceptor);
    }
  }

  /** At most `capacity` are offered at once, so they need no queue. */
  offered({ facts }: Offer): void {
    const { token, channel, senderOrg, senderNode } = facts;
    this.#put({ $case: 'offer', value: { token: Buffer.from(token, 'hex'), channel, senderOrg, senderNode } });
  }

  withdrawn({ facts }: Offer): void {
    this.#put({ $case: 'withdrawn', value: { token: Buffer.from(facts.token, 'hex') } });
  }

  #take({ frame }: AcceptStreamsRequest): void {
    if (!frame) throw malformed('an AcceptStreamsRequest of a kind that is not known');
    if (frame.$case === 'start') return this.#start(frame.value);
    const acceptor = this.#acceptor;
    if (!acceptor) throw unexpected('the first frame must be `start`');
    if (frame.$case === 'enable') this.#enable(acceptor, frame.value.pattern);
    else if (frame.$case === 'disable') {
      acceptor.patterns.delete(parsePattern(frame.value.pattern, 'disable.pattern').text);
      this.#put({ $case: 'changed', value: { pattern: frame.value.pattern, enabled: false } });
    } else this.#refuse(acceptor, Buffer.from(frame.value.token).toString('hex'), frame.value.reason);
  }

  #start({ patterns, capacity }: AcceptStreamsStart): void {
    if (this.#acceptor) throw unexpected('the call was started already');
    if (capacity > MAX_CAPACITY) throw fieldError('start.capacity', `is over ${MAX_CAPACITY}`);
    const checked = patterns.map(text => this.#check(text, 'start.patterns'));
    checkCount(new Set(patterns).size);
    const acceptor = new Acceptor(this.#node, capacity || DEFAULT_CAPACITY, this);
    for (const pattern of checked) acceptor.patterns.set(pattern.text, pattern);
    this.#acceptor = acceptor;
    this.#put({ $case: 'opened', value: { gateway: this.#host.gateway } });
    this.#host.streams.acceptors.all.add(acceptor);
  }

  #enable(acceptor: Acceptor, text: string): void {
    const pattern = this.#check(text, 'enable.pattern');
    if (!acceptor.patterns.has(text)) checkCount(acceptor.patterns.size + 1);
    acceptor.patterns.set(text, pattern);
    this.#put({ $case: 'changed', value: { pattern: text, enabled: true } });
  }

  #refuse(acceptor: Acceptor, token: string, reason: string): void {
    if (Buffer.byteLength(reason) > MAX_REASON_BYTES)
      throw fieldError('refuse.reason', `is over ${MAX_REASON_BYTES} bytes`);
    for (const offer of acceptor.has) if (offer.facts.token === token) return offer.refuse(acceptor, reason);
  }

  #check(text: string, field: string): Pattern {
    const pattern = parsePattern(text, field);
    this.#host.access.checkAcceptStreams(this.#node, pattern);
    return pattern;
  }

  /** Throws NOT_GRANTED when the grants have changed so. */
  #recheck(): void {
    for (const pattern of this.#acceptor?.patterns.values() ?? [])
      this.#host.access.checkAcceptStreams(this.#node, pattern);
  }

  #put(frame: Response): void {
    this.#out.put({ frame });
  }
}

function checkCount(patterns: number): void {
  if (patterns > MAX_PATTERNS_PER_CALL)
    throw full('patterns', `more than ${MAX_PATTERNS_PER_CALL} patterns are enabled on one call`);
}
