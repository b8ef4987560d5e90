import { once } from 'node:events';
import { Metadata, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import {
  bareListener,
  bareMethod,
  openBareChannel,
  pass,
  type Sink,
  type Target,
  type Tls,
  untouched,
} from '../bare-grpc.js';
import { decodeFrame, encodeFrame, makeFrame } from '../frames.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';

/**
 * The bare relay: the same stack, transport settings and hops as fedgate without anything that makes it fedgate. Frames are buffers
 * from end to end; nobody looks into them.
 */

const Relay = {
  /** Frames come in; nothing goes back. */
  push: bareMethod('/bench.Relay/Push', { requestStream: true, responseStream: true }),
  /** Frames go out to the subscriber. */
  pull: bareMethod('/bench.Relay/Pull', { requestStream: false, responseStream: true }),
};

export interface Load {
  readonly payloadBytes: number;
  /** Whether both ends turn objects into bytes and back. False: the publisher sends one frame over and over, unread. */
  readonly typed: boolean;
}

const push = (target: Target) => openBareChannel(target).makeBidiStreamRequest(Relay.push.path, untouched, untouched);

const meter = new Meter();

const methods = {
  /** Starts a relay. With `next` frames go there, else to whoever pulls. */
  async relay({ next, ...tls }: Tls & { next?: Target }): Promise<string> {
    let puller: Sink | undefined;
    const listener = bareListener('bare relay', tls);
    listener.addService(Relay, {
      push: (call: ServerDuplexStream<Buffer, Buffer>) => {
        const sink = next ? push(next) : puller;
        if (sink) call.on('data', (frame: Buffer) => pass(frame, call, sink));
        else call.emit('error', new Error('nobody pulls yet'));
      },
      pull: (call: ServerWritableStream<Buffer, Buffer>) => {
        puller = call;
        call.sendMetadata(new Metadata());
      },
    });
    await listener.start();
    return listener.address;
  },

  publish({ payloadBytes, typed, ...target }: Target & Load): void {
    const { bytes, records } = makeFrame(payloadBytes);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const call = push(target);
    const fill = (): void => {
      while (call.write(typed ? encodeFrame(payload, records) : bytes));
      call.once('drain', fill);
    };
    fill();
  },

  /** Answers once the relay knows the subscriber. */
  async subscribe({ payloadBytes, typed, ...target }: Target & Load): Promise<void> {
    const { records } = makeFrame(payloadBytes);
    const call = openBareChannel(target).makeServerStreamRequest(
      Relay.pull.path,
      untouched,
      untouched,
      Buffer.alloc(0),
    );
    call.on('data', (frame: Buffer) => meter.add(typed ? decodeFrame(frame) : records));
    await once(call, 'metadata');
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type RelayMethods = typeof methods;
serveWorker(methods);
