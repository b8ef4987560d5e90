import test from 'ava';
import type { FedgateClient, NodePresence } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation } from '../support/federation.js';

const OWN =
  'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"] }, { node: ops, nodes: ["ACME"] }, { node: far, nodes: ["GLOBEX"] }]';

/** Resolves once a watcher was told that a check holds of a node; the nodes as last told. */
async function seen(
  client: FedgateClient,
  check: (nodes: ReadonlyMap<string, NodePresence>) => boolean,
  org?: string,
): Promise<ReadonlyMap<string, NodePresence>> {
  const nodes = new Map<string, NodePresence>();
  for await (const change of client.nodes.watch(org === undefined ? {} : { org })) {
    for (const node of change.nodes) nodes.set(node.node, node);
    if (change.complete && check(nodes)) break;
  }
  return nodes;
}

test('nodes: a gateway tells who is connected, whose inbox is open, and why others are away', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: OWN } });
  const ops = await ACME.node('ops');
  const [a, b] = [await ACME.node('a'), await ACME.node('b')];
  const inbox = a.subscribe(a.inbox);
  await inbox.opened;
  const before = Date.now();
  const there = await ops.nodes.list();
  t.deepEqual(
    there.map(({ node, state, why, inbox }) => [node, state, why, inbox]),
    [
      ['a', 'connected', undefined, true],
      ['b', 'connected', undefined, false],
      ['ops', 'connected', undefined, false],
    ],
  );
  t.true(there.every(({ org, since }) => org === 'ACME' && Math.abs(since.getTime() - before) < 60_000));
  a.close();
  b.close();
  const gone = await seen(ops, nodes => nodes.get('a')?.state === 'away' && nodes.get('b')?.state === 'away');
  t.like(gone.get('a'), { why: 'closed', inbox: false });
  t.like(gone.get('b'), { why: 'closed' });
});

test('nodes: one that is killed is away because its connection was lost; after a restart, because the gateway stopped', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: OWN } });
  const ops = await ACME.node('ops');
  const sub = startFedgate(t, ['sub', '--inbox', '--context', await ACME.context('victim')]);
  await sub.printed('subscribed to @victim');
  t.like(
    (await ops.nodes.list()).find(({ node }) => node === 'victim'),
    { state: 'connected', inbox: true },
  );
  sub.child.kill('SIGKILL');
  const gone = await seen(ops, nodes => nodes.get('victim')?.state === 'away');
  t.like(gone.get('victim'), { why: 'lost', inbox: false });
  const stays = await ACME.node('stays');
  stays.close();
  await seen(ops, nodes => nodes.get('stays')?.state === 'away');
  const leaves = await ACME.node('leaves');
  await ACME.stop();
  leaves.close();
  await ACME.start();
  const after = await (await ACME.node('ops')).nodes.list();
  t.deepEqual(
    after.map(({ node, state, why }) => [node, state, why]),
    [
      ['leaves', 'away', 'drained'],
      ['ops', 'connected', undefined],
      ['stays', 'away', 'closed'],
      ['victim', 'away', 'lost'],
    ],
  );
});

test('nodes: a watcher is told what there is, then each change, is told that the gateway was away, and goes on', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: OWN } });
  const ops = await ACME.node('ops');
  const told: string[] = [];
  const stop = new AbortController();
  let wake: () => void = () => undefined;
  const watching = (async () => {
    for await (const { nodes, interrupted } of ops.nodes.watch({ signal: stop.signal })) {
      if (interrupted) told.push(`interrupted ${interrupted.retryable}`);
      for (const { node, state, inbox } of nodes) told.push(`${node} ${state}${inbox ? ' open' : ''}`);
      wake();
    }
  })();
  const until = async (text: string): Promise<void> => {
    while (told.at(-1) !== text)
      await new Promise<void>(resolve => {
        wake = resolve;
      });
  };
  await until('ops connected');
  const a = await ACME.node('a');
  await until('a connected');
  const inbox = a.subscribe(a.inbox);
  await until('a connected open');
  inbox.close();
  await until('a connected');
  a.close();
  await until('a away');
  t.is(told[0], 'ops connected');
  await ACME.stop();
  await until('interrupted true');
  await ACME.start();
  while (!told.slice(told.indexOf('interrupted true')).includes('ops connected'))
    await new Promise<void>(resolve => {
      wake = resolve;
    });
  stop.abort();
  await watching;
});

test('nodes: who may ask is granted, for each organisation', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: OWN } });
  const other = await ACME.node('other');
  for (const attempt of [other.nodes.list(), other.nodes.find('ops'), other.nodes.watch().next()]) {
    const refused = await t.throwsAsync<FedgateError>(attempt);
    t.is(refused?.reason, 'NOT_GRANTED');
    t.is(refused?.metadata.grant, 'access.nodes[].nodes');
  }
  const far = await ACME.node('far');
  t.is((await t.throwsAsync<FedgateError>(far.nodes.list()))?.reason, 'NOT_GRANTED');
  const ops = await ACME.node('ops');
  t.is((await t.throwsAsync<FedgateError>(ops.nodes.list('GLOBEX')))?.reason, 'NOT_GRANTED');
  t.is((await t.throwsAsync<FedgateError>(ops.nodes.list('not an org')))?.reason, 'FIELD_INVALID');
  t.is((await t.throwsAsync<FedgateError>(ops.nodes.find('Not a node')))?.reason, 'FIELD_INVALID');
});

test('nodes: fedgate nodes list, find and watch', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: OWN } });
  const context = await ACME.context('ops');
  (await ACME.node('erp')).close();
  await seen(await ACME.node('ops'), nodes => nodes.get('erp')?.state === 'away');
  const list = await fedgate(['nodes', 'list', '--context', context]);
  t.regex(list.stdout, /ACME +erp +away +.+ +closed its connection +- +-\n/);
  t.regex(list.stdout, /ACME +ops +connected/);
  const json = JSON.parse((await fedgate(['nodes', 'list', '--json', '--context', context])).stdout);
  t.like(json[0], { org: 'ACME', node: 'erp', state: 'away', why: 'closed', inbox: false });
  t.regex((await fedgate(['nodes', 'find', 'erp', '--context', context])).stdout, /ACME +erp +away/);
  const missing = await fedgate(['nodes', 'find', 'nobody', '--context', context]);
  t.is(missing.code, 5);
  const watch = startFedgate(t, ['nodes', 'watch', '--context', context]);
  await watch.printed(/ACME\/erp {2}away: closed its connection/);
  await ACME.node('erp');
  await watch.printed(/ACME\/erp {2}connected/);
  watch.child.kill('SIGINT');
  t.is(await watch.exited, 130);
});

const ASKS = 'nodes: [{ node: ops, nodes: ["*"] }, { node: other, nodes: ["*"] }]';
const SHOWS = `nodes: [{ node: "*", subscribe: ["**"] }]
peers: [{ org: ACME, node: ops, nodes: [erp, billing, never-seen] }, { org: ACME, node: boss, nodes: ["*"] }]`;

test('nodes across organisations: what another shows to the asker is told, and what it does not is as if it were not', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, {
    ACME: { access: ASKS },
    GLOBEX: { access: SHOWS },
    INITECH: { access: 'nodes: []' },
  });
  t.truthy(INITECH);
  const [ops, other] = [await ACME.node('ops'), await ACME.node('other')];
  const erp = await GLOBEX.node('erp');
  await GLOBEX.node('hidden');
  const inbox = erp.subscribe(erp.inbox);
  await inbox.opened;
  const shown = await ops.nodes.list('GLOBEX');
  t.deepEqual(
    shown.map(({ org, node, state, inbox }) => [org, node, state, inbox]),
    [['GLOBEX', 'erp', 'connected', true]],
  );
  t.deepEqual(await other.nodes.list('GLOBEX'), []);
  t.deepEqual(await ops.nodes.list('INITECH'), []);
  t.deepEqual(await ops.nodes.find('hidden'), await ops.nodes.find('ghost'));
  t.is((await t.throwsAsync<FedgateError>(ops.nodes.list('NOBODY')))?.reason, 'ORG_UNKNOWN');
});

test('nodes across organisations: a watcher is told of each change, and of the end of the link, and goes on when it is back', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ASKS }, GLOBEX: { access: SHOWS } });
  const ops = await ACME.node('ops');
  const erp = await GLOBEX.node('erp');
  const billing = seen(ops, nodes => nodes.get('billing')?.inbox === true, 'GLOBEX');
  const client = await GLOBEX.node('billing');
  await client.subscribe(client.inbox).opened;
  t.like((await billing).get('erp'), { state: 'connected' });
  const gone = seen(ops, nodes => nodes.get('erp')?.state === 'away', 'GLOBEX');
  erp.close();
  t.like((await gone).get('erp'), { state: 'away', why: 'closed' });
  let begun: () => void = () => undefined;
  const watching = new Promise<void>(resolve => {
    begun = resolve;
  });
  const interruptions: string[] = [];
  const wentOn = (async () => {
    for await (const { complete, interrupted } of ops.nodes.watch({ org: 'GLOBEX' })) {
      if (interrupted) interruptions.push(interrupted.reason);
      if (complete) begun();
      if (complete && interruptions.length > 0) return;
    }
  })();
  await watching;
  await GLOBEX.stop();
  client.close();
  await GLOBEX.start();
  await wentOn;
  t.deepEqual(interruptions, ['PEER_UNREACHABLE']);
  let back: readonly NodePresence[] | undefined;
  while (!back) {
    back = await ops.nodes.list('GLOBEX').catch((error: FedgateError) => {
      if (error.reason === 'PEER_UNREACHABLE') return undefined;
      throw error;
    });
  }
  t.deepEqual(
    back.map(({ node, why }) => [node, why]),
    [
      ['billing', 'drained'],
      ['erp', 'closed'],
    ],
  );
});

test('nodes across organisations: one is found wherever it is shown, and who does not answer is named', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, {
    ACME: { access: ASKS },
    GLOBEX: { access: SHOWS },
    INITECH: { access: SHOWS },
  });
  const ops = await ACME.node('ops');
  await ACME.node('erp');
  await GLOBEX.node('erp');
  await INITECH.stop();
  const { nodes, unanswered } = await ops.nodes.find('erp');
  t.deepEqual(
    nodes.map(({ org, node, state }) => [org, node, state]),
    [
      ['ACME', 'erp', 'connected'],
      ['GLOBEX', 'erp', 'connected'],
    ],
  );
  t.deepEqual(
    unanswered.map(({ org, error }) => [org, error.retryable]),
    [['INITECH', true]],
  );
  const context = await ACME.context('ops');
  const found = await fedgate(['nodes', 'find', 'erp', '--context', context]);
  t.is(found.code, 0);
  t.regex(found.stdout, /GLOBEX +erp +connected/);
  t.regex(found.stderr, /INITECH did not answer/);
  const list = await fedgate(['nodes', 'list', 'GLOBEX', '--context', context]);
  t.regex(list.stdout, /GLOBEX +erp +connected/);
});
