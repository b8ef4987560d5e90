import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { FaultyWire } from './support/proxy.js';
import { seededRandom } from './support/random.js';

/** A server that gives back what it gets, and a connection to it through a wire. */
async function echo(t: ExecutionContext) {
  const server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const wire = await FaultyWire.open(t, `127.0.0.1:${(server.address() as AddressInfo).port}`, seededRandom(1));
  return { wire, dial: () => dial(t, wire) };
}

async function dial(t: ExecutionContext, wire: FaultyWire): Promise<Ears> {
  const [host, port] = wire.address.split(':');
  const socket = connect(Number(port), host);
  t.teardown(() => socket.destroy());
  const ears = new Ears(socket);
  await once(socket, 'connect');
  return ears;
}

class Ears {
  readonly socket: Socket;
  heard = '';
  /** Resolves with the error that ended the connection, or undefined. */
  readonly closed: Promise<NodeJS.ErrnoException | undefined>;

  constructor(socket: Socket) {
    this.socket = socket;
    let failure: NodeJS.ErrnoException | undefined;
    socket.on('error', error => {
      failure = error;
    });
    socket.on('data', chunk => {
      this.heard += chunk;
    });
    this.closed = new Promise(resolve => socket.once('close', () => resolve(failure)));
  }

  async hears(text: string): Promise<void> {
    while (!this.heard.includes(text)) await once(this.socket, 'data');
  }

  say(text: string): this {
    this.socket.write(text);
    return this;
  }
}

/** As long as it takes another connection to go there and back: what was going to arrive has. */
async function settled(t: ExecutionContext): Promise<void> {
  const { dial } = await echo(t);
  const other = await dial();
  for (const text of ['one', 'two', 'three']) await other.say(text).hears(text);
}

test('proxy: passes everything on, both ways, and the end too', async t => {
  const { dial } = await echo(t);
  const ears = await dial();
  await ears.say('hello').hears('hello');
  ears.socket.end('last');
  t.is(await ears.closed, undefined);
  t.is(ears.heard, 'hellolast');
});

test('proxy: cut resets what is there and what comes; healed, new connections work', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  await ears.say('a').hears('a');
  wire.cut();
  t.is((await ears.closed)?.code, 'ECONNRESET');
  const refused = await dial().catch((error: NodeJS.ErrnoException) => error);
  if (refused instanceof Ears) t.is((await refused.closed)?.code, 'ECONNRESET');
  wire.heal();
  await (await dial()).say('b').hears('b');
});

test('proxy: what is swallowed never comes, and nobody is told until it is healed', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  await ears.say('a').hears('a');
  wire.swallow();
  ears.say('lost');
  await settled(t);
  t.is(ears.heard, 'a');
  t.false(ears.socket.destroyed);
  wire.heal();
  t.is((await ears.closed)?.code, 'ECONNRESET');
  t.is(ears.heard, 'a');
});

test('proxy: one way swallowed, the other goes on', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  await ears.say('a').hears('a');
  wire.swallow('back');
  ears.say('b');
  await settled(t);
  t.is(ears.heard, 'a');
});

test('proxy: what is stalled arrives after healing, in order', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  await ears.say('a').hears('a');
  for (const way of ['forth', 'back', 'both'] as const) {
    wire.stall(way);
    ears.say(`<${way}`).say('>');
    await settled(t);
    t.false(ears.heard.includes(way));
    wire.heal();
    await ears.hears(`<${way}>`);
  }
});

test('proxy: a delayed wire is late and keeps the order', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  wire.condition({ delayMs: 100 });
  const fromMs = performance.now();
  for (let i = 0; i < 10; i++) ears.say(`${i}`);
  await ears.hears('0123456789');
  t.true(performance.now() - fromMs >= 195, 'there and back');
});

test('proxy: what is lost comes later, with all behind it', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  wire.condition({ loss: 1 });
  const fromMs = performance.now();
  await ears.say('a').hears('a');
  t.true(performance.now() - fromMs >= 395, 'lost there and back');
});

test('proxy: a narrow wire takes its time and holds the sender back', async t => {
  const { wire, dial } = await echo(t);
  const ears = await dial();
  wire.condition({ bytesPerSecond: 1_000_000 });
  const fromMs = performance.now();
  ears.say('.'.repeat(300_000)).say('end');
  await ears.hears('end');
  t.true(performance.now() - fromMs >= 295);
  t.is(ears.heard.length, 300_003);
});

test('proxy: counts what it handed on each way, over all connections, and tells when it is enough', async t => {
  const { wire, dial } = await echo(t);
  const enough = wire.passes('forth', 8);
  await (await dial()).say('four').hears('four');
  t.is(wire.passed('forth'), 4);
  const other = await dial();
  await Promise.all([other.say('more').hears('more'), enough]);
  t.deepEqual([wire.passed('forth'), wire.passed('back')], [8, 8]);
  await wire.passes('back', 8);
  wire.swallow();
  other.say('lost');
  await settled(t);
  t.is(wire.passed('forth'), 8);
});
