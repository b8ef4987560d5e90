import type { InboxState } from '../messaging/inbox.js';
import type { Router } from '../messaging/router.js';
import { Presence } from '../presence/presence.js';
import { RememberedNodes } from '../presence/remembered.js';

/** The nodes of the own organisation: who is there, remembered across restarts. */
export class Nodes {
  readonly presence: Presence;
  readonly #remembered: RememberedNodes;

  private constructor(presence: Presence, remembered: RememberedNodes) {
    this.presence = presence;
    this.#remembered = remembered;
    presence.onChange(() => remembered.changed(() => presence.remembered()));
  }

  static async open(stateFolder: string): Promise<Nodes> {
    const remembered = new RememberedNodes(stateFolder);
    return new Nodes(new Presence(() => Date.now(), await remembered.load()), remembered);
  }

  /** Hears from the router whose inbox is open. */
  follow(router: Router): void {
    router.watch({
      added: ({ node, pattern }) => {
        if (pattern.text === `@${node}`) this.presence.inbox(node, 1);
      },
      removed: ({ node, pattern }) => {
        if (pattern.text === `@${node}`) this.presence.inbox(node, -1);
      },
    });
  }

  /** What somebody who writes to a node is told, if it may be told. */
  inboxState(name: string): InboxState {
    const node = this.presence.get(name);
    if (!node) return 'untold';
    if (node.inbox) return 'open';
    return node.state === 'connected' ? 'closed' : 'away';
  }

  /** The gateway stops: whoever is connected is away for that reason. */
  drain(): void {
    this.presence.drain();
  }

  flush(): Promise<void> {
    return this.#remembered.flush(() => this.presence.remembered());
  }
}
