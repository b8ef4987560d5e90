import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';

/** Proposals that changed and that one watcher was not told of yet: ids only, some 100 bytes each. */
export const MAX_UNTOLD = 100_000;

/** One who watches: what changed stays noted until it is asked for, each proposal once however often it changed. */
export class Watcher {
  readonly #untold = new Set<string>();
  readonly #wants: (proposal: Proposal) => boolean;
  #wake: (() => void) | undefined;
  #failure: FedgateError | undefined;

  constructor(wants: (proposal: Proposal) => boolean) {
    this.#wants = wants;
  }

  note(proposal: Proposal): void {
    if (this.#failure || !this.#wants(proposal)) return;
    this.#untold.add(Buffer.from(proposal.id).toString('hex'));
    if (this.#untold.size > MAX_UNTOLD) this.#fail();
    this.#wake?.();
  }

  /** The next id, once there is one; undefined when the signal ends it. Rejects with LIMIT_REACHED for one that never asks. */
  async next(signal: AbortSignal): Promise<string | undefined> {
    for (;;) {
      if (signal.aborted) return undefined;
      if (this.#failure) throw this.#failure;
      const [id] = this.#untold;
      if (id !== undefined) {
        this.#untold.delete(id);
        return id;
      }
      await new Promise<void>(resolve => {
        const wake = (): void => {
          signal.removeEventListener('abort', wake);
          this.#wake = undefined;
          resolve();
        };
        this.#wake = wake;
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  #fail(): void {
    this.#untold.clear();
    this.#failure = new FedgateError('LIMIT_REACHED', `more than ${MAX_UNTOLD} proposals changed and were not read`, {
      metadata: { limit: 'watched proposals' },
    });
  }
}

/** All who watch. */
export class Watchers {
  readonly #watchers = new Set<Watcher>();

  add(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** A proposal is there, or changed. */
  note(proposal: Proposal): void {
    for (const watcher of this.#watchers) watcher.note(proposal);
  }
}
