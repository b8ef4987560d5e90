import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { digest, failure, MIB, pair, readAll, type Scene, scene, wiredNode, writeAll } from '../support/streams.js';

let shared: Scene;
const undo: (() => unknown)[] = [];

test.before(async () => {
  shared = await scene({ teardown: action => void undo.push(action) });
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

for (const [title, to] of [
  ['two organisations', (channel: string) => `pubsub://GLOBEX/${channel}`],
  ['one organisation', (channel: string) => channel],
] as const) {
  test.serial(
    `stream: bytes go both ways at once, each once and in order, and each way ends by itself, within ${title}`,
    async t => {
      const { opener, acceptor, GLOBEX } = shared;
      const ends =
        title === 'two organisations' ? { opener, acceptor } : { opener: await GLOBEX.node('local'), acceptor };
      const [near, far] = await pair(ends, to);
      t.is(far.org, title === 'two organisations' ? 'ACME' : 'GLOBEX');
      t.deepEqual([near.org, near.node], ['GLOBEX', 'acceptor']);
      const [there, back] = [randomBytes(9 * MIB + 17), randomBytes(5 * MIB + 3)];
      const [heard, answered] = [readAll(far), readAll(near)];
      near.end(there);
      await once(near, 'finish');
      t.is(digest(await heard), digest(there));
      t.false(far.writableEnded, 'half-closed only');
      far.end(back);
      t.is(digest(await answered), digest(back));
      t.deepEqual(await Promise.all([failure(near), failure(far)]), [undefined, undefined]);
    },
  );
}

test.serial('stream: a reader that stops stops the writer within its window, and messages pass beside it', async t => {
  const { opener, acceptor } = shared;
  const window = 256 * 1024;
  const [near, far] = await pair(shared, undefined, { window });
  const sent = randomBytes(4 * MIB);
  let taken = 0;
  for (let at = 0; at < sent.length; at += 16 * 1024)
    near.write(sent.subarray(at, at + 16 * 1024), () => {
      taken += 16 * 1024;
    });
  const messages = acceptor.subscribe('beside');
  await messages.opened;
  const reading = messages[Symbol.asyncIterator]();
  for (let before = -1, quiet = 0; quiet < 20; quiet = taken === before ? quiet + 1 : 0) {
    before = taken;
    t.is((await opener.publish('pubsub://GLOBEX/beside', 'x', { delivery: 'live' })).subscribers, 1);
    await reading.next();
  }
  // What Node's own buffer of the reader holds: 64 KiB, and a frame that began below that.
  t.true(taken <= window + 128 * 1024, `${taken} bytes were taken`);
  t.true(taken >= window, `${taken} bytes were taken`);
  const heard = readAll(far);
  near.resume();
  near.end();
  far.end();
  t.is(digest(await heard), digest(sent));
  t.is(await failure(near), undefined);
  messages.close();
});

test.serial(
  'stream: a client that drains waits until the other end has what was ended, and breaks off the rest',
  async t => {
    const client = await shared.ACME.node('draining');
    const [[near, far], [open, cut]] = [
      await pair({ opener: client, acceptor: shared.acceptor }, undefined, { window: 64 * 1024 }),
      await pair({ opener: client, acceptor: shared.acceptor }),
    ];
    const sent = randomBytes(2 * MIB);
    near.end(sent);
    open.write('and more to come');
    const drained = client.drain();
    t.is(digest(await readAll(far)), digest(sent));
    await drained;
    t.is((await failure(cut))?.reason, 'STREAM_RESET');
  },
);

test.serial('stream: destroying one end breaks off the other with the reason', async t => {
  const [near, far] = await pair(shared);
  near.destroy(new Error('no more of this'));
  const error = await failure(far);
  t.is(error?.reason, 'STREAM_RESET');
  t.is(error?.message, 'no more of this');
});

test.serial('stream: what nobody accepts, nobody may, or nobody wants is refused with its reason', async t => {
  const { opener, acceptor } = shared;
  const refused = async (address: string): Promise<string | undefined> =>
    (await t.throwsAsync<FedgateError>(opener.openStream(address)))?.reason;
  t.is(await refused('pubsub://GLOBEX/nobody'), 'NO_ACCEPTORS');
  t.is(await refused('nobody'), 'NO_ACCEPTORS');
  t.is(await refused('pubsub://NOBODY/x'), 'ORG_UNKNOWN');
  t.is(await refused('pubsub://GLOBEX/$x'), 'CHANNEL_RESERVED');
  const full = acceptor.acceptStreams('full', () => undefined, { capacity: 1 });
  await full.opened;
  const first = await opener.openStream('pubsub://GLOBEX/full');
  t.is(await refused('pubsub://GLOBEX/full'), 'LIMIT_REACHED');
  first.destroy();
  full.close();
});

test.serial(
  'stream: the link is cut again and again under traffic both ways; every byte arrives once and in order',
  async t => {
    const { wire, ACME } = shared;
    const [near, far] = await pair(shared);
    const [there, back] = [randomBytes(20 * MIB), randomBytes(12 * MIB)];
    const [heard, answered] = [readAll(far), readAll(near)];
    const written = Promise.all([writeAll(near, there), writeAll(far, back)]);
    for (let cut = 0; cut < 3; cut++) {
      await wire.passes('forth', wire.passed('forth') + 2 * MIB);
      const { length } = ACME.events;
      wire.cut();
      await eventAfter(ACME.events, length, event => event.msg === 'link' && event.state !== 'up');
      wire.heal();
    }
    t.is(digest(await heard), digest(there));
    t.is(digest(await answered), digest(back));
    await written;
    t.deepEqual(await Promise.all([failure(near), failure(far)]), [undefined, undefined]);
  },
);

test.serial(
  'stream: the connections of either node to its gateway are cut; every byte arrives once and in order',
  async t => {
    const opening = await wiredNode(t, shared.ACME, 'wired');
    const accepting = await wiredNode(t, shared.GLOBEX, 'wired');
    const [near, far] = await pair({ opener: opening.client, acceptor: accepting.client });
    const [there, back] = [randomBytes(20 * MIB), randomBytes(12 * MIB)];
    const [heard, answered] = [readAll(far), readAll(near)];
    const written = Promise.all([writeAll(near, there), writeAll(far, back)]);
    for (const [{ wire }, bytes] of [
      [opening, 2 * MIB],
      [accepting, 5 * MIB],
      [opening, 10 * MIB],
    ] as const) {
      await wire.passes('forth', bytes);
      wire.cut();
      wire.heal();
    }
    t.is(digest(await heard), digest(there));
    t.is(digest(await answered), digest(back));
    await written;
    t.deepEqual(await Promise.all([failure(near), failure(far)]), [undefined, undefined]);
  },
);

test.serial(
  'stream: a connection that breaks when all has come, and nobody knows so yet, costs neither end anything',
  async t => {
    for (const when of ['read before', 'read while it is away'] as const) {
      const accepting = await wiredNode(t, shared.GLOBEX, 'last-word');
      const [near, far] = await pair({ opener: shared.opener, acceptor: accepting.client }, undefined, {
        resumeMs: 20_000,
      });
      await writeAll(far, Buffer.from('there'));
      // What is said from now on does not come through, and nobody is told that.
      accepting.wire.stall('forth');
      near.resume().end('here');
      if (when === 'read before') t.is(String(await readAll(far)), 'here', when);
      else await once(far, 'readable');
      accepting.wire.cut();
      if (when !== 'read before') {
        while (far.attached) await new Promise(resolve => setImmediate(resolve));
        t.is(String(await readAll(far)), 'here', when);
      }
      accepting.wire.heal();
      const from = performance.now();
      t.deepEqual(await Promise.all([failure(near), failure(far)]), [undefined, undefined], when);
      t.true(performance.now() - from < 15_000, when);
      accepting.client.close();
    }
  },
);

test.serial(
  'stream: one that is broken off the moment it is accepted is heard of with its reason, every time',
  async t => {
    const { opener, acceptor } = shared;
    const accepting = acceptor.acceptStreams('never', stream => {
      stream.on('error', () => undefined).destroy(new FedgateError('STREAM_RESET', 'not today'));
    });
    await accepting.opened;
    const attempt = async (): Promise<string | undefined> => {
      const stream = await opener.openStream('pubsub://GLOBEX/never');
      stream.on('error', () => undefined);
      return (await failure(stream))?.message;
    };
    for (let round = 0; round < 40; round++) {
      const heard = await Promise.all(
        Array.from({ length: 8 }, () => attempt().catch((error: Error) => error.message)),
      );
      for (const message of heard) t.regex(message ?? 'nothing', /not today/);
    }
    accepting.close();
  },
);

test.serial('stream: patterns are disabled and enabled, and stay so after the connection was made again', async t => {
  const { client, wire } = await wiredNode(t, shared.GLOBEX, 'switching');
  const accepting = client.acceptStreams(['sw/a', 'sw/b'], stream => void stream.end(), { enabled: false });
  await accepting.opened;
  const answer = (channel: string): Promise<string> =>
    shared.opener.openStream(`pubsub://GLOBEX/${channel}`).then(
      stream => {
        stream.on('error', () => undefined).destroy();
        return 'opened';
      },
      error => error.reason,
    );
  t.is(await answer('sw/a'), 'NO_ACCEPTORS');
  await accepting.enable();
  t.deepEqual([await answer('sw/a'), await answer('sw/b')], ['opened', 'opened']);
  await accepting.disable('sw/a');
  t.deepEqual([await answer('sw/a'), await answer('sw/b')], ['NO_ACCEPTORS', 'opened']);
  t.deepEqual([...accepting.enabled], ['sw/b']);
  wire.cut();
  wire.heal();
  await accepting.enable('sw/c');
  t.deepEqual([await answer('sw/a'), await answer('sw/b'), await answer('sw/c')], ['NO_ACCEPTORS', 'opened', 'opened']);
  const refused = await t.throwsAsync<FedgateError>(accepting.enable('$reserved'));
  t.is(refused?.reason, 'CHANNEL_RESERVED');
  t.is((await accepting.closed)?.reason, 'CHANNEL_RESERVED');
  t.is((await t.throwsAsync<FedgateError>(accepting.disable()))?.reason, 'CANCELLED');
});

test.serial('stream: an end that is not back in time ends it with STREAM_LOST, and the other end hears so', async t => {
  const { client, wire } = await wiredNode(t, shared.GLOBEX, 'gone');
  const [near, far] = await pair({ opener: shared.opener, acceptor: client }, undefined, { resumeMs: 300 });
  wire.cut();
  const [here, there] = await Promise.all([failure(near), failure(far)]);
  t.is(here?.reason, 'STREAM_LOST');
  t.is(there?.reason, 'STREAM_LOST');
});

test.serial('stream: a client that is closed breaks its streams off, and the other end hears at once', async t => {
  const client = await shared.GLOBEX.node('leaving');
  const [near, far] = await pair({ opener: shared.opener, acceptor: client });
  client.close();
  t.is((await failure(near))?.reason, 'STREAM_RESET');
  t.is((await failure(far))?.reason, 'CANCELLED');
});

test.serial('stream: an organisation that is suspended has its streams cut', async t => {
  const { registry } = shared;
  const [near, far] = await pair(shared, undefined, { resumeMs: 1_000 });
  await registry.admin.setState('ACME', 'suspended');
  t.is((await failure(far))?.reason, 'ORG_INACTIVE');
  t.regex((await failure(near))?.reason ?? '', /ORG_INACTIVE|STREAM_LOST|PEER_UNREACHABLE/);
  await registry.admin.setState('ACME', 'active');
});

test.serial('stream: a gateway that stops ends its streams with the reason, at both ends', async t => {
  const { GLOBEX } = shared;
  let ends: Awaited<ReturnType<typeof pair>> | undefined;
  while (!ends) ends = await pair(shared).catch(() => undefined);
  const [near, far] = ends;
  await GLOBEX.stop();
  t.is((await failure(near))?.reason, 'DRAINING');
  t.is((await failure(far))?.reason, 'DRAINING');
});

/** Resolves with the first event from a place on that the check accepts. */
async function eventAfter<E>(events: readonly E[], from: number, check: (event: E) => boolean): Promise<void> {
  while (!events.slice(from).some(check)) await new Promise(resolve => setTimeout(resolve, 5));
}
