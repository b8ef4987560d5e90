import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FaultEvent, type Level, monotonicMs, type PublishEvent, type RecordedEvent } from './events.js';

/** How long conditions are not looked at after an event, milliseconds. */
const LOOK_MS = 10;

/** What was written down so far, by all processes, and what follows from it. Append-only. */
export class Recording {
  readonly events: RecordedEvent[] = [];
  readonly #published = new Map<string, PublishEvent>();
  readonly #acked = new Map<string, Level>();
  readonly #delivered = new Map<string, Set<string>>();
  readonly #settled = new Map<string, Set<string>>();
  readonly #missing = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  #looking: NodeJS.Timeout | undefined;

  append(event: RecordedEvent): void {
    this.events.push(event);
    if (event.kind === 'publish' && !this.#published.has(event.id)) this.#published.set(event.id, event);
    if (event.kind === 'acked') this.#acked.set(event.id, event.level);
    if (event.kind === 'delivered') setIn(this.#delivered, event.subscription).add(event.id);
    if (event.kind === 'missing')
      this.#missing.set(event.subscription, this.toldMissing(event.subscription) + (event.records || Infinity));
    if (event.kind === 'ackSettled') setIn(this.#settled, event.subscription).add(event.id);
    this.#look();
  }

  /** Once for what comes in within a moment: looking may mean going through all. */
  #look(): void {
    if (this.#waiting.size === 0 || this.#looking) return;
    this.#looking = setTimeout(() => {
      this.#looking = undefined;
      for (const look of [...this.#waiting]) look();
    }, LOOK_MS);
  }

  /** Writes down what the one who injects faults does. */
  note(kind: FaultEvent['kind'], what: string, died?: string): void {
    this.append({ kind, atMs: monotonicMs(), what, ...(died === undefined ? {} : { died }) });
  }

  get ackedCount(): number {
    return this.#acked.size;
  }

  /** How many different messages a subscription was handed. */
  deliveredCount(subscription: string): number {
    return this.#delivered.get(subscription)?.size ?? 0;
  }

  /** How many different messages a subscription acknowledged for good. */
  settledCount(subscription: string): number {
    return this.#settled.get(subscription)?.size ?? 0;
  }

  /** Numbers of a publisher's messages that have no good answer yet: where it goes on after a restart. */
  firstUnanswered(org: string, publisher: string, to: string, channel: string): number {
    let next = 1;
    for (const { id, ...publish } of this.#published.values())
      if (publish.org === org && publish.publisher === publisher && publish.to === to && publish.channel === channel) {
        if (!this.#acked.has(id)) return publish.n;
        next = publish.n + 1;
      }
    return next;
  }

  /** Acknowledged messages for these channels that a subscription was not handed yet. */
  undelivered(subscription: string, to: string, channels: readonly string[]): string[] {
    return this.#ackedBut(this.#delivered.get(subscription), to, channels);
  }

  /** Acknowledged messages for these channels that a subscription has not acknowledged for good yet. */
  unsettled(subscription: string, to: string, channels: readonly string[]): string[] {
    return this.#ackedBut(this.#settled.get(subscription), to, channels);
  }

  #ackedBut(done: ReadonlySet<string> | undefined, to: string, channels: readonly string[]): string[] {
    return [...this.#acked.keys()].filter(id => {
      const publish = this.#published.get(id);
      return publish?.to === to && channels.includes(publish.channel) && !done?.has(id);
    });
  }

  /** How many records a subscription was told that it will not get. */
  toldMissing(subscription: string): number {
    return this.#missing.get(subscription) ?? 0;
  }

  /** Resolves when a condition holds, looked at as events come in. Throws when it does not within the time. */
  async until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = (): void => {
        if (!holds()) return;
        done();
        resolve();
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`not within ${withinMs} ms: ${what}`));
      }, withinMs);
      this.#waiting.add(look);
      look();
    });
  }
}

/** Keeps a recording for whoever looks into a violation; returns where. */
export async function saveRecording(recorded: readonly RecordedEvent[], name: string): Promise<string> {
  const path = join(tmpdir(), `fedgate-recording-${name}-${process.pid}.jsonl`);
  const events = [...recorded].sort((a, b) => a.atMs - b.atMs);
  await writeFile(path, events.map(event => `${JSON.stringify(event)}\n`).join(''));
  return path;
}

function setIn(sets: Map<string, Set<string>>, key: string): Set<string> {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set);
  return set;
}
