import type { GatewayMethods } from './gateway-worker.js';
import { type CommonMethods, Worker } from './worker.js';

export type Gateway = Worker<GatewayMethods & CommonMethods>;

const create = (name: string): Gateway => new Worker(name, new URL('./gateway-worker.js', import.meta.url));

/** A gateway in a process of its own, listening. */
export async function startGateway(name: string, config: string): Promise<Gateway> {
  const gateway = create(name);
  await gateway.call('start', config);
  return gateway;
}

/** A gateway that can go away and come back, as another process with the same store. */
export class RestartableGateway implements AsyncDisposable {
  readonly #name: string;
  readonly #config: string;
  #running: Gateway | undefined;

  constructor(name: string, config: string) {
    this.#name = name;
    this.#config = config;
  }

  get running(): Gateway {
    if (!this.#running) throw new Error(`${this.#name} is not running`);
    return this.#running;
  }

  /** Resident set, bytes; undefined while it is away. */
  async rss(): Promise<number | undefined> {
    return await this.#running?.call('rss', undefined).catch(() => undefined);
  }

  /** Answers with the time from the start of the process until the gateway had started, milliseconds. */
  async start(): Promise<number> {
    const gateway = create(this.#name);
    const startMs = await gateway.call('start', this.#config, START_TIMEOUT_MS);
    this.#running = gateway;
    return startMs;
  }

  async stop(): Promise<void> {
    const gateway = this.#running;
    this.#running = undefined;
    await gateway?.call('stop', undefined);
    await gateway?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
  }
}

/** A store with millions of records is to open in seconds; a minute more tells how long it took instead of giving up. */
const START_TIMEOUT_MS = 120_000;
