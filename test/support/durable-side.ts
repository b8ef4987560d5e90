import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { Outboxes, type OutboxesOptions } from '../../src/durable/outbox/outboxes.js';
import type { ManagedOutbox, OutboxEvent, OutgoingRecords } from '../../src/durable/types.js';
import type { FedgateError } from '../../src/errors.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import type { Identity } from '../../src/identity/verify.js';
import { DurableSession, durableHello } from '../../src/link/durable-session.js';
import { LANE, makeHello, type Self } from '../../src/link/hello.js';
import type { Lane } from '../../src/link/lane.js';
import { LiveMeter } from '../../src/link/live-meter.js';
import { recordBlock } from './attack.js';
import { LanePair } from './lane-pair.js';
import { FEDERATION } from './registry.js';
import { TestInbox } from './test-inbox.js';
import { TestStore } from './test-store.js';

export const ACME = 'ACME' as OrgName;
export const GLOBEX = 'GLOBEX' as OrgName;

/** A gateway's key and certificate, and who it is to others. */
export interface TestIdentity {
  readonly org: OrgName;
  readonly pair: KeyAndCertificate;
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
    notAfterMs: Date.parse(leaf.validTo),
  };
  return { org, pair, identity };
}

/** The durable half of a gateway: a store, outboxes and an inbox, without the doors. */
export class DurableSide {
  readonly me: TestIdentity;
  readonly store: TestStore;
  readonly outboxes: Outboxes;
  readonly inbox: TestInbox;
  readonly events: OutboxEvent[] = [];
  readonly alarms: FedgateError[] = [];
  refuse: (channel: string) => FedgateError | undefined = () => undefined;
  session: DurableSession | undefined;

  private constructor(me: TestIdentity, store: TestStore, outboxes: Outboxes, inbox: TestInbox) {
    this.me = me;
    this.store = store;
    this.outboxes = outboxes;
    this.inbox = inbox;
  }

  static async open(
    me: TestIdentity,
    store = new TestStore(),
    options: Partial<OutboxesOptions> = {},
  ): Promise<DurableSide> {
    const events: OutboxEvent[] = [];
    const outboxes = await Outboxes.open({
      store,
      self: { federation: FEDERATION, org: me.org, gateway: 'gw1' },
      signingKey: createPrivateKey(me.pair.key),
      certificate: me.pair.certificate,
      limits: { outboxBytes: 64 * 1024 * 1024, keepSentMs: 7 * 86_400_000, keepSentBytes: 64 * 1024 * 1024 },
      now: Date.now,
      onEvent: event => events.push(event),
      ...options,
    });
    const side = new DurableSide(me, store, outboxes, await TestInbox.open(store));
    (side as { events: OutboxEvent[] }).events = events;
    return side;
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
      signingKey: createPrivateKey(this.me.pair.key),
      peer: peer.identity,
      lane,
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
