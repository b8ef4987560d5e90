import type { StreamStatus } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import type { FedgateError } from '../errors.js';
import type { StreamsHost } from '../link/streams-link.js';
import type { StreamServiceHost } from '../services/stream-service.js';
import { Streams, type StreamsOptions } from '../streams/streams.js';
import type { NodeCaller } from './node-authentication.js';
import type { Refusals } from './refusals.js';

export interface GatewayStreamsOptions extends StreamsOptions {
  readonly gateway: string;
  readonly refusals: Refusals;
  readonly draining: AbortSignal;
  /** Why the certificate of a node, if it has one, counts no longer; undefined: it does. */
  readonly complaint: (node: NodeCaller) => FedgateError | undefined;
}

/** What a gateway has for byte streams. */
export class GatewayStreams {
  readonly streams: Streams;
  readonly #options: GatewayStreamsOptions;

  constructor(options: GatewayStreamsOptions) {
    this.#options = options;
    this.streams = new Streams(options);
    options.draining.addEventListener('abort', () => this.streams.close(), { once: true });
  }

  /** For the links. */
  get forPeers(): StreamsHost {
    const { refusals } = this.#options;
    const write = (error: FedgateError, facts: Readonly<Record<string, string>>, security?: boolean): void =>
      refusals.write(error, facts.org ?? '', facts, security);
    return {
      streams: this.streams,
      onAlarm: (error, facts) => write(error, facts, true),
      onRefused: (error, facts) => write(error, facts),
    };
  }

  /** For the own nodes. */
  get forNodes(): StreamServiceHost<NodeCaller> {
    const { gateway, org, access, draining, complaint } = this.#options;
    return { gateway, org, access, draining, complaint, streams: this.streams };
  }

  status(): StreamStatus {
    const { streams } = this;
    const relays = [...streams.relays];
    const open = relays.filter(relay => streams.isOpen(relay));
    return {
      open: open.length,
      detached: open.filter(relay => !relay.attached).length,
      offered: relays.length - open.length,
      acceptors: streams.acceptors.all.size,
      queuedBytes: BigInt(relays.reduce((sum, relay) => sum + relay.queuedBytes, 0)),
    };
  }
}
