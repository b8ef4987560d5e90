import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { cp, link, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { smallDisk } from '../store/small-disk.js';
import {
  BINARY,
  type CommandResult,
  type CommandSettings,
  fedgate,
  type RunningCommand,
  startFedgate,
} from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { temporaryFolder } from '../support/registry.js';

interface World {
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  /** Context files of a node in each, and of one at ACME that may do nothing. */
  readonly acme: string;
  readonly globex: string;
  readonly stranger: string;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

const ACCESS = `nodes:
  - { node: billing, share: ["*"], fetch: ["*"] }
  - { node: erp, share: ["ACME"], fetch: ["*"] }`;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope = { teardown: (each: () => unknown) => void undo.push(each) };
  const extra = 'links: { dial: all }\ngroups: { partners: [GLOBEX] }';
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: ACCESS, extra },
    GLOBEX: { access: ACCESS, extra },
  });
  const [acme, globex, stranger] = [
    await ACME.context('billing'),
    await GLOBEX.context('erp'),
    await ACME.context('stranger'),
  ];
  Object.assign(t.context, { ACME, GLOBEX, acme, globex, stranger, undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');
const UNKNOWN = `share://ACME/${'0'.repeat(32)}`;
const DIRECTORY_TYPE = 'application/vnd.fedgate.directory+json';

/** A place for files and for what commands keep. */
class Place {
  readonly folder: string;
  readonly #variables: Record<string, string>;

  constructor(folder: string) {
    this.folder = folder;
    this.#variables = { FEDGATE_STATE_DIR: join(folder, 'state') };
  }

  static async make(t: ExecutionContext): Promise<Place> {
    return new Place(await temporaryFolder(t));
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  async write(name: string, content: Buffer | string): Promise<string> {
    await mkdir(join(this.path(name), '..'), { recursive: true });
    await writeFile(this.path(name), content);
    return this.path(name);
  }

  run(args: readonly string[], settings: CommandSettings = {}): Promise<CommandResult> {
    return fedgate(args, { ...settings, variables: this.#variables });
  }

  start(t: ExecutionContext, args: readonly string[]): RunningCommand {
    return startFedgate(t, args, this.#variables);
  }

  /** Runs it in a process of its own, its output redirected as a shell does it. */
  async redirected(how: string, args: readonly string[]): Promise<CommandResult> {
    const command = ['-c', `exec "$@" ${how}`, 'sh', process.execPath, BINARY, ...args];
    const env = { ...process.env, ...this.#variables };
    const child = spawn('sh', command, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { code, stdout, stderr };
  }

  /** Shares and returns the id. */
  async share(t: ExecutionContext<World>, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(['share', ...args, '--context', t.context.acme]);
    t.is(code, 0, stderr);
    return stdout.trim();
  }

  notes(): Promise<string[]> {
    return readdir(this.path('state', 'transfers')).catch(() => []);
  }
}

test.serial(
  'share, fetch: two files cross to another organisation; ids alone on standard output, digests as sha256sum prints them',
  async t => {
    const place = await Place.make(t);
    const { acme, globex } = t.context;
    const contents = [randomBytes(9 * 1024 * 1024 + 5), Buffer.alloc(0)];
    const paths = [await place.write('one.bin', contents[0] ?? ''), await place.write('two.bin', contents[1] ?? '')];
    const shared = await place.run(['share', ...paths, '--to', 'GLOBEX', '--context', acme]);
    t.is(shared.code, 0, shared.stderr);
    t.regex(shared.stdout, /^(share:\/\/ACME\/[0-9a-f]{32}\n){2}$/);
    t.true(shared.stderr.includes(sha256(contents[0] ?? '')));
    for (const [i, id] of shared.stdout.trim().split('\n').entries()) {
      const to = place.path(`out${i}`);
      const fetched = await place.run(['fetch', id, '-o', to, '--context', globex]);
      t.is(fetched.code, 0, fetched.stderr);
      t.is(fetched.stdout, `${sha256(contents[i] ?? '')}  ${to}\n`);
      t.true((await readFile(to)).equals(contents[i] ?? Buffer.alloc(1)));
      execFileSync('sha256sum', ['-c'], { input: fetched.stdout });
    }
    t.deepEqual(await place.notes(), []);
  },
);

test.serial('share, fetch: --json tells each event as a line', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const path = await place.write('a.txt', 'hello');
  const lines = ({ stdout }: CommandResult): { event: string; [key: string]: unknown }[] =>
    stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line));
  const terms = ['--to', 'GLOBEX/erp,@partners', '--expires', '7d', '--max-downloads', '3', '--type', 'text/plain'];
  const shared = lines(await place.run(['share', path, ...terms, '--json', '--context', acme]));
  t.deepEqual(
    shared.map(({ event }) => event),
    ['started', 'shared'],
  );
  t.like(shared[0], { file: path, totalBytes: 5, resumedBytes: 0 });
  const share = shared[1]?.share as { id: string; expireTime: string };
  t.like(share, { name: 'a.txt', mediaType: 'text/plain', size: 5, sha256: sha256('hello'), maxDownloads: 3 });
  t.deepEqual((share as { audience?: unknown }).audience, {
    orgs: [],
    nodes: ['GLOBEX/erp'],
    groups: ['partners'],
    anyone: false,
  });
  const days = (Date.parse(share.expireTime) - Date.now()) / 86_400_000;
  t.true(days > 6.9 && days <= 7);
  const to = place.path('out');
  const fetched = lines(await place.run(['fetch', share.id, '-o', to, '--json', '--context', globex]));
  t.deepEqual(
    fetched.map(({ event }) => event),
    ['started', 'fetched'],
  );
  t.like(fetched.at(-1), { share: share.id, path: to, size: 5, sha256: sha256('hello'), resumedBytes: 0 });
});

test.serial('share: standard input; what it is called and who may have it', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const stdin = 'x'.repeat(300_000);
  const shared = await place.run(['share', '-', '--name', 'dump.sql', '--anyone', '--context', acme], { stdin });
  t.is(shared.code, 0, shared.stderr);
  const id = shared.stdout.trim();
  const piped = await place.run(['fetch', id, '-o', '-', '--context', globex]);
  t.is(piped.stdout, stdin);
  t.is(piped.stderr, `${sha256(stdin)}  -\n`);
  const part = await place.run(['fetch', id, '-o', '-', '--offset', '299990', '--length', '5', '--context', globex]);
  t.is(part.stdout, 'xxxxx');
  t.regex((await place.run(['shares', 'show', id, '--context', globex])).stdout, /^name +dump\.sql$/m);
});

test.serial('share: what cannot be is a usage error that names it, before anything is sent', async t => {
  const place = await Place.make(t);
  const { acme } = t.context;
  const file = await place.write('a', 'a');
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[file, '--to', 'globex'], /--to: .*organisation name/],
    [[file, '--to', 'GLOBEX/erp/x'], /--to: /],
    [[file, '--to', '@No'], /--to: .*group/],
    [[file, '--to', 'GLOBEX,'], /--to: /],
    [[file, '--expires', 'soon'], /--expires: /],
    [[file, '--max-downloads', '-1'], /--max-downloads/],
    [[file, '--max-downloads', '4294967296'], /--max-downloads: .* from 0 to 4294967295/],
    [[file, '--expires', '0s'], /--expires: it would be over at once/],
    [[file, '--expires', '999999999d'], /--expires: "999999999d" ends later than there are dates/],
    [[file, '--type', 'text'], /--type: is not a media type/],
    [[file, '--name', 'n'.repeat(256)], /--name: is longer than 255 bytes/],
    [['-', '-'], /-: standard input is there once/],
    [[file, file, '--name', 'x'], /--name: is for one file/],
    [[place.path('none')], /no such file/],
    [['/dev/null'], /no regular file/],
    [[place.folder, '--type', 'text/plain'], /--type: is for one file, not for a folder/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr, stdout } = await place.run(['share', ...args, '--context', acme]);
    t.is(code, 2, `${args.join(' ')}: ${stderr}`);
    t.regex(stderr, message);
    t.is(stdout, '');
  }
});

test.serial(
  'share, fetch: without the grant both are refused, and a share for others is as one that is not there',
  async t => {
    const place = await Place.make(t);
    const { acme, globex, stranger } = t.context;
    const file = await place.write('a', 'a');
    t.is((await place.run(['share', file, '--to', 'GLOBEX', '--context', stranger])).code, 4);
    const own = await place.share(t, file);
    t.is((await place.run(['fetch', own, '-o', place.path('x'), '--context', stranger])).code, 4);
    const [hidden, unknown] = [
      await place.run(['fetch', own, '-o', place.path('x'), '--context', globex]),
      await place.run(['fetch', UNKNOWN, '-o', place.path('x'), '--context', globex]),
    ];
    t.deepEqual([hidden.code, unknown.code], [5, 5]);
    t.is(hidden.stderr.replace(own, ''), unknown.stderr.replace(UNKNOWN, ''));
    t.is((await place.run(['fetch', 'share://ACME/xyz', '-o', place.path('x'), '--context', globex])).code, 2);
    t.deepEqual(await readdir(place.folder), ['a', 'state']);
    const approval = await place.share(t, file, '--to', 'GLOBEX', '--requires-approval');
    const missing = await place.run(['fetch', approval, '-o', place.path('x'), '--context', globex]);
    t.is(missing.code, 4);
    t.regex(missing.stderr, /APPROVAL_MISSING/);
    t.is((await place.run(['shares', 'remove', own, approval, '--context', acme])).code, 0);
  },
);

test.serial(
  'share: an output that cannot be written is told in a sentence, and the same command tells the same id',
  async t => {
    const place = await Place.make(t);
    const file = await place.write('a.txt', 'hello');
    const args = ['share', file, '--to', 'GLOBEX', '--context', t.context.acme];
    const full = await place.redirected('>/dev/full', args);
    t.is(full.code, 2);
    t.regex(full.stderr, /^fedgate: the output cannot be written: ENOSPC[^\n]*\[FILE_UNUSABLE\]\n$/);
    const listed = JSON.parse((await place.run(['shares', 'list', '--json', '--context', t.context.acme])).stdout);
    // What is for people is no reason to fail.
    const again = await place.redirected('2>/dev/full', args);
    t.is(again.code, 0);
    t.is(again.stdout, `${listed.at(-1).id}\n`);
  },
);

test.serial('shares: list, show, update and remove, for people and as JSON', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const file = await place.write('a.txt', 'hello');
  const id = await place.share(t, file, '--to', 'GLOBEX', '--max-downloads', '1', '--name', 'tr\u202eick\u001b[31m');
  const listed = await place.run(['shares', 'list', '--context', acme]);
  t.regex(listed.stdout, /^SHARE +NAME +SIZE +OWNER +MAY FETCH +FETCHED +EXPIRES/);
  t.regex(listed.stdout, /tr\\u202eick\\u001b\[31m +5 B +billing +GLOBEX +0, at most 1 +never/);
  t.false(listed.stdout.includes('\u202e') || listed.stdout.includes('\u001b'));
  const long = await place.share(t, file, '--to', 'GLOBEX', '--name', `${'\u{1f600}'.repeat(50)}z`);
  const row = (await place.run(['shares', 'list', '--context', acme])).stdout
    .split('\n')
    .find(each => each.includes(long));
  t.regex(row ?? '', /(\u{1f600}){39}… +5 B +billing/u);
  const json = JSON.parse((await place.run(['shares', 'list', '--json', '--context', acme])).stdout) as {
    id: string;
  }[];
  t.true(json.some(share => share.id === id));

  t.is((await place.run(['fetch', id, '-o', place.path('one'), '--context', globex])).code, 0);
  const used = await place.run(['fetch', id, '-o', place.path('two'), '--context', globex]);
  t.is(used.code, 5);
  t.regex(used.stderr, /SHARE_ENDED/);
  t.regex((await place.run(['shares', 'show', id, '--context', acme])).stdout, /^fetched +1, at most 1$/m);

  const update = (...args: string[]) => place.run(['shares', 'update', id, ...args, '--context', acme]);
  t.regex((await update('--max-downloads', '0', '--expires', '1h')).stdout, /^fetched +1$/m);
  t.regex((await update('--expires', '0s')).stdout, /^expires +never$/m);
  t.is((await place.run(['fetch', id, '-o', place.path('two'), '--context', globex])).code, 0);
  t.regex((await update('--nobody')).stdout, /^may fetch +only its owner$/m);
  t.is((await place.run(['fetch', id, '-o', place.path('three'), '--context', globex])).code, 5);
  t.is((await update()).code, 2);
  t.is((await update('--nobody', '--to', 'GLOBEX')).code, 2);
  t.is((await place.run(['shares', 'update', id, '--anyone', '--context', globex])).code, 5);

  t.is((await place.run(['shares', 'remove', id, '--context', acme])).stdout, `${id} is over\n`);
  t.is((await place.run(['fetch', id, '-o', place.path('three'), '--context', globex])).code, 5);
});

test.serial('shares remove: one that cannot be removed keeps none of the others, and is told of', async t => {
  const place = await Place.make(t);
  const { acme } = t.context;
  const file = await place.write('a.txt', 'hello');
  const [one, two] = [await place.share(t, file), await place.share(t, file)];
  const removed = await place.run(['shares', 'remove', one, UNKNOWN, two, '--context', acme]);
  t.is(removed.code, 5);
  t.is(removed.stdout, `${one} is over\n${two} is over\n`);
  t.is(removed.stderr, `fedgate: there is no share ${UNKNOWN} for the caller [SHARE_UNKNOWN]\n`);
  const again = await place.run(['shares', 'remove', one, 'x', '--json', '--context', acme]);
  t.is(again.code, 2);
  const events = again.stdout.trim().split('\n');
  t.like(JSON.parse(events[0] ?? ''), { event: 'failed', share: one, reason: 'SHARE_ENDED' });
  t.like(JSON.parse(events[1] ?? ''), { event: 'failed', share: 'x', reason: 'FIELD_INVALID' });
});

test.serial(
  'fetch: what was damaged is told with a way out: once it is shared again the same command goes on',
  async t => {
    const place = await Place.make(t);
    const { ACME, acme, globex } = t.context;
    const content = randomBytes(5 * 1024 * 1024);
    const file = await place.write('a.bin', content);
    const id = await place.share(t, file, '--to', 'GLOBEX');
    const last = sha256(content.subarray(4 * 1024 * 1024));
    await rm(join(ACME.folder, 'state', 'files', 'pieces', last.slice(0, 2), last.slice(2, 4), last));
    const fetch = ['fetch', id, '-o', place.path('out'), '--context', globex];
    const damaged = await place.run(fetch);
    t.is(damaged.code, 8);
    t.regex(damaged.stderr, /once it is shared again from there, the same command goes on\n.*\[FILE_DAMAGED\]\n$/);
    t.is((await place.run(['share', file, '--context', acme])).code, 0);
    t.is((await place.run(fetch)).code, 0);
    t.true((await readFile(place.path('out'))).equals(content));
  },
);

test.serial('fetch: whatever the path is, sha256sum -c reads what is printed', async t => {
  const place = await Place.make(t);
  const { globex } = t.context;
  const id = await place.share(t, await place.write('a', 'hello'), '--to', 'GLOBEX');
  for (const name of ['plain', 'with space', 'back\\slash', 'two\nlines']) {
    const { stdout } = await place.run(['fetch', id, '-o', place.path(name), '--context', globex]);
    t.is(execFileSync('sha256sum', [place.path(name)]).toString(), stdout);
    execFileSync('sha256sum', ['-c', '--strict'], { input: stdout });
  }
});

test.serial('fetch: a disk that is full is said to be; with room the same command goes on', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const disk = await smallDisk(t, 6 * 1024 * 1024);
  if (!disk) return;
  const content = randomBytes(9 * 1024 * 1024);
  const id = await place.share(t, await place.write('big', content), '--to', 'GLOBEX', '--max-downloads', '1');
  const fetch = () => place.run(['fetch', id, '-o', join(disk, 'out'), '--context', globex]);
  const full = await fetch();
  t.is(full.code, 2);
  t.regex(full.stderr, /out: cannot be written: ENOSPC/);
  t.regex(full.stderr, /there is no room left; once there is, the same command goes on/);
  execFileSync('mount', ['-o', `remount,size=${20 * 1024 * 1024}`, disk]);
  const { code, stderr } = await fetch();
  t.is(code, 0, stderr);
  t.true((await readFile(join(disk, 'out'))).equals(content));
  t.is((await place.run(['shares', 'remove', id, '--context', acme])).code, 0);
});

test.serial(
  'fetch: a name that another chose is used only when it is a plain one and free; else -o is asked for',
  async t => {
    const place = await Place.make(t);
    const { globex } = t.context;
    const file = await place.write('a.txt', 'hello');
    const back = process.cwd();
    const here = place.path('here');
    await mkdir(here);
    process.chdir(here);
    t.teardown(() => process.chdir(back));
    for (const name of ['../x', '/etc/x', 'a/b', 'con.txt', '.bashrc', '-rf', 'C:x', 'a\u202eb', 'x.', '\u0007', '~']) {
      const id = await place.share(t, file, '--to', 'GLOBEX', `--name=${name}`);
      const { code, stderr } = await place.run(['fetch', id, '--context', globex]);
      t.is(code, 2, name);
      t.regex(stderr, /-o: the name of the share, .*; say where to with -o/);
      t.false(['\u0007', '\u202e'].some(each => stderr.includes(each)));
      const into = await place.run(['fetch', id, '-o', here, '--context', globex]);
      t.is(into.code, 2, `${name} into a folder`);
    }
    t.deepEqual(await readdir(here), []);
    t.deepEqual((await readdir(place.folder)).sort(), ['a.txt', 'here', 'state']);
    const id = await place.share(t, file, '--to', 'GLOBEX');
    t.is((await place.run(['fetch', id, '--context', globex])).stdout, `${sha256('hello')}  a.txt\n`);
    t.is(await readFile(join(here, 'a.txt'), 'utf8'), 'hello');
    const again = await place.run(['fetch', id, '--context', globex]);
    t.is(again.code, 2);
    t.regex(again.stderr, /"a\.txt" is there already; say where to with -o/);
    t.is((await place.run(['fetch', id, '-o', 'a.txt', '--context', globex])).code, 2);
    t.is((await place.run(['fetch', id, '-o', 'a.txt', '--overwrite', '--context', globex])).code, 0);
    t.is((await place.run(['fetch', id, '-o', place.folder, '--overwrite', '--context', globex])).code, 0);
    t.is((await place.run(['fetch', id, '--offset', '1', '--context', globex])).code, 2);
  },
);

test.serial(
  'fetch: a folder that was interrupted goes on under its own name too, and what is no part of it is not touched',
  async t => {
    const place = await Place.make(t);
    const { globex } = t.context;
    for (const name of ['tree/a.txt', 'tree/b.txt']) await place.write(name, name);
    const id = await place.share(t, place.path('tree'), '--to', 'GLOBEX', '--max-downloads', '1');
    const back = process.cwd();
    await mkdir(place.path('here'));
    process.chdir(place.path('here'));
    t.teardown(() => process.chdir(back));
    // It stops at the second file, because something else is in its place.
    await place.write('here/tree/b.txt', 'mine');
    const fetch = () => place.run(['fetch', id, '--context', globex]);
    const taken = await fetch();
    t.is(taken.code, 2);
    t.regex(taken.stderr, /"tree" is there already; say where to with -o/);
    t.is((await place.run(['fetch', id, '-o', 'tree', '--context', globex])).code, 2);
    t.deepEqual((await readdir(place.path('here/tree'))).sort(), ['a.txt', 'b.txt']);
    t.is(await readFile(place.path('here/tree/b.txt'), 'utf8'), 'mine');
    // From now on it is a folder that was begun.
    await rm(place.path('here/tree/b.txt'));
    const { code, stderr } = await fetch();
    t.is(code, 0, stderr);
    t.deepEqual(tree(place.path('here/tree')), tree(place.path('tree')));
    t.is((await fetch()).code, 2);
  },
);

/** All files below a folder with their contents. */
const tree = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(name => statSync(join(folder, name)).isFile())
      .map(name => [name, sha256(execFileSync('cat', [join(folder, name)], { maxBuffer: 1 << 28 }))]),
  );

test.serial('share, fetch: a folder crosses as it is, and again only what is missing', async t => {
  const place = await Place.make(t);
  const { globex } = t.context;
  for (const [name, content] of Object.entries({
    'tree/a.txt': 'a',
    'tree/.hidden': 'h',
    'tree/sub/deep/ü.bin': randomBytes(5 * 1024 * 1024),
    'tree/sub/empty': '',
    'tree/a.txt.part': 'no part of ours',
  }))
    await place.write(name, content);
  const id = await place.share(t, place.path('tree'), '--to', 'GLOBEX');
  const out = place.path('out');
  const fetched = await place.run(['fetch', id, '-o', out, '--context', globex]);
  t.is(fetched.code, 0, fetched.stderr);
  t.deepEqual(tree(out), tree(place.path('tree')));
  t.is(fetched.stdout.split('\n').length, 6);
  execFileSync('sha256sum', ['-c'], { input: fetched.stdout });

  execFileSync('rm', [join(out, 'sub', 'empty')]);
  // As a kill between naming a file and clearing up leaves it.
  const deep = join(out, 'sub', 'deep', 'ü.bin');
  await link(deep, `${deep}.part`);
  const note = { version: 1, share: id, manifestSha256: '', downloadId: '0'.repeat(32) };
  await writeFile(`${deep}.part.json`, JSON.stringify(note));
  const again = await place.run(['fetch', id, '-o', out, '--json', '--context', globex]);
  t.is(again.code, 0, again.stderr);
  t.deepEqual(tree(out), tree(place.path('tree')));
  t.is(again.stdout.match(/"event":"started"/g)?.length, 1);
  t.deepEqual(await place.notes(), []);
  await writeFile(join(out, 'a.txt'), 'mine');
  t.is((await place.run(['fetch', id, '-o', out, '--context', globex])).code, 2);
  t.is(await readFile(join(out, 'a.txt'), 'utf8'), 'mine');
});

test.serial(
  'share: a folder with a link, a pipe or a name that cannot be everywhere is refused by name, and nothing is shared',
  async t => {
    const place = await Place.make(t);
    const { acme } = t.context;
    const before = (await place.run(['shares', 'list', '--json', '--context', acme])).stdout;
    const plant: readonly (readonly [name: string, make: (path: string) => unknown, shown?: RegExp])[] = [
      ['link', path => symlink('/etc/passwd', path)],
      ['pipe', path => execFileSync('mkfifo', [path])],
      ['con.txt', path => writeFile(path, '')],
      ['a\\b', path => writeFile(path, '')],
      ['A', path => writeFile(path, '')],
      ['latin', path => writeFile(Buffer.from(`${path}\xe9`, 'latin1'), ''), /latin\ufffd: .*not valid UTF-8/],
    ];
    for (const [name, make, shown] of plant) {
      const folder = place.path(`folder-${name.length}-${plant.findIndex(([each]) => each === name)}`);
      await mkdir(folder);
      await writeFile(join(folder, 'a'), '');
      await make(join(folder, name));
      const { code, stderr } = await place.run(['share', folder, '--to', 'GLOBEX', '--context', acme]);
      t.is(code, 2, name);
      t.true(stderr.includes(JSON.stringify(name).slice(1, -1)), stderr);
      t.true(stderr.includes(folder), stderr);
      if (shown) t.regex(stderr, shown);
    }
    t.is((await place.run(['shares', 'list', '--json', '--context', acme])).stdout, before);
  },
);

test.serial('fetch: a hostile listing writes nothing outside of the folder, and nothing at all', async t => {
  const place = await Place.make(t);
  const { globex, acme } = t.context;
  const good = await place.share(t, await place.write('good', 'hello'), '--to', 'GLOBEX');
  const entry = { path: 'x', size: 5, sha256: sha256('hello'), share: good };
  const at = (...paths: string[]): object => ({ version: 1, files: paths.map(path => ({ ...entry, path })) });
  const listings: readonly (object | string)[] = [
    at('../escaped'),
    at('a/../../escaped'),
    at('/tmp/fedgate-escaped'),
    at('C:escaped'),
    at('a\\..\\escaped'),
    at('nul\0'),
    at('con.txt'),
    at('a\u202eb'),
    at('x', 'X'),
    at('\u00e9', 'e\u0301'),
    at('a', 'a/b'),
    at(''),
    at('a//b'),
    { version: 2, files: [] },
    { version: 1, files: [{ ...entry, size: -1 }] },
    { version: 1, files: [{ ...entry, share: `share://INITECH/${'0'.repeat(32)}` }] },
    { version: 1, files: [{ ...entry, share: '../x' }] },
    { version: 1, files: [{ ...entry, more: true }] },
    'not json',
  ];
  for (const [i, listing] of listings.entries()) {
    const text = typeof listing === 'string' ? listing : JSON.stringify(listing);
    const stdin = Buffer.from(text);
    const shared = await place.run(['share', '-', '--type', DIRECTORY_TYPE, '--to', 'GLOBEX', '--context', acme], {
      stdin,
    });
    const out = place.path('nest', `out${i}`);
    await mkdir(place.path('nest'), { recursive: true });
    const { code, stderr } = await place.run(['fetch', shared.stdout.trim(), '-o', out, '--context', globex]);
    t.is(code, 2, text);
    t.regex(stderr, /listing/, text);
    t.false(existsSync(out), text);
  }
  t.deepEqual(await readdir(place.path('nest')), []);
  t.deepEqual((await readdir(place.folder)).sort(), ['good', 'nest', 'state']);
  // What the listing says and what the share is must be the same.
  const lie = JSON.stringify({ version: 1, files: [{ ...entry, sha256: sha256('other') }] });
  const stdin = Buffer.from(lie);
  const shared = await place.run(['share', '-', '--type', DIRECTORY_TYPE, '--to', 'GLOBEX', '--context', acme], {
    stdin,
  });
  const lied = await place.run(['fetch', shared.stdout.trim(), '-o', place.path('lied'), '--context', globex]);
  t.regex(lied.stderr, /FILE_CHANGED/);
  t.deepEqual(await readdir(place.path('lied')), []);
});

test.serial('fetch: a folder is not written through a link that stands in its place', async t => {
  const place = await Place.make(t);
  const { globex } = t.context;
  await place.write('tree/sub/a.txt', 'a');
  const id = await place.share(t, place.path('tree'), '--to', 'GLOBEX');
  await mkdir(place.path('elsewhere'));
  await mkdir(place.path('out'));
  await symlink(place.path('elsewhere'), place.path('out', 'sub'));
  t.is((await place.run(['fetch', id, '-o', place.path('out'), '--context', globex])).code, 2);
  t.deepEqual(await readdir(place.path('elsewhere')), []);
});

const LARGE = 200 * 1024 * 1024;

/** Bytes of whole pieces that a gateway has on the disk. */
function piecesOf({ folder }: TestOrg): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name =>
    /\/pieces\/.*[0-9a-f]{64}$/.test(name),
  ).length;
}

async function until(check: () => boolean): Promise<void> {
  for (const giveUp = Date.now() + 60_000; !check(); await sleep(5)) if (Date.now() > giveUp) throw new Error('never');
}

/** Long enough for a process that waits for nothing but the gateway to end by mistake. */
async function awayFor(org: TestOrg, ms: number): Promise<void> {
  await org.stop();
  await sleep(ms);
  await org.start();
}

test.serial('share, fetch: Ctrl-C, kill -9, then the same command goes on, on both ends', async t => {
  t.timeout(300_000);
  const place = await Place.make(t);
  const { ACME, acme, globex } = t.context;
  const content = randomBytes(LARGE);
  const file = await place.write('large.bin', content);
  const shareArgs = [
    'share',
    file,
    '--to',
    'GLOBEX',
    '--max-downloads',
    '1',
    '--expires',
    '1d',
    '--json',
    '--context',
    acme,
  ];
  const before = piecesOf(ACME);
  const first = place.start(t, shareArgs);
  await until(() => piecesOf(ACME) > before + 2 || first.child.exitCode !== null);
  first.child.kill('SIGINT');
  t.is(await first.exited, 130, first.stderr);
  t.regex(first.stderr, /the same command goes on with .*large\.bin where this one ended/);
  t.is((await place.notes()).length, 1);
  const second = place.start(t, shareArgs);
  t.is(await second.exited, 0, second.stderr);
  const events = second.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  t.true(events[0].resumedBytes >= 4 * 1024 * 1024, second.stdout);
  const id = events.at(-1).share.id as string;
  t.is(events.at(-1).share.sha256, sha256(content));
  t.deepEqual(await place.notes(), []);

  const to = place.path('out.bin');
  const fetchArgs = ['fetch', id, '-o', to, '--json', '--context', globex];
  let size = 0;
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    const fetching = place.start(t, fetchArgs);
    const grown = (): boolean => existsSync(`${to}.part`) && statSync(`${to}.part`).size > size + 12 * 1024 * 1024;
    await until(() => grown() || fetching.child.exitCode !== null);
    fetching.child.kill(signal);
    t.is(await fetching.exited, signal === 'SIGINT' ? 130 : null, fetching.stderr);
    size = statSync(`${to}.part`).size;
  }
  const last = place.start(t, fetchArgs);
  t.is(await last.exited, 0, last.stderr);
  const fetched = JSON.parse(last.stdout.trim().split('\n').at(-1) ?? '');
  t.true(fetched.resumedBytes > 12 * 1024 * 1024);
  t.true((await readFile(to)).equals(content));
  // Three calls were one download.
  const shown = await place.run(['shares', 'show', id, '--json', '--context', acme]);
  t.is(JSON.parse(shown.stdout).downloads, 1);
});

test.serial('share, fetch: a gateway that is away for a while ends neither command', async t => {
  t.timeout(300_000);
  const place = await Place.make(t);
  const { ACME, GLOBEX, acme, globex } = t.context;
  const content = randomBytes(LARGE);
  const file = await place.write('large.bin', content);
  const before = piecesOf(ACME);
  const sharing = place.start(t, ['share', file, '--to', 'GLOBEX', '--context', acme]);
  await until(() => piecesOf(ACME) > before + 2 || sharing.child.exitCode !== null);
  await awayFor(ACME, 2_000);
  t.is(await sharing.exited, 0, sharing.stderr);
  const to = place.path('out.bin');
  const fetching = place.start(t, ['fetch', sharing.stdout.trim(), '-o', to, '--context', globex]);
  await until(() => existsSync(`${to}.part`) || fetching.child.exitCode !== null);
  await awayFor(GLOBEX, 2_000);
  t.is(await fetching.exited, 0, fetching.stderr);
  t.true((await readFile(to)).equals(content));
});

test.serial('share: a file that is another when the command is given again is begun anew', async t => {
  t.timeout(120_000);
  const place = await Place.make(t);
  const { ACME, acme, globex } = t.context;
  const file = await place.write('large.bin', randomBytes(LARGE));
  const args = ['share', file, '--to', 'GLOBEX', '--context', acme];
  const before = piecesOf(ACME);
  const first = place.start(t, args);
  await until(() => piecesOf(ACME) > before + 1 || first.child.exitCode !== null);
  first.child.kill('SIGINT');
  t.is(await first.exited, 130);
  await writeFile(file, 'another');
  await utimes(file, 1, 1);
  const id = (await place.run(args)).stdout.trim();
  t.is((await place.run(['fetch', id, '-o', '-', '--context', globex])).stdout, 'another');
});

test.serial(
  'share: a silent standard input keeps nobody from hearing a refusal, nor Ctrl-C from ending it',
  async t => {
    const place = await Place.make(t);
    const { acme, stranger } = t.context;
    const refused = place.start(t, ['share', '-', '--to', 'GLOBEX', '--context', stranger]);
    t.is(await refused.exited, 4, refused.stderr);
    const waiting = place.start(t, ['share', '-', '--to', 'GLOBEX', '--json', '--context', acme]);
    waiting.child.stdin?.write('some');
    await waiting.printed('started');
    waiting.child.kill('SIGINT');
    t.is(await waiting.exited, 130, waiting.stderr);
  },
);

test.serial('fetch: Ctrl-C ends it also when the gateway takes connections and says nothing', async t => {
  const place = await Place.make(t);
  const { globex } = t.context;
  const silent = createServer().listen(0, '127.0.0.1');
  t.teardown(() => silent.close());
  await once(silent, 'listening');
  await cp(join(globex, '..'), place.path('context'), { recursive: true });
  const context = place.path('context', 'context.yaml');
  const { port } = silent.address() as AddressInfo;
  const yaml = (await readFile(context, 'utf8')).replace(/^gateway: .*$/m, `gateway: "127.0.0.1:${port}"`);
  await writeFile(context, yaml);
  const fetching = place.start(t, ['fetch', UNKNOWN, '-o', place.path('out'), '--context', context]);
  await once(silent, 'connection');
  fetching.child.kill('SIGINT');
  t.is(await fetching.exited, 130, fetching.stderr);
  t.notRegex(fetching.stderr, /unexpected/);
});

test.serial('share: where nothing can be noted it is shared all the same', async t => {
  const place = await Place.make(t);
  await place.write('state', 'no folder');
  t.regex(await place.share(t, await place.write('a.txt', 'a'), '--to', 'GLOBEX'), /^share:/);
});

test.serial('share, fetch: a person at a terminal sees a bar with size, rate and what is left', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const file = await place.write('a.bin', randomBytes(6 * 1024 * 1024));
  const shared = await place.run(['share', file, '--to', 'GLOBEX', '--context', acme], { terminal: true });
  t.regex(shared.stderr, /\d+% \| \S+ \S+ of 6\.0 MiB \| \S+ \S+\/s \| .+ left/);
  t.regex(shared.stdout, /^share:\S+\n$/);
  const fetched = await place.run(['fetch', shared.stdout.trim(), '-o', place.path('b'), '--context', globex], {
    terminal: true,
  });
  t.regex(fetched.stderr, /\d+% \| \S+ \S+ of 6\.0 MiB/);
});

test.serial('transfers: tells what is on its way, for people and as JSON', async t => {
  const place = await Place.make(t);
  const { acme, globex } = t.context;
  const watching = [acme, globex].flatMap(context =>
    [[], ['--json']].map(options => place.start(t, ['transfers', ...options, '--context', context])),
  );
  const file = await place.write('watched.txt', 'hello');
  const giveUp = Date.now() + 60_000;
  let id = '';
  while (watching.some(({ stdout }) => !stdout.includes('done')) && Date.now() < giveUp) {
    id = await place.share(t, file, '--to', 'GLOBEX');
    t.is((await place.run(['fetch', id, '-o', '-', '--context', globex])).stdout, 'hello');
  }
  for (const { child, exited } of watching) {
    child.kill('SIGINT');
    t.is(await exited, 130);
  }
  const [shares, sharesJson, fetches, fetchesJson] = watching.map(({ stdout }) => stdout);
  t.regex(shares ?? '', /^billing shares watched\.txt share:\/\/ACME\/[0-9a-f]{32} {2}5 B of 5 B {2}done$/m);
  t.regex(fetches ?? '', /^erp fetches watched\.txt of ACME share:\/\/ACME\/[0-9a-f]{32} {2}5 B of 5 B {2}done$/m);
  const json = (lines = ''): object => JSON.parse(lines.split('\n')[0] ?? '');
  t.like(json(sharesJson), { kind: 'upload', org: 'ACME', node: 'billing', name: 'watched.txt', totalBytes: 5 });
  t.like(json(fetchesJson), { kind: 'fetch', org: 'ACME', node: 'erp', name: 'watched.txt', totalBytes: 5 });
  const [own, others] = await Promise.all(
    [acme, globex].map(
      async context => (await place.run(['shares', 'show', id, '--json', '--context', context])).stdout,
    ),
  );
  t.deepEqual(['downloads' in JSON.parse(own ?? ''), 'downloads' in JSON.parse(others ?? '')], [true, false]);
  t.regex((await place.run(['shares', 'show', id, '--context', globex])).stdout, /^downloads +any number$/m);
});
