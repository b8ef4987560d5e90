import test from 'ava';
import { Proposal, type Standing } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { fitted, MAX_ANSWER_BYTES, readPage, sizeOf } from '../../src/services/approval-sizes.js';

const FILTER = { state: 0, proposer: '', project: '' } as const;

const standing = (votes: Partial<Standing['votes'][number]>[] = []): Standing =>
  Proposal.fromPartial({ standings: [{ org: 'ACME', required: 1, keyIds: [Buffer.alloc(32)], votes }] })
    .standings[0] as Standing;

const proposal = (number: number, more: Partial<Proposal> = {}): Proposal => ({
  ...Proposal.fromPartial({
    id: Buffer.alloc(16),
    statement: Buffer.alloc(2_000),
    project: `p${number}`,
    version: '1',
  }),
  standings: [standing([{ approver: 'alice' }])],
  ...more,
});

/** Proposals 0 to `count`; a page ends behind the number that its token holds. */
function bookOf(all: readonly Proposal[]) {
  const asked: number[] = [];
  return {
    asked,
    async list(_: unknown, after: Buffer | undefined, limit: number) {
      asked.push(limit);
      const from = after ? after.readUInt32BE() : 0;
      const proposals = all.slice(from, from + limit);
      const last = Buffer.alloc(4);
      last.writeUInt32BE(from + limit);
      return { proposals, last: from + limit < all.length ? last : undefined };
    },
  };
}

async function pages(all: readonly Proposal[], limit: number) {
  const book = bookOf(all);
  const found: Proposal[][] = [];
  for (let after: Buffer | undefined; ; ) {
    const { proposals, last } = await readPage(book, FILTER, after, limit);
    found.push([...proposals]);
    if (!last) return { found, asked: book.asked };
    after = last;
  }
}

const encoded = (proposals: readonly Proposal[]): number =>
  proposals.reduce((sum, each) => sum + 8 + Proposal.encode(each).finish().length, 0);

test('pages of proposals: as many as asked for, without statements and votes', async t => {
  const all = Array.from({ length: 25 }, (_, i) => proposal(i));
  const { found } = await pages(all, 10);
  t.deepEqual(
    found.map(page => page.map(({ project }) => project)),
    [0, 10, 20].map(from => all.slice(from, from + 10).map(({ project }) => project)),
  );
  for (const each of found.flat()) {
    t.is(each.statement.length, 0);
    t.deepEqual(
      each.standings.map(({ votes }) => votes),
      [[]],
    );
  }
});

test('pages of proposals: one that would be too large for a message ends earlier, and nothing is left out or comes twice', async t => {
  const note = '\u{20ac}'.repeat(1_365);
  const keyIds = Array.from({ length: 16 }, () => Buffer.alloc(32, 1));
  const standings = Array.from({ length: 64 }, () => ({ ...standing(), keyIds, refusal: 'no' }));
  const links = Array.from({ length: 16 }, () => `https://example.org/${'x'.repeat(1_000)}`);
  // Small ones, then the largest that there can be, then small ones.
  const all = Array.from({ length: 12_000 }, (_, i) =>
    proposal(i, i >= 5_000 && i < 5_200 ? { note, links, standings } : {}),
  );
  const { found, asked } = await pages(all, 10_000);
  t.deepEqual(
    found.flat().map(({ project }) => project),
    all.map(({ project }) => project),
  );
  for (const page of found) {
    t.true(page.length > 0);
    t.true(encoded(page) <= MAX_ANSWER_BYTES);
  }
  t.true(found.length < 20, `${found.length} pages`);
  t.true(asked.length < 80, `${asked.length} times`);
});

test('size of a proposal: never less than its message has', t => {
  const vote = {
    keyId: Buffer.alloc(32),
    approver: 'a'.repeat(63),
    reason: '\u{1f600}'.repeat(256),
    whyNot: 'x'.repeat(200),
    receipts: ['A'.repeat(32), 'B'.repeat(32)],
    receiveTimeMs: 2n ** 62n,
    envelope: {
      payloadType: 'application/vnd.in-toto+json',
      payload: Buffer.alloc(3_000),
      signatures: [{ keyId: 'f'.repeat(64), signature: Buffer.alloc(72) }],
    },
  };
  const large = proposal(1, {
    ...{
      project: 'p'.repeat(64),
      version: 'v'.repeat(64),
      proposer: 'P'.repeat(32),
      artifactName: '\u{20ac}'.repeat(85),
    },
    ...{ artifactShare: '\u{20ac}'.repeat(85), contentsShare: '\u{20ac}'.repeat(85), artifactSha256: Buffer.alloc(32) },
    ...{
      id: Buffer.alloc(16),
      threshold: 64,
      approved: 64,
      rejected: 64,
      artifactSize: 2n ** 53n,
      note: '\u{20ac}'.repeat(9),
    },
    ...{ statementSha256: Buffer.alloc(32), previousApprovedId: Buffer.alloc(16), sequence: 2n ** 53n },
    ...{ stateTimeMs: 2n ** 62n, createTimeMs: 2n ** 62n, notBeforeMs: 2n ** 62n, notAfterMs: 2n ** 62n },
    standings: [standing([vote, vote]), standing([vote])],
  });
  for (const each of [proposal(1), large]) t.true(sizeOf(each) >= Proposal.encode(each).finish().length);
  const listedSize = sizeOf({ ...large, statement: Buffer.alloc(0), standings: [standing()] });
  t.true(listedSize < 3_000, 'and not by much more');
  // What each says is what a list of thousands is made of: a page that ends at half of what it may have is a call too many.
  const ordinary = proposal(1, {
    statement: Buffer.alloc(0),
    ...{ id: Buffer.alloc(16, 1), statementSha256: Buffer.alloc(32, 1), artifactSha256: Buffer.alloc(32, 1) },
    ...{ createTimeMs: 2n ** 41n, notBeforeMs: 2n ** 41n, notAfterMs: 2n ** 41n, stateTimeMs: 2n ** 41n },
    ...{ artifactShare: 's'.repeat(45), note: 'n'.repeat(60), standings: [standing(), standing(), standing()] },
  });
  t.true(sizeOf(ordinary) - Proposal.encode(ordinary).finish().length < 300);
});

test('one proposal with more votes than fit into a message comes without what is there twice, then without envelopes', t => {
  const statement = Buffer.alloc(60_000, 's');
  const cast = (payload: Buffer) => ({ envelope: { payloadType: 'x', payload, signatures: [] } });
  const few = proposal(1, { statement, standings: [standing([cast(statement)])] });
  t.is(fitted(few), few);
  const no = cast(Buffer.alloc(1_000, 'n'));
  const many = fitted(proposal(1, { statement, standings: [standing([no, ...Array(100).fill(cast(statement))])] }));
  t.deepEqual(many.standings[0]?.votes.map(({ envelope }) => envelope?.payload.length).slice(0, 3), [1_000, 0, 0]);
  const flood = fitted(proposal(1, { statement, standings: [standing(Array(4_000).fill(no))] }));
  t.true(flood.standings[0]?.votes.every(({ envelope }) => envelope === undefined));
  for (const each of [many, flood]) t.true(sizeOf(each) <= MAX_ANSWER_BYTES);
});
