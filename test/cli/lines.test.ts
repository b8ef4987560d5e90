import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'ava';
import { commitLines, madeUpLines } from '../../src/demo/lines.js';
import { startFedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import type { TestScope } from '../support/registry.js';

const RECEIVER = {
  access:
    'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], status: true }]\npeers: [{ org: ACME, publish: ["lines"] }]',
};

interface Piped {
  readonly sent: string;
  readonly received: string;
  readonly bytes: number;
  readonly report: string;
}

/** Pipes input through `fedgate pub --lines --live` at one organisation into `fedgate sub --raw` at another. */
async function pipeLines(t: TestScope, from: TestOrg, to: TestOrg, input: () => Iterable<string>): Promise<Piped> {
  const sent = createHash('sha256');
  let bytes = 0;
  let lines = 0;
  for (const chunk of input()) {
    sent.update(chunk);
    bytes += chunk.length;
    lines += chunk.split('\n').length - 1;
    if (!chunk.endsWith('\n')) lines++;
  }
  const sub = startFedgate(t, [
    'sub',
    'lines',
    '--raw',
    '--count',
    String(lines),
    '--context',
    await to.context('reader'),
  ]);
  const received = createHash('sha256');
  sub.child.stdout?.removeAllListeners('data');
  sub.child.stdout?.on('data', chunk => received.update(chunk));
  await sub.printed('subscribed to lines');
  const pub = startFedgate(t, [
    ...['pub', 'pubsub://GLOBEX/lines', '--lines', '--live'],
    ...['--context', await from.context('writer')],
  ]);
  if (!pub.child.stdin) throw new Error('no standard input');
  await pipeline(Readable.from(input()), pub.child.stdin);
  const codes = await Promise.all([pub.exited, sub.exited]);
  if (codes.some(code => code !== 0)) throw new Error(`ended with ${codes}: ${pub.stderr} ${sub.stderr}`);
  return { sent: sent.digest('hex'), received: received.digest('hex'), bytes, report: pub.stdout };
}

test.serial('pub --lines --live: every commit of this repository comes out of sub --raw byte for byte', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: RECEIVER });
  const commits = await commitLines();
  if (commits === undefined) {
    t.pass('left out: this is not a git checkout');
    t.log('left out: this is not a git checkout');
    return;
  }
  const { sent, received } = await pipeLines(t, ACME, GLOBEX, () => [commits]);
  t.is(received, sent);
});

test.serial('pub --lines --live: 50 MB of lines come out of sub --raw byte for byte, in order', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: RECEIVER });
  const { sent, received, bytes, report } = await pipeLines(t, ACME, GLOBEX, () => madeUpLines(50_000_000));
  t.true(bytes >= 50_000_000);
  t.is(received, sent);
  t.regex(report, /^published \d+ lines, \d+ bytes\n$/);
});

test.serial(
  'pub --lines --live: empty lines, carriage returns, bytes that are no text and a last line without an end survive',
  async t => {
    const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: RECEIVER });
    const { sent, received } = await pipeLines(t, ACME, GLOBEX, () => [
      '\n\na\r\n',
      '\u0000\u0001\n',
      'ü€\n\n',
      'no end',
    ]);
    t.is(received, sent);
  },
);

test.serial('pub --lines: Ctrl-C publishes what was read, says how to carry on, and exits with 130', async t => {
  const { ACME } = await startFederation(t, { ACME: {} });
  const heard = await ACME.node('heard');
  const subscription = heard.subscribe('own');
  await subscription.opened;
  const pub = startFedgate(t, ['pub', 'own', '--lines', '--context', await ACME.context('writer')]);
  pub.child.stdin?.write('one\ntwo\n');
  let seen = 0;
  for await (const _ of subscription) if (++seen === 2) break;
  pub.child.kill('SIGINT');
  const [code] = (await once(pub.child, 'close')) as [number];
  t.is(code, 130);
  t.regex(pub.stderr, /--skip 2 carries on/);
  t.regex(pub.stdout, /published 2 lines/);
});
