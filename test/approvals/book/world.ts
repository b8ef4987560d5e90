import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Exchange } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { Book } from '../../../src/approvals/book/book.js';
import type { BookEvent, BookLimits, Clock } from '../../../src/approvals/book/options.js';
import { compareLogs, type ProposalDifference } from '../../../src/approvals/log-compare.js';
import { logHeader, logLine, parseLog } from '../../../src/approvals/log-export.js';
import { parseStatement } from '../../../src/approvals/statement/statement.js';
import type { Envelope, ProposalDraft, ProposalFacts, Statement } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import type { OrgName } from '../../../src/identity/names.js';
import { Change } from '../../../src/store/store.js';
import { TestStore } from '../../support/test-store.js';
import { approverOf, ballotOf, orgName, type Person, person, signStatement, TestDirectory } from './people.js';

export const FEDERATION = 'fed.example';
export const START_MS = Date.UTC(2026, 0, 5, 12);
export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

/** A clock that moves when it is told to. */
export class VirtualClock implements Clock {
  nowMs = START_MS;
  readonly #timers = new Set<{ readonly atMs: number; readonly ring: () => void }>();

  now(): number {
    return this.nowMs;
  }

  after(ms: number, ring: () => void): () => void {
    if (!(ms >= 1 && ms < 2 ** 31)) throw new RangeError(`no timer waits ${ms} ms`);
    const timer = { atMs: this.nowMs + ms, ring };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Rings the first that is due until then, or else goes there. False: nothing is due any more. */
  ring(untilMs: number): boolean {
    const due = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
    this.nowMs = Math.max(this.nowMs, due ? due.atMs : untilMs);
    if (!due) return false;
    this.#timers.delete(due);
    due.ring();
    return true;
  }
}

interface Letter {
  readonly from: OrgName;
  readonly to: OrgName;
  readonly bytes: Buffer;
}

/** Gateways whose certificates are their keys: what a certificate proves is tested elsewhere. */
const gatewayKeys = new Map<
  string,
  { readonly privateKey: KeyObject; readonly publicKey: KeyObject; readonly certificate: Buffer }
>();

export function gatewayKey(org: string) {
  let known = gatewayKeys.get(org);
  if (!known) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    known = { privateKey, publicKey, certificate: publicKey.export({ format: 'der', type: 'spki' }) };
    gatewayKeys.set(org, known);
  }
  return known;
}

/** One organisation: its people, its gateway's book and store. */
export class Side {
  readonly org: OrgName;
  readonly people: readonly Person[];
  readonly directory: TestDirectory;
  readonly events: BookEvent[] = [];
  readonly granted = new Set<string>();
  store = new TestStore();
  limits: Partial<BookLimits> = {};
  readonly #world: World;
  #book: Book | undefined;

  constructor(world: World, org: string, people: readonly Person[]) {
    this.#world = world;
    this.org = orgName(org);
    this.people = people;
    this.directory = world.directory;
  }

  get book(): Book {
    if (!this.#book) throw new Error(`${this.org} is down`);
    return this.#book;
  }

  async open(): Promise<this> {
    const { privateKey, certificate } = gatewayKey(this.org);
    this.#book = await Book.open({
      federation: FEDERATION,
      org: this.org,
      gateway: 'gw',
      store: this.store,
      directory: this.directory,
      send: (change, to, exchange) => this.#world.send(change, this.org, to, exchange),
      signer: () => ({ key: privateKey, certificate }),
      verifyGatewayCertificate: (org, der) => {
        const known = gatewayKey(org);
        if (!known.certificate.equals(der)) {
          throw new FedgateError('CERTIFICATE_UNTRUSTED', `not a certificate of a gateway of ${org}`);
        }
        return known.publicKey;
      },
      mayPropose: org => this.granted.has(org),
      clock: this.#world.clock,
      limits: this.limits,
      onEvent: event => void this.events.push(event),
    });
    return this;
  }

  /** The process dies; of the changes that were under way so many are on the disk. */
  async restart(stored = 0): Promise<void> {
    const old = this.#book;
    this.#book = undefined;
    this.store = await this.store.kill(stored);
    void old?.close();
    await this.open();
  }

  async propose(draft: Partial<ProposalDraft> = {}): Promise<ProposalFacts> {
    return factsOf(await this.book.propose(this.#world.draft(draft)));
  }

  vote(
    kind: Parameters<typeof ballotOf>[0],
    proposal: ProposalFacts,
    by: Person | undefined = this.people[0],
    options?: Parameters<typeof ballotOf>[3],
  ) {
    return this.book.vote(this.sign(ballotOf(kind, proposal, this.org, options), by));
  }

  sign(statement: Statement, by: Person | undefined = this.people[0]): Envelope {
    if (!by) throw new Error('nobody signs');
    return signStatement(statement, by);
  }

  async state(proposal: Pick<ProposalFacts, 'id'>): Promise<number> {
    return (await this.book.get(Buffer.from(proposal.id, 'hex'))).state;
  }

  get(proposal: Pick<ProposalFacts, 'id'>): Promise<Proposal> {
    return this.book.get(Buffer.from(proposal.id, 'hex'));
  }

  /** What somebody who has the gateway of another organisation tells this one. */
  async hear(from: string, ...what: NonNullable<Exchange['what']>[]): Promise<void> {
    await this.hearBytes(from, ...what.map(one => Buffer.from(Exchange.encode({ what: one }).finish())));
  }

  async hearBytes(from: string, ...exchanges: Buffer[]): Promise<void> {
    const change = new Change();
    const committed = this.book.receive(orgName(from), exchanges, change);
    await this.store.commit(change);
    committed();
    await this.book.idle();
  }

  /** Its log as a file. */
  async exportLog(): Promise<string> {
    const lines = [logHeader({ federation: FEDERATION, org: this.org, gateway: 'gw' })];
    for await (const line of this.book.log(0, new AbortController().signal)) lines.push(logLine(line));
    return lines.join('');
  }

  reasons(): string[] {
    return this.events.flatMap(event => ('reason' in event ? [event.reason] : []));
  }
}

/** What the logs of two organisations say of each other. Throws LOG_FORKED when the chain of one does not hold. */
export async function compared(a: Side, b: Side): Promise<ProposalDifference[]> {
  return compareLogs(parseLog(await a.exportLog()), parseLog(await b.exportLog()), {
    publicKeyOf: (org, der) => (gatewayKey(org).certificate.equals(der) ? gatewayKey(org).publicKey : undefined),
  });
}

export const factsOf = ({ statement }: Proposal): ProposalFacts => {
  const parsed = parseStatement(statement);
  if (parsed.kind !== 'approval') throw new Error('no proposal');
  return parsed.proposal;
};

const OUTBOX = 'test-outbox';

/** Organisations whose gateways hear each other over links that keep the order of each pair, and no other. */
export class World {
  readonly clock = new VirtualClock();
  readonly directory = new TestDirectory();
  readonly sides = new Map<string, Side>();
  #sent = 0;

  static async open(orgs: Readonly<Record<string, number>>, { required = 1 } = {}): Promise<World> {
    const world = new World();
    let next = 0;
    for (const [org, count] of Object.entries(orgs)) {
      const people = Array.from({ length: count }, () => person(next++));
      world.directory.set(
        org,
        people.map(one => approverOf(one)),
        { required },
      );
      world.sides.set(org, new Side(world, org, people));
    }
    for (const side of world.sides.values()) {
      for (const org of world.sides.keys()) side.granted.add(org);
      await side.open();
    }
    return world;
  }

  side(org: string): Side {
    const side = this.sides.get(org);
    if (!side) throw new Error(`no ${org}`);
    return side;
  }

  draft(changes: Partial<ProposalDraft> = {}): ProposalDraft {
    return {
      id: undefined,
      artifact: { name: 'tool.tar', kind: 'file', size: 5, sha256: 'ab'.repeat(32) },
      artifactShare: 'file://ACME/share',
      contentsShare: '',
      files: [],
      project: 'tool',
      version: '1.0',
      orgs: [...this.sides.keys()].map(orgName),
      threshold: 2,
      notBeforeMs: 0,
      notAfterMs: 0,
      note: '',
      links: [],
      ...changes,
    };
  }

  /** Rows of the change, as an outbox has them: sent exactly when it is committed. */
  send(change: Change, from: OrgName, to: OrgName, bytes: Buffer): void {
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(BigInt(++this.#sent));
    change.put(
      OUTBOX,
      Buffer.concat([Buffer.from(`${to}\0`), number]),
      Buffer.concat([Buffer.from(`${from}\0`), bytes]),
    );
  }

  /** The oldest message of each pair that is on its way. */
  async underWay(): Promise<{ readonly letter: Letter; readonly key: Buffer }[]> {
    const first = new Map<string, { letter: Letter; key: Buffer }>();
    for (const side of this.sides.values()) {
      for (const { key, value } of await side.store.scan(OUTBOX, { limit: 100_000 })) {
        const to = key.subarray(0, key.indexOf(0)).toString();
        const at = value.indexOf(0);
        const from = value.subarray(0, at).toString();
        if (first.has(`${from} ${to}`)) continue;
        const letter = { from: orgName(from), to: orgName(to), bytes: value.subarray(at + 1) };
        first.set(`${from} ${to}`, { letter, key });
      }
    }
    return [...first.values()];
  }

  /** Delivers one: it is with the one side before it is gone from the other, and never twice. */
  async deliver({ letter, key }: { readonly letter: Letter; readonly key: Buffer }): Promise<void> {
    const to = this.sides.get(letter.to);
    if (to) await to.hearBytes(letter.from, letter.bytes);
    await this.side(letter.from).store.commit(new Change().remove(OUTBOX, key));
  }

  /** Delivers everything, and what comes of it. */
  async settle(): Promise<void> {
    for (;;) {
      for (const { book } of this.sides.values()) await book.idle();
      const letters = await this.underWay();
      if (letters.length === 0) return;
      for (const one of letters) await this.deliver(one);
    }
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs + ms;
    for (let rang = true; rang; ) {
      rang = this.clock.ring(untilMs);
      for (const { book } of this.sides.values()) await book.idle();
      // What a timer began sets the next one a moment after it is done.
      await new Promise(resolve => setImmediate(resolve));
    }
  }
}
