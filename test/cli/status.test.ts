import test from 'ava';
import {
  DurableServiceService,
  DurableSubscription,
  GetStoreStatsResponse,
  Outbox,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { GatewayServiceService, GetStatusResponse } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { FedgateError } from '../../src/errors.js';
import { fedgate } from '../support/cli.js';
import { startFakeGateway } from '../support/fake-durable-service.js';
import type { TestScope } from '../support/registry.js';

const STATUS = GetStatusResponse.fromPartial({ federation: 'fed.example', org: 'ACME', gateway: 'gw1' });
const STORE = GetStoreStatsResponse.fromPartial({
  state: 2,
  problem: 'the disk is full',
  storeId: '00ff',
  diskBytes: 3n * 1024n ** 3n,
  freeBytes: 1024n ** 2n,
  firstOffset: 1n,
  endOffset: 2_001n,
  logBytes: 1024n ** 3n,
  quarantinedBatches: 2n,
  mendedBatches: 1n,
  commits: 10n,
  changes: 35n,
});

/** A gateway whose service for what is stored answers so. */
async function startGateway(t: TestScope, durable: { [method: string]: () => unknown }) {
  const { context } = await startFakeGateway(t, calls => {
    const handlers = (answers: { [method: string]: () => unknown }) =>
      Object.fromEntries(Object.entries(answers).map(([method, answer]) => [method, calls.unary(answer)]));
    return [
      { definition: GatewayServiceService, implementation: handlers({ getStatus: () => STATUS }) },
      { definition: DurableServiceService, implementation: handlers(durable) },
    ];
  });
  return (...args: string[]) => fedgate([...args, '--context', context]);
}

const waiting = { listOutboxes: () => ({ outboxes: [Outbox.fromPartial({ org: 'GLOBEX', waitingBatches: 3n })] }) };
const behind = {
  listSubscriptions: () => ({
    subscriptions: [
      DurableSubscription.fromPartial({ spec: { name: 'late', pattern: 'a/**' }, backlogRecords: 7n }),
      DurableSubscription.fromPartial({ spec: { name: 'on-time', pattern: 'b' } }),
    ],
  }),
};

test('status: the store in a line, outboxes that wait, and subscriptions that are behind', async t => {
  const run = await startGateway(t, { getStoreStats: () => STORE, ...waiting, ...behind });
  const { code, stdout } = await run('status');
  t.is(code, EXIT.ok);
  t.regex(
    stdout,
    /^store: full \(the disk is full\), 3.0 GiB on the disk, 1.0 MiB free, 2,000 records in the log, 2 batches quarantined$/m,
  );
  t.regex(stdout, /^GLOBEX +away +0 +3 /m);
  t.regex(stdout, /^late +a\/\*\* +one node +7 /m);
  t.false(stdout.includes('on-time'));
  const { durable } = JSON.parse((await run('status', '--json')).stdout);
  t.like(durable.store, { state: 'full', freeBytes: 1024 ** 2 });
  t.deepEqual(
    durable.subscriptions.map(({ name }: { name: string }) => name),
    ['late', 'on-time'],
  );
});

test('status: what is not granted is left out, and said in one line', async t => {
  const refuse = (): never => {
    throw new FedgateError('NOT_GRANTED', 'node ops may not administer what is stored');
  };
  const run = await startGateway(t, { getStoreStats: refuse, listOutboxes: refuse, ...behind });
  const { code, stdout } = await run('status');
  t.is(code, EXIT.ok);
  t.is(stdout.match(/not granted `admin`/g)?.length, 1);
  t.regex(stdout, /^late /m);
  const older = await startGateway(t, {});
  t.is((await older('status')).code, EXIT.ok);
});

test('store stats: shows the store of a running gateway', async t => {
  const run = await startGateway(t, { getStoreStats: () => STORE });
  const { stdout } = await run('store', 'stats');
  t.regex(stdout, /^state +full: the disk is full$/m);
  t.regex(stdout, /^size +3.0 GiB on the disk, which has 1.0 MiB left$/m);
  t.regex(stdout, /^log +2,000 records, 1.0 GiB: offsets 1 to 2,000$/m);
  t.regex(stdout, /^unreadable +2 batches were taken out, 1 of them fetched again$/m);
  t.regex(stdout, /^commits +10 since the gateway started, 3.5 changes in each$/m);
  t.like(JSON.parse((await run('store', 'stats', '--json')).stdout), { state: 'full', storeId: '00ff' });
});
