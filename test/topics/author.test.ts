import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { Author } from '../../src/topics/author.js';
import { AUTHOR_POSTS, HONEST_SHARE } from '../../src/topics/limits.js';
import type { AuthorId, Post } from '../../src/topics/types.js';
import { TestStore } from '../support/test-store.js';
import { block, certificateOf, FEDERATION, signAs, TOPIC } from '../support/topic-world.js';

const OWN = { org: 'ACME', gateway: 'gw1' } as unknown as AuthorId;

/** What an author hands over. */
class Sink {
  readonly posts: Post[] = [];
  readonly resumed: number[] = [];
  resume(_id: unknown, last: number): void {
    this.resumed.push(last);
  }
  publish(post: Post): void {
    this.posts.push(post);
  }
}

async function open(store: TestStore, now: () => number = () => 1_000_000) {
  const author = await Author.load({
    ...{ store, federation: FEDERATION, own: OWN, certificate: certificateOf(OWN), sign: signAs(OWN), now },
  });
  const sink = new Sink();
  await author.start(sink);
  return { author, sink };
}

const publish = (author: Author, text: string): Promise<Post> => author.publish(TOPIC, 'node', block([text]), 60_000);

test('author: numbers follow each other, each post names the one before, and nobody sees it before it is stored', async t => {
  const store = new TestStore();
  const { author, sink } = await open(store);
  const open3 = ['a', 'b', 'c'].map(text => publish(author, text));
  t.is(sink.posts.length, 0);
  const posts = await Promise.all(open3);
  t.deepEqual(
    posts.map(({ first }) => first),
    [1, 2, 3],
  );
  t.deepEqual(posts[1]?.previousSha256, posts[0]?.headerSha256);
  t.deepEqual(sink.posts, posts);
});

test('author: a restart goes on behind the last number, in the same epoch, and hands over what is held', async t => {
  const store = new TestStore();
  const first = await open(store);
  const [a, b] = [await publish(first.author, 'a'), await publish(first.author, 'b')];
  first.author.dropped(a);
  await first.author.tidy();
  const again = await open(new TestStore(store.disk, store.id));
  t.deepEqual(
    again.sink.posts.map(({ headerSha256 }) => headerSha256),
    [b.headerSha256],
  );
  t.is(again.author.epochOf(TOPIC), a.stream.epoch);
  const c = await publish(again.author, 'c');
  t.is(c.first, 3);
  t.deepEqual(c.previousSha256, b.headerSha256);
});

test('author: what a crash took away before it was stored was seen by nobody, and its number is used by another', async t => {
  const store = new TestStore();
  const { author, sink } = await open(store);
  await publish(author, 'a');
  store.failures = 1;
  const lost = await t.throwsAsync<FedgateError>(publish(author, 'lost'));
  t.is(lost?.reason, 'STORE_FAILED');
  const b = await publish(author, 'b');
  t.is(b.first, 2);
  t.deepEqual(
    sink.posts.map(({ first }) => first),
    [1, 2],
  );
});

test('author: a restored backup begins a higher epoch, and what was published before is held still', async t => {
  const store = new TestStore();
  const { author } = await open(store);
  const a = await publish(author, 'a');
  // The clock went back too.
  const { author: restored, sink } = await open(new TestStore(store.disk), () => 1);
  const b = await publish(restored, 'b');
  t.is(b.first, 1);
  t.true(b.stream.epoch > a.stream.epoch);
  t.deepEqual(
    sink.posts.map(({ stream }) => stream.epoch),
    [a.stream.epoch, b.stream.epoch],
  );
});

test('author: faster than an author may is refused, before anybody takes it for a flood, and a restart does not change that', async t => {
  const store = new TestStore();
  const { author } = await open(store);
  const most = AUTHOR_POSTS.burst * HONEST_SHARE;
  for (let i = 0; i < most; i += 500)
    await Promise.all(Array.from({ length: Math.min(500, most - i) }, () => publish(author, 'x')));
  const refused = await t.throwsAsync<FedgateError>(publish(author, 'x'));
  t.like(refused, { reason: 'LIMIT_REACHED', retryAfterMs: 1_000 });
  const again = await open(new TestStore(store.disk, store.id));
  await t.throwsAsync(publish(again.author, 'x'), { message: /as fast as an author may/ });
  const later = await open(new TestStore(store.disk, store.id), () => 1_002_000);
  t.is((await publish(later.author, 'x')).first, most + 1);
});
