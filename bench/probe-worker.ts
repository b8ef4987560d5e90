import { connect, type FedgateClient, FedgateError } from '../src/client/index.js';
import type { Node } from './federation.js';
import { type Spread, spread } from './meter.js';
import { serveWorker } from './worker.js';

/** Live messages at a steady pace from one organisation to the other, publisher and subscriber in one process for one clock. */

/** Messages fall due by the clock and leave with the next tick, so that late ticks do not lower the rate. */
const TICK_MS = 2;
/** How long after the last message the subscriber still listens. */
const LINGER_MS = 300;

export interface ProbeParams {
  readonly from: Node;
  readonly to: Node;
  readonly channel: string;
  readonly address: string;
  readonly payloadBytes: number;
  readonly perSecond: number;
}

let running: Probe | undefined;

const methods = {
  /** Answers when the subscription is open. What nobody can hear yet is not counted. */
  async begin(params: ProbeParams): Promise<void> {
    running = await Probe.begin(params);
  },

  /** How the times lie from each publish to its message in the other organisation. */
  end: async (): Promise<Spread> => spread(await endRunning()),

  /** The same times one by one, milliseconds. */
  endWithTimes: (): Promise<number[]> => endRunning(),
};

export type ProbeMethods = typeof methods;
serveWorker(methods);

async function endRunning(): Promise<number[]> {
  if (!running) throw new Error('no probe is running');
  const times = await running.end();
  running = undefined;
  return times;
}

class Probe {
  readonly #publisher: FedgateClient;
  readonly #subscriber: FedgateClient;
  readonly #params: ProbeParams;
  readonly #times: number[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #from = performance.now();
  #published = 0;

  static async begin(params: ProbeParams): Promise<Probe> {
    const probe = new Probe(await connect(params.from), await connect(params.to), params);
    await probe.#listen();
    return probe;
  }

  constructor(publisher: FedgateClient, subscriber: FedgateClient, params: ProbeParams) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#params = params;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  async #listen(): Promise<void> {
    const subscription = this.#subscriber.subscribe(this.#params.channel, { onLoss: () => undefined });
    void (async () => {
      for await (const { payload } of subscription) {
        this.#times.push(performance.now() - Buffer.from(payload).readDoubleBE(0));
      }
    })();
    await subscription.opened;
  }

  #tick(): void {
    const due = Math.floor(((performance.now() - this.#from) / 1000) * this.#params.perSecond);
    for (; this.#published < due; this.#published++) {
      const payload = Buffer.alloc(this.#params.payloadBytes);
      payload.writeDoubleBE(performance.now(), 0);
      this.#publisher.publish(this.#params.address, payload, { delivery: 'live' }).catch(ignoreAbsence);
    }
  }

  async end(): Promise<number[]> {
    clearInterval(this.#timer);
    await new Promise(resolve => setTimeout(resolve, LINGER_MS));
    this.#publisher.close();
    this.#subscriber.close();
    return this.#times;
  }
}

/** While a gateway is away live messages are refused or of unknown fate; that is what live means. They are not heard, so not counted. */
function ignoreAbsence(error: unknown): void {
  if (!(error instanceof FedgateError)) throw error;
}
