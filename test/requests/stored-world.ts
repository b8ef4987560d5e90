import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { Access } from '../../src/messaging/access.js';
import { parsePattern } from '../../src/messaging/address.js';
import { Deadlines } from '../../src/requests/deadlines.js';
import { Dispatcher } from '../../src/requests/dispatcher.js';
import type { Job } from '../../src/requests/job.js';
import { Responder } from '../../src/requests/responder.js';
import { StoredRequests } from '../../src/requests/stored/stored-requests.js';
import type { StoredEvent } from '../../src/requests/stored/terms.js';
import { key, prefixed } from '../../src/store/keys.js';
import { Change } from '../../src/store/store.js';
import { recordBlock } from '../support/attack.js';
import { MemoryDisk, MemoryStore } from '../support/memory-store.js';

export const turns = async (count = 12): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise(resolve => setImmediate(resolve));
};

/** What a responder got. */
export interface Given {
  readonly job: number;
  readonly id: string;
  readonly attempt: number;
  readonly responder: Responder;
}

const NODES = { node: '*', publish: [], subscribe: [], share: [], fetch: [], approvals: [], nodes: [] };
const RIGHTS = { ...NODES, status: false, admin: false, request: ['**', 'pubsub://*/**'], respond: ['**'] };

/** One gateway with stored requests and a disk that outlives it; nothing else of a gateway is there. */
export class Side {
  readonly org: OrgName;
  readonly disk = new MemoryDisk();
  readonly clock: { nowMs: number };
  /** What is out to responders, in the order in which it was given. */
  given: Given[] = [];
  readonly events: StoredEvent[] = [];
  /** What the policy does before one is carried out. */
  policy: () => void | Promise<void> = () => undefined;
  refuses: (node: string) => boolean = () => false;
  stored!: StoredRequests;
  store!: MemoryStore;
  dispatcher!: Dispatcher;
  #deadlines: Deadlines[] = [];
  #next = 1;

  constructor(org: string, clock: { nowMs: number }) {
    this.org = org as OrgName;
    this.clock = clock;
  }

  async start(): Promise<void> {
    const { org, clock, disk } = this;
    this.given = [];
    const store = new MemoryStore(disk);
    this.store = store;
    const deadlines = [new Deadlines(() => clock.nowMs), new Deadlines(() => clock.nowMs)] as const;
    this.#deadlines = [...deadlines];
    this.dispatcher = new Dispatcher(org, deadlines[0]);
    const access = new Access(org, { nodes: [RIGHTS], peers: [] });
    this.stored = await StoredRequests.open({
      ...{ org, store, access, dispatcher: this.dispatcher, now: () => clock.nowMs, deadlines: deadlines[1] },
      judge: (_org, channel, node) => (this.refuses(node) ? refusal(channel) : undefined),
      checkMember: () => undefined,
      allow: () => this.policy(),
      send: (change, to, exchange) => void change.put('wire', key(to, clock.nowMs, this.#next++), exchange),
      onEvent: event => this.events.push(event),
    });
  }

  /** The process is killed: what is not committed by now never is. */
  async crash(): Promise<void> {
    const dead = this.store;
    dead.commit = () => new Promise<void>(() => undefined);
    await dead.close();
    for (const each of this.#deadlines) each.close();
    await this.start();
  }

  responder(name: string, pattern = '**', capacity = 2): Responder {
    const responder = new Responder(name, capacity, {
      request: (job: Job) => void this.given.push({ job: job.id, id: job.storedId, attempt: job.attempts, responder }),
      cancel: () => undefined,
    });
    this.dispatcher.add(responder);
    this.dispatcher.enable(responder, parsePattern(pattern));
    return responder;
  }

  reply(text: string, at = 0): Given | undefined {
    const [given] = this.given.splice(at, 1);
    if (given) this.dispatcher.answered(given.responder, given.job, { kind: 'reply', record: recordBlock(text) });
    return given;
  }

  /** Time goes on. */
  pass(ms: number): void {
    this.clock.nowMs += ms;
    for (const each of this.#deadlines) each.expire();
  }

  ask(text: string, terms: { readonly key?: string; readonly expireAfterMs?: number; readonly address?: string } = {}) {
    const { key: idempotencyKey = '', expireAfterMs = 0, address = 'pubsub://GLOBEX/q' } = terms;
    return this.stored.ask('asker', address, recordBlock(text), { expireAfterMs, key: idempotencyKey });
  }

  /** What is on its way to an organisation. */
  async onTheWay(to: string): Promise<readonly { readonly key: Buffer; readonly value: Buffer }[]> {
    return this.store.scan('wire', { ...prefixed(key(to)), limit: 100 });
  }

  async close(): Promise<void> {
    for (const each of this.#deadlines) each.close();
    await this.stored.close();
  }
}

/** Carries what waits, as durable streams do: in order, each once, whoever dies when. False: nothing waits. */
export async function carry(from: Side, to: Side): Promise<boolean> {
  const [first] = await from.onTheWay(to.org);
  if (!first) return false;
  const { store } = to;
  const seen = await store.get('watermark', key(from.org, first.key));
  if (!seen) {
    const change = new Change();
    const after = to.stored.receive(from.org, [first.value], change);
    await store.commit(change.put('watermark', key(from.org, first.key), Buffer.of(1)));
    after();
  }
  await from.store.commit(new Change().remove('wire', first.key));
  return true;
}

const refusal = (channel: string): FedgateError =>
  new FedgateError('NOT_GRANTED', `not on ${channel}`, { metadata: { org: 'GLOBEX' } });
