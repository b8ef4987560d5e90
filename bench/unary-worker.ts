import { bareListener, bareMethod, openBareChannel, type Target, type Tls, untouched } from './bare-grpc.js';
import { serveWorker } from './worker.js';

/** Server or client of a unary call that answers with what it was asked: the round trip that latencies are compared with. */

const Echo = { echo: bareMethod('/bench.Unary/Echo', { requestStream: false, responseStream: false }) };
const WARMUP_CALLS = 500;

const methods = {
  async serve(tls: Tls): Promise<string> {
    const listener = bareListener('unary', tls);
    listener.addService(Echo, {
      echo: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) => callback(null, call.request),
    });
    await listener.start();
    return listener.address;
  },

  /** Times of sequential calls, milliseconds. */
  async roundTrips({ calls, payloadBytes, ...target }: Target & RoundTrips): Promise<number[]> {
    const client = openBareChannel(target);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const call = (): Promise<void> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(Echo.echo.path, untouched, untouched, payload, error =>
          error ? reject(error) : resolve(),
        );
      });
    for (let i = 0; i < WARMUP_CALLS; i++) await call();
    const times: number[] = [];
    for (let i = 0; i < calls; i++) {
      const from = performance.now();
      await call();
      times.push(performance.now() - from);
    }
    return times;
  },
};

export interface RoundTrips {
  readonly calls: number;
  readonly payloadBytes: number;
}

export type UnaryMethods = typeof methods;
serveWorker(methods);
