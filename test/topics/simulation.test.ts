import test from 'ava';
import { type Got, World } from '../support/topic-world.js';

/** Every record exactly once, and of each author in order. */
function whole(got: Got, published: readonly string[]): string | undefined {
  if (got.lost.length > 0)
    return `lost ${JSON.stringify(got.lost[0], (_, v) => (typeof v === 'bigint' ? String(v) : v))}`;
  const seen = new Set(got.records);
  if (seen.size !== got.records.length) return 'something came twice';
  const missing = published.find(record => !seen.has(record));
  if (missing !== undefined) return `${missing} is missing (${got.records.length} of ${published.length})`;
  if (seen.size !== published.length) return 'something came that nobody published';
  const places = new Map<string, number>();
  for (const record of got.records) {
    const [org, epoch, sequence] = record.split(' ');
    const stream = `${org} ${epoch}`;
    if (Number(sequence) !== (places.get(stream) ?? 0) + 1) return `${record} came out of order`;
    places.set(stream, Number(sequence));
  }
  return undefined;
}

test('topics: 60 gateways in a random graph: every record reaches every member once, in order', t => {
  const world = new World({ seed: 1, gateways: 60 });
  world.graph(90);
  const readers = world.gateways.map(gateway => gateway.read());
  world.time.run(2_000);
  for (let i = 0; i < 400; i++) {
    world.at(world.pick()).publish([`record ${i}`]);
    world.time.run(world.random() * 50);
  }
  world.time.run(10_000);
  for (const got of readers) t.is(whole(got, world.published), undefined);
});

test('topics: a message costs about one post for each member, and little beside', t => {
  const world = new World({ seed: 2, gateways: 50 });
  world.graph(75);
  for (const gateway of world.gateways) gateway.read();
  world.time.run(2_000);
  // The first of each author find the ways.
  for (let i = 0; i < 20; i++) world.at(i % 5).publish(['first']);
  world.time.run(5_000);
  Object.assign(world.traffic, { posts: 0, postBytes: 0, frames: 0, frameBytes: 0 });
  const messages = 400;
  for (let i = 0; i < messages; i++) {
    world.at(i % 5).publish(['x'.repeat(128)]);
    world.time.run(20);
  }
  world.time.run(2_000);
  const { posts, frames, frameBytes } = world.traffic;
  const members = world.gateways.length - 1;
  const perMember = (count: number): number => count / messages / members;
  // What docs/topics.md says.
  t.log(
    `${world.links} links: ${perMember(posts)} posts, ${perMember(frames)} other frames, ${perMember(frameBytes)} bytes`,
  );
  t.true(perMember(posts) >= 1 && perMember(posts) < 1.1);
  t.true(perMember(frames) < 0.5);
});

test('topics: partitions that heal, lossy links, restarts: every record reaches every member once', t => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World({ seed, gateways: 50, loss: seed % 2 ? 0.02 : 0 });
    world.graph(60);
    const readers = world.gateways.map(gateway => gateway.read());
    world.time.run(1_000);
    for (let i = 0; i < 300; i++) {
      world.at(world.pick()).publish([`record ${i}`, 'and another']);
      const dice = world.random();
      if (dice < 0.1) world.at(world.pick()).links.values().next().value?.cut();
      else if (dice < 0.2) world.link(world.pick(), world.pick());
      else if (dice < 0.22) world.at(world.pick()).restart();
      world.time.run(world.random() * 200);
    }
    world.graph(0);
    world.time.run(60_000);
    world.time.run(60_000);
    for (const [i, got] of readers.entries()) t.is(whole(got, world.published), undefined, `seed ${seed}, reader ${i}`);
  }
});

test('topics: where everybody is linked with everybody a message still costs one post for each member', t => {
  const world = new World({ seed: 3, gateways: 50 });
  for (let i = 0; i < 50; i++) for (let k = 0; k < i; k++) world.link(i, k);
  for (const gateway of world.gateways) gateway.read();
  world.time.run(2_000);
  for (let i = 0; i < 5; i++) world.at(i).publish(['first']);
  world.time.run(5_000);
  Object.assign(world.traffic, { posts: 0, postBytes: 0, frames: 0, frameBytes: 0 });
  const messages = 200;
  for (let i = 0; i < messages; i++) {
    world.at(i % 5).publish(['x'.repeat(128)]);
    world.time.run(20);
  }
  world.time.run(2_000);
  const perMember = (count: number): number => count / messages / 49;
  const { posts, frames, frameBytes } = world.traffic;
  t.log(`${world.links} links: ${perMember(posts)} posts, ${perMember(frames)} frames, ${perMember(frameBytes)} bytes`);
  t.true(perMember(posts) < 1.1);
});
