import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { decodeInvitation, encodeInvitation } from '../../src/registry/invitation.js';
import { joinFederation } from '../../src/registry/join.js';
import { openAdminClient, readRunInfo } from '../../src/registry/operator.js';
import { initRegistry, registryFolder } from '../../src/registry/server/folder.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, type TestScope, temporaryFolder } from '../support/registry.js';
import { serveRegistry } from '../support/serve-registry.js';

async function makeFolder(t: TestScope): Promise<string> {
  const folder = join(await temporaryFolder(t), 'registry');
  await initRegistry({ folder, federation: FEDERATION, listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' });
  return folder;
}

/** Runs with the operator's client of a registry that runs somewhere else. */
async function withAdmin<T>(
  folder: string,
  use: (admin: Awaited<ReturnType<typeof openAdminClient>>) => Promise<T>,
): Promise<T> {
  const admin = await openAdminClient(folder);
  try {
    return await use(admin);
  } finally {
    admin.close();
  }
}

test('kill -9: what was acknowledged is there again, and the version is higher than any that was seen', async t => {
  const folder = await makeFolder(t);
  let seen = 0n;
  const expected: [string, number][] = [];
  for (const org of ['ACME', 'GLOBEX', 'INITECH']) {
    const first = await serveRegistry(t, folder);
    const code = await withAdmin(folder, async admin => {
      t.true((await admin.list()).snapshotVersion > seen);
      return (await admin.createInvitation(org, 0)).code;
    });
    await joinFederation({ code, folder: await temporaryFolder(t) });
    await first.kill();

    const second = await serveRegistry(t, folder);
    seen = await withAdmin(folder, async admin => {
      const { members } = await admin.list();
      t.deepEqual(
        members.map(({ org, state }) => [org, state]),
        [...expected, [org, 1]],
      );
      return admin.setState(org, 'suspended');
    });
    await second.kill();
    expected.push([org, 2]);
    // A used invitation is still used. The registry has another port each time.
    const third = await serveRegistry(t, folder);
    const { address = '' } = (await readRunInfo(folder)) ?? {};
    const moved = encodeInvitation({ ...decodeInvitation(code), addresses: [address] });
    await refused(t, 'INVITATION_USED', async () => joinFederation({ code: moved, folder: await temporaryFolder(t) }));
    await third.kill();
  }
});

test('kill -9: an invitation that was printed is good afterwards', async t => {
  const folder = await makeFolder(t);
  const first = await serveRegistry(t, folder);
  await withAdmin(folder, admin => admin.createInvitation('ACME', 0));
  await first.kill();
  const second = await serveRegistry(t, folder);
  const { invitations } = await withAdmin(folder, admin => admin.list());
  t.deepEqual(
    invitations.map(({ org }) => org),
    ['ACME'],
  );
  await second.kill();
});

test('SIGTERM: the registry ends with 0 and takes its traces with it', async t => {
  const folder = await makeFolder(t);
  const registry = await serveRegistry(t, folder);
  t.true(existsSync(registryFolder(folder).run));
  t.is(await registry.terminate(), 0);
  t.false(existsSync(registryFolder(folder).run));
  await refused(t, 'REGISTRY_UNREACHABLE', () => openAdminClient(folder));
});
