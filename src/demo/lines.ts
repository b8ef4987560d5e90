import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packageRoot } from '../package-root.js';
import { runCommand } from './processes.js';
import type { DemoWorld } from './world.js';

/** What went in and what came out of a pipe of lines across two organisations. */
export interface LinesReport {
  readonly lines: number;
  readonly bytes: number;
  readonly same: boolean;
  readonly seconds: number;
}

/** Each run has a durable subscription of its own. */
let runs = 0;

/** Pipes lines into `fedgate pub … --lines` at one organisation and out of `fedgate sub … --raw` at another, and compares. */
export async function sendLines(world: DemoWorld, input: () => Iterable<string>): Promise<LinesReport> {
  const { acme, globex } = world;
  let lines = 0;
  let bytes = 0;
  const sent = createHash('sha256');
  for (const chunk of input()) {
    lines += chunk.split('\n').length - 1;
    bytes += Buffer.byteLength(chunk);
    sent.update(chunk);
  }
  const sub = runCommand(
    ['sub', 'lines', '--raw', '--durable', `lines-${++runs}`, '--count', String(lines), '--context', globex.context],
    ['ignore', 'pipe', 'pipe'],
  );
  if (!sub.stdout || !sub.stderr) throw new Error('no pipes');
  const received = createHash('sha256');
  sub.stdout.on('data', (chunk: Buffer) => received.update(chunk));
  // It says on standard error when its subscription is open.
  await Promise.race([once(sub.stderr, 'data'), once(sub, 'exit')]);
  sub.stderr.resume();
  const start = performance.now();
  const pub = runCommand(
    ['pub', 'pubsub://GLOBEX/lines', '--lines', '--context', acme.context],
    ['pipe', 'ignore', 'ignore'],
  );
  const ended = Promise.all([once(sub, 'close'), once(pub, 'close')]);
  if (pub.stdin) await pipeline(Readable.from(input()), pub.stdin).catch(() => undefined);
  const timer = setTimeout(() => sub.kill(), 120_000);
  await ended;
  clearTimeout(timer);
  return {
    lines,
    bytes,
    same: sent.digest('hex') === received.digest('hex'),
    seconds: (performance.now() - start) / 1000,
  };
}

/** Every commit of this repository as JSON lines; undefined outside of a checkout. */
export async function commitLines(): Promise<string | undefined> {
  const root = fileURLToPath(packageRoot);
  if (!existsSync(`${root}/.git`)) return undefined;
  const { stdout } = await promisify(execFile)('git', ['-C', root, 'log', '--format=%H%x1f%an%x1f%aI%x1f%s'], {
    maxBuffer: 1 << 28,
  });
  return stdout
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [commit, author, time, subject] = line.split('\u001f');
      return `${JSON.stringify({ commit, author, time, subject })}\n`;
    })
    .join('');
}

/** Lines of many lengths, the same on every call, until so many bytes are reached. */
export function* madeUpLines(bytes: number): Generator<string> {
  let total = 0;
  let state = 1;
  for (let chunk = ''; total < bytes; chunk = '') {
    while (chunk.length < 64 * 1024) {
      state = (state * 48_271) % 0x7fffffff;
      chunk += `${total + chunk.length} ${'.'.repeat(state % 160)}\n`;
    }
    total += chunk.length;
    yield chunk;
  }
}
