import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestScope } from '../../support/registry.js';
import type { Random } from './random.js';
import { CLEAR, type WireConditions, WireDirection } from './wire.js';

/** Which way: towards whoever listens behind the proxy, back to whoever dialled, or both. */
export type Way = 'forth' | 'back' | 'both';

/** Who waits for bytes to have passed one way. */
interface Awaited {
  readonly way: 'forth' | 'back';
  readonly bytes: number;
  readonly passed: () => void;
}

interface Connection {
  readonly near: Socket;
  readonly far: Socket;
  readonly forth: WireDirection;
  readonly back: WireDirection;
}

/**
 * A wire between two processes of this machine that can be cut, made to swallow, stalled, slowed and made to lose.
 *
 * It listens on a port of its own, which stands in for the one that it leads to.
 */
export class FaultyWire {
  #target: string;
  readonly #random: Random;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #conditions = CLEAR;
  #state: 'whole' | 'cut' | 'swallowing' | 'stalled' = 'whole';
  #way: Way = 'both';
  /** Connections taken since it was made. */
  taken = 0;
  /** Bytes handed on since it was made, over all connections. */
  readonly #passed = { forth: 0, back: 0 };
  readonly #waiting = new Set<Awaited>();

  private constructor(target: string, random: Random) {
    this.#target = target;
    this.#random = random;
    this.#server = createServer({ allowHalfOpen: true }, near => this.#connect(near));
  }

  static async open(t: TestScope, target: string, random: Random): Promise<FaultyWire> {
    const wire = new FaultyWire(target, random);
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    t.teardown(() => wire.#close());
    return wire;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where it leads. */
  get target(): string {
    return this.#target;
  }

  /** New connections lead there from now on; those that are open end. */
  redirect(target: string): void {
    this.#target = target;
    for (const connection of [...this.#connections]) this.#reset(connection);
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Bytes that were handed on in one direction since it was made. */
  passed(way: Awaited['way']): number {
    return this.#passed[way];
  }

  /** Resolves when so many bytes in all have been handed on in one direction. */
  passes(way: Awaited['way'], bytes: number): Promise<void> {
    return new Promise(resolve => {
      if (this.#passed[way] >= bytes) resolve();
      else this.#waiting.add({ way, bytes, passed: resolve });
    });
  }

  /** All connections are reset, and new ones too. */
  cut(): void {
    this.#state = 'cut';
    for (const connection of [...this.#connections]) this.#reset(connection);
  }

  /** Whatever passes is thrown away and nobody is told, as by a machine that lost its power. What was swallowed never comes. */
  swallow(way: Way = 'both'): void {
    this.#apply('swallowing', way);
  }

  /** Nothing passes and nothing is lost: it arrives after healing, as TCP would bring it. */
  stall(way: Way = 'both'): void {
    this.#apply('stalled', way);
  }

  /** Slower or lossy from now on; `CLEAR` ends it. */
  condition(conditions: Partial<WireConditions>): void {
    this.#conditions = { ...CLEAR, ...conditions };
  }

  /** Whole again. Connections that lost bytes are reset: nothing can mend them. */
  heal(): void {
    const broken = this.#state === 'swallowing';
    this.#state = 'whole';
    this.#conditions = CLEAR;
    for (const connection of [...this.#connections]) {
      if (broken || connection.near.destroyed || connection.far.destroyed) this.#reset(connection);
      else this.#set(connection);
    }
  }

  #apply(state: 'swallowing' | 'stalled', way: Way): void {
    this.#state = state;
    this.#way = way;
    for (const connection of this.#connections) this.#set(connection);
  }

  #set({ forth, back }: Connection): void {
    for (const [direction, way] of [
      [forth, 'forth'],
      [back, 'back'],
    ] as const) {
      const affected = this.#way === 'both' || this.#way === way;
      direction.swallowed = this.#state === 'swallowing' && affected;
      direction.stalled = this.#state === 'stalled' && affected;
    }
  }

  #connect(near: Socket): void {
    this.taken++;
    if (this.#state === 'cut') return void near.resetAndDestroy();
    const [host = '', port = ''] = this.#target.split(':');
    const far = connect({ port: Number(port), host, allowHalfOpen: true });
    near.setNoDelay(true);
    far.setNoDelay(true);
    const conditions = (): WireConditions => this.#conditions;
    const connection: Connection = {
      near,
      far,
      forth: new WireDirection(near, far, conditions, this.#random, bytes => this.#count('forth', bytes)),
      back: new WireDirection(far, near, conditions, this.#random, bytes => this.#count('back', bytes)),
    };
    this.#connections.add(connection);
    this.#set(connection);
    const gone = (): void => {
      if (near.destroyed && far.destroyed) this.#connections.delete(connection);
    };
    near.once('close', gone);
    far.once('close', gone);
  }

  #count(way: Awaited['way'], bytes: number): void {
    this.#passed[way] += bytes;
    for (const waiting of this.#waiting) {
      if (waiting.way !== way || waiting.bytes > this.#passed[way]) continue;
      this.#waiting.delete(waiting);
      waiting.passed();
    }
  }

  #reset(connection: Connection): void {
    this.#connections.delete(connection);
    connection.near.resetAndDestroy();
    connection.far.resetAndDestroy();
  }

  async #close(): Promise<void> {
    for (const connection of [...this.#connections]) this.#reset(connection);
    this.#server.close();
    await once(this.#server, 'close');
  }
}
