import { randomInt } from 'node:crypto';
import { Fifo } from '../fifo.js';
import type { OutgoingFrame, Producer } from './outgoing-frame.js';

/** A number that no gateway expects: it answers with the one it does. */
const UNKNOWN_SEQUENCE = 2 ** 50;
/** Addresses of several organisations, where gateways take numbers as they come. */
const SEVERAL = /^pubsub:\/\/[*@]/;
/** A frame that was told so often that its number is too high fails: the gateway contradicts itself. */
const MAX_GAPS = 100;

/**
 * What is published to one address, in order, with the numbers of its producer.
 *
 * The gateway takes numbers only without a hole, and a frame that it refused has not used its own. It alone knows which those are: a
 * refusal may come from before or after the storing. So numbers simply go on, and when one is refused as too high, nothing
 * behind it can have been taken either: the lane waits for those answers, goes back to the number that was expected, and sends all
 * of them again in order. Afterwards it feels its way, one frame first and twice as many after each answer, so that many refusals in
 * a row do not make it send everything again for each.
 *
 * A number is never given to another frame unless the gateway has said that it is free: it would take that frame for a duplicate.
 */
export class ProducerLane {
  readonly address: string;
  readonly producer: Producer;
  /** The frame that records may still be added to: the last that waits. */
  open: OutgoingFrame | undefined;
  /** Whether the publisher has it in its list of lanes that have something to send. */
  listed = false;
  readonly #waiting = new Fifo<OutgoingFrame>();
  /** What was sent before and comes first. */
  #again = new Fifo<OutgoingFrame>();
  /** What was sent and has no answer, in the order of sending. Only what may be sent again. */
  readonly #flying = new Set<OutgoingFrame>();
  /** How many of these carry a number. */
  #numbered = 0;
  #places = 0;
  #next: number;
  /** How many may fly. */
  #limit = Number.POSITIVE_INFINITY;
  /** While it waits for answers after a number that was too high. */
  #rewind: { readonly to: number; open: number; readonly frames: OutgoingFrame[] } | undefined;

  /** `known`: whether it is certain that the producer has not published to the address yet. */
  constructor(address: string, producer: Producer, known: boolean) {
    this.address = address;
    this.producer = producer;
    this.#next = known ? 1 : UNKNOWN_SEQUENCE;
    // Nobody would say which number is the next, and one that was given before would be taken for a repetition.
    if (!known && SEVERAL.test(address)) this.#next += randomInt(2 ** 40);
  }

  get idle(): boolean {
    return this.#waiting.length + this.#again.length + this.#flying.size === 0 && !this.#rewind;
  }

  push(frame: OutgoingFrame): void {
    frame.place = this.#places++;
    this.#waiting.push(frame);
  }

  /** The frame that is to be sent next, if one may be now. */
  peek(): OutgoingFrame | undefined {
    if (this.#rewind || this.#flying.size >= this.#limit) return undefined;
    const frame = this.#again.peek() ?? this.#waiting.peek();
    // Without a number it would be taken while what is before it may still have to be sent again.
    const overtakes = frame?.repeatable && !frame.numbered && this.#numbered > 0;
    return overtakes ? undefined : frame;
  }

  /** Takes what `peek` showed, to send it. */
  take(frame: OutgoingFrame): void {
    if (this.#again.peek() === frame) this.#again.shift();
    else this.#waiting.shift();
    if (this.open === frame) this.open = undefined;
    if (!frame.repeatable) return;
    this.#flying.add(frame);
    if (!frame.numbered) return;
    this.#numbered++;
    if (frame.sequence === 0) frame.sequence = this.#next++;
    frame.sends++;
  }

  /** It was answered, for good or bad. */
  answered(frame: OutgoingFrame, stored: boolean): void {
    if (!this.#land(frame)) return;
    if (stored) this.#limit *= 2;
    const rewind = this.#rewind;
    if (rewind && frame.sequence >= rewind.to && --rewind.open === 0) this.#goBack();
  }

  /** Its number was too high. False: that cannot be, and the frame fails. */
  gap(frame: OutgoingFrame, expected: number): boolean {
    const { sequence } = frame;
    if (!(Number.isInteger(expected) && expected >= 1 && expected < sequence)) return false;
    if (++frame.gaps > MAX_GAPS) return false;
    this.#land(frame);
    const frames = this.#rewind?.frames ?? [];
    frames.push(frame);
    // What has a lower number than the expected one is stored, and its answer may take long: nobody waits for that.
    const open = [...this.#flying].filter(each => each.sequence >= expected).length;
    this.#rewind = { to: expected, open, frames };
    if (open === 0) this.#goBack();
    return true;
  }

  /** The stream broke. What was on its way comes first on the next, under the same numbers. */
  broke(nowMs: number): void {
    const flying = [...this.#flying];
    this.#flying.clear();
    this.#numbered = 0;
    for (const frame of flying) {
      if (!frame.lost) frame.waitingSinceMs = nowMs;
      frame.lost = true;
    }
    if (!this.#rewind) return this.#comeBack(flying);
    this.#rewind.frames.push(...flying);
    this.#goBack();
  }

  /** Takes out what waits and the check accepts, from the front. */
  *takeWaiting(check: (frame: OutgoingFrame) => boolean): Generator<OutgoingFrame> {
    for (const queue of [this.#again, this.#waiting]) {
      for (let frame = queue.peek(); frame && check(frame); frame = queue.peek()) {
        queue.shift();
        if (this.open === frame) this.open = undefined;
        yield frame;
      }
    }
  }

  /** Everything without an answer. */
  unanswered(): OutgoingFrame[] {
    const back = this.#rewind?.frames ?? [];
    return [...this.#flying, ...back, ...this.#again.toArray(), ...this.#waiting.toArray()];
  }

  #land(frame: OutgoingFrame): boolean {
    if (!this.#flying.delete(frame)) return false;
    if (frame.numbered) this.#numbered--;
    return true;
  }

  #goBack(): void {
    const rewind = this.#rewind;
    if (!rewind) return;
    this.#rewind = undefined;
    this.#next = rewind.to;
    // What is stored and waits for its level does not count.
    this.#limit = this.#flying.size + 1;
    this.#comeBack(rewind.frames.sort((a, b) => a.place - b.place));
    for (const frame of this.#again.toArray()) {
      if (frame.sequence < rewind.to) continue;
      frame.sequence = 0;
      frame.sends = 0;
    }
  }

  #comeBack(frames: readonly OutgoingFrame[]): void {
    const behind = this.#again.toArray();
    this.#again = new Fifo();
    for (const frame of [...frames, ...behind]) this.#again.push(frame);
  }
}
