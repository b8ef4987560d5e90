import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { bundleFiles, makeBundles } from '../../../src/approvals/bundle.js';
import { PAYLOAD_TYPE } from '../../../src/approvals/types.js';
import { codeBlock } from '../../docs/code-blocks.js';
import { ARTIFACT, counted, proposalOf, testKey } from '../../support/approvals.js';
import { temporaryFolder } from '../../support/registry.js';
import { Shell } from '../../support/shell.js';

test('openssl: the recipe of approvals.md accepts two of three organisations, ECDSA and Ed25519, and refuses what was tampered with', async t => {
  t.is(Buffer.byteLength(PAYLOAD_TYPE), 28);
  const folder = await temporaryFolder(t);
  const block = await codeBlock('approvals.md', 'With openssl');
  const keys = [testKey('ACME'), testKey('GLOBEX', 'ed25519'), testKey('INITECH')];
  const proposal = proposalOf(keys, {
    threshold: 2,
    note: 'a note of some length, so that base64 is long: '.repeat(80),
  });
  const write = async (facts = proposal, signers = keys): Promise<void> => {
    await writeFile(join(folder, 'scanner.tar'), ARTIFACT);
    for (const { name, text } of bundleFiles(makeBundles(counted(facts, signers))))
      await writeFile(join(folder, name), text);
  };
  const recipe = (needed = 2) =>
    Shell.paste(`cd "$FOLDER"\n${block}`, {
      FOLDER: folder,
      ARTIFACT: 'scanner.tar',
      ORGS: 'ACME GLOBEX INITECH',
      NEEDED: String(needed),
    }).finished();
  for (const { org, key } of keys) {
    await writeFile(join(folder, `${org}.pub`), key.publicKey.export({ format: 'pem', type: 'spki' }));
  }
  await write();
  t.is(await recipe(3), 'approved\n');
  await rm(join(folder, 'scanner.tar.ACME.sigstore.json'));
  t.is(await recipe(3), 'NOT approved\n');
  t.is(await recipe(2), 'approved\n');
  // The statement of another proposal, signed by one of them.
  await write({ ...proposal, note: 'another' }, keys.slice(1, 2));
  t.is(await recipe(2), 'NOT approved\n');
  await write();
  await writeFile(join(folder, 'scanner.tar'), 'tampered');
  t.is(await recipe(2), 'NOT approved\n');
  await write();
  const [acme, globex] = keys;
  if (!acme || !globex) return t.fail();
  // A bundle under the name of an organisation whose key did not sign it.
  const [forged] = makeBundles(counted(proposal, [testKey('ACME')])).sigstore;
  await writeFile(join(folder, 'scanner.tar.ACME.sigstore.json'), forged?.bundle ?? '');
  t.is(await recipe(3), 'NOT approved\n');
  // The digest in a place where it says nothing.
  await write({
    ...proposal,
    artifact: { ...proposal.artifact, sha256: '0'.repeat(64) },
    note: `"subject":[{"name":"x","digest":{"sha256":"${proposal.artifact.sha256}"}}]`,
  });
  t.is(await recipe(2), 'NOT approved\n');
});
