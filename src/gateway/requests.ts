import type { RequestStatus } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { REQUESTS_CHANNEL } from '../durable/control.js';
import type { Outbox } from '../durable/types.js';
import type { FedgateError } from '../errors.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import type { RequestsHost } from '../link/link-requests.js';
import type { Access } from '../messaging/access.js';
import { parseChannel } from '../messaging/address.js';
import type { Policy } from '../policy/types.js';
import { Deadlines } from '../requests/deadlines.js';
import type { RoleListener } from '../requests/dispatcher.js';
import { type GiveUp, Here } from '../requests/here.js';
import { Pending } from '../requests/pending.js';
import { laterGiveUp, Requester, type RequesterOptions } from '../requests/requester.js';
import { StoredRequests } from '../requests/stored/stored-requests.js';
import type { Question } from '../requests/types.js';
import type { RequestHost } from '../services/request-service.js';
import type { Store } from '../store/store.js';
import type { Log } from '../telemetry/log.js';
import type { Refusals } from './refusals.js';

interface StoredParts {
  readonly store: Store;
  readonly log: Log;
  /** Where what is for another organisation waits; undefined for one that is no member. */
  readonly outbox: (org: OrgName) => Pick<Outbox, 'appendControl'> | undefined;
  /** Throws ORG_UNKNOWN, ORG_INACTIVE. */
  readonly checkMember: (org: OrgName) => void;
}

/** Errors as the log takes them; a field named `key` would be cut out. */
const renamed = (facts: object): Record<string, unknown> => {
  const names: Readonly<Record<string, string>> = { error: 'err', key: 'row' };
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [names[name] ?? name, value]));
};

/** What a gateway has for requests: one table of what is pending, one timer, the own responders. */
export class Requests {
  readonly #org: OrgName;
  readonly #access: Access;
  readonly #policy: Policy;
  readonly #refusals: Refusals;
  readonly #deadlines = new Deadlines();
  readonly #pending = new Pending();
  readonly #here: Here;

  constructor(org: OrgName, access: Access, policy: Policy, refusals: Refusals) {
    this.#org = org;
    this.#access = access;
    this.#policy = policy;
    this.#refusals = refusals;
    this.#here = new Here(org, this.#deadlines, this.#pending);
  }

  /** Hears of each pattern on which a node begins to answer, +1, or ends, -1, on each of its streams. */
  onRole(listener: RoleListener): void {
    this.#here.dispatcher.onRole(listener);
  }

  /** Opens what is stored. Rejects with STORE_*. The store is closed by its owner, after this. */
  openStored(parts: StoredParts): Promise<StoredRequests> {
    const { store, log, outbox, checkMember } = parts;
    return StoredRequests.open({
      ...{
        org: this.#org,
        access: this.#access,
        dispatcher: this.#here.dispatcher,
        store,
        checkMember,
      },
      judge: (org, channel, node) => this.#judge(org, channel, node),
      allow: (from, node, targetOrg, target, bytes) => {
        if (!this.#policy.asks('request')) return undefined;
        return this.#policy.check({
          ...{ action: 'request', subject: { org: from, node }, targetOrg, target, records: 1, bytes },
        });
      },
      // Who is no member any more will never read it.
      send: (change, to, exchange) => outbox(to)?.appendControl(change, REQUESTS_CHANNEL, exchange),
      onEvent: ({ kind, ...facts }) => {
        if (kind !== 'refused') log.warn({ event: kind, ...renamed(facts) }, 'stored requests');
      },
    });
  }

  /** For the links: what other organisations ask. */
  get forPeers(): RequestsHost {
    return {
      judge: ({ org }, channel, node) => this.#judge(org, channel, node),
      // The limits of an organisation cannot be those of a node of ours: no node's name has capitals.
      request: (peer, question, terms, settle) =>
        this.#allowed(
          question,
          () => this.#here.request(peer.org, question, terms, settle),
          error => settle({ kind: 'failed', error, attempts: 0 }),
        ),
      survey: (peer, question, terms, sink) =>
        this.#allowed(
          question,
          () => this.#here.survey(peer.org, question, terms, sink),
          error => sink.fail(error),
        ),
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
      policy: this.#policy,
      ask,
      explain,
      membersOf,
    });
    return {
      gateway,
      requester,
      dispatcher: this.#here.dispatcher,
      org: this.#org,
      access: this.#access,
      policy: this.#policy,
      draining,
    };
  }

  status(stored: Pick<StoredRequests, 'asking' | 'open'>): RequestStatus {
    const { dispatcher } = this.#here;
    return {
      responders: dispatcher.responders.size,
      pending: this.#pending.count,
      queued: dispatcher.queued,
      pendingBytes: BigInt(this.#pending.bytes),
      storedAsked: stored.asking.open,
      storedHere: stored.open,
    };
  }

  close(): void {
    this.#deadlines.close();
  }

  /** Begins what the policy allows. Throws as `begin`, and what the policy refuses at once with; later that is what `fail` hears. */
  #allowed(question: Question, begin: () => GiveUp, fail: (error: FedgateError) => void): GiveUp {
    if (!this.#policy.asks('request')) return begin();
    const { senderOrg: org, senderNode: node, channel: target, record } = question;
    const refused = (error: FedgateError): FedgateError => {
      this.#refusals.write(error, org, { org, node, channel: target });
      return error;
    };
    const subject = { org, node };
    const { count: records, bytes } = record;
    let verdict: void | Promise<void>;
    try {
      verdict = this.#policy.check({
        ...{ action: 'request', subject, targetOrg: this.#org, target, records, bytes: bytes.length },
      });
    } catch (error) {
      throw refused(error as FedgateError);
    }
    if (!(verdict instanceof Promise)) return begin();
    return laterGiveUp(verdict, begin, error => fail(refused(error)));
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
