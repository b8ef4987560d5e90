import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestScope } from '../../support/registry.js';
import type { RecordedEvent } from './events.js';
import type { NodeCommand, NodeNews, NodeOrders } from './flows.js';
import type { Recording } from './recording.js';

const WORKER = fileURLToPath(new URL('./node-worker.js', import.meta.url));

/** Programs of an organisation, as a process that can be killed. What it writes down survives it. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #news: NodeNews[] = [];
  readonly #waiting = new Set<() => void>();

  /** Starts it. It ends when its standard input does, so it never outlives this process. */
  constructor(t: TestScope, orders: NodeOrders, recording: Recording) {
    const child = spawn(process.execPath, [WORKER, JSON.stringify(orders)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#closed = once(child, 'close').then(() => this.#look());
    child.stdin?.on('error', () => undefined);
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      const said = parse(line);
      if (!said) return;
      if (!('news' in said)) return recording.append(said);
      this.#news.push(said);
      this.#look();
    });
    t.teardown(() => this.kill());
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  tell(command: NodeCommand): void {
    this.#child.stdin?.write(`${command}\n`);
  }

  /** Resolves when it has said so. Rejects when it failed or ended before. */
  async said(news: NodeNews['news']): Promise<void> {
    for (;;) {
      if (this.#news.some(each => each.news === news)) return;
      const failed = this.#news.find(each => each.news === 'failed');
      if (failed && 'why' in failed) throw new Error(`a node failed: ${failed.why}`);
      if (!this.running) throw new Error(`a node ended before it was ${news}`);
      await new Promise<void>(resolve => this.#waiting.add(resolve));
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child.kill(signal);
  }

  /** Resolves when it is gone and all that it wrote is in the recording. */
  async ended(): Promise<void> {
    await this.#closed;
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }

  #look(): void {
    for (const resume of [...this.#waiting]) resume();
    this.#waiting.clear();
  }
}

/** Of the last line of a process that was killed, perhaps only a part was written. */
function parse(line: string): RecordedEvent | NodeNews | undefined {
  try {
    return JSON.parse(line) as RecordedEvent | NodeNews;
  } catch {
    return undefined;
  }
}
