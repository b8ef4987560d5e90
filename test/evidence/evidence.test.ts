import { createHash } from 'node:crypto';
import test from 'ava';
import { positionKey, TABLE } from '../../src/durable/outbox/rows.js';
import { FedgateError } from '../../src/errors.js';
import { type EvidenceRequest, exportEvidence } from '../../src/evidence/export.js';
import { noticingUnreadable, type Unreadable } from '../../src/evidence/unreadable.js';
import { type EvidenceReport, type ProvenReceipt, verifyEvidence } from '../../src/evidence/verify.js';
import { issueLeaf } from '../../src/identity/issue.js';
import { parsePattern } from '../../src/messaging/address.js';
import { key } from '../../src/store/keys.js';
import {
  ACME,
  FEDERATION,
  GLOBEX,
  keepReceipt,
  keepSent,
  makeSigner,
  type SealedEvidence,
  type Signer,
  seal,
  signerOf,
} from '../support/evidence.js';
import { received, TestLog } from '../support/inbox.js';
import { MemoryStore } from '../support/memory-store.js';

const signers = Promise.all([makeSigner(ACME), makeSigner(GLOBEX)]);
const casOf = (...of: readonly Signer[]) => of.map(({ ca }) => ({ certificate: ca }));

async function exported(store: MemoryStore, more: Partial<EvidenceRequest> = {}): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of exportEvidence({ store, federation: FEDERATION, ownOrg: ACME, now: () => 5, ...more }))
    parts.push(part);
  return Buffer.concat(parts);
}

async function* chunks(file: Buffer, size = 1_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size);
}

const verify = (file: Buffer, ...by: readonly Signer[]): Promise<EvidenceReport> =>
  verifyEvidence(chunks(file), casOf(...by));

const verdict = async (file: Buffer, ...by: readonly Signer[]): Promise<string> =>
  verify(file, ...by).then(
    () => 'good',
    error => {
      if (!(error instanceof FedgateError)) throw error;
      return `${error.reason} ${error.message}`;
    },
  );

/** An outbox of three batches, of which the receiver stored the first, refused the second, and has no receipt for the third. */
async function outbox(): Promise<{ store: MemoryStore; acme: Signer; globex: Signer; batches: SealedEvidence[] }> {
  const [acme, globex] = await signers;
  const store = new MemoryStore();
  const batches = [1, 2, 3].map(sequence => seal(acme, GLOBEX, sequence));
  await keepSent(store, acme, GLOBEX, batches);
  const refusals = new Map([[2, new FedgateError('NOT_GRANTED', 'bills are not for you')]]);
  await keepReceipt(store, acme, globex, batches.slice(0, 2), refusals);
  return { store, acme, globex, batches };
}

test('evidence: what was sent is proven by the file and the CA certificates alone', async t => {
  const { store, acme, globex } = await outbox();
  const receipts: ProvenReceipt[] = [];
  const file = await exported(store);
  const report = await verifyEvidence(chunks(file, 7), casOf(acme, globex), { onReceipt: each => receipts.push(each) });
  t.like(report, {
    federation: FEDERATION,
    org: 'ACME',
    sent: 3,
    stored: 1,
    refused: 1,
    received: 0,
    records: 3,
    withRecords: 3,
  });
  t.deepEqual([...report.authorities.keys()].sort(), ['ACME', 'GLOBEX']);
  t.deepEqual(
    receipts.map(({ batch, refusal }) => [Number(batch.header.sequence), refusal]),
    [
      [1, undefined],
      [2, 'bills are not for you'],
    ],
  );
});

test('evidence: what was received is proven by the signatures of those who sent it', async t => {
  const [acme, globex] = await signers;
  const log = await TestLog.open();
  for (const sequence of [1, 2]) {
    const { header, signature, records, channel } = seal(acme, GLOBEX, sequence);
    await log.log.receive(received(sequence, { header, signature, records, channel, certificate: acme.certificate }));
  }
  const file = await exported(log.store, { ownOrg: GLOBEX });
  t.like(await verify(file, acme, globex), { org: 'GLOBEX', sent: 0, received: 2, withRecords: 2 });
  t.like(await verify(await exported(log.store, { ownOrg: GLOBEX, org: GLOBEX }), acme), { received: 0 });
});

test('evidence: by organisation, pattern, time and direction, with records or without', async t => {
  const { store, acme, globex } = await outbox();
  const counted = async (more: Partial<EvidenceRequest>) => {
    const { sent, stored, refused, withRecords } = await verify(await exported(store, more), acme, globex);
    return [sent, stored, refused, withRecords];
  };
  t.deepEqual(await counted({ pattern: parsePattern('orders') }), [2, 1, 0, 2]);
  t.deepEqual(await counted({ pattern: parsePattern('bills') }), [1, 0, 1, 1]);
  t.deepEqual(await counted({ withoutRecords: true }), [3, 1, 1, 0]);
  t.deepEqual(await counted({ org: GLOBEX }), [3, 1, 1, 3]);
  t.deepEqual(await counted({ org: ACME }), [0, 0, 0, 0]);
  t.deepEqual(await counted({ fromMs: 1_000, toMs: 1_001 }), [3, 1, 1, 3]);
  t.deepEqual(await counted({ fromMs: 1_001 }), [0, 0, 0, 0]);
  t.deepEqual(await counted({ toMs: 1_000 }), [0, 0, 0, 0]);
  t.deepEqual(await counted({ direction: 'received' }), [0, 0, 0, 0]);
});

test('evidence: records that went bad on the disk are left out, their signature is not', async t => {
  const { store, acme, globex } = await outbox();
  for (const [name, bytes] of store.disk.bodies) store.disk.bodies.set(name, Buffer.alloc(bytes.length));
  t.like(await verify(await exported(store), acme, globex), { sent: 3, stored: 1, withRecords: 0 });
});

test('evidence: no byte can be changed', async t => {
  const [acme, globex] = await signers;
  const store = new MemoryStore();
  const batches = [seal(acme, GLOBEX, 1)];
  await keepSent(store, acme, GLOBEX, [...batches, seal(acme, GLOBEX, 2)]);
  await keepReceipt(store, acme, globex, batches);
  store.damageRow(TABLE.batch, positionKey(GLOBEX, { epoch: 7n, sequence: 2 }));
  const file = await exported(store);
  t.is(await verdict(file, acme, globex), 'good');
  for (let at = 0; at < file.length; at++) {
    const flipped = Buffer.from(file);
    flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (at % 8)), at);
    const found = await verdict(flipped, acme, globex);
    // A changed name of the federation makes the CA certificates those of another one.
    if (!/^(EVIDENCE_INVALID line \d+: |FIELD_INVALID ca: )/.test(found)) t.fail(`byte ${at}: ${found}`);
  }
});

test('evidence: nothing can be cut off or put behind', async t => {
  const [acme] = await signers;
  const store = new MemoryStore();
  await keepSent(store, acme, GLOBEX, [seal(acme, GLOBEX, 1)]);
  const file = await exported(store);
  t.is(await verdict(file, acme), 'good');
  for (let length = 0; length < file.length; length++) {
    const cut = await verdict(file.subarray(0, length), acme);
    if (!/^EVIDENCE_INVALID line \d+: /.test(cut)) t.fail(`cut at ${length}: ${cut}`);
  }
  t.regex(await verdict(Buffer.concat([file, Buffer.from('\n')]), acme), /^EVIDENCE_INVALID/);
  t.regex(await verdict(Buffer.concat([file, file]), acme), /behind the closing line/);
});

test('evidence: a receipt for other batches, or signed by somebody else, is found', async t => {
  const [acme, globex] = await signers;
  const batches = [seal(acme, GLOBEX, 1)];
  const withReceipt = async (run: (store: MemoryStore) => Promise<void>): Promise<string> => {
    const store = new MemoryStore();
    await keepSent(store, acme, GLOBEX, batches);
    await run(store);
    return verdict(await exported(store), acme, globex);
  };
  t.is(
    await withReceipt(store => keepReceipt(store, acme, globex, [seal(acme, GLOBEX, 1, { channel: 'other' })])),
    'EVIDENCE_INVALID line 5: the receipt is for another batch 1 than the one in line 3',
  );
  t.is(
    await withReceipt(store => keepReceipt(store, acme, { ...globex, key: acme.key }, batches)),
    'EVIDENCE_INVALID line 5: the signature of GLOBEX/gw1 does not hold',
  );
  t.is(
    await withReceipt(store => keepReceipt(store, acme, { ...acme, org: GLOBEX }, batches)),
    'EVIDENCE_INVALID line 4: the certificate is that of ACME/gateway/gw1, not of GLOBEX/gateway/gw1',
  );
  const leaf = await issueLeaf(acme.authority, FEDERATION, { org: GLOBEX, role: 'gateway', name: 'gw1' });
  t.regex(
    await withReceipt(store => keepReceipt(store, acme, signerOf(GLOBEX, acme.authority, leaf), batches)),
    /^EVIDENCE_INVALID line 5: .*it names GLOBEX but ACME's CA signed it/,
  );
  const node = await issueLeaf(globex.authority, FEDERATION, { org: GLOBEX, role: 'node', name: 'gw1' });
  t.regex(
    await withReceipt(store => keepReceipt(store, acme, signerOf(GLOBEX, globex.authority, node), batches)),
    /^EVIDENCE_INVALID line 5: the certificate is that of GLOBEX\/node\/gw1/,
  );
});

test('evidence: a batch that is not what it claims is found', async t => {
  const [acme, globex] = await signers;
  const withBatch = async (...batches: readonly SealedEvidence[]): Promise<string> => {
    const store = new MemoryStore();
    await keepSent(store, acme, GLOBEX, batches);
    return verdict(await exported(store), acme, globex);
  };
  t.regex(
    await withBatch(seal(acme, GLOBEX, 1, { originOrg: 'GLOBEX' })),
    /line 3: the batch is from GLOBEX for GLOBEX/,
  );
  t.regex(await withBatch(seal(acme, GLOBEX, 1, { originGateway: 'gw2' })), /line 3: the certificate is that of/);
  t.regex(
    await withBatch(seal(acme, GLOBEX, 1, { federation: 'other.example' })),
    /line 3: it is of another federation/,
  );
  t.regex(await withBatch(seal(acme, GLOBEX, 1, { durable: false })), /line 3: the batch is a live one/);
  t.regex(
    await withBatch(seal(acme, GLOBEX, 1), seal(acme, GLOBEX, 2, { sequence: 1n })),
    /line 4: batch 1 of epoch 7 does not come/,
  );
  t.regex(await withBatch(seal(acme, GLOBEX, 1, { timeMs: 0n })), /line 3: the certificate begins/);
  t.regex(
    await withBatch({ ...seal(acme, GLOBEX, 1), signature: Buffer.from('x') }),
    /line 3: the signature of ACME\/gw1/,
  );
});

test('evidence: without the right CA nothing is proven', async t => {
  const { store, acme, globex } = await outbox();
  const file = await exported(store);
  const other = await makeSigner(GLOBEX);
  t.regex(await verdict(file, globex), /^EVIDENCE_INVALID line 3: .*ACME, which is no member/);
  t.regex(await verdict(file, acme, other), /^EVIDENCE_INVALID line 6: .*no CA registered/);
  t.is(await verdict(file, acme, other, globex), 'good', 'old and new CA of a member overlap');
  const leaf = await issueLeaf(acme.authority, FEDERATION, { org: ACME, role: 'gateway', name: 'gw1' });
  await t.throwsAsync(verifyEvidence(chunks(file), [{ certificate: leaf.certificate }]), {
    message: /not the certificate of a CA/,
  });
  await t.throwsAsync(verifyEvidence(chunks(file), [{ certificate: 'x' }]), { message: /not a certificate/ });
});

/** What a file says that could not be read, as the verifier and as whoever passes it on in pieces hear of it. */
async function unreadableIn(file: Buffer, ...by: readonly Signer[]) {
  const found: unknown[] = [];
  const report = await verifyEvidence(chunks(file), casOf(...by), {
    onUnreadable: ({ line: _, ...each }) => found.push(each),
  });
  for (const size of [1, 37, 1_000_000]) {
    const noticed: Unreadable[] = [];
    const passed: Uint8Array[] = [];
    for await (const piece of noticingUnreadable(chunks(file, size), each => noticed.push(each))) passed.push(piece);
    if (!Buffer.concat(passed).equals(file)) throw new Error('the file was not passed on as it is');
    if (
      JSON.stringify(
        noticed.map(({ what, direction, org, epoch, number }) => ({ what, direction, org, epoch, number })),
      ) !== JSON.stringify(found)
    )
      throw new Error('not all was noticed');
  }
  return { report, found };
}

const at = (sequence: number): Buffer => positionKey(GLOBEX, { epoch: 7n, sequence });

test('evidence: a batch sent whose row is damaged is named, and the rest holds, with its receipt', async t => {
  for (const sequence of [1, 2, 3]) {
    const { store, acme, globex } = await outbox();
    store.damageRow(TABLE.batch, at(sequence));
    const { report, found } = await unreadableIn(await exported(store), acme, globex);
    const [stored, refused] = [sequence === 1 ? 0 : 1, sequence === 2 ? 0 : 1];
    t.like(report, { sent: 2, stored, refused, unreadable: 1 });
    t.deepEqual(found, [{ what: 'batch', direction: 'sent', org: 'GLOBEX', epoch: '7', number: sequence }]);
  }
});

test('evidence: a batch received whose row is damaged is named by its offset, and the rest holds', async t => {
  const [acme, globex] = await signers;
  const log = await TestLog.open();
  for (const sequence of [1, 2, 3]) {
    const { header, signature, records, channel } = seal(acme, GLOBEX, sequence);
    await log.log.receive(received(sequence, { header, signature, records, channel, certificate: acme.certificate }));
  }
  log.store.damageRow('log', key(2));
  const { report, found } = await unreadableIn(await exported(log.store, { ownOrg: GLOBEX }), acme, globex);
  t.like(report, { received: 2, unreadable: 1 });
  t.deepEqual(found, [{ what: 'batch', direction: 'received', org: '', epoch: '', number: 2 }]);
});

test('evidence: a receipt or certificate whose row is damaged proves nothing, is named, and ends nothing', async t => {
  const { store, acme, globex } = await outbox();
  store.damageRow(TABLE.receipt, at(2));
  const receipt = await unreadableIn(await exported(store), acme, globex);
  t.like(receipt.report, { sent: 3, stored: 0, refused: 0, unreadable: 1 });
  t.deepEqual(receipt.found, [{ what: 'receipt', direction: 'sent', org: 'GLOBEX', epoch: '7', number: 2 }]);
  const other = await outbox();
  other.store.damageRow(TABLE.certificate, other.acme.certificate.sha256);
  const certificate = await unreadableIn(await exported(other.store), acme, globex);
  t.like(certificate.report, { sent: 0, stored: 0, unreadable: 3 });
});

/** As version 1 would have written it. */
function asVersion1(file: Buffer): Buffer {
  const lines = file.toString().replace('"version":2', '"version":1').trimEnd().split('\n');
  const before = `${lines.slice(0, -1).join('\n')}\n`;
  const end = { ...JSON.parse(lines.at(-1) ?? ''), sha256: createHash('sha256').update(before).digest('hex') };
  return Buffer.from(`${before}${JSON.stringify(end)}\n`);
}

test('evidence: files of version 1 are verified as before, and cannot say that something was not readable', async t => {
  const { store, acme, globex } = await outbox();
  t.is(await verdict(asVersion1(await exported(store)), acme, globex), 'good');
  store.damageRow(TABLE.batch, at(3));
  t.regex(await verdict(asVersion1(await exported(store)), acme, globex), /line \d+: a file of version 1 has no such/);
});
