import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApprovalPlace } from '../support/approval-place.js';
import type { CommandResult } from '../support/cli.js';
import { FakeApprovalService, ORGS } from '../support/fake-approval-service.js';
import { FakeFileService } from '../support/fake-file-service.js';
import { FakeGateway } from '../support/fake-gateway.js';
import { temporaryFolder } from '../support/registry.js';

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

interface World {
  readonly files: FakeFileService;
  readonly service: FakeApprovalService;
  readonly place: ApprovalPlace;
  /** One that trusts all three and demands two. */
  readonly policy: string;
  /** Proposes what is at a path, and has it approved by as many; returns the shares. */
  propose(
    path: string,
    version: string,
    approvals?: number,
  ): Promise<{ id: string; artifact: string; contents: string }>;
  fetch(share: string, to: string, ...more: string[]): Promise<CommandResult>;
}

async function start(t: ExecutionContext): Promise<World> {
  const files = new FakeFileService();
  const service = new FakeApprovalService(files);
  const gateway = await FakeGateway.start(t, listener => {
    files.register(listener);
    service.register(listener);
  });
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'node'));
  const place = new ApprovalPlace(folder, await gateway.context(join(folder, 'node')));
  const policy = await place.policy(
    'two-of-three',
    2,
    Object.fromEntries(ORGS.map(org => [org, service.voters[org].key])),
  );
  return {
    ...{ files, service, place, policy },
    async propose(path, version, approvals = 2) {
      const { code, stdout, stderr } = await place.run([
        ...['propose', path, '--project', 'widget', '--version', version],
        ...['--orgs', ORGS.join(','), '--threshold', '2'],
      ]);
      if (code !== 0) throw new Error(stderr);
      const id = stdout.trim();
      for (const org of ORGS.slice(0, approvals)) await service.cast(id, org);
      const { request } = service.held.get(id) ?? {};
      return { id, artifact: request?.artifactShare ?? '', contents: request?.contentsShare ?? '' };
    },
    fetch: (share, to, ...more) =>
      place.run(['fetch', share, '-o', place.path(to), '--require-approved', '--policy', policy, ...more]),
  };
}

/** Whoever holds the share serves something else under its id. */
function swap(files: FakeFileService, share: string, bytes: string): void {
  const made = files.shares.get(files.add(Buffer.from(bytes)));
  if (made) files.shares.set(share, { ...made, share: { ...made.share, id: share } });
}

async function refusedBy(
  t: ExecutionContext,
  world: World,
  code: number,
  result: CommandResult,
  to = 'out',
): Promise<void> {
  t.is(result.code, code, result.stderr);
  const left = (await world.place.files()).filter(name => name.startsWith(to));
  t.deepEqual(left, [], 'no file is in place');
}

test('fetch --require-approved: an approved file, by the bundle of the own gateway or by one that is given', async t => {
  const world = await start(t);
  const { place, propose, fetch } = world;
  const { id, artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  const fetched = await fetch(artifact, 'one', '--project', 'ACME/widget', '--artifact-version', '1.0');
  t.is(fetched.code, 0, fetched.stderr);
  t.is(fetched.stdout, `${sha256('content')}  ${place.path('one')}\n`);
  t.is((await place.run(['proposals', 'bundle', id, '-o', place.path('proof')])).code, 0);
  for (const [i, name] of (await place.files('proof')).entries()) {
    // A Sigstore bundle has one signature, which is one too few.
    const given = await fetch(artifact, `out${i}`, '--bundle', place.path('proof', name));
    t.is(given.code, name.includes('sigstore') ? 9 : 0, given.stderr);
  }
  const [acme = '', globex = ''] = (await place.files('proof')).filter(name => name.includes('sigstore'));
  const both = await fetch(
    artifact,
    'both',
    '--bundle',
    place.path('proof', acme),
    '--bundle',
    place.path('proof', globex),
  );
  t.is(both.code, 0, both.stderr);
});

test('fetch --require-approved: what is not approved is not even fetched', async t => {
  const world = await start(t);
  const { files, place, propose, fetch } = world;
  const { artifact } = await propose(await place.write('widget.tar', 'content'), '1.0', 1);
  const result = await fetch(artifact, 'out');
  await refusedBy(t, world, 9, result);
  t.regex(result.stderr, /the own gateway knows no approval/);
  t.deepEqual(files.fetches, []);
});

test('attack 5: an approval of another artifact, version or project approves nothing', async t => {
  const world = await start(t);
  const { files, place, propose, fetch } = world;
  const { id, artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  t.is((await place.run(['proposals', 'bundle', id, '-o', place.path('proof')])).code, 0);
  const bundle = ['--bundle', place.path('proof', 'widget.tar.approvals.dsse.json')];
  await refusedBy(t, world, 9, await fetch(files.add(Buffer.from('CONTENT')), 'out', ...bundle));
  await refusedBy(t, world, 9, await fetch(artifact, 'out', ...bundle, '--artifact-version', '1.1'));
  await refusedBy(t, world, 9, await fetch(artifact, 'out', ...bundle, '--project', 'ACME/gadget'));
  await refusedBy(t, world, 9, await fetch(artifact, 'out', ...bundle, '--project', 'GLOBEX/widget'));
  t.is((await fetch(artifact, 'out', ...bundle)).code, 0);
});

test('attack 5: an artifact that is swapped between the approval and the fetch leaves no file in place', async t => {
  const world = await start(t);
  const { files, place, propose, fetch } = world;
  const { id, artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  t.is((await place.run(['proposals', 'bundle', id, '-o', place.path('proof')])).code, 0);
  const bundle = ['--bundle', place.path('proof', 'widget.tar.approvals.dsse.json')];
  const honest = files.lie;
  // The look is still at the approved one; what then comes is another, whole and with a manifest of its own.
  const approved = files.shares.get(artifact);
  if (!approved) return t.fail();
  swap(files, artifact, 'CONTENT');
  files.lie = told => (told.manifest ? told : { share: approved.share, manifest: undefined });
  for (const more of [bundle, []]) await refusedBy(t, world, 9, await fetch(artifact, 'out', ...more));
  t.true(files.fetches.length > 0);
  files.lie = honest;
  for (const more of [bundle, []]) await refusedBy(t, world, 9, await fetch(artifact, 'out', ...more));
});

test('attack 16: a truncated or a longer artifact is another one', async t => {
  const world = await start(t);
  const { files, place, propose, fetch } = world;
  const { id, artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  t.is((await place.run(['proposals', 'bundle', id, '-o', place.path('proof')])).code, 0);
  const bundle = ['--bundle', place.path('proof', 'widget.tar.approvals.dsse.json')];
  for (const bytes of ['conten', 'content\n', '']) {
    swap(files, artifact, bytes);
    await refusedBy(t, world, 9, await fetch(artifact, 'out', ...bundle));
  }
});

test('fetch --require-approved: a folder appears as a whole when its checksum list is approved', async t => {
  const world = await start(t);
  const { place, propose, fetch } = world;
  await place.write('src/a/one.txt', '1');
  await place.write('src/two.txt', '2');
  const { contents, artifact } = await propose(place.path('src'), '1.0');
  const fetched = await fetch(contents, 'app');
  t.is(fetched.code, 0, fetched.stderr);
  t.is(
    fetched.stdout,
    `${sha256('1')}  ${place.path('app', 'a/one.txt')}\n${sha256('2')}  ${place.path('app', 'two.txt')}\n`,
  );
  t.is(await readFile(place.path('app', 'a', 'one.txt'), 'utf8'), '1');
  t.is((await fetch(artifact, 'app.sha256')).code, 0);
  t.deepEqual(
    (await place.files()).filter(name => name.includes('.part')),
    [],
  );
  // What is there is not mixed with it.
  t.is((await fetch(contents, 'app')).code, 2);
  t.is((await fetch(contents, 'other', '--overwrite')).code, 2);
});

test('attack 5: a folder of which one file was swapped, added or left out is refused, and nothing of it stays', async t => {
  const world = await start(t);
  const { files, place, propose, fetch } = world;
  await place.write('src/one.txt', '1');
  await place.write('src/two.txt', '2');
  const { id, contents } = await propose(place.path('src'), '1.0');
  t.is((await place.run(['proposals', 'bundle', id, '-o', place.path('proof')])).code, 0);
  const bundle = ['--bundle', place.path('proof', 'src.sha256.approvals.dsse.json')];
  const listing = JSON.parse(files.shares.get(contents)?.bytes.toString() ?? '') as { files: { share: string }[] };
  const [one, two] = listing.files;
  // The share of a file serves something else.
  const kept = files.shares.get(two?.share ?? '');
  swap(files, two?.share ?? '', 'X');
  const swapped = await fetch(contents, 'out', ...bundle);
  t.not(swapped.code, 0);
  await refusedBy(t, world, swapped.code, swapped);
  if (kept) files.shares.set(two?.share ?? '', kept);
  // The listing itself is another one.
  const lists = [
    [one],
    [one, { ...two, sha256: sha256('X') }],
    [one, two, { ...two, path: 'three.txt' }],
    [one, { ...two, path: 'TWO.txt' }],
  ];
  const original = files.shares.get(contents);
  for (const list of lists) {
    swap(files, contents, JSON.stringify({ version: 1, files: list }));
    const made = files.shares.get(contents);
    if (made)
      files.shares.set(contents, {
        ...made,
        share: { ...made.share, mediaType: 'application/vnd.fedgate.directory+json' },
      });
    await refusedBy(t, world, 9, await fetch(contents, 'out', ...bundle));
  }
  if (original) files.shares.set(contents, original);
  t.is((await fetch(contents, 'out', ...bundle)).code, 0);
});

test('attack 24: without a good policy nothing is fetched, with an exit code of its own', async t => {
  const world = await start(t);
  const { files, place, propose } = world;
  const { artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  const fetch = (...more: string[]): Promise<CommandResult> =>
    place.run(['fetch', artifact, '-o', place.path('out'), '--require-approved', ...more]);
  await refusedBy(t, world, 10, await fetch());
  await refusedBy(t, world, 10, await fetch('--policy', place.path('missing.yaml')));
  await refusedBy(t, world, 10, await fetch('--policy', await place.write('empty.yaml', '')));
  await refusedBy(t, world, 10, await fetch('--policy', await place.write('folder/policy.yaml', '[]')));
  await refusedBy(t, world, 10, await fetch('--policy', place.path('folder')));
  if (process.getuid?.() !== 0) {
    const secret = await place.write('secret.yaml', 'policy: x');
    await chmod(secret, 0);
    await refusedBy(t, world, 10, await fetch('--policy', secret));
  }
  t.deepEqual(files.fetches, []);
});

test('attack 8: what a proposal demands of itself is not enough for a policy that demands more', async t => {
  const world = await start(t);
  const { service, place, propose } = world;
  const { artifact } = await propose(await place.write('widget.tar', 'content'), '1.0');
  const keys = Object.fromEntries(ORGS.map(org => [org, service.voters[org].key]));
  const fetch = (policy: string): Promise<CommandResult> =>
    place.run(['fetch', artifact, '-o', place.path('out'), '--require-approved', '--policy', policy]);
  await refusedBy(t, world, 9, await fetch(await place.policy('all-three', 3, keys)));
  const strangers = { ACME: keys.ACME, UMBRELLA: keys.INITECH } as Record<string, NonNullable<(typeof keys)['ACME']>>;
  await refusedBy(t, world, 9, await fetch(await place.policy('strangers', 2, strangers)));
  t.false(existsSync(place.path('out')));
});

test('fetch: options of an approval without --require-approved are refused, not ignored', async t => {
  const world = await start(t);
  const { files, place, policy } = world;
  const share = files.add(Buffer.from('content'));
  for (const more of [
    ['--policy', policy],
    ['--bundle', policy],
    ['--project', 'ACME/x'],
    ['--artifact-version', '1'],
    ['--no-state'],
  ])
    await refusedBy(t, world, 2, await place.run(['fetch', share, '-o', place.path('out'), ...more]));
  await refusedBy(t, world, 2, await place.run(['fetch', share, '-o', '-', '--require-approved', '--policy', policy]));
  await writeFile(place.path('mine'), 'kept');
  t.is((await place.run(['fetch', share, '-o', place.path('mine')])).code, 2);
  t.is(await readFile(place.path('mine'), 'utf8'), 'kept');
});
