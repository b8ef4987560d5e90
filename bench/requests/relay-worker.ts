import { bareListener, bareMethod, openBareChannel, type Target, type Tls, untouched } from '../bare-grpc.js';
import { serveWorker } from '../worker.js';
import { type Ask, type RateParams, rateOf, timesOf } from './load.js';

/** The bare relay: unary calls over the same hops and the same transport, handed on as they are. */

const Relay = { ask: bareMethod('/bench.Requests/Ask', { requestStream: false, responseStream: false }) };

const askOf = (target: Target): ((payload: Buffer) => Promise<Buffer>) => {
  const client = openBareChannel(target);
  return payload =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest<Buffer, Buffer>(Relay.ask.path, untouched, untouched, payload, (error, answer) =>
        error || !answer ? reject(error) : resolve(answer),
      );
    });
};

type Callback = (error: Error | null, value?: Buffer) => void;

let ask: Ask | undefined;

const methods = {
  /** Hands on to `next`; without one it answers with what it was asked. */
  async serve({ next, ...tls }: Tls & { next?: Target }): Promise<string> {
    const onward = next ? askOf(next) : undefined;
    const listener = bareListener('bare request relay', tls);
    listener.addService(Relay, {
      ask: ({ request }: { request: Buffer }, callback: Callback) => {
        if (onward) onward(request).then(answer => callback(null, answer), callback);
        else callback(null, request);
      },
    });
    await listener.start();
    return listener.address;
  },

  async connect({ target, payloadBytes }: { target: Target; payloadBytes: number }): Promise<void> {
    const onward = askOf(target);
    const payload = Buffer.alloc(payloadBytes, 'x');
    ask = async () => void (await onward(payload));
    await ask();
  },

  rate: (params: RateParams) => rateOf(asking(), params),
  times: ({ calls }: { calls: number }) => timesOf(asking(), calls),
};

export type RelayMethods = typeof methods;
serveWorker(methods);

function asking(): Ask {
  if (!ask) throw new Error('not connected');
  return ask;
}
