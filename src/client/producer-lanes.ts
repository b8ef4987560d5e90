import type { Producer } from './outgoing-frame.js';
import { ProducerLane } from './producer-lane.js';

/** Addresses whose numbers are kept. One that was forgotten costs a question to the gateway when it is published to again. */
const MAX_LANES = 10_000;

/** The lanes of a client, by address. */
export class ProducerLanes implements Iterable<ProducerLane> {
  readonly #producer: Producer;
  readonly #own: Producer;
  readonly #lanes = new Map<string, ProducerLane>();
  #forgotSome = false;

  constructor(producer: Producer) {
    this.#producer = producer;
    // `x` and `pubsub://ACME/x` are the same for a gateway of ACME; under one producer their numbers would collide.
    this.#own = { ...producer, id: `${producer.id}:own` };
  }

  of(address: string): ProducerLane {
    const known = this.#lanes.get(address);
    if (known) return known;
    if (this.#lanes.size >= MAX_LANES) this.#forgetOne();
    const producer = address.startsWith('pubsub://') ? this.#producer : this.#own;
    const lane = new ProducerLane(address, producer, !this.#forgotSome);
    this.#lanes.set(address, lane);
    return lane;
  }

  [Symbol.iterator](): Iterator<ProducerLane> {
    return this.#lanes.values();
  }

  /** The oldest without anything to do. What waits is bounded elsewhere, and with it how many have something to do. */
  #forgetOne(): void {
    for (const lane of this.#lanes.values()) {
      if (!lane.idle) continue;
      this.#lanes.delete(lane.address);
      this.#forgotSome = true;
      return;
    }
  }
}
