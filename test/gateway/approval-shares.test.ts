import { createHash } from 'node:crypto';
import test from 'ava';
import { ArtifactKind, ProposalState } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { DIRECTORY_TYPE, encodeListing } from '../../src/cli/directory-listing.js';
import type { FedgateError } from '../../src/errors.js';
import { startApprovalFederation } from '../support/approval-federation.js';
import type { ApprovalNode } from '../support/approval-node.js';
import { audience, refusal } from '../support/file-client.js';

/** What nodes ask of ApprovalService, and shares that need an approval: two organisations, one federation for all tests. */

type Scene = Awaited<ReturnType<typeof start>>;
let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };
const ACCESS = `nodes: [{ node: release, share: ["*"], fetch: ["*"], approvals: [view, propose, vote] }, { node: viewer, approvals: [view] }, { node: voter, approvals: [vote] }, { node: nobody, share: ["*"] }]
peers: [{ org: "*", propose: true }]`;

const start = async () => (await startApprovalFederation(scope, { ACME: { access: ACCESS }, GLOBEX: {} })).orgs;
test.before(async () => {
  scene = await start();
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const PUBLIC = audience({ anyone: true });
const hex = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');

async function approved(node: ApprovalNode, id: Uint8Array): Promise<void> {
  await scene.GLOBEX.node.until(id, () => true);
  await scene.GLOBEX.node.approve(id, scene.GLOBEX.key);
  await node.until(id, ({ state }) => state === ProposalState.PROPOSAL_STATE_APPROVED);
}

test.serial(
  'shares that need an approval: nodes of any organisation fetch them once the content is approved',
  async t => {
    const { ACME, GLOBEX } = scene;
    const code = 'release 1';
    const artifactShare = await ACME.share(code);
    const guarded = await ACME.share(code, { requiresApproval: true });
    const other = await ACME.share('release 2', { requiresApproval: true });
    for (const { files } of [ACME, GLOBEX])
      t.is((await refusal(files.fetch(guarded).bytes())).reason, 'APPROVAL_MISSING');
    const { id } = await ACME.node.propose({ artifactShare, orgs: ['GLOBEX'], threshold: 1 });
    t.is((await refusal(GLOBEX.files.fetch(guarded).bytes())).reason, 'APPROVAL_MISSING');
    await approved(ACME.node, id);
    for (const { files } of [ACME, GLOBEX]) t.is((await files.fetch(guarded).bytes()).toString(), code);
    t.is((await refusal(GLOBEX.files.fetch(other).bytes())).reason, 'APPROVAL_MISSING');
  },
);

test.serial(
  'shares that need an approval: those of a package and the listing of its folder, once the package is approved',
  async t => {
    const { ACME, GLOBEX } = scene;
    const names = ['a.txt', 'b.txt'];
    const shared = async (requiresApproval: boolean) => {
      const files = [];
      for (const path of names) {
        const share = await ACME.share(`content of ${path}`, { requiresApproval });
        files.push({ path, size: `content of ${path}`.length, sha256: hex(`content of ${path}`), share });
      }
      const terms = { mediaType: DIRECTORY_TYPE, audience: PUBLIC, requiresApproval };
      return { files, listing: (await ACME.files.share(encodeListing(files), terms)).id };
    };
    const open = await shared(false);
    const guarded = await shared(true);
    const all = [guarded.listing, ...guarded.files.map(({ share }) => share)];
    for (const share of all) t.is((await refusal(GLOBEX.files.fetch(share).bytes())).reason, 'APPROVAL_MISSING');
    const list = names.map(name => `${hex(`content of ${name}`)}  ${name}\n`).join('');
    const proposal = {
      kind: ArtifactKind.ARTIFACT_KIND_PACKAGE,
      artifactShare: await ACME.share(list),
      contentsShare: open.listing,
      artifactName: 'scanner',
      ...{ project: 'package', orgs: ['GLOBEX'], threshold: 1 },
    };
    const { id } = await ACME.node.propose(proposal);
    await approved(ACME.node, id);
    for (const share of all) t.true((await GLOBEX.files.fetch(share).bytes()).length > 0);
    const bad = { ...proposal, artifactShare: await ACME.share('no list') };
    t.like(await t.throwsAsync(ACME.node.propose(bad)), { reason: 'FIELD_INVALID' });
  },
);

const WRONG: readonly (readonly [string, Parameters<ApprovalNode['propose']>[0]])[] = [
  ['orgs', { orgs: [] }],
  ['orgs[0]', { orgs: ['globex'] }],
  ['orgs[1]', { orgs: ['GLOBEX', 'GLOBEX'] }],
  ['orgs', { orgs: Array.from({ length: 65 }, (_, i) => `ORG${i}`) }],
  ['threshold', { threshold: 0 }],
  ['threshold', { threshold: 2 }],
  ['threshold', { threshold: 2 ** 32 - 1 }],
  ['project', { project: '' }],
  ['project', { project: 'a/b' }],
  ['version', { version: 'v 1' }],
  ['artifact_name', { artifactName: '../x' }],
  ['artifact_name', { artifactName: 'x'.repeat(256) }],
  ['note', { note: 'x'.repeat(4_097) }],
  ['links', { links: Array(17).fill('https://x.example') }],
  ['links[0]', { links: ['javascript:alert(1)'] }],
  ['not_before_ms', { notBeforeMs: -1n }],
  ['not_after_ms', { notAfterMs: 1n }],
  ['proposal_id', { proposalId: Buffer.alloc(3) }],
  ['artifact_share', { artifactShare: 'x' }],
  ['contents_share', { kind: 2 }],
  ['contents_share', { contentsShare: 'share://ACME/00' }],
  ['kind', { kind: 9 as 1 }],
];

test.serial('ApprovalService: what is wrong in a proposal is named by its field', async t => {
  const { ACME } = scene;
  const good = { artifactShare: await ACME.share('fields'), orgs: ['GLOBEX'], threshold: 1 };
  for (const [field, wrong] of WRONG) {
    const error = await t.throwsAsync<FedgateError>(ACME.node.propose({ ...good, ...wrong }), undefined, field);
    t.is(error?.fields[0]?.field, field, JSON.stringify(error?.message));
  }
  const guarded = await ACME.share('fields', { requiresApproval: true });
  const mine = (await ACME.files.share(Buffer.from('own'), { audience: audience({ orgs: ['ACME'] }) })).id;
  for (const artifactShare of [guarded, mine]) {
    const error = await t.throwsAsync<FedgateError>(ACME.node.propose({ ...good, artifactShare }));
    t.is(error?.fields[0]?.field, 'artifact_share');
  }
  const foreign = await scene.GLOBEX.share('theirs');
  for (const artifactShare of [foreign, `share://ACME/${'0'.repeat(32)}`]) {
    t.like(await t.throwsAsync(ACME.node.propose({ ...good, artifactShare })), { reason: 'SHARE_UNKNOWN' });
  }
  const gone = await ACME.share('gone');
  await ACME.files.unshare(gone);
  t.like(await t.throwsAsync(ACME.node.propose({ ...good, artifactShare: gone })), { reason: 'SHARE_ENDED' });
  t.like(await t.throwsAsync(ACME.node.propose({ ...good, orgs: ['UMBRELLA'] })), { reason: 'ORG_UNKNOWN' });
});

test.serial(
  'ApprovalService: a repeated call with one id makes one proposal; lists and pages show each once',
  async t => {
    const { ACME } = scene;
    const proposalId = Buffer.alloc(16, 7);
    const request = {
      artifactShare: await ACME.share('list'),
      orgs: ['GLOBEX'],
      threshold: 1,
      project: 'list',
      proposalId,
    };
    const first = await ACME.node.propose(request);
    t.deepEqual((await ACME.node.propose(request)).statement, first.statement);
    for (const version of ['2', '3', '4', '5'])
      await ACME.node.propose({ ...request, version, proposalId: Buffer.alloc(0) });
    const seen: string[] = [];
    let pageToken: Uint8Array = Buffer.alloc(0);
    do {
      const page = await ACME.node.list({
        project: 'list',
        pageSize: 2,
        pageToken,
        state: ProposalState.PROPOSAL_STATE_OPEN,
      });
      seen.push(...page.proposals.map(({ version }) => version));
      pageToken = page.nextPageToken;
    } while (pageToken.length > 0);
    t.deepEqual(seen, ['5', '4', '3', '2', '1.0.0']);
    t.is((await ACME.node.list({ state: ProposalState.PROPOSAL_STATE_REJECTED })).proposals.length, 0);
    for (const wrong of [{ pageSize: 10_001 }, { pageToken: Buffer.from('x') }, { project: '/' }, { proposer: 'x' }])
      t.like(await t.throwsAsync(ACME.node.list(wrong)), { reason: 'FIELD_INVALID' });
  },
);

test.serial('ApprovalService: each node may do what it is granted, and no more', async t => {
  const { ACME } = scene;
  const { ApprovalNode: Node } = await import('../support/approval-node.js');
  const node = async (name: string) => Node.of(scope, await ACME.org.context(name));
  const request = { artifactShare: await ACME.share('grants'), orgs: ['ACME'], threshold: 1, project: 'grants' };
  const { id } = await ACME.node.propose(request);
  const calls = (of: ApprovalNode) => ({
    propose: () => of.propose(request),
    withdraw: () => of.withdraw(id),
    vote: () => of.vote(undefined),
    get: () => of.get(id),
    list: () => of.list(),
    watch: () => of.watch().next(),
    bundle: () => of.bundle(undefined),
    approvers: () => of.approvers(),
    log: () => of.log(),
  });
  const allowed = async (name: string): Promise<string[]> => {
    const found: string[] = [];
    for (const [call, run] of Object.entries(calls(await node(name)))) {
      const reason = await run().then(
        () => undefined,
        (error: FedgateError) => error.reason,
      );
      if (reason !== 'NOT_GRANTED') found.push(call);
    }
    return found;
  };
  const view = ['get', 'list', 'watch', 'bundle', 'approvers', 'log'];
  t.deepEqual(await allowed('nobody'), []);
  t.deepEqual(await allowed('viewer'), view);
  t.deepEqual(await allowed('voter'), ['vote', ...view]);
});

test.serial('ApprovalService: who may vote, as the records say it', async t => {
  const { ACME, GLOBEX } = scene;
  const { orgs } = await ACME.node.approvers();
  t.deepEqual(
    orgs.map(({ org, required, keys }) => [org, required, keys.map(({ name }) => name)]),
    [
      ['ACME', 1, ['alice']],
      ['GLOBEX', 1, ['alice']],
    ],
  );
  t.is(Buffer.from(orgs[1]?.keys[0]?.keyId ?? []).toString('hex'), GLOBEX.key.key.id);
  t.is((await ACME.node.approvers('GLOBEX')).orgs.length, 1);
  t.like(await t.throwsAsync(ACME.node.approvers('UMBRELLA')), { reason: 'ORG_UNKNOWN' });
});
