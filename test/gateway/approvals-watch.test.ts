import test from 'ava';
import { type Proposal, ProposalState } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { loadContext } from '../../src/client/context.js';
import { openChannel } from '../../src/transport/channel.js';
import { startApprovalFederation } from '../support/approval-federation.js';
import { ApprovalNode } from '../support/approval-node.js';

/** Watching proposals at a real gateway: how it ends, and what becomes of those who do not read. */

const KIB = 1024;
const idOf = ({ id }: Proposal): string => Buffer.from(id).toString('hex');

const acmeAlone = async (t: Parameters<typeof startApprovalFederation>[0]) =>
  (await startApprovalFederation(t, { ACME: {} })).orgs.ACME;

test.serial('watch: ends with DRAINING when the gateway stops, whether it was told something or waits', async t => {
  const { org, node, share } = await acmeAlone(t);
  const { id } = await node.propose({ artifactShare: await share('x'), orgs: ['ACME'] });
  const all = node.watch();
  const one = node.watch({ proposalId: id });
  const none = node.watch({ project: 'another' });
  for (const watching of [all, one]) t.deepEqual(Buffer.from((await watching.next()).value.id), Buffer.from(id));
  const over = [all, one, none].map(watching => t.throwsAsync(watching.next()));
  // So that the gateway has taken the call of each: this one goes behind them.
  await node.get(id);
  await org.stop();
  for (const error of await Promise.all(over)) t.like(error, { reason: 'DRAINING', retryable: true });
});

test.serial('watch: whoever reads slowly gets the newest of each, and not all that was before', async t => {
  const { org, node, share } = await acmeAlone(t);
  const artifactShare = await share('x');
  const links = Array.from({ length: 16 }, (_, i) => `https://x.example/${`${i}`.padEnd(1_000, '-')}`);
  const terms = { artifactShare, orgs: ['ACME'], links, note: 'n'.repeat(4_000) };
  const count = 100;
  const made = await Promise.all(Array.from({ length: count }, () => node.propose(terms)));
  const context = await loadContext(await org.context('slow'));
  const channel = openChannel({ ...context, window: 64 * KIB, maxReceiveBytes: 4 * KIB * KIB });
  t.teardown(() => channel.close());
  const watching = new ApprovalNode(channel).watch();
  const told: Proposal[] = [(await watching.next()).value];
  await Promise.all(made.map(({ id }) => node.withdraw(id)));
  const withdrawn = new Set<string>();
  while (withdrawn.size < count) {
    const proposal: Proposal = (await watching.next()).value;
    told.push(proposal);
    if (proposal.state === ProposalState.PROPOSAL_STATE_WITHDRAWN) withdrawn.add(idOf(proposal));
  }
  await watching.return(undefined);
  const old = told.filter(({ state }) => state === ProposalState.PROPOSAL_STATE_OPEN);
  // What lay in the buffers of the two streams when the reader stopped, some 16 each, and on the line.
  t.true(old.length >= 1 && old.length < 50, `${old.length} were told before`);
  t.is(told.length, count + old.length);
});
