import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, request } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import test from 'ava';
import { fedgate, type RunningCommand, startFedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';

const run = promisify(execFile);
const BODY = randomBytes(3 * 1024 * 1024 + 11);
const ACCESS = 'nodes: [{ node: "*", openStreams: ["pubsub://GLOBEX/**", "**"], acceptStreams: ["**"], status: true }]';

let ACME: TestOrg;
let GLOBEX: TestOrg;
let exposing: RunningCommand;
/** Where `fedgate tunnel` listens, for each channel. */
const tunnels = new Map<string, { readonly port: number; readonly command: RunningCommand }>();
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

/** An HTTP server that answers GET with BODY, and POST with the digest of what it got. */
const http = createHttpServer(async (incoming, response) => {
  if (incoming.method === 'POST')
    response.end(
      createHash('sha256')
        .update(await buffer(incoming))
        .digest('hex'),
    );
  else response.end(BODY);
});
/** Answers once the other side has ended: with how much it got. */
const counting = createServer({ allowHalfOpen: true }, socket => {
  let bytes = 0;
  socket.on('data', data => (bytes += data.length));
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end(`got ${bytes}`));
});
const portOf = (server: Server | typeof http): number => (server.address() as AddressInfo).port;

async function open(server: Server | typeof http): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.teardown(() => void server.close());
}

async function tunnel(channel: string): Promise<number> {
  const command = startFedgate(scope, [
    ...['tunnel', '0', `pubsub://GLOBEX/${channel}`, '--resume', '1s'],
    ...['--context', await ACME.context(`tunnel-${channel}`)],
  ]);
  await command.printed(/127\.0\.0\.1:\d+ leads to/);
  const port = Number(/127\.0\.0\.1:(\d+) leads/.exec(command.stderr)?.[1]);
  tunnels.set(channel, { port, command });
  return port;
}

async function expose(target: number, channel: string, name: string): Promise<RunningCommand> {
  const context = await GLOBEX.context(name);
  const command = startFedgate(scope, ['expose', `127.0.0.1:${target}`, channel, '--context', context]);
  await command.printed('lead to');
  return command;
}

test.before(async () => {
  const orgs = await startFederation(scope, {
    ACME: { access: ACCESS },
    GLOBEX: { access: `${ACCESS}\npeers: [{ org: ACME, streams: ["web", "count", "shut", "join"] }]` },
  });
  ({ ACME, GLOBEX } = orgs);
  await Promise.all([open(http), open(counting)]);
  exposing = await expose(portOf(http), 'web', 'web');
  await Promise.all([expose(portOf(counting), 'count', 'count'), tunnel('web'), tunnel('count'), tunnel('private')]);
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const web = (): string => `http://127.0.0.1:${tunnels.get('web')?.port}/`;

test.serial(
  'tunnel: curl gets and posts through it what the server sent and got, with several connections at once',
  async t => {
    const curl = await run('curl', ['--version']).then(
      () => true,
      () => false,
    );
    if (!curl) {
      t.log('no curl on this machine: Node gets it instead');
      const answers = await Promise.all([1, 2, 3].map(() => fetchWithNode(web())));
      for (const answer of answers) t.deepEqual(answer, BODY);
      return;
    }
    const get = async (): Promise<Buffer> => {
      const { stdout } = await run('curl', ['-sS', '--fail', '--max-time', '60', web()], {
        encoding: 'buffer',
        maxBuffer: BODY.length * 2,
      });
      return stdout as unknown as Buffer;
    };
    const digests = (await Promise.all([get(), get(), get()])).map(body =>
      createHash('sha256').update(body).digest('hex'),
    );
    t.deepEqual([...new Set(digests)], [createHash('sha256').update(BODY).digest('hex')]);
    const posting = execFile('curl', ['-sS', '--max-time', '60', '--data-binary', '@-', web()]);
    posting.stdin?.end(BODY);
    t.is(String(await buffer(posting.stdout as Exclude<typeof posting.stdout, null>)), digests[0] ?? '');
  },
);

async function fetchWithNode(url: string): Promise<Buffer> {
  const asking = request(url).end();
  const [response] = (await once(asking, 'response')) as [import('node:http').IncomingMessage];
  return buffer(response);
}

test.serial('tunnel: the end of one direction is carried, and the other goes on', async t => {
  const socket = connect({ port: tunnels.get('count')?.port ?? 0, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(BODY);
  t.is((await buffer(socket)).toString(), `got ${BODY.length}`);
});

test.serial('tunnel: a connection to what is not granted is reset, with the reason on standard error', async t => {
  const { port = 0, command } = tunnels.get('private') ?? {};
  const error = await broken(connect({ port, host: '127.0.0.1' }));
  t.is(error?.code, 'ECONNRESET');
  await command?.printed('NOT_GRANTED');
  t.pass();
});

test.serial('expose: a server that resets a connection resets it at the other end', async t => {
  const rude = createServer(socket => void socket.resetAndDestroy());
  await open(rude);
  const [through] = await Promise.all([tunnel('shut'), expose(portOf(rude), 'shut', 'shut')]);
  t.is((await broken(connect({ port: through, host: '127.0.0.1' })))?.code, 'ECONNRESET');
  await tunnels.get('shut')?.command.printed('STREAM_RESET');
});

test.serial('expose: a server that is not there is named here, and not to the other end', async t => {
  const closed = createServer();
  await open(closed);
  const port = portOf(closed);
  await new Promise(resolve => closed.close(resolve));
  const [through, exposed] = await Promise.all([tunnel('join'), expose(port, 'join', 'nowhere')]);
  t.is((await broken(connect({ port: through, host: '127.0.0.1' })))?.code, 'ECONNRESET');
  await exposed.printed(`ECONNREFUSED 127.0.0.1:${port}`);
  const command = tunnels.get('join')?.command;
  await command?.printed('the TCP connection behind the other end broke (ECONNREFUSED)');
  t.false(command?.stderr.includes(String(port)));
  exposed.child.kill('SIGINT');
  await exposed.exited;
});

test.serial('stream: joins standard input and output to a stream', async t => {
  const accepting = startFedgate(scope, ['stream', '--accept', 'join', '--context', await GLOBEX.context('cat')]);
  await accepting.printed('accepting on join');
  accepting.child.stdin?.end('hello there');
  const context = await ACME.context('cat');
  const { code, stdout } = await fedgate(['stream', 'pubsub://GLOBEX/join', '--context', context], {
    stdin: 'and to you',
  });
  t.is(code, 0);
  t.is(stdout, 'hello there');
  t.is(await accepting.exited, 0);
  t.is(accepting.stdout, 'and to you');
});

test.serial('tunnel, expose: what cannot be is said at once, with what is wrong and what else to do', async t => {
  const context = await ACME.context('cat');
  const said = async (...args: string[]) => {
    const { code, stderr } = await fedgate([...args, '--context', context]);
    return `${code} ${stderr.trim()}`;
  };
  t.regex(
    await said('tunnel', String(portOf(http)), 'pubsub://GLOBEX/web'),
    /^2 .*:\d+ is in use by another program; choose another port, or 0 for any that is free \[ADDRESS_UNUSABLE\]$/,
  );
  t.regex(await said('tunnel', '0', 'pubsub://GLOBEX'), /^2 .* names no channel/);
  t.regex(await said('tunnel', '0', 'topic://web'), /^2 .* is neither `channel` nor `pubsub:\/\/ORG\/channel`/);
  t.regex(await said('expose', '127.0.0.1:80', 'pubsub://GLOBEX/web'), /^2 .* names an organisation/);
  t.regex(await said('expose', '127.0.0.1:80', 'web', '--capacity', '5000'), /^2 .*--capacity: is at most 1000/);
});

test.serial(
  'tunnel: when the process at the other end is killed the connection is reset once its time is over',
  async t => {
    const socket = connect({ port: tunnels.get('web')?.port ?? 0, host: '127.0.0.1' });
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'data');
    socket.pause();
    exposing.child.kill('SIGKILL');
    t.is((await broken(socket))?.code, 'ECONNRESET');
    await tunnels.get('web')?.command.printed('STREAM_LOST');
  },
);

test.serial('tunnel: Ctrl-C ends it with 130', async t => {
  const { command } = tunnels.get('count') ?? {};
  command?.child.kill('SIGINT');
  t.is(await command?.exited, 130);
});

/** Resolves with what a connection breaks with; undefined: it was closed without. */
function broken(socket: Socket): Promise<NodeJS.ErrnoException | undefined> {
  socket.resume();
  return new Promise(resolve => {
    socket.once('error', resolve);
    socket.once('close', () => resolve(undefined));
  });
}
