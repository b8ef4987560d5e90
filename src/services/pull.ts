import type { PullRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { Consumer, ConsumerSink } from '../durable/subscriptions/consumer.js';
import { parseSpec } from '../durable/subscriptions/spec.js';
import { type FedgateError, fieldError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { FieldWriter } from '../wire/writer.js';
import type { ConsumeHost } from './consume-service.js';
import { StreamRights } from './stream-rights.js';

const MAX_PULL_RECORDS = 1_000;
const MAX_WAIT_MS = 60_000;
/** PullResponse.delivery. */
const DELIVERY = 1;

/** Delivers what is there, at most so much, and waits for the first of it if need be. Throws what the call is to fail with. */
export async function pull(
  request: PullRequest,
  out: FrameWriter<Buffer>,
  node: string,
  host: ConsumeHost,
  signal: AbortSignal,
  end: (error: FedgateError) => void,
): Promise<void> {
  const { maxRecords, waitMs } = request;
  if (maxRecords > MAX_PULL_RECORDS) throw fieldError('max_records', `is over ${MAX_PULL_RECORDS}`);
  if (waitMs > MAX_WAIT_MS) throw fieldError('wait_ms', `is over ${MAX_WAIT_MS}`);
  const { subscriptions, access, draining } = host;
  if (draining.aborted) throw draining.reason;
  const sink = new PullSink(out);
  const wanted = parseSpec(request.subscription, 'subscription');
  const rights = new StreamRights(host, node, end);
  const check = (pattern: Pattern): void | Promise<void> =>
    rights.deliver(pattern, () => access.checkSubscribe(node, pattern));
  let consumer: Consumer | undefined;
  try {
    ({ consumer } = await subscriptions.pull(wanted, node, sink, check));
    await taken(consumer, sink, maxRecords || 1, waitMs, [signal, draining]);
  } finally {
    rights.release();
    consumer?.close();
  }
  if (draining.aborted) throw draining.reason;
}

/** Resolves when so much was taken, or nothing more is there, or somebody gave up. Rejects when the gateway ends the consumer. */
function taken(
  consumer: Consumer,
  sink: PullSink,
  records: number,
  waitMs: number,
  signals: readonly AbortSignal[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    let waited = waitMs === 0;
    const timer = setTimeout(() => {
      waited = true;
      // Whether something is on its way from the disk at this moment is said by the next `idle`.
      consumer.credit(0);
    }, waitMs);
    const over = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', done);
    };
    const done = (): void => {
      over();
      resolve();
    };
    for (const signal of signals) {
      if (signal.aborted) return done();
      signal.addEventListener('abort', done, { once: true });
    }
    consumer.ended.catch(error => {
      over();
      reject(error);
    });
    consumer.onIdle(() => {
      if (consumer.credited === 0 || sink.frames > 0 || waited) done();
    });
    consumer.credit(records);
  });
}

/** Wraps what a consumer is sent into responses of Pull. */
class PullSink implements ConsumerSink {
  readonly #out: FrameWriter<Buffer>;
  frames = 0;

  constructor(out: FrameWriter<Buffer>) {
    this.#out = out;
  }

  get writable(): boolean {
    return this.#out.writable;
  }

  put(frame: Buffer): void {
    this.frames++;
    const prefix = new FieldWriter().prefix(DELIVERY, frame.length);
    this.#out.put(Buffer.concat([prefix.view(), frame]));
  }

  onDrain(listener: () => void): void {
    this.#out.onDrain(listener);
  }
}
