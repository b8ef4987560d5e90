import { fieldError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { PublishFrame } from '../wire/messaging-frames.js';
import type { Access } from './access.js';
import { type Address, parseAddress } from './address.js';
import type { DeliveryOutcome, Router } from './router.js';

/** What became of published records, and on which side. */
export interface PublishOutcome extends DeliveryOutcome {
  readonly org: OrgName;
  readonly side: 'local' | 'remote';
}

/** The way to other organisations. */
export interface RemoteSender {
  send(
    org: OrgName,
    batch: { channel: string; senderNode: string; patienceMs: number; records: PublishFrame['records'] },
  ): Promise<DeliveryOutcome>;
}

export interface PublisherOptions {
  readonly org: OrgName;
  readonly access: Access;
  readonly router: Router;
  readonly remote: RemoteSender;
  readonly onPublished: (records: number) => void;
}

export const MAX_PATIENCE_MS = 60_000;
const CACHED_ADDRESSES = 10_000;

/** Publishes what nodes of the own organisation hand in: checks, then routes to the own subscriptions or to the link. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #addresses = new Map<string, Address>();

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /**
   * Order holds per caller and address, in the order of the calls. Throws or rejects with what the call is to fail with: FIELD_INVALID,
   * CHANNEL_RESERVED, NOT_GRANTED, ORG_UNKNOWN, ORG_INACTIVE, PEER_UNREACHABLE, OUTCOME_UNKNOWN, LIMIT_REACHED.
   */
  publish(node: string, frame: PublishFrame): PublishOutcome | Promise<PublishOutcome> {
    const { org, access, router, remote, onPublished } = this.#options;
    const { records, patienceMs } = frame;
    if (patienceMs > MAX_PATIENCE_MS) throw fieldError('patience_ms', `is over ${MAX_PATIENCE_MS}`);
    const address = this.#parse(frame.address);
    access.checkPublish(node, address);
    onPublished(records.count);
    if (address.org !== org) {
      const sent = remote.send(address.org, { channel: address.channel, senderNode: node, patienceMs, records });
      return sent.then(outcome => ({ ...outcome, org: address.org, side: 'remote' as const }));
    }
    const outcome = router.deliver({ channel: address.channel, senderOrg: org, senderNode: node, records, patienceMs });
    const local = (settled: DeliveryOutcome): PublishOutcome => ({ ...settled, org, side: 'local' });
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
