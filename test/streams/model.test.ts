import test from 'ava';
import fc from 'fast-check';
import { Receiving } from '../../src/client/streams/receiving.js';
import { Sending, type StreamOut } from '../../src/client/streams/sending.js';
import { ACCEPTOR, OPENER, Relay, type Side } from '../../src/streams/relay.js';
import type { Port, Track } from '../../src/streams/track.js';
import { type Out, Turns } from '../../src/streams/turns.js';
import type { StreamFrame } from '../../src/wire/stream-frames.js';
import { type Random, seededRandom } from '../faults/support/random.js';

/** Frames on their way in one direction of one connection. It takes a few, then none until one has arrived. */
class Pipe {
  /** The last one may be that the stream is over, as it should be. */
  readonly frames: (StreamFrame | 'over')[] = [];
  readonly turns: Turns;
  /** What an end writes to. */
  readonly out: StreamOut;
  cut = false;
  drained: () => void = () => undefined;

  constructor() {
    const writable = (): boolean => !this.cut && this.frames.length < 3;
    const put = (frame: StreamFrame): void => this.put(frame);
    this.out = {
      get writable() {
        return writable();
      },
      put,
    };
    // In this model frames are not encoded.
    this.turns = new Turns(this.out as unknown as Out);
  }

  put(frame: StreamFrame | 'over'): void {
    if (!this.cut) this.frames.push(frame);
  }

  /** Hands the next frame on. */
  deliver(to: (frame: StreamFrame | 'over') => void): boolean {
    const frame = this.frames.shift();
    if (!frame) return false;
    to(frame);
    this.turns.pump();
    this.drained();
    return true;
  }

  break(): void {
    this.cut = true;
    this.frames.length = 0;
  }

  get track(): Track {
    return { turns: this.turns, encode: frame => frame as unknown as Buffer };
  }
}

/** One end of a stream: what it sends and what it has got. */
class End {
  readonly sending = new Sending();
  readonly got: Buffer[] = [];
  readonly receiving: Receiving;
  ended = false;
  acknowledged = false;
  /** How many bytes its reader takes before it stops. */
  appetite = 0;

  constructor(window: number) {
    this.receiving = new Receiving(window, {
      take: data => {
        this.got.push(data);
        this.appetite -= data.length;
        return this.appetite > 0;
      },
      ended: () => {
        this.ended = true;
      },
    });
  }

  read(bytes: number): void {
    this.appetite = bytes;
    this.receiving.read();
  }

  /** The gateway says that all has arrived. */
  over(): void {
    if (!this.receiving.complete || !this.sending.finish()) throw new Error('it is said to be over, and is not');
  }

  take(frame: StreamFrame | 'over'): void {
    if (frame === 'over') this.over();
    else if (frame.kind === 'data') this.receiving.data(frame);
    else if (frame.kind === 'end') this.receiving.end(frame);
    else if (frame.kind === 'from') this.receiving.from(frame);
    else if (frame.kind === 'ask') this.receiving.ask();
    else this.sending.credit(frame);
  }
}

/** A way for frames both ways, in both roles: bytes one way with credit back, and the same for the other direction. */
interface Way {
  readonly pipes: readonly { readonly pipe: Pipe; readonly to: (frame: StreamFrame | 'over') => void }[];
  /** What is left to be noticed of its break. */
  readonly notice: (() => void)[];
}

const WINDOW = 40;

class World {
  readonly random: Random;
  readonly ends: readonly [End, End] = [new End(WINDOW), new End(WINDOW)];
  readonly relays: readonly [Relay, Relay];
  readonly over: string[] = [];
  readonly ways: (Way | undefined)[] = [undefined, undefined, undefined];

  constructor(random: Random, room: number) {
    this.random = random;
    const facts = { id: 1, channel: 'c', opener: { org: 'ACME', node: 'a' }, acceptorOrg: 'GLOBEX', resumeMs: 600_000 };
    const host = {
      room: () => room,
      ended: (_relay: Relay, error: Error | undefined) => void this.over.push(error?.message ?? 'ended'),
    };
    this.relays = [new Relay(facts, host), new Relay(facts, host)];
  }

  /** Joins a node to its gateway: two calls. */
  attach(at: 0 | 1): void {
    this.#leave(at === 0 ? 0 : 2);
    const [end, relay] = [this.ends[at], this.relays[at]];
    const side: Side = at === 0 ? OPENER : ACCEPTOR;
    const [bytesUp, creditDown, bytesDown, creditUp] = [new Pipe(), new Pipe(), new Pipe(), new Pipe()];
    const port: Port = {
      forward: bytesDown.track,
      back: creditDown.track,
      close: error => void (error ?? creditDown.put('over')),
    };
    const toRelay = (frame: StreamFrame | 'over'): void => {
      if (frame !== 'over') relay.take(side, frame, port);
    };
    const toEnd = (frame: StreamFrame | 'over'): void => {
      if (!bytesDown.cut) end.take(frame);
    };
    bytesUp.drained = () => end.sending.pump();
    creditUp.drained = () => end.receiving.pump();
    end.sending.attach(bytesUp.out);
    end.receiving.attach(creditUp.out);
    this.#join(
      at === 0 ? 0 : 2,
      [
        { pipe: bytesUp, to: toRelay },
        { pipe: creditUp, to: toRelay },
        { pipe: creditDown, to: toEnd },
        { pipe: bytesDown, to: toEnd },
      ],
      [
        () => relay.detach(side, port, 'broken'),
        () => {
          end.sending.attach(undefined);
          end.receiving.attach(undefined);
        },
      ],
    );
    // It is remembered: whoever did not hear so is told.
    if (relay.over) port.close(undefined);
    else relay.attach(side, port);
  }

  /** Joins the gateways: two lanes. The opener's asks. */
  link(): void {
    this.#leave(1);
    const [near, far] = this.relays;
    const [ownUp, ownDown, backDown, backUp] = [new Pipe(), new Pipe(), new Pipe(), new Pipe()];
    const nearPort: Port = {
      forward: ownUp.track,
      back: backUp.track,
      close: error => void (error ?? ownUp.put('over')),
    };
    const farPort: Port = {
      forward: backDown.track,
      back: ownDown.track,
      close: error => void (error ?? backDown.put('over')),
    };
    const toFar = (frame: StreamFrame | 'over'): void =>
      frame === 'over' ? far.closedBy(OPENER, farPort) : far.take(OPENER, frame, farPort);
    const toNear = (frame: StreamFrame | 'over'): void =>
      frame === 'over' ? near.closedBy(ACCEPTOR, nearPort) : near.take(ACCEPTOR, frame, nearPort);
    this.#join(
      1,
      [
        { pipe: ownUp, to: toFar },
        { pipe: backUp, to: toFar },
        { pipe: ownDown, to: toNear },
        { pipe: backDown, to: toNear },
      ],
      [() => near.detach(ACCEPTOR, nearPort, 'broken'), () => far.detach(OPENER, farPort, 'broken')],
    );
    if (far.over) farPort.close(undefined);
    else far.attach(OPENER, farPort, false);
    if (near.over) nearPort.close(undefined);
    else near.attach(ACCEPTOR, nearPort);
  }

  /** One of the three ways breaks. Whoever is at its ends notices later, each in its own time. */
  cut(at: number): void {
    for (const { pipe } of this.ways[at]?.pipes ?? []) pipe.break();
  }

  /** Makes a way anew; a break that somebody has not noticed is noticed by that. */
  join(at: number): void {
    if (at === 1) this.link();
    else this.attach(at === 0 ? 0 : 1);
  }

  isBroken(at: number): boolean {
    return this.ways[at]?.pipes.some(({ pipe }) => pipe.cut) ?? true;
  }

  /** A frame arrives somewhere. False: there is none. */
  step(): boolean {
    const waiting = this.ways.flatMap(way => way?.pipes ?? []).filter(({ pipe }) => pipe.frames.length > 0);
    const next = waiting[this.random.between(0, Math.max(0, waiting.length - 1))];
    return next?.pipe.deliver(next.to) ?? false;
  }

  /** Whoever has not noticed that a way is broken does now. */
  #leave(at: number): void {
    const old = this.ways[at];
    for (const { pipe } of old?.pipes ?? []) pipe.break();
    for (const each of old?.notice.splice(0) ?? []) each();
  }

  #join(at: number, pipes: Way['pipes'], notice: (() => void)[]): void {
    this.ways[at] = { pipes, notice };
  }
}

const bytes = (length: number, from: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (from + i) % 251));
const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Writes in pieces of random size until all is written, then ends. */
function writer({ random }: World, end: End, all: Buffer): () => void {
  let at = 0;
  let writing = false;
  let done = false;
  return () => {
    if (writing || done) return;
    if (at >= all.length) {
      done = true;
      end.sending.end(() => {
        end.acknowledged = true;
      });
      return;
    }
    const piece = all.subarray(at, at + random.between(1, 60));
    at += piece.length;
    writing = true;
    end.sending.write(piece, () => {
      writing = false;
    });
  };
}

test('model: whatever breaks in whatever order, every byte arrives once and in order, and nothing stays', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      fc.nat(600),
      fc.nat(600),
      fc.nat(6),
      async (seed, there, back, cuts) => {
        const world = new World(seededRandom(seed), 8 + (seed % 60));
        const { random, ends } = world;
        const sent = [bytes(there, 1), bytes(back, 7)] as const;
        const write = [writer(world, ends[0], sent[0]), writer(world, ends[1], sent[1])] as const;
        for (const at of [0, 1, 2]) world.join(at);
        let left = cuts;
        for (let turn = 0; turn < 20_000; turn++) {
          if (left > 0 && random.chance(0.02)) {
            world.cut(random.between(0, 2));
            left--;
          }
          for (const at of [0, 1, 2]) {
            if (!world.isBroken(at)) continue;
            if (random.chance(0.2)) world.ways[at]?.notice.shift()?.();
            else if (random.chance(0.1)) world.join(at);
          }
          for (const at of [0, 1] as const) {
            if (random.chance(0.3)) write[at]();
            if (random.chance(0.1)) ends[at].read(random.between(1, 50));
            const ahead = ends[at].sending.received + ends[at].sending.keptBytes - lengthOf(ends[1 - at] as End);
            if (ahead > WINDOW) throw new Error(`the writer is ${ahead} bytes ahead`);
          }
          if (!world.step()) await settled();
          if (ends.every(end => end.ended && end.acknowledged) && world.over.length === 2) break;
        }
        for (const at of [0, 1] as const) {
          const got = Buffer.concat((ends[1 - at] as End).got);
          if (!got.equals(sent[at])) throw new Error(`${got.length} bytes came of ${sent[at].length}`);
          if (!ends[at].acknowledged || !ends[at].ended) throw new Error('an end does not know that it is over');
        }
        if (world.over.join() !== 'ended,ended') throw new Error(`the gateways: ${world.over}`);
      },
    ),
    { numRuns: 300, includeErrorInReport: true },
  );
  t.pass();
});

const lengthOf = ({ got }: End): number => got.reduce((sum, { length }) => sum + length, 0);
