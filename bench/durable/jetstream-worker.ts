import { type MeasureParams, Meter } from '../meter.js';
import type { NatsTarget } from '../nats.js';
import { connectNats, type NatsConnection } from '../nats-client.js';
import { serveWorker } from '../worker.js';
import { type JetStreamClient, loadJetStream } from './jetstream-client.js';

/** A publisher into a stream, or a durable pull consumer of the stream in the other domain. */

const SUBJECT = 'bench.durable';
const ORIGIN = 'ORIGIN';
const COPY = 'COPY';
const CONSUMER = 'consumer';
const ACKNOWLEDGEMENTS = '_INBOX.bench.publisher';
/** Old messages go, so that the store of a run stays small. */
const STREAM_BYTES = 1024 ** 3;
/** Publishes without an acknowledgement yet: as many as make it fastest, and not more than fedgate has on the way. */
const UNANSWERED_MESSAGES = 512;
const UNANSWERED_BYTES = 8 * 1024 * 1024;
/** How many messages a consumer asks for at a time, and may have unacknowledged. */
const PULL_MESSAGES = 5_000;
const MAX_UNACKNOWLEDGED = 20_000;

const meter = new Meter();

const methods = {
  /** Makes the stream that the publisher publishes to. */
  async createOrigin(target: NatsTarget): Promise<void> {
    const manager = await loadJetStream().jetstreamManager(await connectNats(target));
    await manager.streams.add({ name: ORIGIN, subjects: [SUBJECT], max_bytes: STREAM_BYTES });
  },

  /** Makes the stream that is sourced from the other domain, consumes it, acknowledges each message and counts. */
  async consume({ domain, ...target }: NatsTarget & { domain: string }): Promise<void> {
    const { jetstream, jetstreamManager } = loadJetStream();
    const connection = await connectNats(target);
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: COPY, sources: [{ name: ORIGIN, domain }], max_bytes: STREAM_BYTES });
    await manager.consumers.add(COPY, {
      durable_name: CONSUMER,
      ack_policy: 'explicit',
      max_ack_pending: MAX_UNACKNOWLEDGED,
    });
    const consumer = await jetstream(connection).consumers.get(COPY, CONSUMER);
    await consumer.consume({
      max_messages: PULL_MESSAGES,
      callback: message => {
        meter.add(message.data.length > 0 ? 1 : 0);
        message.ack();
      },
    });
  },

  /** Publishes without end, many messages at a time. */
  async publish({ payloadBytes, raw, ...target }: { payloadBytes: number; raw: boolean } & NatsTarget): Promise<void> {
    const connection = await connectNats(target);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const most = Math.min(UNANSWERED_MESSAGES, Math.max(1, Math.floor(UNANSWERED_BYTES / payloadBytes)));
    if (raw) await publishRaw(connection, payload, most);
    else publishByClient(loadJetStream().jetstream(connection), payload, most);
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type JetStreamMethods = typeof methods;
serveWorker(methods);

/** With the client's own call, as programs do. */
function publishByClient(client: JetStreamClient, payload: Uint8Array, most: number): void {
  const publishOneByOne = async (): Promise<never> => {
    for (;;) await client.publish(SUBJECT, payload);
  };
  for (let i = 0; i < most; i++) void publishOneByOne();
}

/** With one subscription for all acknowledgements: the client's own call costs a promise, a race and a timer per message. */
async function publishRaw(connection: NatsConnection, payload: Uint8Array, most: number): Promise<void> {
  const publish = (): void => connection.publish(SUBJECT, payload, { reply: ACKNOWLEDGEMENTS });
  connection.subscribe(ACKNOWLEDGEMENTS, {
    callback: (_error, { data }) => {
      const answer = Buffer.from(data).toString();
      if (JSON.parse(answer).error) throw new Error(`a publish failed: ${answer}`);
      publish();
    },
  });
  await connection.flush();
  for (let i = 0; i < most; i++) publish();
}
