import type { Client } from '@grpc/grpc-js';
import { type PublishTopicResponse, TopicServiceService } from '../../../gen/ts/fedgate/messaging/v1/topic_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { Fifo } from '../../fifo.js';
import { fromGrpcError } from '../../transport/status.js';
import { RecordEncoder, type RecordInit } from '../../wire/record-codec.js';
import { MAX_POST_BYTES, MAX_POST_RECORDS } from '../../wire/topic-frames.js';
import { FieldWriter } from '../../wire/writer.js';
import { checkRecord, recordSize } from '../checks.js';
import type { TopicReceipt } from './types.js';

interface Waiting {
  readonly record: RecordInit;
  readonly ttlMs: number;
  readonly bytes: number;
  resolve(receipt: TopicReceipt): void;
  reject(error: FedgateError): void;
}

/** A frame is filled up to this. */
const FRAME_BYTES = 256 * 1024;
const TIMEOUT_MS = 30_000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** What a record costs beside its payload, about. */
const RECORD_OVERHEAD_BYTES = 128;

/** Publishes on one topic in order: one call at a time, with all that came meanwhile. */
export class TopicPublisher {
  readonly #topic: string;
  readonly #channel: () => Client;
  readonly #waiting = new Fifo<Waiting>();
  #bytes = 0;
  #running: Promise<void> | undefined;

  constructor(topic: string, channel: () => Client) {
    this.#topic = topic;
    this.#channel = channel;
  }

  publish(record: RecordInit, ttlMs: number): Promise<TopicReceipt> {
    if (!Number.isSafeInteger(ttlMs) || ttlMs < 0) throw fieldError('ttlMs', 'must be a whole number of milliseconds');
    const refusal = checkRecord(record);
    if (refusal) throw refusal;
    const bytes = recordSize(record) + RECORD_OVERHEAD_BYTES;
    if (this.#bytes + bytes > MAX_WAITING_BYTES) {
      throw new FedgateError('LIMIT_REACHED', 'too much waits to be published on this topic', {
        metadata: { limit: 'bytes waiting' },
        retryAfterMs: 100,
      });
    }
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, ttlMs, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when all that was published is answered. */
  async drain(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is published in the same turn of the loop goes together.
    await new Promise(resolve => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#send(this.#take());
    this.#running = undefined;
  }

  #take(): Waiting[] {
    const taken: Waiting[] = [];
    let bytes = 0;
    for (let next = this.#waiting.peek(); next; next = this.#waiting.peek()) {
      const first = taken[0];
      const fits = taken.length < MAX_POST_RECORDS && bytes + next.bytes <= FRAME_BYTES && next.ttlMs === first?.ttlMs;
      if (first && !fits) break;
      this.#waiting.shift();
      taken.push(next);
      bytes += next.bytes;
    }
    return taken;
  }

  async #send(taken: readonly Waiting[]): Promise<void> {
    try {
      const { place, links } = await this.#call(taken);
      if (!place) throw new FedgateError('INTERNAL', 'the gateway does not say where the records are');
      const last = Number(place.sequence);
      for (const [i, { resolve }] of taken.entries()) {
        const sequence = last - taken.length + 1 + i;
        resolve({ place: { org: place.org, gateway: place.gateway, epoch: String(place.epoch), sequence }, links });
      }
    } catch (error) {
      for (const { reject } of taken) reject(error as FedgateError);
    } finally {
      for (const { bytes } of taken) this.#bytes -= bytes;
    }
  }

  #call(taken: readonly Waiting[]): Promise<PublishTopicResponse> {
    const { path, responseDeserialize } = TopicServiceService.publishTopic;
    const encoder = new RecordEncoder(FRAME_BYTES, 0);
    const now = Date.now();
    for (const { record } of taken) encoder.add(record, now);
    const { bytes, start, end } = encoder.finish();
    if (end - start > MAX_POST_BYTES) {
      const error = new FedgateError('FRAME_TOO_LARGE', `a record of a topic has at most ${MAX_POST_BYTES} bytes`);
      return Promise.reject(error);
    }
    const fields = new FieldWriter().bytes(1, Buffer.from(this.#topic)).number(2, taken[0]?.ttlMs ?? 0);
    const request = Buffer.concat([fields.view(), bytes.subarray(start, end)]);
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + TIMEOUT_MS;
      this.#channel().makeUnaryRequest(path, same, responseDeserialize, request, { deadline }, (error, response) => {
        if (error) reject(published(fromGrpcError(error)));
        else if (response) resolve(response);
        else reject(new FedgateError('INTERNAL', 'the gateway answered nothing'));
      });
    });
  }
}

const same = (bytes: Buffer): Buffer => bytes;

/** A connection that ended does not say whether the gateway got it. */
function published(error: FedgateError): FedgateError {
  const unknown =
    error.reason === 'GATEWAY_UNREACHABLE' || error.reason === 'DEADLINE_EXCEEDED' || error.reason === 'CANCELLED';
  return unknown
    ? new FedgateError('OUTCOME_UNKNOWN', `perhaps published, perhaps not: ${error.message}`, { cause: error })
    : error;
}
