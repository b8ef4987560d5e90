import { FRAME_BYTES } from '../frames.js';
import { type MeasureParams, Meter } from '../meter.js';
import type { NatsTarget } from '../nats.js';
import { connectNats, type NatsConnection } from '../nats-client.js';
import { serveWorker } from '../worker.js';

/** A client of a nats-server. */

const SUBJECT = 'bench.live';
/** How much a publisher has on its way to its server before it waits, bytes. More does not make it faster. */
const IN_FLIGHT_BYTES = 16 * FRAME_BYTES;

const meter = new Meter();

const methods = {
  async publish({ payloadBytes, ...target }: { payloadBytes: number } & NatsTarget): Promise<void> {
    void pump(await connectNats(target), Buffer.alloc(payloadBytes, 'x'));
  },

  async subscribe(target: NatsTarget): Promise<void> {
    const connection = await connectNats(target);
    connection.subscribe(SUBJECT, { callback: (_error, { data }) => meter.add(data.length > 0 ? 1 : 0) });
    await connection.flush();
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type NatsMethods = typeof methods;
serveWorker(methods);

/** Publishes without end, always waiting for the server to have taken all but the last few batches. */
async function pump(connection: NatsConnection, payload: Uint8Array): Promise<void> {
  const perFlush = Math.max(1, Math.floor(FRAME_BYTES / payload.length));
  const flushes: Promise<void>[] = [];
  for (;;) {
    for (let i = 0; i < perFlush; i++) connection.publish(SUBJECT, payload);
    flushes.push(connection.flush());
    if (flushes.length * FRAME_BYTES >= IN_FLIGHT_BYTES) await flushes.shift();
  }
}
