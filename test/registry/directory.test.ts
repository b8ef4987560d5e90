import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Directory } from '../../src/registry/directory.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, temporaryFolder } from '../support/registry.js';
import { LIFETIME_MS, makeOrg, makeSigningRegistry, member, START_MS } from '../support/snapshots.js';

const acme = await makeOrg('ACME');
const globex = await makeOrg('GLOBEX');
const registry = makeSigningRegistry();
const acmeRecord = acme.record();
const members = [member(acme, acmeRecord), member(globex, globex.record())];
const options = { federation: FEDERATION, snapshotKey: registry.snapshotKey, now: () => START_MS };

test('directory: begins empty, and nobody is known', async t => {
  const directory = await Directory.load(join(await temporaryFolder(t), 'none.bin'), options);
  t.is(directory.version, 0n);
  t.false(directory.isFresh());
  t.is(directory.trust('ACME'), undefined);
  t.throws(() => directory.activeMember('ACME'), { message: /no snapshot/ });
});

test('directory: keeps what it took, over a restart', async t => {
  const path = join(await temporaryFolder(t), 'deep', 'snapshot.bin');
  const directory = await Directory.load(path, options);
  t.true(directory.offer(registry.sign(3n, members)));
  t.true(directory.offer(registry.sign(4n, members)));
  t.false(directory.offer(registry.sign(4n, members)));
  await directory.flush();
  const again = await Directory.load(path, options);
  t.is(again.version, 4n);
  t.like(again.trust('ACME'), { org: 'ACME', active: true });
  await refused(t, 'SNAPSHOT_STALE', () => again.offer(registry.sign(3n, members)));
  t.is(again.version, 4n);
});

test('directory: a suspended member is known but does not count', async t => {
  const directory = await Directory.load(join(await temporaryFolder(t), 's.bin'), options);
  directory.offer(registry.sign(1n, [member(acme, acmeRecord), member(globex, globex.record(), 'suspended')]));
  t.like(directory.trust('GLOBEX'), { active: false });
  t.deepEqual(directory.authoritiesPem(), [acme.authority.certificate]);
  await refused(t, 'ORG_INACTIVE', () => directory.activeMember('GLOBEX'));
  await refused(t, 'ORG_UNKNOWN', () => directory.activeMember('INITECH'));
  t.like(directory.activeMember('ACME'), { state: 'active' });
  await directory.flush();
});

test('directory: an expired file still tells names, and nobody counts', async t => {
  const path = join(await temporaryFolder(t), 's.bin');
  const directory = await Directory.load(path, options);
  directory.offer(registry.sign(1n, members));
  await directory.flush();
  const later = await Directory.load(path, { ...options, now: () => START_MS + LIFETIME_MS });
  t.deepEqual(
    later.members().map(({ org }): string => org),
    ['ACME', 'GLOBEX'],
  );
  t.false(later.isFresh());
  t.like(later.trust('ACME'), { active: false });
  await refused(t, 'SNAPSHOT_EXPIRED', () => later.activeMember('ACME'));
});

test('directory: a file that is damaged or of another registry is reported and does not count', async t => {
  const path = join(await temporaryFolder(t), 's.bin');
  const directory = await Directory.load(path, options);
  directory.offer(registry.sign(1n, members));
  await directory.flush();
  const whole = await readFile(path);
  for (const content of [
    whole.subarray(0, 100),
    Buffer.from('hello'),
    Buffer.alloc(0),
    Buffer.concat([whole, whole]),
  ]) {
    await writeFile(path, content);
    const problems: string[] = [];
    const loaded = await Directory.load(path, { ...options, onProblem: message => problems.push(message) });
    // Twice the same message in a row is, to protobuf, the same message once.
    if (content.length <= whole.length) {
      t.is(problems.length, 1);
      t.is(loaded.version, 0n);
    }
  }
  await writeFile(path, whole);
  const problems: string[] = [];
  const foreign = {
    ...options,
    snapshotKey: makeSigningRegistry().snapshotKey,
    onProblem: (m: string) => problems.push(m),
  };
  t.is((await Directory.load(path, foreign)).version, 0n);
  t.regex(problems[0] ?? '', /not signed by this federation's registry/);
});

test('directory: tells of changes until it is asked to stop, and keeps certificates the same objects', async t => {
  const directory = await Directory.load(join(await temporaryFolder(t), 's.bin'), options);
  let changes = 0;
  const stop = directory.onChange(() => changes++);
  directory.offer(registry.sign(1n, members));
  const before = directory.trust('ACME')?.authorities;
  directory.offer(registry.sign(2n, [member(acme, acmeRecord, 'suspended'), ...members.slice(1)]));
  t.is(directory.trust('ACME')?.authorities, before);
  t.is(changes, 2);
  stop();
  directory.offer(registry.sign(3n, members));
  t.is(changes, 2);
  await directory.flush();
});
