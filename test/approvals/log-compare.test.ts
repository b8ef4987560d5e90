import test from 'ava';
import { compareLogs, demandNoContradiction } from '../../src/approvals/log-compare.js';
import { type ExportedLog, parseLog } from '../../src/approvals/log-export.js';
import type { Statement } from '../../src/approvals/types.js';
import { FedgateError } from '../../src/errors.js';
import { ballotOf, signStatement } from './book/people.js';
import { compared, gatewayKey, World } from './book/world.js';

const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));
const reason = (work: () => unknown): string => {
  try {
    work();
    return 'done';
  } catch (error) {
    return reasonOf(error);
  }
};

/** A proposal that was voted on and approved, known to all. */
async function approved() {
  const world = await World.open({ ACME: 2, GLOBEX: 1, INITECH: 1 });
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  await acme.vote('approve', proposal);
  await world.settle();
  return { world, proposal, acme, globex: world.side('GLOBEX'), initech: world.side('INITECH') };
}

test('log compare: honest logs that say the same differ in nothing', async t => {
  const { world, acme, globex, proposal } = await approved();
  t.deepEqual(await compared(acme, globex), []);
  await globex.vote('approve', proposal);
  const [found] = await compared(acme, globex);
  t.is(found?.proposal, proposal.id);
  t.deepEqual(found?.contradictions, []);
  t.deepEqual(found?.differences, [
    `only GLOBEX has the approval by GLOBEX with key ${globex.people[0]?.key.id}`,
    'at ACME it is open, at GLOBEX approved',
  ]);
  await world.settle();
  t.deepEqual(await compared(acme, globex), []);
  const second = await acme.propose({ version: '2', orgs: [acme.org, globex.org] });
  t.deepEqual(await compared(acme, globex), [
    { proposal: second.id, differences: ['only ACME has it'], contradictions: [] },
  ]);
});

test('log compare: an entry that was changed, left out, moved or added breaks the chain', async t => {
  const { acme } = await approved();
  const text = await acme.exportLog();
  const lines = text.trimEnd().split('\n');
  t.is(parseLog(text).entries.length, lines.length - 1);
  const join = (...parts: string[]) => parts.join('\n');
  const [header = '', first = '', second = '', ...rest] = lines;
  t.is(
    reason(() => parseLog(join(header, second, ...rest))),
    'LOG_FORKED',
  );
  t.is(
    reason(() => parseLog(join(header, first, ...rest))),
    'LOG_FORKED',
  );
  t.is(
    reason(() => parseLog(join(header, second, first, ...rest))),
    'LOG_FORKED',
  );
  t.is(
    reason(() => parseLog(join(header, first, first, second, ...rest))),
    'LOG_FORKED',
  );
  const changed = JSON.parse(second);
  changed.entry = Buffer.concat([Buffer.from(changed.entry, 'base64'), Buffer.of(8, 1)]).toString('base64');
  t.is(
    reason(() => parseLog(join(header, first, JSON.stringify(changed), ...rest))),
    'LOG_FORKED',
  );
  // Its beginning is a log as well: an older one.
  t.is(
    reason(() => parseLog(join(header, first, second))),
    'done',
  );
});

test('log compare: a file that is none', t => {
  for (const text of [
    '',
    '{}',
    '[]',
    'x',
    '{"fedgate":"approval-log/v1"}',
    '{"fedgate":"approval-log/v2","federation":"f","org":"A","gateway":"g"}',
  ]) {
    t.is(
      reason(() => parseLog(text)),
      'FIELD_INVALID',
      text,
    );
  }
  const header = '{"fedgate":"approval-log/v1","federation":"f","org":"A","gateway":"g"}';
  for (const line of ['{}', '1', 'null', '{"index":"1","entry":"","hash":""}', '{"index":1}']) {
    t.is(
      reason(() => parseLog(`${header}\n${line}\n`)),
      'FIELD_INVALID',
      line,
    );
  }
  t.deepEqual(parseLog(header).entries, []);
});

/** What ACME says to one of two organisations and not to the other. */
async function contradictions(
  first: Statement,
  second: Statement,
  { world, globex, initech }: Awaited<ReturnType<typeof approved>>,
) {
  const by = world.side('ACME').people[1];
  if (!by) throw new Error('nobody');
  await globex.hear('ACME', { $case: 'ballot', value: { envelope: signStatement(first, by) } });
  await initech.hear('ACME', { $case: 'ballot', value: { envelope: signStatement(second, by) } });
  const found = await compared(globex, initech);
  return {
    texts: found.flatMap(one => one.contradictions).join(),
    outcome: reason(() => demandNoContradiction(found)),
  };
}

test('log compare: a key that says yes here and no there, or no with two texts', async t => {
  const one = await approved();
  const yesAndNo = await contradictions(
    ballotOf('approve', one.proposal, 'ACME'),
    ballotOf('reject', one.proposal, 'ACME'),
    one,
  );
  t.regex(yesAndNo.texts, /ACME has approved and rejected with key/);
  t.is(yesAndNo.outcome, 'LOG_FORKED');
  const other = await approved();
  const twoTexts = await contradictions(
    ballotOf('reject', other.proposal, 'ACME', { reason: 'x' }),
    ballotOf('reject', other.proposal, 'ACME', { reason: 'y' }),
    other,
  );
  t.regex(twoTexts.texts, /two different texts of the rejection by ACME/);
  t.is(twoTexts.outcome, 'LOG_FORKED');
});

test('log compare: receipts count only when their signature holds', async t => {
  const { acme, globex } = await approved();
  const [left, right] = [parseLog(await acme.exportLog()), parseLog(await globex.exportLog())];
  const other: ExportedLog = {
    source: right.source,
    entries: right.entries.map(entry => ({ ...entry, hash: Buffer.alloc(32, entry.index) })),
  };
  const all = (options: Parameters<typeof compareLogs>[2]) =>
    compareLogs(left, other, options).flatMap(({ contradictions }) => contradictions);
  t.deepEqual(all({ publicKeyOf: () => undefined }), []);
  t.is(all({ publicKeyOf: org => gatewayKey(org).publicKey }).length, 2);
  // What the test calls a certificate is none.
  t.deepEqual(all({}), []);
});
