import { createHash, randomBytes } from 'node:crypto';
import test from 'ava';
import { startFederation } from '../support/federation.js';
import { audience, FileClient } from '../support/file-client.js';

const ALL = 'nodes: [{ node: "*", publish: [], subscribe: [], share: ["*"], fetch: ["*"] }]';
const MIB = 1024 * 1024;

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

test('files: a node fetches what another node of its organisation shared', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ALL } });
  const [billing, erp] = [
    await FileClient.of(t, await ACME.context('billing')),
    await FileClient.of(t, await ACME.context('erp')),
  ];
  const content = randomBytes(9 * MIB + 5);
  const share = await billing.share(content, { name: 'a.bin', audience: audience({ orgs: ['ACME'] }) });
  t.is(share.size, BigInt(content.length));
  t.deepEqual(Buffer.from(share.sha256), sha256(content));
  t.true((await erp.fetch(share.id).bytes()).equals(content));
  const part = erp.fetch(share.id, { offset: 4194300n, length: 10n });
  t.deepEqual(await part.bytes(4194300), content.subarray(4194300, 4194310));
});

for (const dialler of ['the holder', 'the asker'] as const) {
  test(`files: a node fetches what a node of another organisation shared, when only ${dialler} can dial`, async t => {
    const orgs = await startFederation(t, {
      ACME: { access: ALL, reachable: dialler === 'the asker', extra: 'links: { dial: all }' },
      GLOBEX: { access: ALL, reachable: dialler === 'the holder', extra: 'links: { dial: all }' },
    });
    const billing = await FileClient.of(t, await orgs.ACME.context('billing'));
    const erp = await FileClient.of(t, await orgs.GLOBEX.context('erp'));
    const content = randomBytes(21 * MIB + 5);
    const share = await billing.share(content, { name: 'a.bin', audience: audience({ orgs: ['GLOBEX'] }) });
    const fetching = erp.fetch(share.id, { withManifest: true });
    const opened = await fetching.opened();
    t.is(opened.cachedBytes, 0n);
    t.is(opened.share?.audience, undefined);
    t.true((await fetching.bytes()).equals(content));
    // The second fetch comes from the own gateway, and counts as well.
    const again = erp.fetch(share.id);
    t.is((await again.opened()).cachedBytes, BigInt(content.length));
    t.true((await again.bytes()).equals(content));
    t.is((await billing.getShare(share.id)).share?.downloads, 2);
  });
}
