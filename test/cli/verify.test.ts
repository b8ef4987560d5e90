import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  ApprovalServiceService,
  type ListApproversResponse,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { bundleFiles, makeBundles } from '../../src/approvals/bundle.js';
import { encodeChecksumList } from '../../src/approvals/checksum-list.js';
import { parsePolicy } from '../../src/approvals/verify/policy.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { FedgateError } from '../../src/errors.js';
import { ARTIFACT, counted, DAY_MS, policyText, proposalOf, sha256, testKey } from '../support/approvals.js';
import { fedgate } from '../support/cli.js';
import { startFakeGateway } from '../support/fake-durable-service.js';
import { temporaryFolder } from '../support/registry.js';

const acme = testKey('ACME');
const globex = testKey('GLOBEX', 'ed25519');
const initech = testKey('INITECH');
const keys = [acme, globex, initech];

/** A proposal that is open now. */
const createdMs = Date.now() - 60_000;
const times = { createdMs, notBeforeMs: createdMs, notAfterMs: createdMs + 14 * DAY_MS };
const proposal = proposalOf(keys, { threshold: 2, ...times });

/** A folder with the artifact, its bundles and a policy, and how to verify there. */
async function given(t: ExecutionContext, signers = [acme, globex], facts = proposal) {
  const folder = await temporaryFolder(t);
  const path = (name: string): string => join(folder, name);
  await writeFile(path('scanner.tar'), ARTIFACT);
  const files = bundleFiles(makeBundles(counted(facts, signers)));
  for (const { name, text } of files) await writeFile(path(name), text);
  await writeFile(path('policy.yaml'), policyText(keys, 'threshold: 2'));
  const verify = (file: string, bundles: readonly string[], ...more: readonly string[]) =>
    fedgate(['verify', path(file), ...bundles.map(path), '--policy', path('policy.yaml'), ...more], {
      variables: { FEDGATE_STATE_DIR: path('state') },
    });
  return { path, verify, bundles: files.map(({ name }) => name) };
}

test('verify: an approved file, and who counted', async t => {
  const { verify, bundles } = await given(t);
  for (const some of [...bundles.filter(name => !name.includes('sigstore')).map(name => [name]), bundles]) {
    const { code, stdout, stderr } = await verify('scanner.tar', some);
    t.is(stderr, '');
    t.is(code, EXIT.ok);
    t.regex(
      stdout,
      /scanner\.tar is approved: ACME\/scanner 1\.4\.0 \(number 7, proposal 00112233445566778899aabbccddeeff\)\n/,
    );
    t.regex(
      stdout,
      /^ACME +counted +1 of 1\nGLOBEX +counted +1 of 1\nINITECH +not counted +0 of 1 +no signature of it counts\n2 counted, 2 needed\n$/m,
    );
  }
  const one = await verify('scanner.tar', ['scanner.tar.ACME.sigstore.json']);
  t.is(one.code, EXIT.notApproved);
  t.regex(one.stdout, /is NOT approved.*\n {2}1 of the 2 organisations that the policy demands have approved it\n/);
});

test('verify: as JSON', async t => {
  const { verify, path } = await given(t);
  const { code, stdout } = await verify('scanner.tar', ['scanner.tar.approvals.dsse.json'], '--json');
  t.is(code, EXIT.ok);
  const verdict = JSON.parse(stdout);
  t.like(verdict, { file: path('scanner.tar'), approved: true, problems: [], counted: 2, needed: 2 });
  t.like(verdict.proposal, {
    project: 'scanner',
    version: '1.4.0',
    sequence: 7,
    notAfter: new Date(times.notAfterMs).toISOString(),
  });
  t.deepEqual(verdict.orgs[0], { org: 'ACME', counts: true, approvers: 1, required: 1 });
  t.like(verdict.signatures[0], { keyId: acme.key.id, org: 'ACME', counts: true });
});

test('verify: each way in which it is not approved says why, and exits by it', async t => {
  const { verify, path, bundles } = await given(t);
  const [dsse = ''] = bundles;
  const wrong = await verify(
    'scanner.tar',
    [dsse],
    '--project',
    'ACME/other',
    '--artifact-version',
    '2',
    '--proposal',
    '00'.repeat(16),
  );
  t.is(wrong.code, EXIT.notApproved);
  t.regex(wrong.stdout, /not "ACME\/other"\n.*not "2"\n.*not "0000/);

  await writeFile(path('scanner.tar'), 'tampered');
  const tampered = await verify('scanner.tar', [dsse]);
  t.is(tampered.code, EXIT.notApproved);
  t.regex(tampered.stdout, /it has 8 bytes; approved is something of 21 bytes/);
  await writeFile(path('scanner.tar'), ARTIFACT);

  await writeFile(path(dsse), (await readFile(path(dsse), 'utf8')).replace('"sig":"M', '"sig":"N'));
  const forged = await verify('scanner.tar', [dsse]);
  t.is(forged.code, EXIT.notApproved);
  t.regex(forged.stdout, /a signature in .*dsse\.json does not count: it is not what its key signs/);
  await writeFile(path(dsse), '{"junk":1}');
  const junk = await verify('scanner.tar', [dsse]);
  t.is(junk.code, EXIT.usage);
  t.regex(junk.stderr, /dsse\.json: .*\[BUNDLE_INVALID\]/);
  t.is((await verify('none', [dsse])).code, EXIT.nothingThere);
  const missing = await verify('scanner.tar', ['none.json']);
  t.is(missing.code, EXIT.nothingThere);
  t.regex(missing.stderr, /there is no file .*none\.json/);
});

test('attack 17: a bundle of a gibibyte is not read', async t => {
  const { verify, path } = await given(t);
  await writeFile(path('huge.json'), '');
  await truncate(path('huge.json'), 2 ** 30);
  const { code, stderr } = await verify('scanner.tar', ['huge.json']);
  t.is(code, EXIT.usage);
  t.regex(stderr, /huge\.json: it is longer than 16777216 bytes/);
});

test('attack 24: without a policy, or with none that is one, verify exits by it', async t => {
  const { path, bundles } = await given(t);
  const without = await fedgate(['verify', path('scanner.tar'), path(bundles[0] ?? '')]);
  t.is(without.code, EXIT.policyMissing);
  await writeFile(path('empty.yaml'), '');
  await mkdir(path('folder.yaml'));
  for (const policy of ['none.yaml', 'empty.yaml', 'folder.yaml', bundles[0] ?? '']) {
    const { code, stderr, stdout } = await fedgate([
      'verify',
      path('scanner.tar'),
      path(bundles[0] ?? ''),
      '--policy',
      path(policy),
      '--no-state',
    ]);
    t.is(code, EXIT.policyMissing, policy);
    t.regex(stderr, /\[POLICY_INVALID\]/, policy);
    t.is(stdout, '');
  }
});

test('attack 21: an older release that was approved is refused after a newer one, unless nothing is remembered', async t => {
  const { verify, path } = await given(t);
  const older = makeBundles(counted({ ...proposal, sequence: 6, version: '1.3.0' }, [acme, globex]));
  await writeFile(path('older.json'), older.dsse);
  t.is((await verify('scanner.tar', ['older.json'])).code, EXIT.ok);
  t.is((await verify('scanner.tar', ['scanner.tar.approvals.dsse.json'])).code, EXIT.ok);
  const replayed = await verify('scanner.tar', ['older.json']);
  t.is(replayed.code, EXIT.notApproved);
  t.regex(replayed.stdout, /number 6 of ACME\/scanner; number 7 was verified before: an older release/);
  t.is((await verify('scanner.tar', ['older.json'], '--no-state')).code, EXIT.ok);
  t.is((await verify('scanner.tar', ['older.json'], '--state', path('other.json'))).code, EXIT.ok);
  await writeFile(path('policy.yaml'), policyText(keys, 'version: 2\nthreshold: 2'));
  t.is((await verify('scanner.tar', ['scanner.tar.approvals.dsse.json'])).code, EXIT.ok);
  await writeFile(path('policy.yaml'), policyText(keys, 'threshold: 2'));
  const back = await verify('scanner.tar', ['scanner.tar.approvals.dsse.json']);
  t.is(back.code, EXIT.policyMissing);
  t.regex(back.stderr, /has version 1, and version 2 was used before/);
});

test('verify: the folder of a package', async t => {
  const list = encodeChecksumList([{ path: 'bin/run', sha256: sha256('run') }]);
  const artifact = { name: 'app.sha256', kind: 'package', size: list.length, sha256: sha256(list) } as const;
  const { verify, path, bundles } = await given(t, keys, { ...proposal, artifact });
  await mkdir(path('app/bin'), { recursive: true });
  await writeFile(path('app/bin/run'), 'run');
  await writeFile(path('app.sha256'), list);
  t.is((await verify('app', bundles)).code, EXIT.ok);
  await writeFile(path('app/extra'), '');
  const extra = await verify('app', bundles, '--list', path('app.sha256'));
  t.is(extra.code, EXIT.notApproved);
  t.regex(extra.stdout, /"extra" is not on the list/);
});

test('policy init: with keys from files, and what it writes is a policy', async t => {
  const { path, verify, bundles } = await given(t);
  for (const [name, { key }] of [
    ['a', acme],
    ['g', globex],
  ] as const) {
    await writeFile(path(`${name}.pub`), key.publicKey.export({ format: 'pem', type: 'spki' }));
  }
  const init = (...more: readonly string[]) =>
    fedgate([
      'policy',
      'init',
      '--key',
      `GLOBEX=${path('g.pub')}`,
      '--key',
      `ACME=${path('a.pub')}`,
      '--threshold',
      '2',
      '-o',
      path('new.yaml'),
      ...more,
    ]);
  const { code, stdout, stderr } = await init('--require', 'ACME');
  t.is(
    stderr.replace(path('new.yaml'), 'new.yaml'),
    'new.yaml: written. Whoever gave these keys could have given others: compare their ids with those that the organisations publish, by another way.\n',
  );
  t.is(code, EXIT.ok);
  t.regex(stdout, new RegExp(`^ACME +- +ecdsa-p256 +${acme.key.id}\nGLOBEX +- +ed25519 +${globex.key.id}$`, 'm'));
  t.like(parsePolicy(await readFile(path('new.yaml'), 'utf8'), 'x'), {
    version: 1,
    threshold: 2,
    require: ['ACME'],
  } as object);
  await writeFile(path('policy.yaml'), await readFile(path('new.yaml')));
  // Made just now, and the proposal a minute ago: within what clocks may differ.
  t.is((await verify('scanner.tar', bundles)).code, EXIT.ok);

  t.regex((await init()).stderr, /new\.yaml is there already/);
  t.is((await init('--force')).code, EXIT.ok);
  t.is((await init('--force', '--orgs', 'ACME,INITECH')).code, EXIT.usage);
  const impossible = await init('--force', '--orgs', 'ACME');
  t.is(impossible.code, EXIT.policyMissing);
  t.regex(impossible.stderr, /threshold: expected at most 1/);
  await writeFile(path('a.pub'), 'junk!');
  t.regex((await init('--force')).stderr, /a\.pub: expected a public key/);
});

test('policy init: with the keys that the gateway knows, revoked ones too', async t => {
  const asked: string[][] = [];
  const keyOf = ({ key }: typeof acme, name: string, revokeTimeMs = 0n, compromised = false) => ({
    name,
    keyId: Buffer.from(key.id, 'hex'),
    publicKey: key.spki,
    addTimeMs: 1n,
    revokeTimeMs,
    compromised,
  });
  const gone = testKey('ACME');
  const answer: ListApproversResponse = {
    orgs: [
      { org: 'ACME', required: 1, keys: [keyOf(acme, 'alice'), keyOf(gone, 'bob', BigInt(Date.UTC(2026, 0, 1)))] },
      { org: 'GLOBEX', required: 0, keys: [keyOf(globex, 'carol')] },
      { org: 'INITECH', required: 1, keys: [] },
    ],
  };
  const unknown = () => {
    throw new FedgateError('ORG_UNKNOWN', 'there is no such member');
  };
  const { context, folder } = await startFakeGateway(t, calls => {
    const rest = Object.fromEntries(Object.keys(ApprovalServiceService).map(name => [name, calls.unary(unknown)]));
    const listApprovers = calls.unary(({ orgs }: { orgs: string[] }) => {
      asked.push(orgs);
      return answer;
    });
    return [{ definition: ApprovalServiceService, implementation: { ...rest, listApprovers } as never }];
  });
  const output = join(folder, 'policy.yaml');
  const init = (...more: readonly string[]) =>
    fedgate(['policy', 'init', '--threshold', '2', '-o', output, '--context', context, ...more]);
  const { code, stderr } = await init('--orgs', 'ACME,GLOBEX', '--name', 'tools');
  t.is(code, EXIT.ok, stderr);
  t.deepEqual(asked, [['ACME', 'GLOBEX']]);
  const policy = parsePolicy(await readFile(output, 'utf8'), output);
  t.is(policy.name, 'tools');
  t.deepEqual(
    policy.orgs.map(({ org, keys: some }) => [
      org,
      some.map(({ name, key, revoked }) => [name, key.id, revoked]),
    ]) as unknown,
    [
      [
        'ACME',
        [
          ['alice', acme.key.id, undefined],
          ['bob', gone.key.id, { compromised: false, atMs: Date.UTC(2026, 0, 1) }],
        ],
      ],
      ['GLOBEX', [['carol', globex.key.id, undefined]]],
    ],
  );
  t.is((await init('--force')).code, EXIT.ok);
  t.regex((await init('--force', '--orgs', 'INITECH')).stderr, /--orgs: no approval key of INITECH is known/);
});
