import type { Stored } from '../../src/durable/types.js';
import { FedgateError } from '../../src/errors.js';
import { durableHello } from '../../src/link/durable-session.js';
import { ACME, DurableSide, GLOBEX, outgoing, type TestIdentity, testIdentity } from './durable-side.js';
import { LanePair } from './lane-pair.js';
import { TestStore } from './test-store.js';

type Name = 'acme' | 'globex';

const START_MS = 1_700_000_000_000;

/** A publish of the model: its number is its payload. */
interface Call {
  readonly number: number;
  state: 'open' | 'stored' | 'failed';
}

/**
 * ACME publishes numbers to GLOBEX. Everything is real but the disks and the wire: these do what they are told, when they are told, so
 * that any order of commits, frames, crashes and cuts can be played through.
 */
export class DurableWorld {
  readonly #identities: { readonly [name in Name]: TestIdentity };
  readonly #sides: { [name in Name]: DurableSide<TestStore> };
  readonly #backups: { [name in Name]?: { open: (nowMs: number) => TestStore; stored: ReadonlySet<number> } } = {};
  /** Whether publishes carry a producer's sequence, and are repeated until they are stored. */
  readonly #repeats: boolean;
  readonly calls: Call[] = [];
  /** Numbers whose only copies were thrown away when a backup was restored. */
  readonly mayBeLost = new Set<number>();
  readonly violations: string[] = [];
  #pair: LanePair | undefined;
  #attempts = 0;
  #clockMs = START_MS;
  #epoch = 0n;

  private constructor(
    identities: { readonly [name in Name]: TestIdentity },
    sides: { [name in Name]: DurableSide<TestStore> },
    repeats: boolean,
  ) {
    this.#identities = identities;
    this.#sides = sides;
    this.#repeats = repeats;
  }

  static async open({ repeats }: { readonly repeats: boolean }): Promise<DurableWorld> {
    const identities = { acme: await testIdentity(ACME), globex: await testIdentity(GLOBEX) };
    const sides = {
      acme: await DurableSide.open(identities.acme, new TestStore(), { now: () => START_MS }),
      globex: await DurableSide.open(identities.globex, new TestStore(), { now: () => START_MS }),
    };
    const world = new DurableWorld(identities, sides, repeats);
    for (const name of ['acme', 'globex'] as const) world.#sides[name].store.manual = true;
    return world;
  }

  // ---- what can happen ------------------------------------------------------------------------------------------------------------

  publish(): void {
    const call: Call = { number: this.calls.length + 1, state: 'failed' };
    this.calls.push(call);
    this.#append(call);
  }

  /** Repeats, in order, what is not known to be stored. */
  repeat(): void {
    for (const call of this.calls) if (call.state === 'failed' && this.#repeats) this.#append(call);
  }

  deliver(from: Name, frames: number): void {
    this.#pair?.deliver(from === 'acme' ? 'a' : 'b', frames);
  }

  commit(name: Name, outcome: 'stored' | 'failed'): void {
    this.#sides[name].store.flush(outcome);
  }

  cut(): void {
    this.#attempts++;
    this.#pair?.cut();
    this.#pair = undefined;
  }

  /** As two gateways do it: each ends its old lane, then says where it stands. */
  connect(): void {
    this.cut();
    void this.#connect(this.#attempts);
  }

  /** The process is gone, with the first of the changes that were under way on the disk. A new one starts. */
  async crash(name: Name, stored: number): Promise<void> {
    const old = this.#end(name);
    await this.#start(name, await old.store.kill(stored));
  }

  async backup(name: Name): Promise<void> {
    const { store } = this.#sides[name];
    const stored = new Set(name === 'acme' ? this.#stored() : await this.received());
    this.#backups[name] = { open: store.backup(), stored };
  }

  async restore(name: Name): Promise<void> {
    const backup = this.#backups[name];
    if (!backup) return;
    this.#clockMs += 1_000;
    const received = new Set(await this.received());
    const old = this.#end(name);
    await old.store.kill();
    for (const number of name === 'acme' ? this.#stored() : received) {
      const elsewhere = name === 'acme' && received.has(number);
      if (!backup.stored.has(number) && !elsewhere) this.mayBeLost.add(number);
    }
    await this.#start(name, backup.open(this.#clockMs));
  }

  /** Lets everything that can happen by itself happen. */
  async settle(): Promise<void> {
    for (let quiet = 0, last = ''; quiet < 4; ) {
      await new Promise(resolve => setImmediate(resolve));
      const now = this.#fingerprint();
      quiet = now === last ? quiet + 1 : 0;
      last = now;
    }
  }

  /** The disks and the wire work again, the publisher repeats what it must: everything arrives. Then all promises are looked at. */
  async heal(): Promise<void> {
    for (const name of ['acme', 'globex'] as const) this.#sides[name].store.manual = false;
    for (let tries = 0; ; tries++) {
      await this.settle();
      this.repeat();
      this.connect();
      await this.settle();
      this.#pair?.automatic();
      for (let turns = 0; turns < 200 && !this.#isThrough(); turns++) await this.settle();
      if (this.#isThrough()) break;
      if (tries === 3) throw new Error(`it does not heal: ${this.#fingerprint()} ${this.#problems()}`);
    }
    await this.#check();
    this.close();
  }

  close(): void {
    this.cut();
    for (const name of ['acme', 'globex'] as const) void this.#sides[name].close();
  }

  /** The numbers on GLOBEX's disk, in the order of its log. */
  async received(): Promise<number[]> {
    return (await this.#sides.globex.texts()).map(Number);
  }

  // ---- how it happens -------------------------------------------------------------------------------------------------------------

  #append(call: Call): void {
    const { number } = call;
    const side = this.#sides.acme;
    const outbox = side.to(GLOBEX);
    call.state = 'open';
    const idempotency = { kind: 'producer' as const, id: 'p', epoch: 1, sequence: number };
    outbox.append(outgoing(String(number), this.#repeats ? { idempotency } : {})).then(
      stored => {
        if (side !== this.#sides.acme) return;
        call.state = 'stored';
        this.#watch(number, stored, side);
      },
      error => {
        if (side === this.#sides.acme) call.state = 'failed';
        const reason = error instanceof FedgateError ? error.reason : 'INTERNAL';
        if (!['STORE_FAILED', 'DRAINING', 'SEQUENCE_GAP'].includes(reason))
          this.violations.push(`publish ${number}: ${error}`);
      },
    );
  }

  /** Whoever is told that it was received must find it there. */
  #watch(number: number, position: Stored, side: DurableSide<TestStore>): void {
    side
      .to(GLOBEX)
      .received(position, new AbortController().signal)
      .then(
        async () => {
          if ((await this.received()).includes(number) || this.mayBeLost.has(number)) return;
          if (side === this.#sides.acme) this.violations.push(`${number} was said to be received`);
        },
        error => {
          const over = error instanceof FedgateError && error.reason === 'DRAINING';
          if (!over) this.violations.push(`received ${number}: ${error}`);
        },
      );
  }

  async #connect(attempt: number): Promise<void> {
    const { acme, globex } = this.#sides;
    await acme.session?.halt();
    if (attempt !== this.#attempts) return;
    const fromAcme = acme.hello(GLOBEX);
    await globex.session?.halt();
    if (attempt !== this.#attempts) return;
    const fromGlobex = globex.hello(ACME);
    this.#noteEpoch(durableHello(acme.host, { org: GLOBEX, gateway: 'gw1' }).newestEpoch);
    this.#pair = new LanePair();
    acme.run(this.#pair.a, this.#identities.globex, fromGlobex);
    globex.run(this.#pair.b, this.#identities.acme, fromAcme);
  }

  /** Also when a backup is restored, epochs only rise. */
  #noteEpoch(epoch: bigint): void {
    if (epoch < this.#epoch) this.violations.push(`epoch ${epoch} after ${this.#epoch}`);
    this.#epoch = epoch;
  }

  #end(name: Name): DurableSide<TestStore> {
    this.cut();
    const old = this.#sides[name];
    this.#note(old);
    void old.close();
    if (name === 'acme') for (const call of this.calls) if (call.state === 'open') call.state = 'failed';
    return old;
  }

  async #start(name: Name, store: TestStore): Promise<void> {
    // Time goes on while a process starts.
    const startMs = ++this.#clockMs;
    this.#sides[name] = await DurableSide.open(this.#identities[name], store, { now: () => startMs });
    store.manual = true;
  }

  #note({ alarms, me }: DurableSide<TestStore>): void {
    for (const alarm of alarms) this.violations.push(`alarm at ${me.org}: ${alarm.reason} ${alarm.message}`);
  }

  *#stored(): Iterable<number> {
    for (const { number, state } of this.calls) if (state === 'stored') yield number;
  }

  #isThrough(): boolean {
    const open = this.calls.some(({ state }) => state === 'open' || (this.#repeats && state === 'failed'));
    return !open && this.#sides.acme.to(GLOBEX).waiting.batches === 0;
  }

  async #check(): Promise<void> {
    for (const name of ['acme', 'globex'] as const) this.#note(this.#sides[name]);
    const received = await this.received();
    const once = new Set(received);
    if (once.size !== received.length) this.violations.push(`twice: ${received}`);
    if (received.some((number, i) => i > 0 && number < (received[i - 1] ?? 0)))
      this.violations.push(`out of order: ${received}`);
    for (const number of this.#stored()) {
      if (!once.has(number) && !this.mayBeLost.has(number)) this.violations.push(`lost: ${number} of ${received}`);
    }
    if (this.violations.length > 0) throw new Error(this.violations.join('\n'));
  }

  #fingerprint(): string {
    const { acme, globex } = this.#sides;
    const { batches } = acme.to(GLOBEX).waiting;
    const wire = this.#pair ? [this.#pair.waiting('a').length, this.#pair.waiting('b').length] : [];
    const stores = [acme.store, globex.store].map(store => `${store.waiting}/${store.commits}`);
    return JSON.stringify([batches, wire, stores, this.calls.map(({ state }) => state)]);
  }

  #problems(): string {
    const { acme, globex } = this.#sides;
    const lanes = [acme, globex].flatMap(side => [...(side.session?.lanes ?? [])]);
    const reasons = lanes.map(lane => lane.closed.aborted && lane.reason.message);
    return JSON.stringify([reasons, this.violations]);
  }
}
