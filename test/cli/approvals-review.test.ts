import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { encodeStatement, statementSha256 } from '../../src/approvals/statement/statement.js';
import { FedgateError } from '../../src/errors.js';
import { ApprovalPlace } from '../support/approval-place.js';
import type { CommandResult } from '../support/cli.js';
import { FakeApprovalService } from '../support/fake-approval-service.js';
import { FakeFileService } from '../support/fake-file-service.js';
import { FakeGateway } from '../support/fake-gateway.js';
import { temporaryFolder } from '../support/registry.js';

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

interface World {
  readonly files: FakeFileService;
  readonly service: FakeApprovalService;
  readonly place: ApprovalPlace;
  /** Proposes what is at a path; returns the id. */
  propose(t: ExecutionContext, path: string, version: string, ...more: string[]): Promise<string>;
}

/** A user at ACME, whose gateway can lie. */
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
  return {
    files,
    service,
    place,
    async propose(t, path, version, ...more) {
      const { code, stdout, stderr } = await place.run([...proposal(path, version), ...more]);
      t.is(code, 0, stderr);
      t.regex(stdout, /^[0-9a-f]{32}\n$/);
      return stdout.trim();
    },
  };
}

const proposal = (path: string, version: string): string[] => [
  ...['propose', path, '--project', 'widget', '--version', version],
  ...['--orgs', 'ACME,GLOBEX,INITECH', '--threshold', '2'],
];

const same = (t: ExecutionContext, { code, stderr }: CommandResult, expected: number): boolean =>
  t.is(code, expected, stderr);

async function approved(service: FakeApprovalService, id: string): Promise<void> {
  await service.cast(id, 'GLOBEX');
  await service.cast(id, 'INITECH');
}

test('propose: a file, and what its approvers are told; a short id stands for it everywhere', async t => {
  const { service, place, propose } = await start(t);
  const path = await place.write('widget.tar', 'content');
  const more = [
    '--note',
    'one\ntwo',
    '--link',
    'https://example.com/1',
    '--link',
    'https://example.com/2',
    '--expires',
    '3d',
  ];
  const id = await propose(t, path, '1.0', ...more);
  const { facts } = service.held.get(id) ?? {};
  t.like(facts, { project: 'widget', version: '1.0', threshold: 2, note: 'one\ntwo', proposer: 'ACME' });
  t.like(facts?.artifact, { name: 'widget.tar', kind: 'file', size: 7, sha256: sha256('content') });
  t.deepEqual(facts?.links, ['https://example.com/1', 'https://example.com/2']);
  const days = ((facts?.notAfterMs ?? 0) - Date.now()) / 86_400_000;
  t.true(days > 2.9 && days <= 3);
  const shown = await place.run(['proposals', 'show', id.slice(0, 8)]);
  same(t, shown, 0);
  for (const part of ['one\n', 'two\n', sha256('content'), '2 of ACME, GLOBEX, INITECH', 'https://example.com/2'])
    t.true(shown.stdout.includes(part), part);
  const bytes = await place.run(['proposals', 'show', id, '--statement']);
  t.is(bytes.stdout, service.held.get(id)?.statement.toString() ?? '');
  for (const [digits, code] of [
    ['0000000', 2],
    [id.toUpperCase(), 2],
    ['00000000', 5],
    ['0'.repeat(32), 5],
  ] as const)
    same(t, await place.run(['proposals', 'show', digits]), code);
});

test('propose: a folder, or several files, become a package: a checksum list that sha256sum reads, and a folder to fetch', async t => {
  const { files, service, place, propose } = await start(t);
  await place.write('src/b.txt', 'b');
  await place.write('src/a/z.txt', 'z');
  const id = await propose(t, place.path('src'), '1.0');
  const { facts, request } = service.held.get(id) ?? {};
  t.like(facts?.artifact, { name: 'src.sha256', kind: 'package' });
  const list = `${sha256('z')}  a/z.txt\n${sha256('b')}  b.txt\n`;
  t.is(files.shares.get(request?.artifactShare ?? '')?.bytes.toString(), list);
  t.is(files.shares.get(request?.contentsShare ?? '')?.share.mediaType, 'application/vnd.fedgate.directory+json');
  t.deepEqual(files.shares.get(request?.artifactShare ?? '')?.share.audience?.orgs, ['ACME', 'GLOBEX', 'INITECH']);
  const single = await place.write('one.txt', '1');
  const { code, stdout } = await place.run([...proposal(place.path('src'), '2.0'), single]);
  t.is(code, 0);
  const several = service.held.get(stdout.trim());
  t.is(several?.facts.artifact.name, 'widget-2.0.sha256');
  t.is(
    files.shares.get(several?.request.artifactShare ?? '')?.bytes.toString(),
    `${sha256('1')}  one.txt\n${sha256('z')}  src/a/z.txt\n${sha256('b')}  src/b.txt\n`,
  );
});

test('propose: interrupted and repeated it is one proposal with one set of shares; done and repeated it is another', async t => {
  const { files, service, place, propose } = await start(t);
  await place.write('src/a.txt', 'a');
  // The answer is lost when the proposal is made already.
  service.onPropose = () => new FedgateError('GATEWAY_UNREACHABLE', 'the connection was lost');
  same(t, await place.run([...proposal(place.path('src'), '1.0'), '--expires', '2d']), 3);
  service.onPropose = () => undefined;
  const id = await propose(t, place.path('src'), '1.0', '--expires', '2d');
  t.deepEqual(service.proposed, [id, id]);
  t.is(files.shares.size, 3);
  t.not(await propose(t, place.path('src'), '1.0', '--expires', '2d'), id);
});

test('propose: what cannot be proposed is said before anything is shared', async t => {
  const { files, place } = await start(t);
  const path = await place.write('widget.tar', 'content');
  const run = (...args: string[]): Promise<CommandResult> =>
    place.run(['propose', path, '--project', 'widget', '--version', '1', ...args]);
  for (const threshold of ['0', '-1', '1.5', '"2"', '4', '2e0', '']) {
    const { code, stderr } = await run('--orgs', 'ACME,GLOBEX,INITECH', `--threshold=${threshold}`);
    t.is(code, 2, threshold);
    t.regex(stderr, /--threshold/);
  }
  for (const orgs of ['ACME,ACME', 'acme', 'АCME', 'ACME,', ''])
    same(t, await run(`--orgs=${orgs}`, '--threshold', '1'), 2);
  await mkdir(place.path('empty'));
  same(t, await place.run(proposal(place.path('empty'), '1')), 2);
  same(t, await place.run(proposal('-', '1')), 2);
  same(t, await place.run(proposal(place.path('missing'), '1')), 2);
  t.is(files.shares.size, 0);
});

test('propose --wait: ends with 0 when it is approved and with 9 when it is not', async t => {
  const { service, place } = await start(t);
  const path = await place.write('widget.tar', 'content');
  for (const [decide, code] of [
    ['approve', 0],
    ['reject', 9],
  ] as const) {
    const done = place.run([...proposal(path, decide), '--wait', '--json']);
    await service.watched();
    const id = service.proposed.at(-1) ?? '';
    await service.cast(id, 'GLOBEX', decide);
    await service.cast(id, 'INITECH', decide);
    const { code: ended, stdout } = await done;
    t.is(ended, code);
    const events = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line));
    const last = events.at(-1);
    t.is(last.event, 'changed');
    t.is(last.proposal.state, decide === 'approve' ? 'approved' : 'rejected');
    t.true(events.some(({ event, proposal: made }) => event === 'proposed' && made.id === id));
  }
});

test('review: the package lies verified in a folder; what would be signed, what changed and who has voted is shown', async t => {
  const { service, place, propose } = await start(t);
  await place.write('src/keep.txt', 'the same\n');
  await place.write('src/edit.txt', 'one\ntwo\nthree\n');
  await place.write('src/gone.txt', 'gone\n');
  await place.write('src/blob.bin', Buffer.from([0, 1, 2]));
  const first = await propose(t, place.path('src'), '1.0');
  const all = await place.run(['review', first, '-o', place.path('first')]);
  same(t, all, 0);
  t.regex(all.stdout, /nothing of this project was approved before, all of it is new: 4 files/);
  await approved(service, first);
  await place.write('src/edit.txt', 'one\n2 \u001b[31m\u202e\nthree\n');
  await place.write('src/new.txt', 'new\n');
  await place.write('src/blob.bin', Buffer.from([0, 1, 3]));
  await rm(place.path('src', 'gone.txt'));
  const id = await propose(t, place.path('src'), '1.1');
  await service.cast(id, 'GLOBEX');
  const reviewed = await place.run(['review', id.slice(0, 10), '-o', place.path('out')]);
  same(t, reviewed, 0);
  const { stdout } = reviewed;
  const statement = service.held.get(id)?.statement ?? Buffer.alloc(0);
  for (const part of [
    `statement with SHA-256 ${statementSha256(statement)}`,
    `since 1.0, the last that was approved (${first}): 2 changed, 1 added, 1 removed, 1 the same`,
    '  changed  blob.bin\n  changed  edit.txt\n  added    new.txt\n  removed  gone.txt',
    '--- a/edit.txt\n+++ b/edit.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2 \\u001b[31m\\u202e\n three',
    '--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1,1 @@\n+new',
    '--- a/blob.bin\n+++ b/blob.bin\n(not compared: no text, or too long)',
  ])
    t.true(stdout.includes(part), `${part}\n${stdout}`);
  t.regex(stdout, /^GLOBEX +approved +1 of 1 +yes +alice /m);
  t.regex(stdout, /^INITECH +nothing yet +0 of 1 /m);
  t.false(stdout.includes('\u001b'));
  t.deepEqual(await place.files('out'), ['artifact', 'changes.diff', 'contents', 'statement.json']);
  t.deepEqual(await readFile(place.path('out', 'statement.json')), statement);
  t.is(await readFile(place.path('out', 'contents', 'new.txt'), 'utf8'), 'new\n');
  const listed = await readFile(place.path('out', 'artifact', 'src.sha256'));
  t.is(sha256(listed), service.held.get(id)?.facts.artifact.sha256 ?? '');
  // Again: all is there, and nothing is fetched but the version before.
  const json = await place.run(['review', id, '-o', place.path('out'), '--json']);
  same(t, json, 0);
  const report = JSON.parse(json.stdout);
  t.deepEqual(report.changes, {
    added: ['new.txt'],
    removed: ['gone.txt'],
    changed: ['blob.bin', 'edit.txt'],
    same: 1,
  });
  t.is(report.since.proposal, first);
});

test('review: a version before whose shares are gone is no reason to fail, and is said', async t => {
  const { files, service, place, propose } = await start(t);
  const path = await place.write('widget.txt', 'one\n');
  const first = await propose(t, path, '1.0');
  await approved(service, first);
  await writeFile(path, 'two\n');
  const id = await propose(t, path, '1.1');
  files.shares.delete(service.held.get(first)?.request.artifactShare ?? '');
  const { code, stdout } = await place.run(['review', id, '-o', place.path('out')]);
  t.is(code, 0);
  t.regex(stdout, /since 1\.0.*: 1 changed/);
  t.regex(stdout, /the version before cannot be compared: .*\[SHARE_UNKNOWN\]/);
});

test('attack 5: a share of another artifact than the proposal names is neither reviewed nor approved', async t => {
  const { files, service, place, propose } = await start(t);
  const id = await propose(t, await place.write('widget.tar', 'content'), '1.0');
  const share = service.held.get(id)?.request.artifactShare ?? '';
  const other = files.add(Buffer.from('CONTENT'));
  const longer = files.add(Buffer.from('content and more'));
  const held = files.shares.get(share);
  for (const each of [other, longer]) {
    const swapped = files.shares.get(each);
    if (!held || !swapped) return t.fail();
    files.shares.set(share, { ...swapped, share: { ...swapped.share, id: share } });
    const { code, stderr } = await place.run(['review', id, '-o', place.path(`out-${each.slice(-4)}`)]);
    t.is(code, 8, stderr);
    t.regex(stderr, /ARTIFACT_MISMATCH/);
    t.deepEqual(await place.files(`out-${each.slice(-4)}`, 'artifact'), []);
  }
});

test('attack 15: what was swapped in the folder between review and approve is found before anything is signed', async t => {
  const { service, place, propose } = await start(t);
  await place.write('src/a.txt', 'a');
  await place.write('src/b.txt', 'b');
  const id = await propose(t, place.path('src'), '1.0');
  const key = await service.voters.ACME.keyFile(place.folder);
  const approve = (folder: string): Promise<CommandResult> =>
    place.run(['approve', id, '--reviewed', folder, '--key', key, '--yes']);
  const attacks: ((folder: string) => Promise<unknown>)[] = [
    folder => appendFile(join(folder, 'contents', 'a.txt'), '!'),
    folder => writeFile(join(folder, 'contents', 'a.txt'), 'A'),
    folder => rm(join(folder, 'contents', 'b.txt')),
    folder => writeFile(join(folder, 'contents', 'c.txt'), 'c'),
    folder => writeFile(join(folder, 'artifact', 'src.sha256'), `${sha256('a')}  a.txt\n`),
    async folder => {
      await rm(join(folder, 'contents', 'b.txt'));
      await symlink(place.path('src', 'b.txt'), join(folder, 'contents', 'b.txt'));
    },
  ];
  for (const [i, attack] of attacks.entries()) {
    const folder = place.path(`out${i}`);
    same(t, await place.run(['review', id, '-o', folder]), 0);
    await attack(folder);
    const { code, stderr } = await approve(folder);
    t.is(code, 8, `${i}: ${stderr}`);
  }
  t.deepEqual(service.votes, []);
  same(t, await place.run(['review', id, '-o', place.path('good')]), 0);
  same(t, await approve(place.path('good')), 0);
  t.is(service.votes.length, 1);
  await mkdir(place.path('none'));
  same(t, await approve(place.path('none')), 2);
});

test('attack 19: a gateway that shows another statement under the id after the review gets no vote', async t => {
  const { service, place, propose } = await start(t);
  const id = await propose(t, await place.write('widget.tar', 'content'), '1.0');
  const key = await service.voters.ACME.keyFile(place.folder);
  const folder = place.path('out');
  same(t, await place.run(['review', id, '-o', folder]), 0);
  const { facts } = service.held.get(id) ?? {};
  if (!facts) return t.fail();
  const other = encodeStatement({ kind: 'approval', proposal: { ...facts, threshold: 1 } });
  service.lie = proposal => ({
    ...proposal,
    threshold: 1,
    statement: other,
    statementSha256: Buffer.from(sha256(other), 'hex'),
  });
  for (const args of [
    ['review', id, '-o', place.path('again')],
    ['approve', id, '--key', key, '--yes'],
    ['approve', id, '--reviewed', folder, '--key', key, '--yes'],
    ['reject', id, '--reason', 'no', '--key', key, '--yes'],
    ['proposals', 'unvote', id, '--reason', 'no', '--key', key, '--yes'],
  ]) {
    const { code, stderr } = await place.run(args);
    t.is(code, 4, stderr);
    t.regex(stderr, /\[PROPOSAL_FORKED\]/);
  }
  t.deepEqual(service.votes, []);
  // The first one that was shown is the one that counts.
  service.lie = proposal => proposal;
  same(t, await place.run(['approve', id, '--key', key, '--yes']), 0);
});

test('approve, reject, unvote: what is signed is shown, and asked for on a terminal; --yes elsewhere', async t => {
  const { service, place, propose } = await start(t);
  const path = await place.write('widget.tar', 'content');
  const key = await service.voters.ACME.keyFile(place.folder);
  const id = await propose(t, path, '1.0');
  const approve = ['approve', id, '--key', key];
  const alone = await place.run(approve);
  t.is(alone.code, 2);
  t.regex(alone.stderr, /--yes: needed/);
  for (const answer of ['n\n', '\n', 'maybe\n']) {
    const { code, stderr } = await place.run(approve, { terminal: true, stdin: Readable.from([answer]) });
    t.is(code, 130, stderr);
    t.true(
      stderr.includes(
        `statement with SHA-256 ${service.held.get(id)?.statement && sha256(service.held.get(id)?.statement ?? '')}`,
      ),
    );
    t.regex(stderr, /approve this for ACME, with the key [0-9a-f]{12}\?/);
  }
  t.deepEqual(service.votes, []);
  const yes = await place.run(approve, { terminal: true, stdin: Readable.from(['y\n']) });
  same(t, yes, 0);
  t.is(yes.stdout, `${id} open: 1 of 2 have approved\n`);
  const unvote = await place.run(['proposals', 'unvote', id, '--reason', 'too soon', '--key', key, '--yes', '--json']);
  same(t, unvote, 0);
  t.is(JSON.parse(unvote.stdout).proposal.standings[0].votes.at(-1).reason, 'too soon');
  const reject = await place.run(['reject', id, '--reason', 'tests fail', '--key', key, '--yes']);
  same(t, reject, 0);
  t.regex(reject.stdout, /open: 0 of 2 have approved, 1 rejected/);
});

test('approve: a key file that others can read, a key that is not named, and a proposal that is closed', async t => {
  const { service, place, propose } = await start(t);
  const path = await place.write('widget.tar', 'content');
  const key = await service.voters.ACME.keyFile(place.folder);
  const id = await propose(t, path, '1.0');
  await chmod(key, 0o644);
  t.regex((await place.run(['approve', id, '--key', key, '--yes'])).stderr, /KEY_EXPOSED/);
  await chmod(key, 0o600);
  const { code, stdout } = await place.run([
    ...['propose', path, '--project', 'widget', '--version', '2', '--orgs', 'GLOBEX,INITECH', '--threshold', '1'],
  ]);
  t.is(code, 0);
  const refused = await place.run(['approve', stdout.trim(), '--key', key, '--yes']);
  same(t, refused, 4);
  t.regex(refused.stderr, /APPROVER_UNKNOWN/);
  same(t, await place.run(['proposals', 'withdraw', id, '--reason', 'wrong build', '--yes']), 0);
  const closed = await place.run(['approve', id, '--key', key, '--yes']);
  same(t, closed, 2);
  t.regex(closed.stderr, /PROPOSAL_CLOSED/);
  t.is(service.votes.length, 0);
});

test('proposals: list, watch, bundle and log', async t => {
  const { service, place, propose } = await start(t);
  const path = await place.write('widget.tar', 'content');
  const none = await place.run(['proposals', 'list']);
  same(t, none, 0);
  t.regex(none.stderr, /there are no such proposals/);
  const ids: string[] = [];
  for (const version of ['1', '2', '3']) ids.push(await propose(t, path, version));
  const [first = '', second = ''] = ids;
  const listed = await place.run(['proposals', 'list', '--project', 'widget', '--json']);
  t.deepEqual(
    JSON.parse(listed.stdout).map(({ id }: { id: string }) => id),
    [...ids].reverse(),
  );
  const watch = place.run(['proposals', 'watch', first]);
  await service.watched();
  await approved(service, first);
  const watched = await watch;
  same(t, watched, 0);
  t.is(watched.stdout.trim().split('\n').length, 3);
  t.regex(watched.stdout, /approved .* ago: 2 of 2 have approved\n$/);
  const open = await place.run(['proposals', 'list', '--state', 'open']);
  t.true(open.stdout.includes(second.slice(0, 12)));
  t.false(open.stdout.includes(first.slice(0, 12)));
  same(t, await place.run(['proposals', 'list', '--state', 'maybe']), 2);
  const bundle = await place.run(['proposals', 'bundle', sha256('content'), '-o', place.path('proof')]);
  same(t, bundle, 0);
  const names = [
    'widget.tar.GLOBEX.sigstore.json',
    'widget.tar.INITECH.sigstore.json',
    'widget.tar.approvals.dsse.json',
    'widget.tar.approvals.intoto.jsonl',
  ];
  t.deepEqual(await place.files('proof'), names);
  same(t, await place.run(['proposals', 'bundle', first, '-o', place.path('proof')]), 2);
  same(t, await place.run(['proposals', 'bundle', first, '-o', place.path('proof'), '--force']), 0);
  same(t, await place.run(['proposals', 'bundle', second]), 9);
  const log = await place.run(['proposals', 'log']);
  t.regex(log.stdout, /^1 {2}1970-01-01T00:00:00.001Z {2}ACME {2}070707070707 {2}recalled: wrong build\n$/);
  same(t, await place.run(['proposals', 'log', '--export', place.path('acme.log')]), 0);
  t.regex(
    await readFile(place.path('acme.log'), 'utf8'),
    /^\{"fedgate":"approval-log\/v1","federation":"fed.example","org":"ACME","gateway":"gw1"\}\n/,
  );
});
