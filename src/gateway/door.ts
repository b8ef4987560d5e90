import type { FedgateError } from '../errors.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { parseChannel } from '../messaging/address.js';
import type { Refusals } from './refusals.js';

/** Judges what nodes of other organisations publish here, and writes down whom it turned away. */
export class Door {
  readonly #access: Access;
  readonly #refusals: Refusals;

  constructor(access: Access, refusals: Refusals) {
    this.#access = access;
    this.#refusals = refusals;
  }

  /** Why a node of another organisation may not publish to a channel here; undefined: it may. */
  refusal(org: OrgName, channel: string, node: string): FedgateError | undefined {
    try {
      this.#access.checkReceive(org, parseNodeName(node, 'sender_node'), parseChannel(channel));
      return undefined;
    } catch (error) {
      this.#refusals.write(error as FedgateError, org, { org, node, channel });
      return error as FedgateError;
    }
  }
}
