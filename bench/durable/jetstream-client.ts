import { type NatsConnection, requirePackage, TRANSPORT } from '../nats-client.js';

/** The part of @nats-io/jetstream 3 that the benchmark calls. */

export const JETSTREAM_PACKAGES = [TRANSPORT, '@nats-io/jetstream'] as const;

export interface JetStreamClient {
  /** Resolves with the server's acknowledgement that the stream has it. */
  publish(subject: string, payload: Uint8Array): Promise<unknown>;
  readonly consumers: { get(stream: string, consumer: string): Promise<Consumer> };
}

interface Consumer {
  consume(options: { max_messages: number; callback: (message: JetStreamMessage) => void }): Promise<unknown>;
}

export interface JetStreamMessage {
  readonly data: Uint8Array;
  ack(): void;
}

interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly sources?: readonly { readonly name: string; readonly domain: string }[];
  /** Bytes after which the oldest go. */
  readonly max_bytes: number;
}

interface ConsumerConfig {
  readonly durable_name: string;
  readonly ack_policy: 'explicit' | 'all';
  readonly max_ack_pending: number;
}

export interface JetStreamManager {
  readonly streams: { add(config: StreamConfig): Promise<unknown> };
  readonly consumers: { add(stream: string, config: ConsumerConfig): Promise<unknown> };
}

interface JetStreamModule {
  jetstream(connection: NatsConnection): JetStreamClient;
  jetstreamManager(connection: NatsConnection): Promise<JetStreamManager>;
}

export const loadJetStream = (): JetStreamModule => requirePackage('@nats-io/jetstream') as JetStreamModule;
