import type { Access } from './access.js';
import { nodeOfInbox } from './address.js';
import { type InboxState, UNTOLD } from './inbox.js';
import type { Delivery, DeliveryOutcome, Router } from './router.js';

/** Live records of other organisations for one node: delivered as any, and answered only as far as the sender may know of the node. */
export class Inboxes {
  readonly #router: Router;
  readonly #access: Access;
  readonly #stateOf: (node: string) => InboxState;

  /** `stateOf`: whether a node of the own organisation is there. */
  constructor(router: Router, access: Access, stateOf: (node: string) => InboxState) {
    this.#router = router;
    this.#access = access;
    this.#stateOf = stateOf;
  }

  /** As Router.deliver. */
  deliver(delivery: Delivery): DeliveryOutcome | Promise<DeliveryOutcome> {
    const node = nodeOfInbox(delivery.channel);
    if (node === undefined) return this.#router.deliver(delivery);
    if (!this.#access.exposes(delivery.senderOrg, delivery.senderNode, node)) {
      // Nor may how long the answer takes tell that somebody is there.
      void this.#router.deliver({ ...delivery, patienceMs: 0 });
      return UNTOLD;
    }
    const told = ({ subscribers, dropped }: DeliveryOutcome): DeliveryOutcome => ({
      subscribers,
      dropped,
      inbox: this.#stateOf(node),
    });
    const outcome = this.#router.deliver(delivery);
    return outcome instanceof Promise ? outcome.then(told) : told(outcome);
  }
}
