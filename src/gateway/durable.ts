import { createPrivateKey } from 'node:crypto';
import { join } from 'node:path';
import { DeadLetters } from '../durable/dead-letters/dead-letters.js';
import { InboxLog, type InboxLogEvent } from '../durable/log/inbox-log.js';
import { Outboxes } from '../durable/outbox/outboxes.js';
import { formatPosition } from '../durable/position.js';
import type { SubscriptionEvent } from '../durable/subscriptions/parts.js';
import { Subscriptions } from '../durable/subscriptions/subscriptions.js';
import type { ControlRefused, LogEntry, OutboxEvent, SentBatch, StreamId, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import type { Self } from '../link/hello.js';
import { parsePattern } from '../messaging/address.js';
import { type CrashAt, parseCrashAt } from '../store/crash.js';
import { openStore } from '../store/open.js';
import type { Store, StoreHealth } from '../store/store.js';
import type { Log } from '../telemetry/log.js';
import type { RecordBlock } from '../wire/records.js';
import type { GatewayConfig } from './config.js';

export interface DurabilityParts {
  /** The gateway's state folder. */
  readonly state: string;
  readonly self: Pick<Self, 'federation' | 'org' | 'gateway'> & { readonly org: OrgName };
  readonly identity: KeyAndCertificate;
  readonly config: GatewayConfig['durable'];
  readonly log: Log;
  readonly controlRefused: ControlRefused;
}

/** What one peer may have on the way to us at once, bytes. */
const WINDOW_BYTES = 16 * 1024 * 1024;

/** Everything of a gateway that outlives it: the store, and what is made of it. */
export class Durability {
  readonly store: Store;
  readonly outboxes: Outboxes;
  readonly inbox: InboxLog;
  readonly subscriptions: Subscriptions;
  readonly deadLetters: DeadLetters;
  readonly #offHealth: () => void;

  private constructor(
    parts: Pick<Durability, 'store' | 'outboxes' | 'inbox' | 'subscriptions' | 'deadLetters'>,
    offHealth: () => void,
  ) {
    this.store = parts.store;
    this.outboxes = parts.outboxes;
    this.inbox = parts.inbox;
    this.subscriptions = parts.subscriptions;
    this.deadLetters = parts.deadLetters;
    this.#offHealth = offHealth;
  }

  /** `refetch` asks the origin of a batch for its records. Throws STORE_LOCKED, STORE_DAMAGED, STORE_FULL, STORE_READ_ONLY, STORE_FAILED. */
  static async open(
    { state, self, identity, config, log, controlRefused }: DurabilityParts,
    refetch: (from: StreamId, position: StreamPosition) => Promise<RecordBlock | undefined>,
  ): Promise<Durability> {
    const store = await openStore(join(state, 'store'), { reserveBytes: config.reserveBytes, crashAt: crashAt() });
    try {
      const now = (): number => Date.now();
      const sent: { outboxes?: Outboxes } = {};
      const deadLetters = await DeadLetters.open({
        store,
        now,
        refetch: async (org, position) => sent.outboxes?.of(org).refetch(position),
        onEvent: event => log.warn({ event: event.kind, ...plain(event) }, 'dead letters'),
      });
      const outboxes = await Outboxes.open({
        deadLetters,
        store,
        self,
        signingKey: createPrivateKey(identity.key),
        certificate: identity.certificate,
        limits: {
          outboxBytes: config.outboxBytes,
          keepSentMs: config.sent.keepMs,
          keepSentBytes: config.sent.keepBytes,
        },
        now,
        onEvent: event => logOutbox(log, event),
        controlRefused,
      });
      sent.outboxes = outboxes;
      const inbox = await InboxLog.open({
        store,
        ownOrg: self.org,
        limits: {
          bytesPerPeer: config.inboxBytesPerPeer,
          bytesPerChannel: config.inboxBytesPerChannel,
          windowBytes: WINDOW_BYTES,
        },
        retention: config.retention.map(rule => ({
          ...rule,
          pattern: parsePattern(rule.pattern, 'pattern', { inboxes: true }),
        })),
        now,
        refetch,
        onEvent: event => logInbox(log, event),
      });
      const subscriptions = await Subscriptions.open({
        store,
        log: inbox,
        deadLetters,
        notify: (change, org, notice) => outboxes.of(org).appendNotice(change, notice),
        now,
        onEvent: event => logSubscription(log, event),
      });
      // Every subscription has said what it needs: from here on what nobody needs may be removed.
      inbox.start();
      if (store.restoredMs > 0) log.warn({ restored: new Date(store.restoredMs) }, 'the store is a restored backup');
      const tell = (health: StoreHealth): void => {
        if (health.state === 'ok') log.info(health, 'store');
        else log.warn(health, 'store');
      };
      const offHealth = store.onHealth(tell);
      if (store.health.state !== 'ok') tell(store.health);
      return new Durability({ store, outboxes, inbox, subscriptions, deadLetters }, offHealth);
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** Ends what waits and closes the store. Nothing may publish, receive or consume any more. */
  async close(): Promise<void> {
    this.#offHealth();
    await this.subscriptions.close(new FedgateError('DRAINING', 'the gateway is about to stop'));
    await this.deadLetters.close();
    this.outboxes.close();
    await this.inbox.close();
    await this.store.close();
  }
}

/** For tests of what a crash leaves behind. */
function crashAt(): CrashAt | undefined {
  const text = process.env.FEDGATE_CRASH_AT;
  return text === undefined ? undefined : parseCrashAt(text);
}

function logOutbox(log: Log, event: OutboxEvent): void {
  if (event.kind === 'epoch') {
    log.info({ event: event.kind, org: event.org, epoch: String(event.epoch), why: event.why }, 'durable');
    return;
  }
  const { kind: name, ...facts } = event;
  log.warn({ event: name, ...plain(facts) }, 'durable');
}

function logSubscription(log: Log, event: SubscriptionEvent): void {
  const line = { event: event.kind, ...plain(event) };
  if (event.kind === 'failed' || event.kind === 'dead-lettered') log.warn(line, 'durable subscription');
  else log.info(line, 'durable subscription');
}

function logInbox(log: Log, { kind, ...facts }: InboxLogEvent): void {
  const line = { event: kind, ...plain(facts) };
  if (kind === 'mended') log.info(line, 'durable');
  else log.warn(line, 'durable');
}

/** The facts of an event as a log line takes them: places by their numbers, nothing of what the records say. */
function plain(facts: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(facts).flatMap(([name, value]) => entries(name, value)));
}

function entries(name: string, value: unknown): [string, unknown][] {
  if (name === 'error') return [['err', value]];
  if (typeof value === 'bigint') return [[name, String(value)]];
  if (value === null || typeof value !== 'object') return [[name, value]];
  if (name === 'entry') return Object.entries(placeOf(value as LogEntry));
  if (name === 'batch') return Object.entries(placeOfBatch(value as SentBatch));
  if ('epoch' in value && 'sequence' in value) return [[name, formatPosition(value as StreamPosition)]];
  return [[name, value]];
}

const placeOf = ({ offset, count, channel, senderOrg, stream }: LogEntry) => ({
  offset,
  records: count,
  channel,
  org: senderOrg,
  ...(stream ? { batch: formatPosition(stream) } : {}),
});

const placeOfBatch = (batch: SentBatch) => ({
  org: batch.org,
  channel: batch.channel,
  node: batch.senderNode,
  records: batch.recordCount,
  batch: formatPosition(batch),
});
