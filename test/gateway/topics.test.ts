import anyTest, { type TestFn } from 'ava';
import type { FedgateClient, TopicLoss, TopicMessage, TopicSubscription } from '../../src/client/index.js';
import { allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { startTestRegistry, type TestScope } from '../support/registry.js';

interface World {
  readonly orgs: readonly TestOrg[];
  readonly nodes: readonly FedgateClient[];
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;
const TOPIC = 'topic://prices/steel';
const NAMES = ['AA', 'BB', 'CC', 'DD', 'EE'] as const;

/** Each shares topics with its neighbours in the line, and with nobody else: so there are no other links. */
function access(i: number): string {
  const neighbours = [NAMES[i - 1], NAMES[i + 1]].filter(name => name !== undefined);
  return `topics: [{ topic: "prices/**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: [${neighbours.join(', ')}], relay: true }]`;
}

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const registry = await startTestRegistry(scope);
  const orgs: TestOrg[] = [];
  for (const [i, name] of NAMES.entries()) {
    const extra = 'links: { heartbeatMs: 500, deadAfterMs: 10000 }';
    orgs.push(await startTestOrg(scope, registry, name, { access: access(i), extra }));
  }
  await allMet(registry, ...orgs);
  const nodes = await Promise.all(orgs.map(org => org.node('app')));
  Object.assign(t.context, { orgs, nodes, undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

/** What a reader got, so that it can be waited for. */
class Reader {
  readonly texts: string[] = [];
  readonly lost: TopicLoss[] = [];
  readonly subscription: TopicSubscription;
  #wake: (() => void) | undefined;

  constructor(node: FedgateClient, topic: string) {
    this.subscription = node.topic(topic).subscribe({ from: 'earliest', onLoss: loss => this.lost.push(loss) });
    void this.#run();
  }

  async #run(): Promise<void> {
    for await (const message of this.subscription) {
      this.texts.push(describe(message));
      this.#wake?.();
    }
  }

  async until(count: number): Promise<void> {
    while (this.texts.length < count)
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
  }
}

const describe = ({ senderOrg, text }: TopicMessage): string => `${senderOrg} ${text}`;

/** Every text once, those of each author in order. */
function whole(texts: readonly string[], published: readonly string[]): boolean {
  const of = (all: readonly string[], org: string): string => all.filter(text => text.startsWith(org)).join('\n');
  return texts.length === published.length && NAMES.every(org => of(texts, org) === of(published, org));
}

test.serial(
  'topics: five gateways in a line: every record reaches every member once, also without a link to its author',
  async t => {
    t.timeout(60_000);
    const { nodes, orgs } = t.context;
    const readers = nodes.map(node => new Reader(node, TOPIC));
    await Promise.all(readers.map(({ subscription }) => subscription.opened));
    const published: string[] = [];
    for (let i = 0; i < 40; i++) {
      const author = i % nodes.length;
      await nodes[author]?.topic(TOPIC).publish(`record ${i}`);
      published.push(`${NAMES[author]} record ${i}`);
    }
    await Promise.all(readers.map(reader => reader.until(published.length)));
    for (const reader of readers) t.true(whole(reader.texts, published));
    t.deepEqual(
      orgs[0]?.gateway.status().links.map(({ org }) => org),
      ['BB'],
    );
    const { topics } = (await nodes[0]?.topics()) ?? { topics: [] };
    t.like(topics[0], { topic: 'prices/steel', records: 40, readers: 1, linkedOrgs: ['BB'] });
    t.true(topics[0]?.streams.filter(({ org }) => org !== 'AA').every(({ source }) => source === 'BB'));
  },
);

test.serial(
  'topics: a line that is cut in the middle and healed: every record reaches every member once, restarts included',
  async t => {
    t.timeout(120_000);
    const { nodes, orgs } = t.context;
    const topic = 'topic://prices/gold';
    const readers = nodes.map(node => new Reader(node, topic));
    await Promise.all(readers.map(({ subscription }) => subscription.opened));
    const published: string[] = [];
    const publish = async (author: number, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const text = `record ${published.length}`;
        await nodes[author]?.topic(topic).publish(text);
        published.push(`${NAMES[author]} ${text}`);
      }
    };
    await publish(0, 5);
    await Promise.all(readers.map(reader => reader.until(5)));
    await orgs[2]?.stop();
    await publish(0, 10);
    await publish(4, 10);
    await Promise.all([0, 1].map(i => readers[i]?.until(15)));
    await Promise.all([3, 4].map(i => readers[i]?.until(15)));
    // An author restarts, while half of the others cannot see it.
    await orgs[0]?.stop();
    await orgs[0]?.start();
    await publish(0, 5);
    await orgs[2]?.start();
    await publish(2, 5);
    await Promise.all(readers.map(reader => reader.until(published.length)));
    for (const [i, reader] of readers.entries()) {
      t.true(whole(reader.texts, published), NAMES[i]);
      t.deepEqual(reader.lost, []);
    }
    // One author in one epoch: its restart is nobody's business.
    const { topics } = (await nodes[4]?.topics(topic)) ?? { topics: [] };
    t.is(topics[0]?.streams.filter(({ org }) => org === 'AA').length, 1);
  },
);

test.serial(
  'topics: a late joiner gets what is held, goes on where it was, and what is not granted is refused',
  async t => {
    const { nodes } = t.context;
    const [first, , , , last] = nodes;
    if (!first || !last) throw new Error('there are five');
    const topic = first.topic('topic://prices/tin');
    const receipts = await Promise.all(Array.from({ length: 500 }, (_, i) => topic.publish(`${i}`)));
    t.deepEqual(
      receipts.map(({ place }) => place.sequence),
      receipts.map((_, i) => i + 1),
    );
    const [half] = [last.topic('prices/tin').subscribe({ from: 'earliest' })];
    const texts: string[] = [];
    for await (const message of half) if (texts.push(message.text) >= 250) break;
    for await (const message of last.topic('prices/tin').subscribe({ after: half.places }))
      if (texts.push(message.text) >= 500) break;
    t.deepEqual(
      texts,
      receipts.map((_, i) => `${i}`),
    );
    await t.throwsAsync(first.topic('topic://secrets').publish('x'), { message: /may not publish/ });
    await t.throwsAsync(last.topic('topic://secrets').subscribe().opened, { message: /may not read/ });
    await t.throwsAsync(first.topic('topic://@inbox').publish('x'), { message: /not a topic/ });
    await t.throwsAsync(first.topics('topic://secrets'), { message: /may not read/ });
  },
);
