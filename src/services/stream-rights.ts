import type { FedgateError } from '../errors.js';
import type { Access } from '../messaging/access.js';
import type { Pattern } from '../messaging/address.js';
import { deliverQuestion, type Policy } from '../policy/types.js';

export interface RightsHost {
  /** The own organisation. */
  readonly org: string;
  readonly access: Access;
  readonly policy: Policy;
}

/** What a stream was opened by, and what ends it when that does not hold any more: the grants, and the operator's policy. */
export class StreamRights {
  readonly #host: RightsHost;
  readonly #node: string;
  readonly #end: (error: FedgateError) => void;
  readonly #held = new Map<string, (() => void)[]>();

  /** `end` ends the call. */
  constructor(host: RightsHost, node: string, end: (error: FedgateError) => void) {
    this.#host = host;
    this.#node = node;
    this.#end = end;
  }

  /**
   * Whether the node may receive what comes on a pattern. `granted` throws when the grants do not say so, now and after each change of them.
   * Undefined when that is known at once. Throws and rejects with NOT_GRANTED, POLICY_DENIED, POLICY_UNAVAILABLE.
   */
  deliver(pattern: Pattern, granted: () => void): void | Promise<void> {
    const { access, policy, org } = this.#host;
    const { text } = pattern;
    granted();
    if (this.#held.has(text)) return;
    const held = [access.watch(granted, this.#end)];
    this.#held.set(text, held);
    if (!policy.asks('deliver')) return;
    const keep = (stop: () => void): void => {
      // It may have been given up meanwhile.
      if (this.#held.get(text) === held) held.push(stop);
      else stop();
    };
    const refused = (error: unknown): never => {
      this.drop(text);
      throw error;
    };
    let watching: (() => void) | Promise<() => void>;
    try {
      watching = policy.watch(deliverQuestion({ org, node: this.#node }, text), this.#end);
    } catch (error) {
      return refused(error);
    }
    return watching instanceof Promise ? watching.then(keep, refused) : keep(watching);
  }

  /** Nothing comes on a pattern any more. */
  drop(pattern: string): void {
    for (const stop of this.#held.get(pattern) ?? []) stop();
    this.#held.delete(pattern);
  }

  /** The stream is over. */
  release(): void {
    for (const pattern of [...this.#held.keys()]) this.drop(pattern);
  }
}
