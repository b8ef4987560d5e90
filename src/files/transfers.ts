import { randomUUID } from 'node:crypto';
import { pause, unlessAborted } from './abort.js';

export type TransferKind = 'upload' | 'fetch' | 'send';
export type TransferState = 'active' | 'done' | 'ended';

export interface TransferStart {
  readonly kind: TransferKind;
  /** Empty: there is none yet. */
  readonly shareId: string;
  readonly name: string;
  /** The organisation and node at the other end. */
  readonly org: string;
  readonly node: string;
  /** Bytes of what was asked for. 0: not known. */
  readonly totalBytes: number;
}

/** A transfer, as it is now. */
export interface TransferView extends TransferStart {
  readonly id: string;
  readonly state: TransferState;
  readonly doneBytes: number;
  /** Of them, those that another organisation's gateway sent for it. */
  readonly receivedBytes: number;
  readonly startMs: number;
  /** Why it ended, for people. */
  readonly error: string;
}

/** Updates of one transfer to one watcher come no faster. */
const UPDATE_MS = 500;
/** Transfers that a watcher who does not read has not heard of; the oldest are then left out. */
const MAX_UNHEARD = 10_000;

/** One transfer, told of by whoever carries it out. */
export class Transfer implements TransferView {
  readonly id = randomUUID();
  readonly kind: TransferKind;
  readonly name: string;
  readonly org: string;
  readonly node: string;
  readonly totalBytes: number;
  readonly startMs: number;
  readonly #changed: (transfer: Transfer) => void;
  shareId: string;
  state: TransferState = 'active';
  doneBytes = 0;
  receivedBytes = 0;
  error = '';

  constructor(start: TransferStart, startMs: number, changed: (transfer: Transfer) => void) {
    this.kind = start.kind;
    this.name = start.name;
    this.org = start.org;
    this.node = start.node;
    this.totalBytes = start.totalBytes;
    this.shareId = start.shareId;
    this.startMs = startMs;
    this.#changed = changed;
  }

  done(bytes: number): void {
    if (this.state !== 'active') return;
    this.doneBytes += bytes;
    this.#changed(this);
  }

  /** What still comes in behind the end does not count. */
  received(bytes: number): void {
    if (this.state !== 'active') return;
    this.receivedBytes += bytes;
    this.#changed(this);
  }

  /** Once. `error`: why not all of it came. */
  end(error?: string): void {
    if (this.state !== 'active') return;
    this.state = error === undefined ? 'done' : 'ended';
    this.error = error ?? '';
    this.#changed(this);
  }
}

/** The transfers that are under way, and whoever watches them. */
export class Transfers {
  readonly #active = new Set<Transfer>();
  readonly #watchers = new Set<Watcher>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Those under way. */
  get active(): ReadonlySet<TransferView> {
    return this.#active;
  }

  begin(start: TransferStart): Transfer {
    const transfer = new Transfer(start, this.#now(), changed => this.#changed(changed));
    this.#active.add(transfer);
    this.#changed(transfer);
    return transfer;
  }

  /** Those under way, then each change, at most every half second per transfer, until the signal fires: then it throws its reason. */
  async *watch(wanted: (transfer: TransferView) => boolean, signal: AbortSignal): AsyncGenerator<TransferView> {
    const watcher = new Watcher(wanted);
    for (const transfer of this.#active) watcher.changed(transfer);
    this.#watchers.add(watcher);
    try {
      for (;;) {
        for (const transfer of watcher.take()) {
          signal.throwIfAborted();
          watcher.told(transfer);
          yield transfer;
        }
        await watcher.next(signal);
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #changed(transfer: Transfer): void {
    if (transfer.state !== 'active') this.#active.delete(transfer);
    for (const watcher of this.#watchers) watcher.changed(transfer);
  }
}

/** What one watcher has not heard of yet. */
class Watcher {
  readonly #wanted: (transfer: TransferView) => boolean;
  #unheard = new Set<Transfer>();
  #wake: (() => void) | undefined;

  constructor(wanted: (transfer: TransferView) => boolean) {
    this.#wanted = wanted;
  }

  changed(transfer: Transfer): void {
    if (this.#unheard.has(transfer) || !this.#wanted(transfer)) return;
    if (this.#unheard.size >= MAX_UNHEARD) {
      const [oldest] = this.#unheard;
      if (oldest) this.#unheard.delete(oldest);
    }
    this.#unheard.add(transfer);
    this.#wake?.();
  }

  take(): Transfer[] {
    const taken = [...this.#unheard];
    this.#unheard = new Set();
    return taken;
  }

  /** It is told of as it is now: what changed since it was taken is no news any more. */
  told(transfer: Transfer): void {
    this.#unheard.delete(transfer);
  }

  /** Resolves when there is something to tell and the last telling is long enough ago. Throws the signal's reason. */
  async next(signal: AbortSignal): Promise<void> {
    await pause(UPDATE_MS, signal);
    if (this.#unheard.size > 0) return;
    const woken = new Promise<void>(resolve => {
      this.#wake = resolve;
    });
    await unlessAborted(woken, signal);
  }
}
