import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  DeadLetter,
  DurableServiceService,
  DurableSubscription,
  GetStoreStatsResponse,
  Outbox,
  OutboxBatch,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { Record } from '../../gen/ts/fedgate/messaging/v1/record.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { FedgateError } from '../../src/errors.js';
import { fedgate } from '../support/cli.js';
import { startFakeGateway } from '../support/fake-durable-service.js';
import type { TestScope } from '../support/registry.js';

const HOUR = 3_600_000;
const before = (ms: number): bigint => BigInt(Date.now() - ms);

const BILLING = DurableSubscription.fromPartial({
  spec: { name: 'billing', pattern: 'orders/*', ackWaitMs: 30_000, maxDeliveries: 10 },
  offset: 1_201n,
  backlogRecords: 1_000_000n,
  pendingRecords: 12n,
  acknowledgedRecords: 1_200n,
  deadLetters: 2n,
  consumers: ['erp', 'erp2'],
  createTimeMs: before(26 * HOUR),
  endOffset: 1_001_201n,
});

const GLOBEX = Outbox.fromPartial({
  org: 'GLOBEX',
  waitingBatches: 3n,
  waitingRecords: 4_000n,
  waitingBytes: 5n * 1024n * 1024n,
  maxWaitingBytes: 4096n * 1024n * 1024n,
  oldestTimeMs: before(2 * HOUR),
  streamEpoch: 1_863_000_000_000_000_001n,
  nextSequence: 20n,
  receivedEpoch: 1_863_000_000_000_000_001n,
  receivedSequence: 16n,
  lastError: 'connect ECONNREFUSED\u001b[2J',
});

const LETTERS = [
  DeadLetter.fromPartial({
    id: 17n,
    direction: 1,
    org: 'GLOBEX',
    channel: 'orders/created',
    senderNode: 'shop',
    subscription: 'billing',
    reason: 'no such customer',
    deliveries: 10,
    timeMs: before(HOUR),
    records: 1,
    bytes: 120n,
    held: true,
  }),
  DeadLetter.fromPartial({
    id: 18n,
    direction: 2,
    org: 'INITECH',
    channel: 'invoices',
    senderNode: 'billing',
    reason: 'INITECH does not let ACME publish to invoices\u001b[31m',
    timeMs: before(2 * HOUR),
    records: 250,
    bytes: 64_000n,
    held: false,
  }),
];

/** Answers from what stands above, and writes down what it was asked. */
async function startGateway(t: TestScope, overrides: { [method: string]: () => unknown } = {}) {
  const asked: { method: string; request: unknown }[] = [];
  const answers: { [method: string]: (request: never) => unknown } = {
    listSubscriptions: () => ({ subscriptions: [BILLING] }),
    getSubscription: ({ name }: { name: string }) => {
      if (name === 'billing') return { subscription: BILLING };
      throw new FedgateError('SUBSCRIPTION_UNKNOWN', `there is no durable subscription ${name}`);
    },
    deleteSubscription: () => ({}),
    seekSubscription: () => ({ subscription: { ...BILLING, offset: 1n } }),
    listOutboxes: () => ({ outboxes: [GLOBEX] }),
    getOutbox: () => ({
      outbox: GLOBEX,
      batches: [
        OutboxBatch.fromPartial({
          streamEpoch: GLOBEX.streamEpoch,
          sequence: 17n,
          channel: 'orders/created',
          senderNode: 'billing',
          records: 1_300,
          bytes: 262_144n,
          storedTimeMs: before(2 * HOUR),
          expireTimeMs: before(-HOUR - 30_000),
        }),
      ],
    }),
    setOutboxPaused: ({ paused }: { paused: boolean }) => ({ outbox: { ...GLOBEX, paused } }),
    purgeOutbox: () => ({ batches: 3n, records: 4_000n }),
    listDeadLetters: ({ afterId, pageSize }: { afterId: bigint; pageSize: number }) => ({
      deadLetters: LETTERS.filter(({ id }) => id > afterId).slice(0, pageSize),
      total: 2n,
    }),
    getDeadLetter: () => ({
      deadLetter: LETTERS[0],
      records: [Record.fromPartial({ id: 'order-1', timeMs: before(HOUR), payload: Buffer.from('{"n":1}\u0007') })],
    }),
    redriveDeadLetters: () => ({ redriven: 2n, skipped: 1n }),
    dropDeadLetters: () => ({ dropped: 2n }),
    getStoreStats: () =>
      GetStoreStatsResponse.fromPartial({
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
      }),
    ...overrides,
  };
  const gateway = await startFakeGateway(t, calls => {
    const unary = (method: string) => [
      method,
      calls.unary((request: never) => {
        asked.push({ method, request });
        return answers[method]?.(request);
      }),
    ];
    const exportEvidence = calls.serverStream<unknown, { chunk: Uint8Array }>(async (request, out) => {
      asked.push({ method: 'exportEvidence', request });
      await out.send({ chunk: Buffer.from('{"line":1}\n') });
      const more = overrides.exportEvidence?.() as readonly Buffer[] | undefined;
      for (const chunk of more ?? [Buffer.from('{"line":2}\n')]) await out.send({ chunk });
    });
    const implementation = { ...Object.fromEntries(Object.keys(answers).map(unary)), exportEvidence };
    return [{ definition: DurableServiceService, implementation }];
  });
  const run = (...args: string[]) => fedgate([...args, '--context', gateway.context]);
  return { ...gateway, run, asked, last: () => asked.at(-1)?.request };
}

test('subs: list, show and seek', async t => {
  const { run, last } = await startGateway(t);
  const list = await run('subs', 'list');
  t.is(list.code, EXIT.ok);
  t.is(
    list.stdout,
    [
      'SUBSCRIPTION  PATTERN   FOR       BACKLOG            OUT  DEAD  OFFSET  CONSUMED BY\n',
      'billing       orders/*  one node  1,000,000 or more  12   2     1,201   erp, erp2\n',
    ].join(''),
  );
  t.like(JSON.parse((await run('subs', 'list', '--json')).stdout)[0], {
    name: 'billing',
    pattern: 'orders/*',
    backlogRecords: 1_000_000,
    consumers: ['erp', 'erp2'],
  });
  const show = await run('subs', 'show', 'billing');
  t.regex(show.stdout, /^backlog +1,000,000 or more not acknowledged, 12 of them are out$/m);
  t.regex(show.stdout, /^dead letters +2: fedgate dead list --subscription billing$/m);
  t.regex(show.stdout, /^made .*\(1 d 2 h ago\)$/m);
  const unknown = await run('subs', 'show', 'biling');
  t.is(unknown.code, EXIT.nothingThere);
  t.regex(unknown.stderr, /no durable subscription biling \[SUBSCRIPTION_UNKNOWN\]/);
  t.is(
    (await run('subs', 'seek', 'billing', 'earliest')).stdout,
    'billing is at offset 1 now; waiting for it: 1,000,000 or more\n',
  );
  t.deepEqual(last(), { name: 'billing', position: { at: { $case: 'earliest', value: true } } });
  await run('subs', 'seek', 'billing', '2026-03-01T12:00:00Z');
  t.like(last(), { position: { at: { $case: 'timeMs', value: BigInt(Date.UTC(2026, 2, 1, 12)) } } });
  await run('subs', 'seek', 'billing', '17');
  t.like(last(), { position: { at: { $case: 'offset', value: 17n } } });
  const nowhere = await run('subs', 'seek', 'billing', 'yesterday');
  t.is(nowhere.code, EXIT.usage);
  t.regex(nowhere.stderr, /position: "yesterday" is no position: earliest, latest, an offset/);
});

test('subs delete: asks on a terminal, and needs --yes elsewhere', async t => {
  const { run, last, context, asked } = await startGateway(t);
  const deleted = (): boolean => asked.some(({ method }) => method === 'deleteSubscription');
  const unasked = await run('subs', 'delete', 'billing');
  t.is(unasked.code, EXIT.usage);
  t.regex(unasked.stderr, /--yes: needed .*delete billing on orders\/\* with its position \(not ack.*\), for ever\?/);
  const answer = (stdin: string) =>
    fedgate(['subs', 'delete', 'billing', '--context', context], { terminal: true, stdin });
  const no = await answer('n\n');
  t.is(no.code, EXIT.interrupted);
  t.regex(no.stderr, /delete billing .* \[y\/N\] /);
  t.false(deleted());
  t.is((await answer('y\n')).code, EXIT.ok);
  t.deepEqual(last(), { name: 'billing' });
  asked.length = 0;
  t.is((await run('subs', 'delete', 'billing', '--yes', '--json')).stdout, '{"deleted":"billing"}\n');
  t.true(deleted());
  t.is((await run('subs', 'delete', 'biling', '--yes')).code, EXIT.nothingThere);
});

test('outbox: list, show, pause and resume', async t => {
  const { run, last } = await startGateway(t);
  const list = await run('outbox', 'list');
  t.is(
    list.stdout,
    [
      'OUTBOX  STATE  RECORDS  BATCHES  SIZE                OLDEST   WHY IT WAITS\n',
      'GLOBEX  away   4,000    3        5.0 MiB of 4.0 GiB  2 h ago  connect ECONNREFUSED\\u001b[2J\n',
    ].join(''),
  );
  const show = await run('outbox', 'show', 'GLOBEX');
  t.regex(show.stdout, /^waiting +4,000 records in 3 batches$/m);
  t.regex(show.stdout, /^received there +up to batch 16 of stream 1863000000000000001$/m);
  t.regex(show.stdout, /^17 +orders\/created +billing +1,300 +256.0 KiB +2 h ago +in 1 h$/m);
  const json = JSON.parse((await run('outbox', 'show', 'GLOBEX', '--json')).stdout);
  t.like(json, { org: 'GLOBEX', state: 'away', streamEpoch: '1863000000000000001', waitingRecords: 4_000 });
  t.is(json.batches.length, 1);
  t.is((await run('outbox', 'show', 'globex')).code, EXIT.usage);
  t.is((await run('outbox', 'show', 'GLOBEX', '--batches', '1001')).code, EXIT.usage);
  t.is((await run('outbox', 'pause', 'GLOBEX')).stdout, 'sending to GLOBEX is paused; 4,000 records wait\n');
  t.deepEqual(last(), { org: 'GLOBEX', paused: true });
  t.is((await run('outbox', 'resume', 'GLOBEX')).stdout, 'sending to GLOBEX goes on; 4,000 records wait\n');
  t.deepEqual(last(), { org: 'GLOBEX', paused: false });
});

test('outbox purge: needs --yes where nobody can be asked, and asks on a terminal', async t => {
  const { run, last, context } = await startGateway(t);
  const unasked = await run('outbox', 'purge', 'GLOBEX');
  t.is(unasked.code, EXIT.usage);
  t.regex(unasked.stderr, /--yes: needed .*drop 4,000 records \(5.0 MiB\) waiting for GLOBEX, for ever\?/);
  t.like(last(), { maxBatches: 1 });
  const answer = (text: string) =>
    fedgate(['outbox', 'purge', 'GLOBEX', '--context', context], { stdin: text, terminal: true });
  const no = await answer('no\n');
  t.is(no.code, EXIT.interrupted);
  t.regex(no.stderr, /for ever\? \[y\/N\] .*nothing was done/s);
  t.like(last(), { maxBatches: 1 });
  t.is((await answer('y\n')).stdout, 'dropped 4,000 records in 3 batches for GLOBEX\n');
  t.deepEqual(last(), { org: 'GLOBEX' });
  t.deepEqual(JSON.parse((await run('outbox', 'purge', 'GLOBEX', '--yes', '--json')).stdout), {
    org: 'GLOBEX',
    batches: 3,
    records: 4_000,
  });
});

test('dead: list page by page, and show; what would draw on the terminal is escaped', async t => {
  const { run, last } = await startGateway(t);
  const list = await run('dead', 'list');
  t.regex(
    list.stdout,
    /^ID {2}DIRECTION {2}ORG {6}CHANNEL {9}SUBSCRIPTION {2}DELIVERIES {2}RECORDS {2}GIVEN UP {2}WHY$/m,
  );
  t.regex(
    list.stdout,
    /^17 {2}incoming {3}GLOBEX {3}orders\/created {2}billing {7}10 {10}1 {8}1 h ago {3}no such customer$/m,
  );
  t.regex(list.stdout, /^18 .* 250 .*invoices\\u001b\[31m \(records no longer held\)$/m);
  const first = await run('dead', 'list', '--limit', '1', '--outgoing', '--org', 'INITECH', '--subscription', 's');
  t.like(last(), { direction: 2, org: 'INITECH', subscription: 's', pageSize: 1, afterId: 0n });
  t.regex(first.stderr, /2 in all; --after 17 shows those behind these/);
  t.deepEqual(
    JSON.parse((await run('dead', 'list', '--json')).stdout).map(({ id }: { id: number }) => id),
    [17, 18],
  );
  t.is((await run('dead', 'list', '--incoming', '--outgoing')).code, EXIT.usage);
  const show = await run('dead', 'show', '17');
  t.regex(show.stdout, /^direction +incoming: from GLOBEX$/m);
  t.regex(show.stdout, /^given up by +subscription billing$/m);
  t.regex(show.stdout, /Z {2}id order-1 {2}\{"n":1\}\\u0007$/m);
  t.is((await run('dead', 'show', '17', '--raw')).stdout, '{"n":1}\u0007');
  t.like(JSON.parse((await run('dead', 'show', '17', '--json')).stdout), { id: 17, contents: [{ id: 'order-1' }] });
  t.is((await run('dead', 'show', 'x')).code, EXIT.usage);
});

test('dead redrive and drop: ids or --all, never both and never neither', async t => {
  const { run, last } = await startGateway(t);
  for (const args of [[], ['17', '--all'], ['--outgoing'], ['17', '--org', 'GLOBEX']]) {
    t.is((await run('dead', 'redrive', ...args)).code, EXIT.usage, args.join(' '));
    t.is((await run('dead', 'drop', '--yes', ...args)).code, EXIT.usage, args.join(' '));
  }
  const redriven = await run('dead', 'redrive', '17', '18');
  t.is(redriven.code, EXIT.nothingThere);
  t.is(
    redriven.stdout,
    'tried again: 2 dead letters; 1 is left: the records are no longer held, or the subscription is gone\n',
  );
  t.like(last(), { selection: { ids: [17n, 18n] } });
  await run('dead', 'redrive', '--all', '--subscription', 'billing');
  t.like(last(), { selection: { ids: [], subscription: 'billing' } });
  const unasked = await run('dead', 'drop', '--all', '--incoming');
  t.is(unasked.code, EXIT.usage);
  t.regex(unasked.stderr, /--yes: needed .*drop all incoming dead letters, for ever\?/);
  t.is((await run('dead', 'drop', '17', '18', '--yes')).stdout, 'dropped 2 dead letters\n');
});

test('evidence export: the file is whole or not there', async t => {
  const { run, last, folder } = await startGateway(t);
  const to = join(folder, 'march.evidence');
  const done = await run(
    'evidence',
    'export',
    '--to',
    to,
    '--org',
    'GLOBEX',
    '--channel',
    'orders/**',
    '--sent',
    '--from-time',
    '2026-03-01',
    '--to-time',
    '2026-04-01',
    '--without-records',
  );
  t.is(done.code, EXIT.ok);
  t.regex(done.stderr, /march.evidence: 22 B; to check it: fedgate evidence verify/);
  t.is(await readFile(to, 'utf8'), '{"line":1}\n{"line":2}\n');
  t.deepEqual(last(), {
    org: 'GLOBEX',
    pattern: 'orders/**',
    fromTimeMs: BigInt(Date.UTC(2026, 2, 1)),
    toTimeMs: BigInt(Date.UTC(2026, 3, 1)),
    withoutRecords: true,
    direction: 2,
  });
  const again = await run('evidence', 'export', '--to', to);
  t.is(again.code, EXIT.usage);
  t.regex(again.stderr, /march\.evidence is there already; --force replaces it \[FILE_UNUSABLE\]/);
  t.like(last(), { org: 'GLOBEX' }, 'the gateway was not asked');
  t.is((await run('evidence', 'export', '--to', to, '--force')).code, EXIT.ok);
  t.is((await run('evidence', 'export', '--to', to, '--from-time', '1h', '--to-time', '2h')).code, EXIT.usage);
  const broken = await startGateway(t, {
    exportEvidence: () => {
      throw new FedgateError('BODY_UNREADABLE', 'batch 2 cannot be read');
    },
  });
  const half = join(broken.folder, 'half.evidence');
  const failed = await broken.run('evidence', 'export', '--to', half);
  t.regex(failed.stderr, /batch 2 cannot be read \[BODY_UNREADABLE\]/);
  t.false(existsSync(half));
  t.false((await readdir(broken.folder)).some(name => name.includes('half')));
  const nowhere = await run('evidence', 'export', '--to', join(folder, 'none', 'x'));
  t.is(nowhere.code, EXIT.usage);
  t.regex(nowhere.stderr, /none\/x: cannot be written: .*\[FILE_UNUSABLE\]/);
});

test('evidence export: what could not be read is told on stderr, in the report and by the exit code; the file is written', async t => {
  const line = (number: number): string =>
    `{"kind":"unreadable","what":"batch","direction":"sent","org":"GLOBEX","epoch":"7","number":${number}}\n`;
  const rest = Buffer.from([line(2), '{"line":3}\n', ...Array.from({ length: 24 }, (_, i) => line(i + 4))].join(''));
  const { run, folder } = await startGateway(t, { exportEvidence: () => [rest.subarray(0, 30), rest.subarray(30)] });
  const to = join(folder, 'all.evidence');
  const done = await run('evidence', 'export', '--to', to, '--json');
  t.is(done.code, EXIT.checkFailed);
  t.regex(
    done.stderr,
    /^fedgate: could not be read: the sent batch 2 of stream 7 to GLOBEX; its row in the store is damaged$/m,
  );
  t.regex(done.stderr, /^fedgate: 5 more could not be read; the file names them$/m);
  t.like(JSON.parse(done.stdout), { bytes: rest.length + 11, unreadable: 25 });
  t.is(await readFile(to, 'utf8'), `{"line":1}\n${rest}`);
});
