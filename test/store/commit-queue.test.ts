import test from 'ava';
import { CommitQueue } from '../../src/store/commit-queue.js';
import { Change } from '../../src/store/store.js';

/** A queue whose groups wait to be told how they went. */
function heldQueue() {
  const groups: { readonly changes: readonly Change[]; done(): void; fail(): void }[] = [];
  let heard: (() => void) | undefined;
  const queue = new CommitQueue(
    changes =>
      new Promise((resolve, reject) => {
        groups.push({ changes, done: resolve, fail: () => reject(new Error('the disk is gone')) });
        heard?.();
      }),
  );
  const group = async (number: number) => {
    while (groups.length <= number) {
      await new Promise<void>(resolve => {
        heard = resolve;
      });
    }
    return groups[number] as (typeof groups)[number];
  };
  return { queue, group, groups };
}

const named = (name: string): Change => new Change().put('rows', Buffer.from(name), Buffer.alloc(0));
const names = (changes: readonly Change[]): string[] => changes.map(({ puts }) => String(puts[0]?.key));

test('commit queue: one group at a time; what comes meanwhile is the next', async t => {
  const { queue, group, groups } = heldQueue();
  const first = [queue.commit(named('a')), queue.commit(named('b'))];
  t.deepEqual(names((await group(0)).changes), ['a', 'b']);
  const second = [queue.commit(named('c')), queue.commit(named('d'))];
  await new Promise(resolve => setImmediate(resolve));
  t.is(groups.length, 1);
  (await group(0)).done();
  await Promise.all(first);
  t.deepEqual(names((await group(1)).changes), ['c', 'd']);
  (await group(1)).done();
  await Promise.all(second);
  await queue.idle();
});

test('commit queue: a patient change goes along with the next, in order, or alone when none comes', async t => {
  const { queue, group, groups } = heldQueue();
  const turns = () => new Promise(resolve => setTimeout(resolve, 1));
  const first = [queue.commit(named('a'), true)];
  await turns();
  t.is(groups.length, 0);
  first.push(queue.commit(named('b')));
  t.deepEqual(names((await group(0)).changes), ['a', 'b']);
  const second = queue.commit(named('c'), true);
  (await group(0)).done();
  await Promise.all(first);
  await turns();
  t.is(groups.length, 1, 'it also waits after what was under way');
  t.deepEqual(names((await group(1)).changes), ['c']);
  (await group(1)).done();
  await second;
});

test('commit queue: to be idle, and a failure, end all patience', async t => {
  const { queue, group } = heldQueue();
  const heard: string[] = [];
  const last = queue.commit(named('a'), true);
  const idle = queue.idle();
  t.deepEqual(names((await group(0)).changes), ['a']);
  queue.commit(named('b'), true).catch(() => heard.push('b'));
  (await group(0)).fail();
  await last.catch(() => heard.push('a'));
  await idle;
  t.deepEqual(heard.sort(), ['a', 'b']);
});

test('commit queue: a change that removes ranges begins a group', async t => {
  const { queue, group } = heldQueue();
  const all = [queue.commit(named('a')), queue.commit(named('b').removeRange('rows', {})), queue.commit(named('c'))];
  t.deepEqual(names((await group(0)).changes), ['a']);
  (await group(0)).done();
  t.deepEqual(names((await group(1)).changes), ['b', 'c']);
  (await group(1)).done();
  await Promise.all(all);
});

test('commit queue: a failure refuses all that was handed in before it was heard, in order', async t => {
  const { queue, group, groups } = heldQueue();
  const heard: string[] = [];
  const hand = (name: string): void => {
    queue.commit(named(name)).then(
      () => heard.push(`${name} stored`),
      () => heard.push(`${name} refused`),
    );
  };
  hand('a');
  hand('b');
  const failing = await group(0);
  hand('c');
  failing.fail();
  // Runs after the failure and before anyone has heard of it.
  queueMicrotask(() => hand('d'));
  await queue.idle();
  await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(heard, ['a refused', 'b refused', 'c refused', 'd refused']);
  t.is(groups.length, 1);
  hand('e');
  (await group(1)).done();
  await queue.idle();
  t.deepEqual(heard.at(-1), 'e stored');
});

test('commit queue: the last to hear of a failure may hand in again at once', async t => {
  const { queue, group } = heldQueue();
  const again = queue.commit(named('a')).catch(() => queue.commit(named('a again')));
  (await group(0)).fail();
  t.deepEqual(names((await group(1)).changes), ['a again']);
  (await group(1)).done();
  await again;
});

test('commit queue: callers that hand in again and again do not stop the event loop', async t => {
  const { queue, group } = heldQueue();
  let stubborn = true;
  const insist = async (name: string): Promise<void> => {
    while (stubborn) {
      try {
        await queue.commit(named(name));
        return;
      } catch {
        // At once again, which nobody should do.
      }
    }
  };
  const both = [insist('a'), insist('b')];
  (await group(0)).fail();
  for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve));
  stubborn = false;
  await Promise.all(both);
  await queue.idle();
  t.pass();
});
