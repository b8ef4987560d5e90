import test from 'ava';
import { CUT_MS, FLOOD_MUTE_MS, GAP_MS, MAX_NAMED, SYNC_MS } from '../../src/topics/limits.js';
import type { Neighbour } from '../../src/topics/neighbour.js';
import type { Post, TopicsFrame } from '../../src/topics/types.js';
import { type SimGateway, signAs, TOPIC, World } from '../support/topic-world.js';

/** What a gateway that keeps no rules sends to one that does. */
class Liar {
  readonly neighbour: Neighbour;
  readonly heard: TopicsFrame[] = [];
  readonly posts: Post[] = [];
  readonly #to: SimGateway;

  constructor(to: SimGateway, name = 'LIAR') {
    this.#to = to;
    this.neighbour = to.topics.join(name as never, {
      writable: true,
      put: frame => this.heard.push(frame),
      post: post => this.posts.push(post),
    });
    this.say({ kind: 'have', streams: [], complete: true, takes: ['**'] });
  }

  say(frame: TopicsFrame): void {
    this.#to.topics.take(this.neighbour, frame);
  }

  send(post: Post): void {
    this.#to.topics.takePost(this.neighbour, post);
  }
}

const reasons = (gateway: SimGateway): string[] => gateway.alarms.map(({ reason }) => reason);

test('hostile topics: a forger is not heard for a while, others go on, and afterwards it is heard again', t => {
  const world = new World({ seed: 1, gateways: 3 });
  world.line();
  const got = world.at(1).read();
  const liar = new Liar(world.at(1));
  world.at(0).publish(['one']);
  world.time.run(1_000);
  const real = world.at(0).seal(['forged'], { epoch: 5n });
  for (let i = 0; i < 5; i++) liar.send({ ...real, signature: Buffer.from('none') });
  t.truthy(liar.neighbour.cut);
  t.like(liar.heard.at(-1), { kind: 'paused', forMs: CUT_MS });
  t.true(reasons(world.at(1)).includes('SIGNATURE_INVALID'));
  // Not even what is right counts now.
  liar.send(real);
  world.at(2).publish(['two']);
  world.at(0).publish(['three']);
  world.time.run(1_000);
  t.deepEqual(got.records.sort(), [...world.published].sort());
  world.time.run(CUT_MS);
  t.is(liar.neighbour.cut, undefined);
  liar.send(real);
  t.is(got.records.length, 4);
});

test('hostile topics: what was altered, replayed or sent back goes nowhere', t => {
  const world = new World({ seed: 2, gateways: 2 });
  world.line();
  const got = world.at(1).read();
  const liar = new Liar(world.at(1));
  const [first, second] = [world.at(0).publish(['one']), world.at(0).publish(['two'])];
  world.time.run(1_000);
  for (let i = 0; i < 100; i++) {
    liar.send(first);
    liar.send(second);
  }
  t.deepEqual(got.records, world.published);
  t.is(liar.neighbour.cut, undefined);
  // One that says STOP is believed: nothing comes twice to whoever has it.
  t.true(liar.heard.some(frame => frame.kind === 'stop'));
});

test('hostile topics: floods of what is of no use cut a neighbour, and cost no memory', t => {
  const world = new World({ seed: 3, gateways: 2 });
  world.line();
  const got = world.at(1).read();
  const liar = new Liar(world.at(1));
  const post = world.at(0).publish(['one']);
  world.time.run(1_000);
  for (let i = 0; i < 10_000 && !liar.neighbour.cut; i++) liar.send(post);
  t.truthy(liar.neighbour.cut);
  t.deepEqual(got.records, world.published);
  t.is(liar.neighbour.claims.size, 0);
});

test('hostile topics: huge version vectors, streams that nobody has, numbers that cannot be', t => {
  const world = new World({ seed: 4, gateways: 2 });
  world.line();
  const [, at] = [world.at(0), world.at(1)];
  const liar = new Liar(at);
  const claim = (i: number) => ({
    stream: { topic: TOPIC, org: `ORG${i % 500}` as never, gateway: 'gw1', epoch: BigInt(i + 1) },
    first: 1,
    last: Number.MAX_SAFE_INTEGER - 1,
  });
  for (let frame = 0; frame < 30; frame++) {
    const streams = Array.from({ length: MAX_NAMED }, (_, i) => claim(frame * MAX_NAMED + i));
    liar.say({ kind: 'have', streams, complete: false, takes: [] });
  }
  t.true(liar.neighbour.claims.size <= 4_096);
  t.throws(
    () =>
      new Liar(at).say({
        kind: 'have',
        complete: true,
        takes: [],
        streams: Array.from({ length: MAX_NAMED + 1 }, (_, i) => claim(i)),
      }),
    { message: /more than 500/ },
  );
  const got = at.read();
  world.at(0).publish(['still']);
  world.time.run(60_000);
  t.deepEqual(got.records, world.published);
  t.is(at.topics.holdings.streams.size, 1);
});

test('hostile topics: an author that signs two records with one number is muted everywhere, with both as evidence', t => {
  const world = new World({ seed: 5, gateways: 4 });
  world.line();
  const readers = world.gateways.map(gateway => gateway.read());
  const author = world.at(0);
  const one = author.publish(['one']);
  world.time.run(1_000);
  const other = author.seal(['another'], { epoch: one.stream.epoch });
  new Liar(world.at(3)).send(other);
  world.time.run(1_000);
  for (const i of [1, 2, 3]) {
    t.true(reasons(world.at(i)).includes('REPLAYED'), `${i}`);
    const [mute] = world.at(i).topics.muted.of(TOPIC, world.time.nowMs);
    t.truthy(mute?.evidence);
    t.deepEqual(readers[i]?.muted, ['ORG0']);
  }
  author.publish(['two']);
  world.at(1).publish(['of another author']);
  world.time.run(5_000);
  t.deepEqual(
    readers[3]?.records.map(record => record.split(' ')[0]),
    ['ORG0', 'ORG1'],
  );
});

test('hostile topics: an author that tells each half of a partition something else is found out when it goes on', t => {
  const world = new World({ seed: 6, gateways: 4 });
  world.link(1, 2);
  world.link(2, 3);
  const readers = world.gateways.map(gateway => gateway.read());
  const author = world.at(0);
  const [left, right] = [new Liar(world.at(1), 'ORG0'), new Liar(world.at(3), 'ORG0')];
  world.cut(1, 2);
  const a = author.seal(['for the left'], { epoch: 7n });
  const b = author.seal(['for the right'], { epoch: 7n });
  left.send(a);
  right.send(b);
  world.time.run(1_000);
  world.link(1, 2);
  world.time.run(1_000);
  left.send(author.seal(['and on'], { epoch: 7n, first: 2, previous: a.headerSha256 }));
  world.time.run(5_000);
  for (const i of [1, 2, 3]) t.deepEqual(readers[i]?.muted, ['ORG0'], `${i}`);
});

test('hostile topics: evidence that proves nothing counts against whoever hands it on', t => {
  const world = new World({ seed: 7, gateways: 2 });
  const author = world.at(0);
  const liar = new Liar(world.at(1));
  const one = author.seal(['one'], { epoch: 3n });
  const two = author.seal(['two'], { epoch: 3n, first: 2, previous: one.headerSha256 });
  const forged = { ...author.seal(['x'], { epoch: 3n }), signature: signAs(world.at(1).id)(one.header) };
  for (const [first, second] of [
    [one, two],
    [one, one],
    [one, forged],
  ] as const)
    liar.say({ kind: 'evidence', evidence: { certificate: one.certificate, first, second } });
  t.truthy(liar.neighbour.cut);
  t.deepEqual(world.at(1).topics.muted.of(TOPIC, world.time.nowMs), []);
});

test('hostile topics: an author that floods is muted by everybody, by the times that it signed itself', t => {
  const world = new World({ seed: 8, gateways: 3 });
  world.line();
  const got = world.at(2).read();
  const liar = new Liar(world.at(1), 'ORG0');
  let previous: Buffer = Buffer.alloc(0);
  const flood = world.at(0);
  for (let i = 1; i <= 8_100; i++) {
    const post = flood.seal(['x'], { epoch: 9n, first: i, previous });
    previous = post.headerSha256;
    liar.send(post);
  }
  world.at(1).publish(['others go on']);
  world.time.run(10_000);
  t.is(got.records.length, 8_001);
  t.true(reasons(world.at(1)).includes('LIMIT_REACHED'));
  t.is(world.at(1).topics.muted.of(TOPIC, world.time.nowMs).length, 1);
  world.time.run(FLOOD_MUTE_MS);
  t.is(world.at(1).topics.muted.of(TOPIC, world.time.nowMs).length, 0);
});

test('topics: an author whose clock is ahead is not taken until it is right; nobody else is blamed', t => {
  const world = new World({ seed: 9, gateways: 3 });
  world.line();
  const got = world.at(2).read();
  world.at(0).skewMs = 6 * 60_000;
  world.at(0).publish(['from the future']);
  world.time.run(30_000);
  t.deepEqual(got.records, []);
  t.true(reasons(world.at(1)).includes('FIELD_INVALID'));
  t.true([...world.at(1).topics.neighbours].every(({ cut }) => cut === undefined));
  world.time.run(2 * 60_000);
  t.deepEqual(got.records, world.published);
});

test('topics: a suspended member is not heard, and heard again when it is back', t => {
  const world = new World({ seed: 10, gateways: 3 });
  world.line();
  const got = world.at(2).read();
  world.at(0).publish(['one']);
  world.time.run(1_000);
  world.suspended.add('ORG0');
  world.at(0).publish(['two']);
  world.time.run(20_000);
  t.is(got.records.length, 1);
  world.suspended.delete('ORG0');
  world.time.run(60_000);
  t.deepEqual(got.records, world.published);
  t.true([...world.at(1).topics.neighbours].every(({ cut }) => cut === undefined));
});

test('topics: what is not granted is neither taken nor given', t => {
  const rules = (org: string) => [
    {
      topic: 'prices',
      publish: ['*'],
      subscribe: ['*'],
      authors: org === 'ORG3' ? ['ORG1'] : ['*'],
      peers: ['*'],
      relay: org !== 'ORG2',
    },
  ];
  const world = new World({ seed: 11, gateways: 5, rules });
  world.line();
  world.link(1, 3);
  const readers = world.gateways.map(gateway => gateway.read());
  for (const i of [0, 1, 2]) world.at(i).publish([`of ${i}`]);
  world.at(0).publish(['unheard'], 'secrets');
  world.time.run(10_000);
  const orgs = (i: number): string[] => (readers[i]?.records ?? []).map(record => record.split(' ')[0] ?? '').sort();
  t.deepEqual(orgs(1), ['ORG0', 'ORG1', 'ORG2']);
  // 2 passes nothing on, 3 takes ORG1 only and gets it from 1, 4 gets it from 3.
  t.deepEqual([orgs(2), orgs(3), orgs(4)], [['ORG0', 'ORG1', 'ORG2'], ['ORG1'], ['ORG1']]);
  t.false(world.at(1).topics.holdings.topics.has('secrets'));
});

test('topics: a late joiner gets what is held, and is told how much is lost', t => {
  const retention = { records: 10, bytes: 1024 * 1024, keepMs: 3_600_000 };
  const world = new World({ seed: 12, gateways: 3, retention });
  world.link(0, 1);
  for (let i = 0; i < 59; i++) {
    world.at(0).publish([`${i}`]);
    world.time.run(10);
  }
  world.time.run(1_000);
  const got = world.at(2).read();
  world.link(1, 2);
  world.time.run(GAP_MS + 3_000);
  t.deepEqual(got.records, world.published.slice(-10));
  t.deepEqual(
    got.lost.map(({ last, records, why }) => ({ last, records, why })),
    [{ last: 49, records: 49, why: 'retention' }],
  );
});

test('topics: an author whose disk comes back from a backup begins an epoch, and silences nobody', t => {
  const world = new World({ seed: 13, gateways: 4 });
  world.line();
  const got = world.at(3).read();
  world.at(0).publish(['before']);
  world.time.run(1_000);
  world.at(0).restart({ restored: true });
  world.link(0, 1);
  world.time.run(1_000);
  world.at(0).publish(['after']);
  world.time.run(SYNC_MS);
  t.deepEqual(got.records, world.published);
  t.is(new Set(got.records.map(record => record.split(' ')[1])).size, 2);
});
