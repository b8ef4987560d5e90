import { createPrivateKey, createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { keyFileSigner } from '../../src/approvals/signers/key-file.js';
import { readPublicKeyFile } from '../../src/approvals/signers/public-key-file.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { fetchOwnRecord } from '../../src/registry/update.js';
import { makeApprover } from '../support/approvers.js';
import { type CommandResult, fedgate } from '../support/cli.js';
import { joinOrg, startTestRegistry, type TestScope, temporaryFolder } from '../support/registry.js';

const undo: (() => unknown)[] = [];
const registry = await startTestRegistry({ teardown: each => void undo.push(each) });
test.after.always(async () => {
  for (const each of undo.reverse()) await each();
});
let count = 0;

/** A member of its own for each test, and commands in its folder. */
async function member(t: TestScope) {
  const org = `ORG${++count}`;
  const folder = await joinOrg(t, registry, org);
  return {
    org,
    folder,
    run: (...args: readonly string[]): Promise<CommandResult> => fedgate([...args, '--dir', folder]),
    json: async (...args: readonly string[]) => {
      const result = await fedgate([...args, '--dir', folder, '--json']);
      if (result.code !== 0) throw new Error(result.stderr);
      return JSON.parse(result.stdout);
    },
  };
}

/** The public part of a key that was made elsewhere. */
async function publicKeyFile(t: TestScope, approver = makeApprover('x')): Promise<string> {
  const file = join(await temporaryFolder(t), 'x.pub');
  await writeFile(file, approver.key.publicKey.export({ type: 'spki', format: 'pem' }));
  return file;
}

for (const kind of ['ecdsa-p256', 'ed25519'] as const) {
  test(`approver add: makes a ${kind} key that only its owner reads, and registers it`, async t => {
    const { org, folder, run } = await member(t);
    const added = await run('approver', 'add', 'alice', ...(kind === 'ed25519' ? ['--ed25519'] : []));
    t.is(added.code, 0, added.stderr);
    const { approvers } = await fetchOwnRecord({ folder });
    t.like(approvers[0], { name: 'alice', revocation: undefined });
    t.is(approvers[0]?.key.algorithm, kind);
    const id = approvers[0]?.key.id ?? '';
    t.is(added.stdout, `alice of ${org} approves with the key ${id}\n`);
    const key = join(folder, 'approvers', 'alice', 'approval.key');
    t.is((await stat(key)).mode & 0o777, 0o600);
    t.is((await readPublicKeyFile(join(folder, 'approvers', 'alice', 'approval.pub'))).id, id);
    const signer = await keyFileSigner(key, () => Promise.reject(new Error('encrypted')));
    t.is(signer.key.id, id);
    t.deepEqual((await readdir(join(folder, 'approvers', 'alice'))).sort(), ['approval.key', 'approval.pub']);
  });
}

test('approver add: registers a key that was made elsewhere, and says so again when asked again', async t => {
  const { folder, json } = await member(t);
  const dave = makeApprover('dave');
  const file = await publicKeyFile(t, dave);
  const added = await json('approver', 'add', 'dave', '--public-key', file);
  t.like(added, { approver: 'dave', keyId: dave.key.id, required: 1 });
  t.false(existsSync(join(folder, 'approvers')));
  t.deepEqual(await json('approver', 'add', 'dave', '--public-key', file), added);
  t.is((await fetchOwnRecord({ folder })).sequence, 2n);
});

test('approver add: a key is never overwritten; a second one of the same approver goes elsewhere', async t => {
  const { folder, run } = await member(t);
  await run('approver', 'add', 'alice');
  const before = await readFile(join(folder, 'approvers', 'alice', 'approval.key'), 'utf8');
  const again = await run('approver', 'add', 'alice');
  t.is(again.code, 2);
  t.regex(again.stderr, /is there already, and is not overwritten; --out .* \[FILE_UNUSABLE\]/);
  t.is(await readFile(join(folder, 'approvers', 'alice', 'approval.key'), 'utf8'), before);
  const second = await run('approver', 'add', 'alice', '--out', join(folder, 'approvers', 'alice', 'second.key'));
  t.is(second.code, 0, second.stderr);
  const { approvers } = await fetchOwnRecord({ folder });
  t.deepEqual(
    approvers.map(({ name }) => name),
    ['alice', 'alice'],
  );
});

test('approver add: what fails after the key was made says where it is, and how to go on works', async t => {
  const { folder, run } = await member(t);
  // Not its own CA: that shows when the record is signed.
  const { authority } = orgFolder(folder);
  const other = await member(t);
  await rename(authority, `${authority}-away`);
  await mkdir(authority);
  for (const name of ['tls.key', 'tls.crt']) {
    const content = await readFile(join(orgFolder(other.folder).authority, name));
    await writeFile(join(authority, name), content, { mode: 0o600 });
  }
  const failed = await run('approver', 'add', 'alice');
  t.not(failed.code, 0);
  const publicFile = join(folder, 'approvers', 'alice', 'approval.pub');
  t.true(existsSync(publicFile));
  const next = `fedgate approver add alice --dir ${folder} --public-key ${publicFile}`;
  t.true(
    failed.stderr.includes(`${join(folder, 'approvers', 'alice', 'approval.key')}) and may not be registered yet`),
  );
  t.true(failed.stderr.includes(`To go on: ${next}`), failed.stderr);
  t.regex(failed.stderr, /\[RECORD_INVALID\]/);
  for (const name of ['tls.key', 'tls.crt']) {
    await writeFile(join(authority, name), await readFile(join(`${authority}-away`, name)));
  }
  const done = await fedgate(next.split(' ').slice(1));
  t.is(done.code, 0, done.stderr);
  t.is((await fetchOwnRecord({ folder })).approvers.length, 1);
});

test('approver add: nothing is made when it can be told sooner that it will not do', async t => {
  const { folder, run } = await member(t);
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [['Alice'], /not an approver's name/],
    [['alice', '--required', '0'], /--required/],
    [['alice', '--required', 'two'], /--required/],
    [['alice', '--passphrase-file', '/no/such/file'], /no such file/],
    [['alice', '--encrypt'], /--passphrase-file: needed where nobody can be asked/],
    [['alice', '--required', '2'], /would need 2 approvers and have 1/],
    [['alice', '--public-key', '/no/such/file'], /not readable/],
    [['alice', '--public-key', 'x', '--ed25519'], /no key is made then/],
    [['alice', '--public-key', 'x', '--out', 'y'], /no key is made then/],
  ];
  for (const [args, pattern] of table) {
    const result = await run('approver', 'add', ...args);
    t.is(result.code, 2, result.stderr);
    t.regex(result.stderr, pattern);
  }
  await rename(orgFolder(folder).authority, join(folder, 'elsewhere'));
  t.regex((await run('approver', 'add', 'alice')).stderr, /ca.tls\.key: private key not readable/);
  t.false(existsSync(join(folder, 'approvers')));
});

test('approver add: keys that are taken, weak, or those of TLS are refused', async t => {
  const { folder, run } = await member(t);
  const other = await member(t);
  const alice = makeApprover('alice');
  const file = await publicKeyFile(t, alice);
  t.is((await run('approver', 'add', 'alice', '--public-key', file)).code, 0);
  const taken = await other.run('approver', 'add', 'bob', '--public-key', file);
  t.is(taken.code, 2);
  t.regex(taken.stderr, /is another member's already.*\[APPROVER_KEY_TAKEN\]/);
  const renamed = await run('approver', 'add', 'bob', '--public-key', file);
  t.regex(renamed.stderr, /is the key of alice already \[APPROVER_KEY_TAKEN\]/);

  const tls = join(await temporaryFolder(t), 'tls.pub');
  const key = createPrivateKey(await readFile(join(orgFolder(folder).gateway('gw1'), 'tls.key')));
  await writeFile(tls, createPublicKey(key).export({ type: 'spki', format: 'pem' }));
  t.regex((await run('approver', 'add', 'eve', '--public-key', tls)).stderr, /is the TLS key of .*APPROVER_KEY_TAKEN/);

  const weak = join(await temporaryFolder(t), 'weak.pub');
  await writeFile(weak, Buffer.from(`302a300506032b657003210001${'00'.repeat(31)}`, 'hex'));
  t.regex(
    (await run('approver', 'add', 'eve', '--public-key', weak)).stderr,
    /anybody could sign.*APPROVER_KEY_INVALID/,
  );
});

test("approver key: makes a key on the approver's machine, encrypted when wanted", async t => {
  const folder = await temporaryFolder(t);
  const secret = join(folder, 'secret');
  await writeFile(secret, 'open sesame\n', { mode: 0o600 });
  const out = join(folder, 'deep', 'alice.key');
  const made = await fedgate(['approver', 'key', 'alice', '--out', out, '--passphrase-file', secret]);
  t.is(made.code, 0, made.stderr);
  t.is(made.stdout, await readFile(join(folder, 'deep', 'alice.pub'), 'utf8'));
  t.regex(await readFile(out, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  t.is((await stat(out)).mode & 0o777, 0o600);
  const signer = await keyFileSigner(out, async () => 'open sesame');
  const json = await fedgate(['approver', 'key', 'bob', '--out', join(folder, 'bob.key'), '--ed25519', '--json']);
  const bob = JSON.parse(json.stdout);
  t.like(bob, { approver: 'bob', key: join(folder, 'bob.key'), publicKey: join(folder, 'bob.pub') });
  t.not(bob.keyId, signer.key.id);
  t.notRegex(json.stdout + made.stdout, /PRIVATE/);
});

test('approver require: as many as there are approvers with a good key, and no more', async t => {
  const { json, run } = await member(t);
  await run('approver', 'add', 'alice');
  t.is((await run('approver', 'require', '2')).code, 2);
  t.is((await run('approver', 'add', 'bob', '--required', '3')).code, 2);
  t.like(await json('approver', 'add', 'carol', '--required', '2'), { required: 2 });
  t.like(await json('approver', 'require', '1'), { required: 1 });
  const again = await run('approver', 'require', '2');
  t.regex(again.stdout, /has approved when 2 of 2 approvers have/);
  for (const bad of ['0', '-1', '1.5', 'x', '']) t.is((await run('approver', 'require', '--', bad)).code, 2);
});

test('keys: listed, revoked, made stricter, and never taken back', async t => {
  const { org, json, run } = await member(t);
  const alice = (await json('approver', 'add', 'alice')).keyId as string;
  const bob = (await json('approver', 'add', 'bob', '--required', '2')).keyId as string;
  t.regex((await run('keys', 'list')).stdout, new RegExp(`${org} +alice +${alice} +ecdsa-p256 +good since `));

  const refused = await run('keys', 'revoke', 'alice', '--reason', 'departed', '--yes');
  t.is(refused.code, 2);
  t.regex(refused.stderr, /would need 2 approvers and have 1 with a good key; add more first, or require fewer/);
  t.is((await run('keys', 'revoke', 'alice', '--reason', 'departed', '--required', '1')).code, 2);

  const at = '2026-01-02T03:04:05.000Z';
  const revoke = ['keys', 'revoke', alice.slice(0, 8), '--at', at, '--yes'] as const;
  const departed = await json(...revoke, '--reason', 'departed', '--required', '1');
  t.deepEqual(departed, {
    org,
    required: 1,
    revoked: [{ approver: 'alice', keyId: alice, reason: 'departed', since: at }],
  });
  // Later and softer changes nothing; compromised does, since the earlier of the two times.
  t.deepEqual(await json('keys', 'revoke', 'alice', '--reason', 'departed', '--yes'), departed);
  const worse = await json('keys', 'revoke', 'alice', '--reason', 'compromised', '--yes');
  t.like(worse.revoked[0], { reason: 'compromised', since: at });
  t.like((await json('keys', 'revoke', 'alice', '--reason', 'departed', '--yes')).revoked[0], {
    reason: 'compromised',
  });

  const [listed] = await json('keys', 'list');
  t.like(listed, { org, required: 1 });
  t.like(listed.keys[0], { approver: 'alice', keyId: alice, revoked: { since: at, reason: 'compromised' } });
  t.like(listed.keys[1], { approver: 'bob', keyId: bob, algorithm: 'ecdsa-p256' });
  t.is(listed.keys[1].revoked, undefined);
});

test('keys revoke: asks on a terminal, and needs --yes elsewhere', async t => {
  const { folder, run, json } = await member(t);
  await run('approver', 'add', 'alice');
  const args = ['keys', 'revoke', 'alice', '--reason', 'compromised'];
  t.regex((await run(...args)).stderr, /--yes: needed where nobody can be asked/);
  const no = await fedgate([...args, '--dir', folder], { stdin: 'n\n', terminal: true });
  t.regex(no.stderr, /revoke [0-9a-f]{16}… of alice as compromised since .*, for ever\? \[y\/N\]/);
  t.regex(no.stderr, /nothing was done/);
  t.is((await json('keys', 'list'))[0].keys[0].revoked, undefined);
  const yes = await fedgate([...args, '--dir', folder], { stdin: 'y\n', terminal: true });
  t.is(yes.code, 0, yes.stderr);
  t.truthy((await json('keys', 'list'))[0].keys[0].revoked);
});

test('keys revoke: what is unclear or in the future is refused', async t => {
  const { run } = await member(t);
  await run('approver', 'add', 'alice');
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [['bob', '--reason', 'departed'], /has no approver and no approval key "bob"/],
    [['0000000', '--reason', 'departed'], /no approval key/],
    [['alice', '--reason', 'bored'], /reason/],
    [['alice'], /--reason/],
    [['alice', '--reason', 'departed', '--at', '2999-01-01'], /in the future/],
    [['alice', '--reason', 'departed', '--at', 'yesterday'], /--at/],
  ];
  for (const [args, pattern] of table) {
    const result = await run('keys', 'revoke', ...args, '--yes');
    t.is(result.code, 2, result.stderr);
    t.regex(result.stderr, pattern);
  }
});

test("keys list: another member's, out of its record; a name that nobody has is told", async t => {
  const one = await member(t);
  const two = await member(t);
  await two.run('approver', 'add', 'zoe');
  const listed = await one.json('keys', 'list', two.org, one.org, two.org);
  t.deepEqual(
    listed.map(({ org, keys }: { org: string; keys: readonly { approver: string }[] }) => [
      org,
      keys.map(({ approver }) => approver),
    ]),
    [
      [two.org, ['zoe']],
      [one.org, []],
    ],
  );
  t.is((await one.run('keys', 'list', 'NOBODY')).code, 5);
  t.regex((await one.run('keys', 'list')).stderr, /has no approval keys/);
});
