import { once } from 'node:events';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { SubscribeRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { openBareChannel, type Target, untouched } from '../bare-grpc.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';
import { CHANNEL, framesOf, type HubMethods, recordBytes } from './frames.js';

/** Programs without an SDK: a publisher, and one that has many subscriptions and only counts what arrives. */

/** Frames that the publisher has on the way. */
const UNANSWERED = 64;

const meter = new Meter();

const methods = {
  /** Answers when all are open. */
  async subscribe({ target, hub, streams, connections, payloadBytes }: Subscribing): Promise<void> {
    const size = recordBytes(payloadBytes);
    const request = Buffer.from(SubscribeRequest.encode({ pattern: CHANNEL }).finish());
    const channels = Array.from({ length: Math.min(connections, streams) }, () => openBareChannel(target));
    const opened: Promise<unknown>[] = [];
    for (let i = 0; i < streams; i++) {
      const channel = channels[i % channels.length];
      const call = channel?.makeServerStreamRequest<Buffer, Buffer>(hub.subscribe, untouched, untouched, request);
      if (!call) continue;
      opened.push(once(call, 'data'));
      // The header of a frame is shorter than a record.
      call.on('data', (frame: Buffer) => meter.add(Math.floor(frame.length / size)));
      call.on('error', fail);
    }
    await Promise.all(opened);
  },

  /** Begins to publish without end. */
  publish({ target, hub, payloadBytes, batch }: Publishing): void {
    const frame = framesOf(payloadBytes, batch);
    const call: ClientDuplexStream<Buffer, Buffer> = openBareChannel(target).makeBidiStreamRequest(
      hub.publish,
      untouched,
      untouched,
    );
    let sent = 0;
    const send = (): void => void call.write(frame(++sent));
    call.on('data', send);
    call.on('error', fail);
    for (let i = 0; i < UNANSWERED; i++) send();
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type RawMethods = typeof methods;
serveWorker(methods);

export interface Subscribing {
  readonly target: Target;
  readonly hub: HubMethods;
  readonly streams: number;
  readonly connections: number;
  readonly payloadBytes: number;
}

export interface Publishing {
  readonly target: Target;
  readonly hub: HubMethods;
  readonly payloadBytes: number;
  readonly batch: number;
}

/** The rate would be that of something else. */
function fail(error: Error): void {
  console.error(error.message);
  process.exit(1);
}
