import { fieldError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { PublishFrame } from '../wire/messaging-frames.js';
import type { Access } from './access.js';
import { type Address, nodeOfInbox, parseAddress } from './address.js';
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

export type PublishOutcome = LiveOutcome | DurableOutcome;

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
  publish(node: string, address: Address, frame: PublishFrame): Promise<DurableOutcome>;
}

export interface PublisherOptions {
  readonly org: OrgName;
  readonly access: Access;
  readonly router: Router;
  readonly remote: RemoteSender;
  readonly durable: DurablePath;
  /** Whether a node of the own organisation is there. */
  readonly inboxState: (node: string) => InboxState;
  readonly onPublished: (records: number) => void;
}

export const MAX_PATIENCE_MS = 60_000;
const CACHED_ADDRESSES = 10_000;

/** The numbers of `Delivery` in messaging_service.proto. */
const DELIVERY = { unspecified: 0, live: 1, durable: 2 } as const;

/** Publishes what nodes of the own organisation hand in: checks, then routes to the own subscriptions, to the link, or to the store. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #addresses = new Map<string, Address>();

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /**
   * Order holds per caller, address and delivery class, in the order of the calls. Throws or rejects with what the call is to fail with:
   * FIELD_INVALID, CHANNEL_RESERVED, NOT_GRANTED, ORG_UNKNOWN, ORG_INACTIVE; live also PEER_UNREACHABLE, OUTCOME_UNKNOWN, LIMIT_REACHED;
   * durable also OUTBOX_FULL, INBOX_FULL, STORE_FULL, STORE_READ_ONLY, STORE_FAILED, SEQUENCE_GAP, PRODUCER_FENCED, ACK_TIMEOUT.
   */
  publish(node: string, frame: PublishFrame): PublishOutcome | Promise<PublishOutcome> {
    const { access, onPublished, durable } = this.#options;
    if (frame.patienceMs > MAX_PATIENCE_MS) throw fieldError('patience_ms', `is over ${MAX_PATIENCE_MS}`);
    const address = this.#parse(frame.address);
    access.checkPublish(node, address);
    onPublished(frame.records.count);
    const outcome = this.#stores(address, frame.delivery)
      ? durable.publish(node, address, frame)
      : this.#publishLive(node, address, frame);
    return address.org === this.#options.org ? this.#withInbox(address, outcome) : outcome;
  }

  /** Within the own organisation the answer to a direct message says whether the node is there, stored or not. */
  #withInbox(
    { channel }: Address,
    outcome: PublishOutcome | Promise<PublishOutcome>,
  ): PublishOutcome | Promise<PublishOutcome> {
    const owner = nodeOfInbox(channel);
    if (owner === undefined) return outcome;
    const told = (settled: PublishOutcome): PublishOutcome => ({ ...settled, inbox: this.#options.inboxState(owner) });
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
      return sent.then(outcome => ({ ...outcome, org: address.org, side: 'remote' as const }));
    }
    const outcome = router.deliver({ channel: address.channel, senderOrg: org, senderNode: node, records, patienceMs });
    const local = (settled: DeliveryOutcome): LiveOutcome => ({ ...settled, org, side: 'local' });
    return outcome instanceof Promise ? outcome.then(local) : local(outcome);
  }

  #parse(text: string): Address {
    const known = this.#addresses.get(text);
    if (known) return known;
    const address = parseAddress(text, this.#options.org);
    if (this.#addresses.size >= CACHED_ADDRESSES) this.#addresses.clear();
    this.#addresses.set(text, address);
    return address;
  }
}
