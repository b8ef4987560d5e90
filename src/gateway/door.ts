import type { FedgateError } from '../errors.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { parseChannel } from '../messaging/address.js';
import { InOrder } from '../policy/in-order.js';
import type { Policy } from '../policy/types.js';
import type { Refusals } from './refusals.js';

/** Records that nodes of another organisation publish here. */
export interface Arriving {
  readonly org: OrgName;
  readonly node: string;
  readonly channel: string;
  readonly records: number;
  readonly bytes: number;
}

/** Judges what nodes of other organisations publish here, by the grants and by the operator's policy, and writes down whom it turned away. */
export class Door {
  readonly #ownOrg: OrgName;
  readonly #access: Access;
  readonly #policy: Policy;
  readonly #refusals: Refusals;
  readonly #inOrder = new InOrder();

  constructor(ownOrg: OrgName, access: Access, policy: Policy, refusals: Refusals) {
    this.#ownOrg = ownOrg;
    this.#access = access;
    this.#policy = policy;
    this.#refusals = refusals;
  }

  /**
   * Why records are refused; undefined: they are taken. At once unless the policy must be asked. Rejects with POLICY_UNAVAILABLE when that
   * does not answer: they may come again.
   */
  refusal(arriving: Arriving): FedgateError | undefined | Promise<FedgateError | undefined> {
    try {
      const verdict = this.#check(arriving);
      return verdict instanceof Promise
        ? verdict.then(
            () => undefined,
            error => this.#refused(arriving, error as FedgateError),
          )
        : undefined;
    } catch (error) {
      return this.#refused(arriving, error as FedgateError);
    }
  }

  /** Lets in, in the order of the calls, what is to be let in. Throws and rejects with why not. */
  enter<T>(arriving: Arriving, go: () => T | Promise<T>): T | Promise<T> {
    const { org, node, channel } = arriving;
    const check = (): void | Promise<void> => {
      const refusal = this.refusal(arriving);
      if (refusal instanceof Promise) return refusal.then(throwIt);
      throwIt(refusal);
    };
    if (this.#policy.asks('publish')) return this.#inOrder.run(`${org} ${node} ${channel}`, check, go);
    // Nobody else is asked, so it is known at once.
    void check();
    return go();
  }

  #check({ org, node, channel, records, bytes }: Arriving): void | Promise<void> {
    this.#access.checkReceive(org, parseNodeName(node, 'sender_node'), parseChannel(channel));
    if (!this.#policy.asks('publish')) return;
    const subject = { org, node };
    return this.#policy.check({
      ...{ action: 'publish', subject, targetOrg: this.#ownOrg, target: channel, records, bytes },
    });
  }

  /** Throws what is no verdict. */
  #refused({ org, node, channel }: Arriving, error: FedgateError): FedgateError {
    this.#refusals.write(error, org, { org, node, channel });
    if (error.reason === 'POLICY_UNAVAILABLE') throw error;
    return error;
  }
}

function throwIt(error: FedgateError | undefined): void {
  if (error) throw error;
}
