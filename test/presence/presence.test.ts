import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { type ChangesSink, MAX_NODES_A_FRAME, NodeChanges } from '../../src/presence/changes.js';
import { KEEP_LEFT_MS, MAX_KNOWN_NODES, Presence } from '../../src/presence/presence.js';
import { RememberedNodes } from '../../src/presence/remembered.js';
import type { NodePresence } from '../../src/presence/types.js';
import { temporaryFolder } from '../support/registry.js';

const NEVER = Number.MAX_SAFE_INTEGER;
const credential = (name: string, notAfterMs = NEVER, good = () => true) => ({ name, notAfterMs, good });

test('presence: a node is connected while any of its connections is open, and away with the reason of the last', t => {
  let now = 1_000;
  const presence = new Presence(() => now);
  t.is(presence.get('erp'), undefined);
  const first = presence.arrived(credential('erp'));
  t.like(presence.get('erp'), { state: 'connected', sinceMs: 1_000, why: undefined });
  now = 2_000;
  const second = presence.arrived(credential('erp'));
  first('closed');
  t.like(presence.get('erp'), { state: 'connected', sinceMs: 1_000 });
  now = 3_000;
  second('lost');
  second('closed');
  t.like(presence.get('erp'), { state: 'away', sinceMs: 3_000, why: 'lost' });
  now = 4_000;
  const third = presence.arrived(credential('erp'));
  t.like(presence.get('erp'), { state: 'connected', sinceMs: 4_000, why: undefined });
  third('closed');
  t.like(presence.get('erp'), { state: 'away', sinceMs: 4_000, why: 'closed' });
});

test('presence: a node whose certificate no longer counts has left, also while its connection stays open, and is forgotten', t => {
  let now = 0;
  let trusted = true;
  const presence = new Presence(() => now);
  const gone = presence.arrived(credential('old', 100));
  presence.arrived(credential('cut', NEVER, () => trusted))('closed');
  presence.arrived(credential('stays', 100, () => now <= 100));
  const renewed = presence.arrived(credential('stays', NEVER));
  presence.recheck();
  t.is(presence.get('old')?.state, 'connected');
  now = 101;
  trusted = false;
  presence.recheck();
  t.like(presence.get('old'), { state: 'connected' });
  gone('lost');
  presence.recheck();
  t.like(presence.get('old'), { state: 'left', why: 'expired', sinceMs: 101 });
  t.like(presence.get('cut'), { state: 'left', why: 'untrusted', sinceMs: 101 });
  t.is(presence.get('stays')?.state, 'connected');
  renewed('closed');
  presence.arrived(credential('cut'));
  t.is(presence.get('cut')?.state, 'connected');
  now = 102 + KEEP_LEFT_MS;
  presence.recheck();
  t.is(presence.get('old'), undefined);
});

test('presence: an open connection whose certificate ended is of no use, and the node has left', t => {
  let now = 0;
  const presence = new Presence(() => now);
  const over = presence.arrived(credential('erp', 100, () => now <= 100));
  now = 101;
  presence.recheck();
  t.like(presence.get('erp'), { state: 'left', why: 'expired' });
  over('closed');
  t.like(presence.get('erp'), { state: 'left', why: 'expired' });
});

test('presence: what an earlier process knew is known; who was connected when it died is away, lost', async t => {
  let now = 1;
  const folder = await temporaryFolder(t);
  const presence = new Presence(() => now);
  presence.arrived(credential('stopped', 500));
  presence.arrived(credential('gone'))('closed');
  now = 2;
  const file = new RememberedNodes(folder);
  t.deepEqual(await file.load(), []);
  await file.flush(() => presence.remembered());
  now = 10;
  const killed = new Presence(() => now, await new RememberedNodes(folder).load());
  t.like(killed.get('stopped'), { state: 'away', why: 'lost', sinceMs: 10 });
  t.like(killed.get('gone'), { state: 'away', why: 'closed', sinceMs: 1 });
  now = 501;
  killed.recheck();
  t.like(killed.get('stopped'), { state: 'left', why: 'expired' });
  presence.drain();
  t.like(presence.get('stopped'), { state: 'away', why: 'drained', sinceMs: 501 });
  presence.arrived(credential('late'));
  t.is(presence.get('late'), undefined);
});

test('presence: of a file that a kill left half written, or that is nonsense, what can be read is known', async t => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'nodes.jsonl');
  const line = (node: string, sinceMs: number): string =>
    `${JSON.stringify({ node, state: 'away', sinceMs, why: 'closed', notAfterMs: 9 })}\n`;
  const file = new RememberedNodes(folder);
  for (const nonsense of ['{', '[]', 'null\n7\n{"node":1}\n{"node":"x","state":"odd"}\n\u0000\n']) {
    await writeFile(path, nonsense);
    t.deepEqual(await file.load(), []);
  }
  await writeFile(
    path,
    `${line('a', 2)}${line('b', 2).slice(0, 20)}${line('c', 1).slice(9)}${line('a', 1)}${line('d', 1)}`,
  );
  t.deepEqual(
    (await file.load()).map(({ node, sinceMs }) => [node, sinceMs]),
    [
      ['a', 2],
      ['d', 1],
    ],
  );
  const presence = new Presence(() => 5, await file.load());
  presence.arrived(credential('a'))('lost');
  await file.flush(() => presence.remembered().slice(0, 1));
  t.deepEqual(await file.load(), [
    { node: 'a', state: 'away', sinceMs: 5, why: 'lost', notAfterMs: Number.MAX_SAFE_INTEGER },
  ]);
  await rm(folder, { recursive: true });
  await file.flush(() => presence.remembered());
  t.false(existsSync(folder));
});

test('presence: no more nodes are known than may be; the one gone for the longest time is forgotten first', t => {
  let now = 0;
  const presence = new Presence(() => now);
  for (let i = 0; i < MAX_KNOWN_NODES; i++) {
    now = i;
    const gone = presence.arrived(credential(`n${i}`));
    if (i === 7 || i === 9) gone('closed');
  }
  presence.arrived(credential('one-more'));
  t.deepEqual([presence.get('n7'), presence.get('one-more')?.state], [undefined, 'connected']);
  presence.arrived(credential('another'));
  t.is(presence.get('n9'), undefined);
  const nobody = presence.arrived(credential('too-many'));
  nobody('lost');
  t.is(presence.get('too-many'), undefined);
  t.is([...presence.names()].length, MAX_KNOWN_NODES);
});

/** A watcher that takes what it is told, or not. */
class Watcher implements ChangesSink {
  writable = true;
  frames: { readonly nodes: readonly NodePresence[]; readonly complete: boolean }[] = [];
  #wake: () => void = () => undefined;

  put(nodes: readonly NodePresence[], complete: boolean): void {
    this.frames.push({ nodes, complete });
    this.#wake();
  }

  told(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve;
    });
  }
}

const EVERYTHING = { node: (_node: string) => true, pattern: (_pattern: string) => true };

test('presence storm: 1,000 nodes that come and go 100 times cost a watcher an entry each, however slow it is', async t => {
  const presence = new Presence(() => 1);
  const watcher = new Watcher();
  const changes = new NodeChanges(presence, { ...EVERYTHING, node: node => node !== 'n0' }, watcher);
  t.teardown(() => changes.close());
  t.deepEqual(watcher.frames, [{ nodes: [], complete: true }]);
  const flap = (): void => {
    for (let round = 0; round < 100; round++)
      for (let i = 0; i < 1_000; i++) presence.arrived(credential(`n${i}`))(round % 2 ? 'lost' : 'closed');
  };
  flap();
  t.is(watcher.frames.length, 1);
  await watcher.told();
  t.is(watcher.frames.length, 1 + Math.ceil(999 / MAX_NODES_A_FRAME));
  t.is(new Set(watcher.frames.flatMap(({ nodes }) => nodes.map(({ node }) => node))).size, 999);
  t.true(watcher.frames.flatMap(({ nodes }) => nodes).every(({ why }) => why === 'lost'));
  watcher.writable = false;
  const other = new Watcher();
  const others = new NodeChanges(presence, EVERYTHING, other);
  t.teardown(() => others.close());
  flap();
  // Its turn comes behind that of the slow one.
  await other.told();
  presence.arrived(credential('n1'));
  flap();
  t.is(watcher.frames.length, 3);
  watcher.frames = [];
  watcher.writable = true;
  changes.resume();
  if (watcher.frames.length === 0) await watcher.told();
  t.is(watcher.frames.flatMap(({ nodes }) => nodes).length, 999);
  t.is(watcher.frames.flatMap(({ nodes }) => nodes).find(({ node }) => node === 'n1')?.state, 'connected');
});

test('presence: a watcher is told of all that there are in frames that are not too large, and which completes them', t => {
  const presence = new Presence(() => 1);
  for (let i = 0; i < 2 * MAX_NODES_A_FRAME + 1; i++) presence.arrived(credential(`n${i}`));
  const watcher = new Watcher();
  new NodeChanges(presence, EVERYTHING, watcher).close();
  t.deepEqual(
    watcher.frames.map(({ nodes, complete }) => [nodes.length, complete]),
    [
      [MAX_NODES_A_FRAME, false],
      [MAX_NODES_A_FRAME, false],
      [1, true],
    ],
  );
});
