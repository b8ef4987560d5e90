import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { type ApprovalOrg, startApprovalFederation } from '../support/approval-federation.js';
import { ApprovalPlace } from '../support/approval-place.js';
import type { CommandResult, CommandSettings } from '../support/cli.js';
import { temporaryFolder } from '../support/registry.js';

/** People of three organisations at their terminals, with a real gateway each. */

const ORGS = ['ACME', 'GLOBEX', 'INITECH'] as const;
type Name = (typeof ORGS)[number];

interface World {
  readonly orgs: { readonly [name in Name]: ApprovalOrg };
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope = { teardown: (each: () => unknown) => void undo.push(each) };
  const { orgs } = await startApprovalFederation(scope, { ACME: {}, GLOBEX: {}, INITECH: {} });
  Object.assign(t.context, { orgs, undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

type Context = ExecutionContext<World>;

/** Somebody of an organisation, with a folder of their own and the approval key in it. */
class Person {
  readonly name: Name;
  readonly place: ApprovalPlace;
  readonly key: string;
  readonly #org: ApprovalOrg;

  private constructor(name: Name, place: ApprovalPlace, key: string, org: ApprovalOrg) {
    this.name = name;
    this.place = place;
    this.key = key;
    this.#org = org;
  }

  static async of(t: Context, name: Name): Promise<Person> {
    const org = t.context.orgs[name];
    const folder = await temporaryFolder(t);
    const key = join(folder, 'approval.key');
    await writeFile(key, org.key.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return new Person(
      name,
      new ApprovalPlace(folder, join(org.org.folder, 'nodes', 'release', 'context.yaml')),
      key,
      org,
    );
  }

  /** A command that must end well; returns what it printed. */
  async run(t: Context, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.place.run(args);
    t.is(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  vote(t: Context, how: 'approve' | 'reject', id: string, ...more: string[]): Promise<string> {
    const reason = how === 'reject' ? ['--reason', 'the tests fail'] : [];
    return this.run(t, how, id, ...reason, '--key', this.key, '--yes', ...more);
  }

  propose(path: string, version: string, settings: CommandSettings = {}, ...more: string[]): Promise<CommandResult> {
    const terms = ['--project', 'tool', '--version', version, '--orgs', ORGS.join(','), '--threshold', '2'];
    return this.place.run(['propose', path, ...terms, ...more], settings);
  }

  /** Resolves when the own gateway holds a proposal that fits. */
  async sees(id: string, states: readonly string[] = []): Promise<void> {
    const names = ['', 'open', 'approved', 'rejected', 'expired', 'withdrawn'];
    await this.#org.node.until(
      Buffer.from(id, 'hex'),
      ({ state }) => states.length === 0 || states.includes(names[state] ?? ''),
    );
  }
}

const three = async (t: Context): Promise<readonly [Person, Person, Person]> => [
  await Person.of(t, 'ACME'),
  await Person.of(t, 'GLOBEX'),
  await Person.of(t, 'INITECH'),
];

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

test.serial(
  'approvals: a package is proposed, reviewed, approved by two of three, and fetched by a policy; then its next version',
  async t => {
    t.timeout(180_000);
    const [acme, globex, initech] = await three(t);
    await acme.place.write('tool/main.js', 'one\ntwo\n');
    await acme.place.write('tool/lib/a.js', 'a\n');
    const waiting = acme.propose(acme.place.path('tool'), '1.0', {}, '--wait', '--note', 'please look');
    const [first] = await listed(t, initech, 'tool');
    if (first === undefined) return t.fail();
    t.regex(
      await initech.run(t, 'review', first.slice(0, 8), '-o', initech.place.path('out')),
      /nothing of this project was approved before, all of it is new: 2 files/,
    );
    await initech.vote(t, 'approve', first, '--reviewed', initech.place.path('out'));
    await globex.sees(first);
    await globex.vote(t, 'approve', first);
    const done = await waiting;
    t.is(done.code, 0, done.stderr);
    t.is(done.stdout, `${first}\n`);
    await acme.sees(first, ['approved']);
    const shown = await acme.run(t, 'proposals', 'show', first);
    t.regex(shown, /^GLOBEX +approved +1 of 1 +yes +alice/m);
    t.regex(shown, /^ACME +nothing yet/m);

    await initech.sees(first, ['approved']);
    const { contentsShare } = JSON.parse(await initech.run(t, 'proposals', 'show', first, '--json')).artifact;
    const keys = Object.fromEntries(ORGS.map(org => [org, t.context.orgs[org].key.key]));
    const policy = await initech.place.policy('two', 2, keys);
    const fetch = ['fetch', contentsShare, '--require-approved', '--policy', policy];
    await initech.run(t, ...fetch, '-o', initech.place.path('app'));
    t.is(await readFile(initech.place.path('app', 'lib', 'a.js'), 'utf8'), 'a\n');
    const more = await initech.place.run([...fetch, '-o', initech.place.path('more'), '--artifact-version', '1.1']);
    t.is(more.code, 9, more.stderr);

    await acme.place.write('tool/main.js', 'one\n2\n');
    const second = (await acme.propose(acme.place.path('tool'), '1.1')).stdout.trim();
    await globex.sees(second);
    const review = await globex.run(t, 'review', second, '-o', globex.place.path('out'));
    t.true(
      review.includes(`since 1.0, the last that was approved (${first}): 1 changed, 0 added, 0 removed, 1 the same`),
    );
    t.true(review.includes('--- a/main.js\n+++ b/main.js\n@@ -1,2 +1,2 @@\n one\n-two\n+2'));
    const early = await globex.place.run(['proposals', 'bundle', second, '-o', globex.place.path('proof')]);
    t.is(early.code, 9, early.stderr);
    await globex.run(t, 'proposals', 'bundle', first, '-o', globex.place.path('proof'));
    t.deepEqual(await globex.place.files('proof'), [
      'tool.sha256.GLOBEX.sigstore.json',
      'tool.sha256.INITECH.sigstore.json',
      'tool.sha256.approvals.dsse.json',
      'tool.sha256.approvals.intoto.jsonl',
    ]);
  },
);

/** Resolves with the ids of a project once there are any. */
async function listed(t: Context, person: Person, project: string): Promise<string[]> {
  for (;;) {
    const found = JSON.parse(await person.run(t, 'proposals', 'list', '--project', project, '--json'));
    if (found.length > 0) return found.map(({ id }: { id: string }) => id);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

test.serial('approvals: two of three reject, which ends it everywhere; a vote can be taken back before', async t => {
  t.timeout(120_000);
  const [acme, globex, initech] = await three(t);
  const path = await acme.place.write('tool.tar', 'to be rejected');
  const id = (await acme.propose(path, '2.0')).stdout.trim();
  await Promise.all([globex.sees(id), initech.sees(id)]);
  await globex.vote(t, 'reject', id);
  await globex.run(t, 'proposals', 'unvote', id, '--reason', 'they pass', '--key', globex.key, '--yes');
  const again = await globex.place.run(['reject', id, '--reason', 'no', '--key', globex.key, '--yes']);
  t.is(again.code, 2);
  t.regex(again.stderr, /VOTE_FINAL/);
  await initech.vote(t, 'reject', id);
  await acme.vote(t, 'reject', id);
  await Promise.all([acme, globex, initech].map(each => each.sees(id, ['rejected'])));
  const late = await globex.place.run(['approve', id, '--key', globex.key, '--yes']);
  t.is(late.code, 2);
  t.regex(late.stderr, /PROPOSAL_CLOSED/);
});

test.serial(
  'propose: interrupted by Ctrl-C while it waits, the same command goes on with the same proposal',
  async t => {
    t.timeout(120_000);
    const [acme, globex, initech] = await three(t);
    const path = await acme.place.write('tool.tar', 'interrupted');
    const abort = new AbortController();
    const waiting = acme.propose(path, '3.0', { signal: abort.signal }, '--wait');
    const id = await newest(t, acme, '3.0');
    abort.abort();
    const interrupted = await waiting;
    t.is(interrupted.code, 130, interrupted.stderr);
    t.regex(interrupted.stderr, /the same command goes on/);
    const resumed = acme.propose(path, '3.0', {}, '--wait');
    await Promise.all([globex.sees(id), initech.sees(id)]);
    await globex.vote(t, 'approve', id);
    await initech.vote(t, 'approve', id);
    const { code, stdout, stderr } = await resumed;
    t.is(code, 0, stderr);
    t.is(stdout, `${id}\n`);
  },
);

/** Resolves with the id of a version once it is there. */
async function newest(t: Context, person: Person, version: string): Promise<string> {
  for (;;) {
    const found = JSON.parse(await person.run(t, 'proposals', 'list', '--project', 'tool', '--json'));
    const made = found.find((each: { version: string }) => each.version === version);
    if (made) return made.id;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

test.serial('proposals: withdrawn by its proposer, and by nobody else; all are told', async t => {
  t.timeout(120_000);
  const [acme, globex, initech] = await three(t);
  const id = (await acme.propose(await acme.place.write('tool.tar', 'withdrawn'), '4.0')).stdout.trim();
  await globex.sees(id);
  const foreign = await globex.place.run(['proposals', 'withdraw', id, '--reason', 'no', '--yes']);
  t.is(foreign.code, 4, foreign.stderr);
  await acme.run(t, 'proposals', 'withdraw', id, '--reason', 'wrong build', '--yes');
  await Promise.all([globex, initech].map(each => each.sees(id, ['withdrawn'])));
  t.regex(await globex.run(t, 'proposals', 'watch', id), /withdrawn .* ago/);
});

test.serial(
  'attack 5: what a share that is not the proposed artifact serves is not approved, whatever its name',
  async t => {
    const [acme, globex, initech] = await three(t);
    const path = await acme.place.write('tool.tar', 'the real one');
    const id = (await acme.propose(path, '5.0')).stdout.trim();
    for (const each of [globex, initech]) {
      await each.sees(id);
      await each.vote(t, 'approve', id);
    }
    await globex.sees(id, ['approved']);
    const fake = (
      await acme.run(t, 'share', await acme.place.write('fake/tool.tar', 'the fake one'), '--to', 'GLOBEX')
    ).trim();
    const { share } = JSON.parse(await globex.run(t, 'proposals', 'show', id, '--json')).artifact;
    const keys = Object.fromEntries(ORGS.map(org => [org, t.context.orgs[org].key.key]));
    const policy = await globex.place.policy('two', 2, keys);
    await globex.run(t, 'proposals', 'bundle', id, '-o', globex.place.path('proof'));
    const bundle = ['--bundle', globex.place.path('proof', 'tool.tar.approvals.dsse.json')];
    const out = ['-o', globex.place.path('out'), '--require-approved', '--policy', policy];
    for (const more of [[], bundle]) {
      const { code, stderr } = await globex.place.run(['fetch', fake, ...out, ...more]);
      t.is(code, 9, stderr);
      t.false((await globex.place.files()).some(name => name.startsWith('out')));
    }
    t.is(await globex.run(t, 'fetch', share, ...out), `${sha256('the real one')}  ${globex.place.path('out')}\n`);
  },
);

test.serial('proposals: the logs of two organisations hold, and do not contradict each other', async t => {
  const [acme, globex] = await three(t);
  const id = (await acme.propose(await acme.place.write('tool.tar', 'logged'), '6.0')).stdout.trim();
  await globex.sees(id);
  await globex.vote(t, 'approve', id);
  for (const each of [acme, globex]) await each.run(t, 'proposals', 'log', '--export', each.place.path('log'));
  const compare = (other: string, ...more: string[]): Promise<CommandResult> =>
    acme.place.offline(['proposals', 'compare', acme.place.path('log'), other, ...more]);
  const cas = [acme, globex].flatMap(({ name }) => ['--ca', join(t.context.orgs[name].org.folder, 'ca', 'tls.crt')]);
  for (const more of [[], cas]) {
    const { code, stdout, stderr } = await compare(globex.place.path('log'), ...more);
    t.is(code, 0, stderr);
    t.regex(stdout, /the logs of ACME \(\d+ entries\) and GLOBEX \(\d+ entries\) hold/);
    t.regex(stdout, /they do not contradict each other/);
  }
  const [header, , ...rest] = (await readFile(globex.place.path('log'), 'utf8')).split('\n');
  const broken = await compare(await globex.place.write('cut', [header, ...rest].join('\n')));
  t.is(broken.code, 7);
  t.regex(broken.stderr, /LOG_FORKED/);
});
