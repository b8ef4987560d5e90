import { readFile, writeFile } from 'node:fs/promises';
import anyTest, { type TestFn } from 'ava';
import { fedgate } from '../support/cli.js';
import { startFederation } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

interface World {
  readonly context: string;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const { ACME } = await startFederation(scope, {
    ACME: { access: 'topics: [{ topic: "prices/**", publish: ["*"], subscribe: ["*"] }]' },
  });
  Object.assign(t.context, { context: await ACME.context('billing'), undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

test.serial('pub and sub of a topic: lines come out in order, and --places goes on where it was', async t => {
  t.timeout(60_000);
  const { context } = t.context;
  const folder = await temporaryFolder(t);
  const lines = Array.from({ length: 1_000 }, (_, i) => `line ${i}`);
  const pub = await fedgate(['pub', 'topic://prices/tin', '--lines', '--json', '--context', context], {
    stdin: `${lines.join('\n')}\n`,
  });
  t.is(pub.code, 0);
  t.like(JSON.parse(pub.stdout), { records: 1_000, place: { org: 'ACME', gateway: 'gw1', sequence: 1_000 }, links: 0 });
  const places = `${folder}/places.json`;
  const read = (count: number) =>
    fedgate([
      'sub',
      'topic://prices/tin',
      '--from',
      'earliest',
      '--places',
      places,
      '--count',
      `${count}`,
      '--raw',
      '--context',
      context,
    ]);
  const [first, second] = [await read(400), await read(600)];
  t.is(`${first.stdout}${second.stdout}`, `${lines.join('\n')}\n`);
  t.like(JSON.parse(await readFile(places, 'utf8')), { places: [{ org: 'ACME', sequence: 1_000 }] });
  const more = await fedgate([
    'sub',
    'topic://prices/tin',
    '--places',
    places,
    '--count',
    '1',
    '--timeout',
    '300ms',
    '--context',
    context,
  ]);
  t.is(more.code, 5);
  await writeFile(places, 'nonsense');
  t.regex((await read(1)).stderr, /holds no places of a topic \[FILE_UNUSABLE\]/);
});

test.serial('topics list and show: what the gateway knows, and what it does not', async t => {
  t.timeout(60_000);
  const { context } = t.context;
  await fedgate(['pub', 'topic://prices/gold', '12', '--context', context]);
  const shown = await fedgate(['topics', 'show', 'prices/gold', '--json', '--context', context]);
  t.like(JSON.parse(shown.stdout), {
    topic: 'prices/gold',
    records: 1,
    streams: [{ org: 'ACME', sequence: 1 }],
    muted: [],
  });
  t.regex((await fedgate(['topics', 'list', '--context', context])).stdout, /^prices\/gold +1 +1 /m);
  t.is((await fedgate(['topics', 'show', 'prices/none', '--context', context])).code, 5);
  t.is((await fedgate(['topics', 'show', 'secrets', '--context', context])).code, 4);
  t.is((await fedgate(['pub', 'topic://secrets', 'x', '--context', context])).code, 4);
  for (const [args, message] of [
    [['pub', 'topic://prices/gold', 'x', '--ack', 'stored'], /--ack: not for a topic/],
    [['sub', 'topic://prices/gold', '--durable', 'x'], /--durable: not for a topic/],
    [['sub', 'prices/gold', '--places', 'x'], /--places: only for a topic/],
    [['sub', 'topic://prices/gold', '--from', '2d'], /latest or earliest/],
  ] as const) {
    const { code, stderr } = await fedgate([...args, '--context', context]);
    t.is(code, 2);
    t.regex(stderr, message);
  }
});
