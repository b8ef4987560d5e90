import { fieldError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { InOrder } from '../policy/in-order.js';
import type { Policy } from '../policy/types.js';
import type { PublishFrame } from '../wire/messaging-frames.js';
import type { Access } from './access.js';
import {
  type Address,
  type Destination,
  formatAudience,
  isInbox,
  nodeOfInbox,
  parseDestination,
  type Several,
} from './address.js';
import { type OneOutcome, publishToEach, type SeveralMember, type SeveralOutcome } from './broadcast.js';
import type { InboxState } from './inbox.js';
import type { DeliveryOutcome, Router } from './router.js';

/** What became of records that were published live, and on which side. */
export interface LiveOutcome extends DeliveryOutcome {
  readonly org: OrgName;
  readonly side: 'local' | 'remote';
  readonly level?: undefined;
}

export type AckLevel = 'stored' | 'received' | 'consumed';

/** Where records are that were published to be kept. */
export interface DurableOutcome {
  readonly org: OrgName;
  readonly side: 'local' | 'remote';
  readonly level: AckLevel;
  readonly duplicate: boolean;
  readonly streamEpoch: bigint;
  readonly sequence: number;
  /** Of a direct message within the own organisation: whether the node is there. */
  readonly inbox?: InboxState | undefined;
}

export type PublishOutcome = OneOutcome | SeveralOutcome;

/** The way of live records to other organisations. */
export interface RemoteSender {
  send(
    org: OrgName,
    batch: { channel: string; senderNode: string; patienceMs: number; records: PublishFrame['records'] },
  ): Promise<DeliveryOutcome>;
}

/** The way of records that are stored. */
export interface DurablePath {
  /** Whether a durable subscription of the own organisation wants what is published on a channel of it. */
  wanted(channel: string): boolean;
  /** `audience`: of which destination of several organisations the address is one, `*` or `@group`. */
  publish(node: string, address: Address, frame: PublishFrame, audience?: string): Promise<DurableOutcome>;
}

export interface PublisherOptions {
  readonly org: OrgName;
  readonly access: Access;
  readonly router: Router;
  readonly remote: RemoteSender;
  readonly durable: DurablePath;
  readonly policy: Policy;
  /** Whether a node of the own organisation is there. */
  readonly inboxState: (node: string) => InboxState;
  /** The organisations of a destination, at this moment. Throws GROUP_UNKNOWN, ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED. */
  readonly membersOf: (destination: Several) => readonly SeveralMember[];
  readonly onPublished: (records: number) => void;
}

export const MAX_PATIENCE_MS = 60_000;
const CACHED_ADDRESSES = 10_000;

/** The numbers of `Delivery` in messaging_service.proto. */
const DELIVERY = { unspecified: 0, live: 1, durable: 2 } as const;

/** Publishes what nodes of the own organisation hand in: checks, then routes to the own subscriptions, to the link, or to the store. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #addresses = new Map<string, Destination>();
  readonly #inOrder = new InOrder();

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /**
   * Order holds per caller, address and delivery class, in the order of the calls. Throws or rejects with what the call is to fail with:
   * FIELD_INVALID, CHANNEL_RESERVED, NOT_GRANTED, POLICY_DENIED, POLICY_UNAVAILABLE, ORG_UNKNOWN, ORG_INACTIVE, GROUP_UNKNOWN; live also PEER_UNREACHABLE, OUTCOME_UNKNOWN, LIMIT_REACHED;
   * durable also OUTBOX_FULL, INBOX_FULL, STORE_FULL, STORE_READ_ONLY, STORE_FAILED, SEQUENCE_GAP, PRODUCER_FENCED, ACK_TIMEOUT.
   */
  publish(node: string, frame: PublishFrame): PublishOutcome | Promise<PublishOutcome> {
    const { onPublished } = this.#options;
    if (frame.patienceMs > MAX_PATIENCE_MS) throw fieldError('patience_ms', `is over ${MAX_PATIENCE_MS}`);
    const destination = this.#parse(frame.address);
    let outcome: PublishOutcome | Promise<PublishOutcome>;
    if ('org' in destination) outcome = this.#publishOne(node, destination, frame);
    else outcome = this.#publishSeveral(node, destination, frame);
    onPublished(frame.records.count);
    return outcome;
  }

  /** How many organisations a publish to an address goes to: what it costs while it is unanswered. 1 for what is no address. */
  widthOf(address: string): number {
    if (!/^pubsub:\/\/[*@]/.test(address)) return 1;
    try {
      const destination = this.#parse(address);
      return 'org' in destination ? 1 : Math.max(1, this.#options.membersOf(destination).length);
    } catch {
      return 1;
    }
  }

  #publishSeveral(node: string, destination: Several, frame: PublishFrame): Promise<SeveralOutcome> {
    const { access, membersOf } = this.#options;
    const { channel } = destination;
    const audience = formatAudience(destination);
    const members = new Map(membersOf(destination).map(({ org, refused }) => [org, refused]));
    return publishToEach([...members.keys()], org => {
      const refused = members.get(org);
      if (!refused) return this.#publishOne(node, { org, channel }, frame, audience);
      access.checkPublish(node, { org, channel });
      throw refused;
    });
  }

  #publishOne(
    node: string,
    address: Address,
    frame: PublishFrame,
    audience?: string,
  ): OneOutcome | Promise<OneOutcome> {
    const { access, policy, org } = this.#options;
    access.checkPublish(node, address);
    if (!policy.asks('publish')) return this.#publishAllowed(node, address, frame, audience);
    const question = {
      action: 'publish',
      subject: { org, node },
      targetOrg: address.org,
      target: address.channel,
      records: frame.records.count,
      bytes: frame.records.bytes.length,
    } as const;
    return this.#inOrder.run(
      `${node} ${address.org} ${address.channel}`,
      () => policy.check(question),
      () => this.#publishAllowed(node, address, frame, audience),
    );
  }

  #publishAllowed(
    node: string,
    address: Address,
    frame: PublishFrame,
    audience?: string,
  ): OneOutcome | Promise<OneOutcome> {
    const { durable } = this.#options;
    const outcome = this.#stores(address, frame.delivery)
      ? durable.publish(node, address, frame, audience)
      : this.#publishLive(node, address, frame);
    return address.org === this.#options.org ? this.#withInbox(address, outcome) : outcome;
  }

  /** Within the own organisation the answer to a direct message says whether the node is there, stored or not. */
  #withInbox({ channel }: Address, outcome: OneOutcome | Promise<OneOutcome>): OneOutcome | Promise<OneOutcome> {
    const owner = nodeOfInbox(channel);
    if (owner === undefined) return outcome;
    const told = (settled: OneOutcome): OneOutcome => ({ ...settled, inbox: this.#options.inboxState(owner) });
    return outcome instanceof Promise ? outcome.then(told) : told(outcome);
  }

  #stores({ org, channel }: Address, delivery: number): boolean {
    if (delivery === DELIVERY.live) return false;
    if (delivery === DELIVERY.durable) return true;
    if (delivery !== DELIVERY.unspecified) throw fieldError('delivery', `${delivery} is not known`);
    return org !== this.#options.org || this.#options.durable.wanted(channel);
  }

  #publishLive(node: string, address: Address, frame: PublishFrame): LiveOutcome | Promise<LiveOutcome> {
    const { org, router, remote } = this.#options;
    const { records, patienceMs } = frame;
    if (address.org !== org) {
      const sent = remote.send(address.org, { channel: address.channel, senderNode: node, patienceMs, records });
      return sent.then(({ subscribers, dropped, inbox }) => ({
        subscribers,
        dropped,
        org: address.org,
        side: 'remote' as const,
        // What a peer says of an inbox where none was written to says nothing.
        ...(inbox && isInbox(address.channel) ? { inbox } : {}),
      }));
    }
    const outcome = router.deliver({ channel: address.channel, senderOrg: org, senderNode: node, records, patienceMs });
    const local = ({ subscribers, dropped, inbox }: DeliveryOutcome): LiveOutcome => ({
      subscribers,
      dropped,
      org,
      side: 'local',
      ...(inbox ? { inbox } : {}),
    });
    return outcome instanceof Promise ? outcome.then(local) : local(outcome);
  }

  #parse(text: string): Destination {
    const known = this.#addresses.get(text);
    if (known) return known;
    const address = parseDestination(text, this.#options.org);
    if (this.#addresses.size >= CACHED_ADDRESSES) this.#addresses.clear();
    this.#addresses.set(text, address);
    return address;
  }
}
