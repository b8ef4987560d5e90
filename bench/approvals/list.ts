import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProposalState } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Book } from '../../src/approvals/book/book.js';
import type { ApproverDirectory, OrgApprovers, ProposalDraft } from '../../src/approvals/types.js';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import { type OrgName, parseOrgName } from '../../src/identity/names.js';
import { openStore } from '../../src/store/open.js';
import type { Store } from '../../src/store/store.js';
import { atMost } from '../goals.js';
import { median } from '../meter.js';
import type { PartReport } from './index.js';
import type { ApprovalsOptions } from './options.js';

const PROPOSALS = 10_000;
const PAGE = 1_000;
/** The goal of the whole way to a program; the book has a small part of it. */
const GOAL_MS = 200;

/** Proposals in the book of one gateway, on the disk: made, listed, and read again after a restart. */
export async function measureList({ runs }: ApprovalsOptions): Promise<PartReport> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-approvals-'));
  const store = await openStore(join(folder, 'store'), { reserveBytes: 0 });
  try {
    const directory = members();
    const book = await open(store, directory);
    const making = performance.now();
    for (let i = 0; i < PROPOSALS; i++) await book.propose(draft(i, directory));
    const made = performance.now() - making;
    const listed = await times(runs, () => listAll(book, ProposalState.PROPOSAL_STATE_OPEN));
    const whatever = await times(runs, () => listAll(book, ProposalState.PROPOSAL_STATE_UNSPECIFIED));
    await book.close();
    const opening = performance.now();
    const again = await open(store, directory);
    const opened = performance.now() - opening;
    await again.close();
    return {
      rows: [
        [`${PROPOSALS} proposals, ms`, 'made, each', 'open ones listed', 'all listed', 'book opened'],
        ['median', (made / PROPOSALS).toFixed(2), listed.toFixed(1), whatever.toFixed(1), opened.toFixed(0)],
      ],
      goals: [atMost(`${PROPOSALS} open proposals listed by the book, ms`, listed, GOAL_MS)],
    };
  } finally {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function times(runs: number, work: () => Promise<void>): Promise<number> {
  const taken: number[] = [];
  for (let i = 0; i < runs; i++) {
    const from = performance.now();
    await work();
    taken.push(performance.now() - from);
  }
  return median(taken);
}

/** In pages, as a program asks for them. */
async function listAll(book: Book, state: ProposalState): Promise<void> {
  let found = 0;
  for (let after: Buffer | undefined; ; ) {
    const { proposals, last } = await book.list({ state, proposer: '', project: '' }, after, PAGE);
    found += proposals.length;
    if (!last) break;
    after = last;
  }
  if (found !== PROPOSALS) throw new Error(`${found} of ${PROPOSALS} proposals were listed`);
}

const open = (store: Store, directory: ApproverDirectory): Promise<Book> =>
  Book.open({
    federation: 'fed.example',
    org: parseOrgName('ORG-0', 'org'),
    gateway: 'gw',
    store,
    directory,
    send: () => undefined,
    signer: () => {
      throw new Error('nobody sends anything');
    },
    verifyGatewayCertificate: () => {
      throw new Error('nobody sends anything');
    },
    mayPropose: () => true,
  });

/** Three members with one approver each. */
function members(): ApproverDirectory {
  const all = new Map<string, OrgApprovers>();
  for (const org of ['ORG-0', 'ORG-1', 'ORG-2'].map(name => parseOrgName(name, 'org'))) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = readApprovalKey(publicKey.export({ format: 'der', type: 'spki' }));
    const approver = { name: 'somebody', key, addMs: 1, revocation: undefined };
    all.set(org, { org, active: true, approvers: [approver], required: 1 });
  }
  return { of: org => all.get(org), all: () => all.values(), onChange: () => () => undefined };
}

const draft = (i: number, directory: ApproverDirectory): ProposalDraft => ({
  id: undefined,
  artifact: {
    name: `tool-${i}.tar`,
    kind: 'file',
    size: i,
    sha256: createHash('sha256').update(`${i}`).digest('hex'),
  },
  artifactShare: `file://ORG-0/${i}`,
  contentsShare: '',
  files: [],
  project: `project-${i % 100}`,
  version: `${i}`,
  orgs: [...directory.all()].map(({ org }): OrgName => org),
  threshold: 2,
  notBeforeMs: 0,
  notAfterMs: 0,
  note: 'A note of the usual length, which says what is new in this version.',
  links: [],
});
