import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Proposal } from '../client/index.js';
import { fetchPackage, type SharedPackage, sharePackage, verifyPackage, writePolicy } from './package.js';
import type { Storyteller } from './story.js';
import { type DemoOrg, type DemoWorld, retry } from './world.js';

/** What the chapter leaves behind, to be looked at. */
export interface ApprovedPackage {
  readonly proposal: string;
  readonly contents: string;
  readonly policy: string;
}

/** A package of code is proposed, approved by two of three, fetched and verified by the third; a tampered copy is refused. */
export async function codeIsApproved(world: DemoWorld, tell: Storyteller): Promise<ApprovedPackage> {
  tell.chapter('Code is approved by two of three organisations');
  const { acme, globex, initech, folder } = world;
  const shared = await retry(() => sharePackage(world, 'widget'));
  const start = performance.now();
  const proposed = await retry(() => propose(acme, shared));
  tell.fact(
    `ACME/billing proposed ${shared.files} files as widget 1.0.0: their checksum list has SHA-256 ${proposed.artifact.sha256}`,
  );
  const early = await bundleOf(initech, proposed.id);
  tell.check('before the second signature there is no proof', early === undefined);
  const seen = await Promise.all([
    decided(acme, proposed.id, acme),
    decided(globex, proposed.id, globex),
    decided(initech, proposed.id),
  ]);
  const seconds = (performance.now() - start) / 1000;
  const who = seen.map(({ standings }) =>
    standings
      .filter(({ decision }) => decision === 'approved')
      .map(({ org }) => org)
      .join(' and '),
  );
  tell.fact(`approvers of ${who[2]} signed the same bytes, each with a key of their own; no gateway has one`);
  tell.fact(`all three gateways counted for themselves, ${seconds.toFixed(1)} s after it was proposed`);
  tell.check(
    'all three see it approved by the same two',
    who.every(each => each === 'ACME and GLOBEX'),
  );

  const policy = await writePolicy(folder, [acme, globex, initech]);
  const bundle = (await bundleOf(initech, proposed.id)) ?? '';
  const fetched = await retry(() => fetchPackage(world, shared));
  const verdict = await verifyPackage(fetched, bundle, policy);
  tell.fact(
    `INITECH/audit fetched it and verified it offline, by a policy of its own: ${verdict.counted} organisations count, ${verdict.needed} must`,
  );
  tell.check('every file is one that was approved', verdict.approved);
  await appendFile(join(fetched.folder, 'lib', 'total.js'), "fetch('https://evil.example');\n");
  const tampered = await verifyPackage(fetched, bundle, policy);
  tell.fact(`the same with one line more: ${tampered.problems.join('; ')}`);
  tell.check('a tampered copy is refused', !tampered.approved);
  return { proposal: proposed.id, contents: shared.contents.id, policy };
}

const propose = ({ client }: DemoOrg, { list, contents }: SharedPackage): Promise<Proposal> =>
  client.approvals.propose({
    artifactShare: list.id,
    contentsShare: contents.id,
    artifactName: list.name,
    project: 'widget',
    version: '1.0.0',
    orgs: ['ACME', 'GLOBEX', 'INITECH'],
    threshold: 2,
    note: 'the first one',
  });

/** Undefined: it is not approved yet, or not known there yet. */
const bundleOf = ({ client }: DemoOrg, id: string): Promise<string | undefined> =>
  client.approvals.bundle({ id }).then(
    ({ dsse }) => dsse,
    () => undefined,
  );

/** Follows a proposal until it is decided, as an organisation sees it; an automatic approver signs it as soon as it is there. */
async function decided({ client }: DemoOrg, id: string, approver?: DemoOrg): Promise<Proposal> {
  await retry(() => client.approvals.get(id));
  if (approver) await client.approvals.approve(id, approver.approver.signer);
  for await (const proposal of client.approvals.watch({ id })) if (proposal.state !== 'open') return proposal;
  throw new Error('the watch ended');
}
