import test from 'ava';
import { orgFolder } from '../../src/identity/org-folder.js';
import { Directory, snapshotFile } from '../../src/registry/directory.js';
import { joinOrg, memberClient, snapshotRules, startTestRegistry } from '../support/registry.js';

test('join: a code makes an organisation a member, with keys, record and snapshot on its own disk', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME', { addresses: ['127.0.0.1:7411'] });
  const rules = await snapshotRules(folder);
  const directory = await Directory.load(snapshotFile(orgFolder(folder).state), rules);
  t.like(directory.member('ACME'), { org: 'ACME', state: 'active' });
  t.deepEqual(directory.member('ACME')?.profile.gateways, [{ name: 'gw1', addresses: ['127.0.0.1:7411'] }]);
  t.true(directory.isFresh());
  const client = await memberClient(t, folder);
  const { members, nextPageToken } = await client.listMembers(0, '');
  t.deepEqual(
    members.map(({ org }) => org),
    ['ACME'],
  );
  t.is(nextPageToken, '');
});
