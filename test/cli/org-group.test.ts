import test from 'ava';
import { EXIT } from '../../src/cli/exit-codes.js';
import { type CommandResult, fedgate } from '../support/cli.js';
import { joinOrg, startTestRegistry } from '../support/registry.js';

const run = (folder: string, ...args: readonly string[]): Promise<CommandResult> =>
  fedgate(['org', 'group', ...args, '--dir', folder]);

test('org group: named, consented to, listed, withdrawn and removed', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await joinOrg(t, registry, 'GLOBEX');
  const set = await run(acme, 'set', 'suppliers', 'GLOBEX', 'NOBODY');
  t.is(set.code, EXIT.ok, set.stderr);
  t.is(set.stdout, 'the group acme.suppliers names GLOBEX, NOBODY\n');
  t.regex(set.stderr, /not yet agreed: GLOBEX; .*fedgate org group consent acme\.suppliers/);
  const consent = await run(globex, 'consent', '@acme.suppliers');
  t.is(consent.stdout, 'GLOBEX agrees to be in the group acme.suppliers\n', consent.stderr);
  const again = await run(globex, 'consent', 'acme.suppliers', '--json');
  t.deepEqual(JSON.parse(again.stdout), { org: 'GLOBEX', group: 'acme.suppliers', consents: true, named: true });
  const listed = await run(globex, 'list', '--json');
  t.deepEqual(JSON.parse(listed.stdout), {
    group: 'acme.suppliers',
    owner: 'ACME',
    members: [
      { org: 'GLOBEX', standing: 'counts' },
      { org: 'NOBODY', standing: 'unknown' },
    ],
  });
  // What else an organisation says of itself leaves its groups as they are.
  const record = await fedgate(['org', 'record', '--dir', globex, '--gateway', 'gw1=gw.globex.example:7411']);
  t.is(record.code, EXIT.ok, record.stderr);
  t.regex((await run(acme, 'list')).stdout, /^GROUP +ORG +STANDING\nacme\.suppliers +GLOBEX +counts\n/);
  await run(globex, 'withdraw', 'acme.suppliers');
  t.regex((await run(acme, 'list')).stdout, /GLOBEX +no consent/);
  t.is((await run(acme, 'remove', 'suppliers')).stdout, 'the group acme.suppliers is gone\n');
  t.regex((await run(globex, 'list', '--all')).stdout, /^no groups\n$/);
});

test('org group: what makes no sense is refused before anything is signed', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const refusals: readonly (readonly [number, RegExp, ...string[]])[] = [
    [EXIT.usage, /not a group name/, 'set', 'No!', 'GLOBEX'],
    [EXIT.usage, /not an organisation name/, 'set', 'a', '@b'],
    [EXIT.usage, /does not say whose group/, 'consent', 'suppliers'],
    [EXIT.nothingThere, /GLOBEX/, 'consent', 'globex.suppliers'],
    [EXIT.nothingThere, /has no group a/, 'consent', 'acme.a'],
    [EXIT.nothingThere, /has no group a/, 'remove', 'a'],
  ];
  for (const [code, message, ...args] of refusals) {
    const refused = await run(acme, ...args);
    t.is(refused.code, code, `${args.join(' ')}: ${refused.stderr}`);
    t.regex(refused.stderr, message);
  }
});
