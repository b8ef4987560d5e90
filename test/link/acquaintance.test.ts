import { createHash } from 'node:crypto';
import test from 'ava';
import { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { Acquaintance } from '../../src/link/acquaintance.js';
import { LinkAcquaintance } from '../../src/link/link-acquaintance.js';
import { seededRandom } from '../faults/support/random.js';
import { otherFrame } from '../support/attack.js';
import { LanePair } from '../support/lane-pair.js';

/** What a directory does, without signatures: a higher version counts. */
class Book {
  signed: SignedSnapshot | undefined;
  readonly #listeners = new Set<() => void>();

  get version(): bigint {
    return this.signed ? BigInt(Buffer.from(this.signed.snapshot).readUInt32BE(0)) : 0n;
  }

  offer(signed: SignedSnapshot): boolean {
    const version = BigInt(Buffer.from(signed.snapshot).readUInt32BE(0));
    if (version < this.version) throw new FedgateError('SNAPSHOT_STALE', 'it is older');
    if (version === this.version) return false;
    this.signed = signed;
    for (const listener of [...this.#listeners]) listener();
    return true;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

const BYTES = 100_000;
function snapshot(version: number): SignedSnapshot {
  const bytes = Buffer.alloc(BYTES, version);
  bytes.writeUInt32BE(version);
  return { snapshot: bytes, signature: createHash('sha256').update(bytes).digest() };
}

class Gateway {
  readonly book = new Book();
  readonly alarms: string[] = [];
  readonly all: Acquaintance;
  readonly org: OrgName;
  #wanted: { version: bigint; resolve: () => void } | undefined;

  constructor(i: number) {
    this.org = `ORG${i}` as OrgName;
    this.all = new Acquaintance(
      {
        snapshots: true,
        addresses: false,
        directory: this.book,
        registryConnected: () => false,
        onTaken: () => undefined,
        onAlarm: ({ reason }, from) => void this.alarms.push(`${reason} ${from}`),
      },
      () => [],
    );
    this.book.onChange(() => {
      if (this.#wanted && this.book.version >= this.#wanted.version) this.#wanted.resolve();
    });
  }

  has(version: bigint): Promise<void> {
    if (this.book.version >= version) return Promise.resolve();
    return new Promise(resolve => {
      this.#wanted = { version, resolve };
    });
  }
}

/** Frames of each kind that crossed any link. */
type Counts = Map<string, number>;

function join(a: Gateway, b: Gateway, counts: Counts): () => void {
  const pair = new LanePair();
  const ends = [
    { lane: pair.a, own: a, other: b },
    { lane: pair.b, own: b, other: a },
  ];
  for (const side of ['a', 'b'] as const)
    pair.tap(side, bytes => {
      const kind = otherFrame(bytes)?.$case ?? '?';
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    });
  const links = ends.map(({ lane, own, other }) => {
    const link = new LinkAcquaintance(lane, other.org, own.all);
    lane.listen(frame => void link.take(frame));
    return { link, own };
  });
  pair.automatic();
  for (const { link, own } of links) own.all.joined(link);
  return () => {
    for (const { link, own } of links) {
      own.all.left(link);
      link.close(new FedgateError('PEER_UNREACHABLE', 'cut'));
    }
    pair.cut();
  };
}

test('acquaintance: in a line and in a random net one that reaches the registry is enough for 60, each gets each version once', async t => {
  const count = 60;
  const random = seededRandom(7);
  const counts: Counts = new Map();
  const gateways = Array.from({ length: count }, (_, i) => new Gateway(i));
  const cuts: (() => void)[] = [];
  const pick = (below: number): number => random.between(0, below - 1);
  // The first twenty are a line; each other knows one to three of those before it.
  for (let i = 1; i < count; i++) {
    const others = i < 20 ? [i - 1] : [...new Set([pick(i), pick(i), pick(i)])];
    for (const other of others) cuts.push(join(gateways[i] as Gateway, gateways[other] as Gateway, counts));
  }
  t.teardown(() => {
    for (const cut of cuts) cut();
    for (const { all } of gateways) all.close();
  });
  const everybody = (version: bigint): Promise<unknown> => Promise.all(gateways.map(each => each.has(version)));
  gateways[0]?.book.offer(snapshot(1));
  await everybody(1n);
  const parts = Math.ceil(SignedSnapshot.encode(snapshot(1)).finish().length / (32 * 1024));
  t.true((counts.get('snapshotPart') ?? 0) <= parts * (count - 1) * 1.2, 'nearly nobody gets it twice');
  // Another one learns of the next, far away from the first.
  gateways[count - 1]?.book.offer(snapshot(2));
  await everybody(2n);
  t.deepEqual(
    gateways.flatMap(({ alarms }) => alarms),
    [],
  );
  t.log(`${cuts.length} links, ${JSON.stringify(Object.fromEntries(counts))} for two versions`);
  t.true((counts.get('snapshotKnown') ?? 0) <= cuts.length * 2 * 2, 'one telling for each side of a link and version');
});

test('acquaintance: a want that crosses the next telling gets nothing, and the newer one comes', async t => {
  const [a, b] = [new Gateway(1), new Gateway(2)] as const;
  const pair = new LanePair();
  const kinds: string[] = [];
  let sent: () => void = () => undefined;
  const until = async (kind: string, count: number): Promise<void> => {
    while (kinds.filter(each => each === kind).length < count) await new Promise<void>(resolve => (sent = resolve));
  };
  for (const side of ['a', 'b'] as const)
    pair.tap(side, bytes => {
      kinds.push(otherFrame(bytes)?.$case ?? '?');
      sent();
    });
  a.book.offer(snapshot(1));
  const ends = [
    { lane: pair.a, own: a, other: b },
    { lane: pair.b, own: b, other: a },
  ].map(({ lane, own, other }) => {
    const link = new LinkAcquaintance(lane, other.org, own.all);
    lane.listen(frame => void link.take(frame));
    own.all.joined(link);
    return { link, own };
  });
  t.teardown(() => {
    for (const { link, own } of ends) {
      link.close(new FedgateError('CANCELLED', 'over'));
      own.all.close();
    }
  });
  pair.deliver('a');
  await until('snapshotWant', 1);
  // Changes faster than they are told: the newest is told, a second after the last telling.
  for (let version = 2; version < 6; version++) a.book.offer(snapshot(version));
  await until('snapshotKnown', 2);
  pair.deliver('b');
  t.is(kinds.at(-1), 'snapshotPart');
  pair.automatic();
  await b.has(5n);
  t.deepEqual([a.alarms, b.alarms], [[], []]);
  t.is(kinds.filter(kind => kind === 'snapshotWant').length, 2);
});

test('acquaintance: one that offers and hands nothing over does not keep the others from being heard', async t => {
  const [honest, victim] = [new Gateway(1), new Gateway(2)] as const;
  const pair = new LanePair();
  const hostile = new LinkAcquaintance(pair.a, 'EVIL' as OrgName, victim.all);
  pair.a.listen(frame => void hostile.take(frame));
  pair.b.listen(() => undefined);
  pair.automatic();
  victim.all.joined(hostile);
  const known = { version: 2n ** 40n, sha256: Buffer.alloc(32), sizeBytes: 1_000 };
  pair.b.put({ $case: 'snapshotKnown', value: known });
  const counts: Counts = new Map();
  honest.book.offer(snapshot(2));
  const cut = join(honest, victim, counts);
  await victim.has(2n);
  hostile.close(new FedgateError('CANCELLED', 'over'));
  cut();
  for (const { all } of [honest, victim]) all.close();
  t.deepEqual(honest.alarms, []);
});
