import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { Metadata, type MethodDefinition, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { parseHostPort } from '../../src/identity/names.js';
import { openChannel } from '../../src/transport/channel.js';
import { Listener, MAX_MESSAGE_BYTES } from '../../src/transport/server.js';
import { decodeFrame, encodeFrame, makeFrame } from '../frames.js';
import { type MeasureParams, Meter, median } from '../meter.js';
import { serveWorker } from '../worker.js';
import { WINDOWS } from './windows.js';

/**
 * The bare relay: the same stack, transport settings and hops as fedgate without anything that makes it fedgate. Frames are buffers
 * from end to end; nobody looks into them.
 */

const identity = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean): MethodDefinition<Buffer, Buffer> => ({
  path: `/bench.Relay/${name}`,
  requestStream,
  responseStream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
});

const Relay = {
  /** Frames come in; nothing goes back. */
  push: method('Push', true, true),
  /** Frames go out to the subscriber. */
  pull: method('Pull', false, true),
  /** Answers with what it was asked: the round trip that latencies are compared with. */
  echo: method('Echo', false, false),
};

interface Sink {
  write(frame: Buffer): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

/** Never reads more than the other side takes. */
function forward(from: Readable, to: Sink): void {
  from.on('data', (frame: Buffer) => {
    if (to.write(frame)) return;
    from.pause();
    to.once('drain', () => from.resume());
  });
}

export interface Tls {
  readonly identity: KeyAndCertificate;
  readonly authorities: readonly string[];
}

export interface Target extends Tls {
  readonly address: string;
  readonly serverName: string;
}

export interface Load {
  readonly payloadBytes: number;
  /** Whether both ends turn objects into bytes and back. False: the publisher sends one frame over and over, unread. */
  readonly typed: boolean;
}

const open = (target: Target) => openChannel({ ...target, window: WINDOWS.stream, maxReceiveBytes: MAX_MESSAGE_BYTES });
const push = (target: Target) => open(target).makeBidiStreamRequest(Relay.push.path, identity, identity);

const meter = new Meter();

const methods = {
  /** Starts a relay. With `next` frames go there, else to whoever pulls. */
  async relay({ next, ...tls }: Tls & { next?: Target }): Promise<string> {
    let puller: Sink | undefined;
    const listener = new Listener({
      name: 'bare relay',
      listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
      ...tls,
      windows: WINDOWS,
      maxConcurrentStreams: 100,
    });
    listener.addService(Relay, {
      push: (call: ServerDuplexStream<Buffer, Buffer>) => {
        const sink = next ? push(next) : puller;
        if (sink) forward(call, sink);
        else call.emit('error', new Error('nobody pulls yet'));
      },
      pull: (call: ServerWritableStream<Buffer, Buffer>) => {
        puller = call;
        call.sendMetadata(new Metadata());
      },
      echo: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) => callback(null, call.request),
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
    const call = open(target).makeServerStreamRequest(Relay.pull.path, identity, identity, Buffer.alloc(0));
    call.on('data', (frame: Buffer) => meter.add(typed ? decodeFrame(frame) : records));
    await once(call, 'metadata');
  },

  measure: (params: MeasureParams) => meter.measure(params),

  /** Median of sequential unary round trips, milliseconds. */
  async roundTrip({
    calls,
    payloadBytes,
    ...target
  }: Target & { calls: number; payloadBytes: number }): Promise<number> {
    const client = open(target);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const call = (): Promise<void> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(Relay.echo.path, identity, identity, payload, error =>
          error ? reject(error) : resolve(),
        );
      });
    for (let i = 0; i < 500; i++) await call();
    const times: number[] = [];
    for (let i = 0; i < calls; i++) {
      const from = performance.now();
      await call();
      times.push(performance.now() - from);
    }
    return median(times);
  },
};

export type RelayMethods = typeof methods;
serveWorker(methods);
