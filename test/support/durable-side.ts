import { createPrivateKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { InboxLog } from '../../src/durable/log/inbox-log.js';
import { Outboxes, type OutboxesOptions } from '../../src/durable/outbox/outboxes.js';
import type { ManagedOutbox, OutboxEvent, OutgoingRecords } from '../../src/durable/types.js';
import type { FedgateError } from '../../src/errors.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import type { Identity } from '../../src/identity/verify.js';
import type { ApprovalsPort } from '../../src/link/control-receiver.js';
import { DurableSession, durableHello } from '../../src/link/durable-session.js';
import { LANE, makeHello, type Self } from '../../src/link/hello.js';
import type { Lane } from '../../src/link/lane.js';
import { LiveMeter } from '../../src/link/live-meter.js';
import { parsePattern } from '../../src/messaging/address.js';
import type { Store } from '../../src/store/store.js';
import { readRecords } from '../../src/wire/record-codec.js';
import { recordBlock } from './attack.js';
import { LanePair } from './lane-pair.js';
import { FEDERATION } from './registry.js';

const MIB = 1024 * 1024;

export const ACME = 'ACME' as OrgName;
export const GLOBEX = 'GLOBEX' as OrgName;

/** A gateway's key and certificate, and who it is to others. */
export interface TestIdentity {
  readonly org: OrgName;
  readonly pair: KeyAndCertificate;
  readonly key: KeyObject;
  readonly identity: Identity;
}

/** Issued by openssl once per organisation and process: this takes ~0.2 s. */
const issued = new Map<OrgName, Promise<TestIdentity>>();

export function testIdentity(org: OrgName): Promise<TestIdentity> {
  let made = issued.get(org);
  if (!made) {
    made = issueTestIdentity(org);
    issued.set(org, made);
  }
  return made;
}

export async function issueTestIdentity(org: OrgName): Promise<TestIdentity> {
  const authority = await createAuthority(FEDERATION, org);
  const pair = await issueLeaf(authority, FEDERATION, { org, role: 'gateway', name: 'gw1' });
  const leaf = new X509Certificate(pair.certificate);
  const identity = {
    org,
    role: 'gateway' as const,
    name: 'gw1',
    fingerprint: leaf.fingerprint256,
    certificate: leaf.raw,
    publicKey: leaf.publicKey,
    keyId: '',
    notBeforeMs: 0,
    notAfterMs: Date.parse(leaf.validTo),
  };
  return { org, pair, key: createPrivateKey(pair.key), identity };
}

/** The durable half of a gateway: a store, outboxes and an inbox, without the doors. */
export class DurableSide<S extends Store = Store> {
  readonly me: TestIdentity;
  readonly store: S;
  readonly outboxes: Outboxes;
  readonly inbox: InboxLog;
  readonly events: readonly OutboxEvent[];
  readonly alarms: FedgateError[] = [];
  refuse: (channel: string) => FedgateError | undefined = () => undefined;
  /** Hears what the other side says on the channel of approvals. */
  approvals: ApprovalsPort | undefined;
  session: DurableSession | undefined;

  private constructor(me: TestIdentity, store: S, outboxes: Outboxes, inbox: InboxLog, events: readonly OutboxEvent[]) {
    this.me = me;
    this.store = store;
    this.outboxes = outboxes;
    this.inbox = inbox;
    this.events = events;
  }

  static async open<S extends Store>(
    me: TestIdentity,
    store: S,
    options: Partial<OutboxesOptions> & { readonly windowBytes?: number } = {},
  ): Promise<DurableSide<S>> {
    const events: OutboxEvent[] = [];
    const { windowBytes = 16 * MIB, now = Date.now } = options;
    const outboxes = await Outboxes.open({
      store,
      self: { federation: FEDERATION, org: me.org, gateway: 'gw1' },
      signingKey: me.key,
      certificate: me.pair.certificate,
      limits: { outboxBytes: 64 * MIB, keepSentMs: 7 * 86_400_000, keepSentBytes: 64 * MIB },
      now,
      onEvent: event => events.push(event),
      ...options,
    });
    const inbox = await InboxLog.open({
      store,
      ownOrg: me.org,
      limits: { bytesPerPeer: 64 * MIB, bytesPerChannel: 64 * MIB, windowBytes },
      retention: [],
      now,
      onEvent: () => undefined,
    });
    return new DurableSide(me, store, outboxes, inbox, events);
  }

  /** What is in the log, in order: gaps by their kind. */
  async lines(): Promise<{ readonly channel: string; readonly text: string; readonly gap: string | undefined }[]> {
    const { inbox } = this;
    const lines = [];
    for (let from = inbox.first; from < inbox.end; ) {
      const { entries, next } = await inbox.read(from, parsePattern('**'), 1_000);
      for (const entry of entries) {
        const records = await inbox.records(entry);
        const texts = records ? readRecords(records).map(({ text }) => text) : [''];
        for (const text of texts) lines.push({ channel: entry.channel, text, gap: entry.gap?.kind });
      }
      from = next;
    }
    return lines;
  }

  /** The payloads in the log, in order. */
  async texts(): Promise<string[]> {
    return (await this.lines()).filter(({ gap }) => !gap).map(({ text }) => text);
  }

  async close(): Promise<void> {
    this.outboxes.close();
    await this.inbox.close();
  }

  get self(): Self {
    return {
      federation: FEDERATION,
      org: this.me.org,
      gateway: 'gw1',
      software: 'test',
      instanceId: randomBytes(16),
      snapshotVersion: () => 1n,
      durable: true,
    };
  }

  to(org: OrgName): ManagedOutbox {
    return this.outboxes.of(org);
  }

  get host() {
    return {
      store: this.store,
      inbox: this.inbox,
      outbox: (org: OrgName) => this.outboxes.of(org),
      judge: (_: Identity, channel: string) => this.refuse(channel),
      approvals: this.approvals,
      onAlarm: (error: FedgateError) => void this.alarms.push(error),
    };
  }

  hello(peer: OrgName) {
    return makeHello(this.self, LANE.durable, Buffer.alloc(16), durableHello(this.host, { org: peer, gateway: 'gw1' }));
  }

  run(lane: Lane, peer: TestIdentity, hello: ReturnType<DurableSide['hello']>): DurableSession {
    this.session = new DurableSession({
      host: this.host,
      self: this.self,
      signingKey: this.me.key,
      peer: peer.identity,
      outgoing: lane,
      incoming: lane,
      hello,
      live: new LiveMeter(),
    });
    return this.session;
  }
}

/** Joins two sides by a durable lane, as the link does: whatever lane they had is over first. */
export async function connect(a: DurableSide, b: DurableSide): Promise<LanePair> {
  await a.session?.halt();
  await b.session?.halt();
  const helloA = a.hello(b.me.org);
  const helloB = b.hello(a.me.org);
  const pair = new LanePair();
  a.run(pair.a, b.me, helloB);
  b.run(pair.b, a.me, helloA);
  return pair;
}

export const outgoing = (text: string, more: Partial<OutgoingRecords> = {}): OutgoingRecords => ({
  channel: 'orders/new',
  senderNode: 'billing',
  records: recordBlock(text),
  ttlMs: 0,
  notifyConsumed: false,
  ...more,
});
