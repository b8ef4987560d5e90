import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleFiles, makeBundles } from '../../src/approvals/bundle.js';
import type { ProposalFacts } from '../../src/approvals/types.js';
import { codeBlock } from '../docs/code-blocks.js';
import { ARTIFACT, counted, proposalOf, type TestKey, testKey } from '../support/approvals.js';
import { Shell } from '../support/shell.js';

/** An approved artifact in a folder, with the public key of each organisation. */
interface ApprovedWorld {
  readonly folder: string;
  readonly keys: readonly TestKey[];
  readonly proposal: ProposalFacts;
  /** Writes the artifact and its bundles again, as signed by some. */
  write(facts: ProposalFacts, signers: readonly TestKey[]): Promise<void>;
}

/** Runs with an artifact that two of three must approve, one of them with Ed25519. */
async function withApproved(use: (world: ApprovedWorld) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-clients-'));
  const keys = [testKey('ACME'), testKey('GLOBEX', 'ed25519'), testKey('INITECH')];
  const proposal = proposalOf(keys, { threshold: 2, note: 'für alle – «all»' });
  const write = async (facts: ProposalFacts, signers: readonly TestKey[]): Promise<void> => {
    await writeFile(join(folder, 'scanner.tar'), ARTIFACT);
    for (const { name, text } of bundleFiles(makeBundles(counted(facts, signers))))
      await writeFile(join(folder, name), text);
  };
  try {
    for (const { org, key } of keys)
      await writeFile(join(folder, `${org}.pub`), key.publicKey.export({ format: 'pem', type: 'spki' }));
    await use({ folder, keys, proposal, write });
  } finally {
    await rm(folder, { recursive: true });
  }
}

const accepts = async (shell: Shell): Promise<string | undefined> => {
  try {
    return (await shell.finished(60_000)) + shell.errors;
  } catch {
    return undefined;
  }
};

/** The program of docs/approvals.md for python's securesystemslib. */
export async function checkPythonVerifier(run: (args: readonly string[]) => Shell): Promise<void> {
  await withApproved(async ({ folder, keys, proposal, write }) => {
    const verify = (threshold: number) =>
      accepts(
        run([
          join(folder, 'scanner.tar'),
          join(folder, 'scanner.tar.approvals.dsse.json'),
          String(threshold),
          ...keys.map(({ org }) => join(folder, `${org}.pub`)),
        ]),
      );
    await write(proposal, keys);
    assert.equal(await verify(3), 'approved by 3 keys: scanner 1.4.0\n');
    await write(proposal, keys.slice(0, 2));
    assert.equal(await verify(2), 'approved by 2 keys: scanner 1.4.0\n');
    assert.equal(await verify(3), undefined);
    // The signatures of this proposal under another one.
    const { signatures } = JSON.parse(makeBundles(counted(proposal, keys)).dsse);
    const { signatures: _, ...other } = JSON.parse(makeBundles(counted({ ...proposal, threshold: 1 }, keys)).dsse);
    await writeFile(join(folder, 'scanner.tar.approvals.dsse.json'), JSON.stringify({ ...other, signatures }));
    assert.equal(await verify(1), undefined);
    await write(proposal, keys);
    await writeFile(join(folder, 'scanner.tar'), 'tampered');
    assert.equal(await verify(2), undefined);
  });
}

/** The command of docs/approvals.md, for each organisation. */
export async function checkCosign(command: string, passed: (what: string) => void): Promise<void> {
  const block = (await codeBlock('approvals.md', 'With cosign')).replace(/^cosign /, '"$COSIGN" ');
  await withApproved(async ({ folder, keys, proposal, write }) => {
    const verify = (org: string) =>
      accepts(
        Shell.paste(`cd "$FOLDER"\n${block}`, { COSIGN: command, FOLDER: folder, ARTIFACT: 'scanner.tar', ORG: org }),
      );
    await write(proposal, keys);
    for (const { org } of keys) {
      assert.match((await verify(org)) ?? '', /Verified OK/, org);
      passed(`cosign accepts the bundle of ${org}`);
    }
    for (const { org } of keys) {
      await write(proposal, keys);
      await writeFile(join(folder, 'scanner.tar'), 'tampered');
      assert.equal(await verify(org), undefined, `${org}: another artifact`);
      await write(proposal, [testKey(org)]);
      assert.equal(await verify(org), undefined, `${org}: another key`);
      await write(proposal, keys);
      const [mine] = makeBundles(
        counted(
          proposal,
          keys.filter(key => key.org === org),
        ),
      ).sigstore;
      const [other] = makeBundles(
        counted(
          { ...proposal, threshold: 1 },
          keys.filter(key => key.org === org),
        ),
      ).sigstore;
      const bundle = JSON.parse(mine?.bundle ?? '');
      bundle.dsseEnvelope.payload = JSON.parse(other?.bundle ?? '').dsseEnvelope.payload;
      await writeFile(join(folder, `scanner.tar.${org}.sigstore.json`), JSON.stringify(bundle));
      assert.equal(await verify(org), undefined, `${org}: another statement`);
      passed(`cosign refuses what was tampered with: ${org}`);
    }
  });
}
