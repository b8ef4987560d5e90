import type { RequestStatus } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import type { FedgateError } from '../errors.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import type { RequestsHost } from '../link/link-requests.js';
import type { Access } from '../messaging/access.js';
import { parseChannel } from '../messaging/address.js';
import { Deadlines } from '../requests/deadlines.js';
import type { RoleListener } from '../requests/dispatcher.js';
import { Here } from '../requests/here.js';
import { Pending } from '../requests/pending.js';
import { Requester, type RequesterOptions } from '../requests/requester.js';
import type { RequestHost } from '../services/request-service.js';
import type { Refusals } from './refusals.js';

/** What a gateway has for requests: one table of what is pending, one timer, the own responders. */
export class Requests {
  readonly #org: OrgName;
  readonly #access: Access;
  readonly #refusals: Refusals;
  readonly #deadlines = new Deadlines();
  readonly #pending = new Pending();
  readonly #here: Here;

  constructor(org: OrgName, access: Access, refusals: Refusals) {
    this.#org = org;
    this.#access = access;
    this.#refusals = refusals;
    this.#here = new Here(org, this.#deadlines, this.#pending);
  }

  /** Hears of each pattern on which a node begins to answer, +1, or ends, -1, on each of its streams. */
  onRole(listener: RoleListener): void {
    this.#here.dispatcher.onRole(listener);
  }

  /** For the links: what other organisations ask. */
  get forPeers(): RequestsHost {
    return {
      judge: ({ org }, channel, node) => this.#judge(org, channel, node),
      // The limits of an organisation cannot be those of a node of ours: no node's name has capitals.
      request: (peer, ...call) => this.#here.request(peer.org, ...call),
      survey: (peer, ...call) => this.#here.survey(peer.org, ...call),
      dropped: (error, { org }) => this.#refusals.write(error, org, { org, dropped: 'answer' }, false),
    };
  }

  /** For the own nodes. */
  forNodes(
    parts: Pick<RequestHost, 'gateway' | 'draining'> & Pick<RequesterOptions, 'ask' | 'explain' | 'membersOf'>,
  ): RequestHost {
    const { gateway, draining, ask, explain, membersOf } = parts;
    const requester = new Requester({
      org: this.#org,
      access: this.#access,
      here: this.#here,
      deadlines: this.#deadlines,
      pending: this.#pending,
      ask,
      explain,
      membersOf,
    });
    return { gateway, requester, dispatcher: this.#here.dispatcher, access: this.#access, draining };
  }

  status(): RequestStatus {
    const { dispatcher } = this.#here;
    return {
      responders: dispatcher.responders.size,
      pending: this.#pending.count,
      queued: dispatcher.queued,
      pendingBytes: BigInt(this.#pending.bytes),
    };
  }

  close(): void {
    this.#deadlines.close();
  }

  /** Why a node of another organisation may not ask on a channel here; undefined: it may. */
  #judge(org: OrgName, channel: string, node: string): FedgateError | undefined {
    try {
      this.#access.checkAsked(org, parseNodeName(node, 'sender_node'), parseChannel(channel));
      return undefined;
    } catch (error) {
      this.#refusals.write(error as FedgateError, org, { org, node, channel });
      return error as FedgateError;
    }
  }
}
