import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { EXIT } from '../../src/cli/exit-codes.js';
import { positionKey, TABLE } from '../../src/durable/outbox/rows.js';
import { FedgateError } from '../../src/errors.js';
import { exportEvidence } from '../../src/evidence/export.js';
import { fedgate } from '../support/cli.js';
import { ACME, FEDERATION, GLOBEX, keepReceipt, keepSent, makeSigner, seal } from '../support/evidence.js';
import { MemoryStore } from '../support/memory-store.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

/** A file of three batches: the receiver stored the first, refused the second, and has no receipt for the third. */
async function evidence(t: TestScope, damage: (store: MemoryStore) => void = () => undefined) {
  const [acme, globex] = await Promise.all([makeSigner(ACME), makeSigner(GLOBEX)]);
  const store = new MemoryStore();
  const batches = [1, 2, 3].map(sequence => seal(acme, GLOBEX, sequence));
  await keepSent(store, acme, GLOBEX, batches);
  const refusals = new Map([[2, new FedgateError('NOT_GRANTED', 'bills are not for you\u001b[2J')]]);
  await keepReceipt(store, acme, globex, batches.slice(0, 2), refusals);
  damage(store);
  const parts: Buffer[] = [];
  for await (const part of exportEvidence({ store, federation: FEDERATION, ownOrg: ACME, now: () => Date.now() }))
    parts.push(part);
  const folder = await temporaryFolder(t);
  const path = (name: string): string => join(folder, name);
  await writeFile(path('sent.evidence'), Buffer.concat(parts));
  await writeFile(path('acme.pem'), acme.authority.certificate);
  await writeFile(path('globex.pem'), globex.authority.certificate);
  await writeFile(path('all.pem'), `${acme.authority.certificate}\n${globex.authority.certificate}`);
  const verify = (...cas: string[]) =>
    fedgate(['evidence', 'verify', path('sent.evidence'), ...cas.flatMap(name => ['--ca', path(name)])]);
  return { path, verify, prints: [acme, globex].map(({ ca }) => ca.fingerprint256) };
}

test('evidence verify: tells what holds, on whose word, and with which CAs', async t => {
  const { verify, path, prints } = await evidence(t);
  const { code, stdout } = await verify('acme.pem', 'globex.pem');
  t.is(code, EXIT.ok);
  t.regex(stdout, /sent\.evidence holds: made by ACME of fed\.example, \d{4}-/);
  t.regex(stdout, /^sent +3 batches: 1 stored and 1 refused by the word of the receiver, 1 without a receipt$/m);
  t.regex(stdout, /^received +0 batches/m);
  for (const print of prints) t.true(stdout.includes(print));
  t.is((await verify('all.pem')).stdout, stdout);
  const json = await fedgate(['evidence', 'verify', path('sent.evidence'), '--ca', path('all.pem'), '--json']);
  t.like(JSON.parse(json.stdout), { holds: true, sent: 3, stored: 1, refused: 1, received: 0, org: 'ACME' });
});

test('evidence verify --list: each batch and what its receiver said, for people and as JSON lines', async t => {
  const { path } = await evidence(t);
  const list = (...flags: string[]) =>
    fedgate(['evidence', 'verify', path('sent.evidence'), '--ca', path('all.pem'), '--list', ...flags]);
  const { stdout } = await list();
  t.regex(stdout, /Z {2}sent: batch 1 of stream 7 {2}ACME\/shop to GLOBEX {2}orders, 1 record$/m);
  t.regex(stdout, /Z {2}stored by GLOBEX: batch 1 of stream 7$/m);
  t.regex(stdout, /Z {2}refused by GLOBEX: batch 2 of stream 7 {2}bills are not for you\\u001b\[2J$/m);
  const lines = (await list('--json')).stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  t.is(lines.length, 6);
  t.like(lines[0], { batch: 'sent', from: 'ACME', to: 'GLOBEX', channel: 'orders', sequence: 1, streamEpoch: '7' });
  t.like(lines.at(-1), { holds: true });
});

test('evidence verify: a changed file, or one without the CA it needs, does not hold, and exits by it', async t => {
  const { verify, path } = await evidence(t);
  const without = await verify('acme.pem');
  t.is(without.code, EXIT.checkFailed);
  t.regex(without.stderr, /sent\.evidence does not hold: line \d+: .*GLOBEX.*\[EVIDENCE_INVALID\]/i);
  const text = await readFile(path('sent.evidence'), 'utf8');
  await writeFile(path('sent.evidence'), text.split('\n').toSpliced(2, 1).join('\n'));
  const changed = await verify('all.pem');
  t.is(changed.code, EXIT.checkFailed);
  t.is(changed.stdout, '');
  const json = await fedgate(['evidence', 'verify', path('sent.evidence'), '--ca', path('all.pem'), '--json']);
  t.like(JSON.parse(json.stdout), { holds: false });
});

test('evidence verify: a file or CA that cannot be read is named', async t => {
  const { path, verify } = await evidence(t);
  t.regex((await verify('none.pem')).stderr, /none\.pem: CA certificate not readable: there is no such file/);
  t.regex((await verify('sent.evidence')).stderr, /--ca: .*sent\.evidence holds no certificate in PEM form/);
  const missing = await fedgate(['evidence', 'verify', path('gone'), '--ca', path('all.pem')]);
  t.is(missing.code, EXIT.usage);
  t.regex(missing.stderr, /gone: cannot be read: ENOENT.*\[FILE_UNUSABLE\]/);
  t.is((await fedgate(['evidence', 'verify', path('sent.evidence')])).code, EXIT.usage);
});

test('evidence verify: what its maker could not read is told, and the rest holds', async t => {
  const { verify, path } = await evidence(t, store =>
    store.damageRow(TABLE.batch, positionKey(GLOBEX, { epoch: 7n, sequence: 2 })),
  );
  const { code, stdout } = await verify('all.pem');
  t.is(code, EXIT.ok);
  t.regex(stdout, /^not readable +1 batch or receipt: ACME says that its store was damaged there/m);
  t.regex(stdout, /^sent +2 batches: 1 stored and 0 refused/m);
  const list = (...flags: string[]) =>
    fedgate(['evidence', 'verify', path('sent.evidence'), '--ca', path('all.pem'), '--list', ...flags]);
  t.regex((await list()).stdout, /^not readable: the sent batch 2 of stream 7 to GLOBEX$/m);
  const lines = (await list('--json')).stdout.trim().split('\n');
  const found = lines.map(line => JSON.parse(line)).filter(line => 'unreadable' in line && !('holds' in line));
  t.deepEqual(found, [
    { line: found[0].line, unreadable: 'batch', direction: 'sent', org: 'GLOBEX', streamEpoch: '7', sequence: 2 },
  ]);
  t.like(JSON.parse(lines.at(-1) ?? ''), { holds: true, unreadable: 1 });
});
