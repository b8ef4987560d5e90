import { Readable } from 'node:stream';
import type { Client } from '@grpc/grpc-js';
import {
  ListProposalsRequest,
  ApprovalServiceService as methods,
  ProposalState,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { connect, type FedgateClient, keyFileSigner, type Signer } from '../../src/client/index.js';
import { letHeapGrow } from '../../src/heap-growth.js';
import { openChannel } from '../../src/transport/channel.js';
import { callUnary } from '../../src/transport/client-calls.js';
import type { Node } from '../federation.js';
import { serveWorker } from '../worker.js';
import { Sightings } from './sightings.js';

/** A program that proposes, lists and approves. */

const MIB = 1024 * 1024;
/** Proposals that are on their way to the gateway's disk at once. */
const AT_ONCE = 32;

let client: FedgateClient | undefined;
/** For calls as any program makes them, without the SDK, with the largest answer that clients take unless told otherwise. */
let channel: Client | undefined;
const approved = new Sightings();

/** What is proposed, again and again. */
export interface Terms {
  readonly artifactShare: string;
  readonly orgs: readonly string[];
  readonly threshold: number;
}

export interface Listed {
  readonly ms: number;
  readonly proposals: number;
  readonly calls: number;
}

const program = {
  async connect(node: Node): Promise<void> {
    client = await connect(node);
    channel = openChannel({ ...node, window: 4 * MIB, maxReceiveBytes: 4 * MIB });
  },

  /** Answers with the share's id. */
  async share(text: string): Promise<string> {
    return (
      await connected().share(Readable.from([Buffer.from(text)]), { name: 'tool.tar', audience: { anyone: true } })
    ).id;
  },

  /** Answers when so many proposals are stored. */
  async fill({ terms, count }: { terms: Terms; count: number }): Promise<void> {
    let next = 0;
    const fillOn = async (): Promise<void> => {
      while (next < count) await propose(terms, next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fillOn));
  },

  /** Answers with the proposal's id. */
  propose: (terms: Terms): Promise<string> => propose(terms, 0),

  /** All that are open, by ListProposals, in pages as large as they get. */
  async listByCalls(): Promise<Listed> {
    if (!channel) throw new Error('not connected');
    const from = performance.now();
    let proposals = 0;
    let calls = 0;
    let pageToken: Uint8Array = Buffer.alloc(0);
    do {
      const request = { state: ProposalState.PROPOSAL_STATE_OPEN, pageSize: 10_000, pageToken };
      const whole = ListProposalsRequest.fromPartial(request);
      const page = await callUnary(channel, methods.listProposals, whole, { timeoutMs: 60_000 });
      proposals += page.proposals.length;
      calls++;
      pageToken = page.nextPageToken;
    } while (pageToken.length > 0);
    return { ms: performance.now() - from, proposals, calls };
  },

  /** All that are open, by the SDK. */
  async listBySdk(): Promise<Listed> {
    const from = performance.now();
    let proposals = 0;
    for await (const _ of connected().approvals.list({ state: 'open' })) proposals++;
    return { ms: performance.now() - from, proposals, calls: 0 };
  },

  /** From now on approves whatever comes, as soon as it comes. */
  async approveAll(keyFile: string): Promise<void> {
    const signer = await keyFileSigner(keyFile);
    approveAll(connected(), signer).catch(error => {
      console.error(error);
      process.exit(1);
    });
  },

  /** Answers when the own gateway has found it approved. */
  untilApproved: (id: string): Promise<void> => approved.of(id),
};

export type ProgramMethods = typeof program;
letHeapGrow('program');
serveWorker(program);

async function propose({ artifactShare, orgs, threshold }: Terms, i: number): Promise<string> {
  const { id } = await connected().approvals.propose({
    artifactShare,
    artifactName: `tool-${i}.tar`,
    project: `project-${i % 100}`,
    version: `${i}`,
    orgs,
    threshold,
    note: 'A note of the usual length, which says what is new in this version.',
  });
  return id;
}

async function approveAll({ approvals }: FedgateClient, signer: Signer): Promise<void> {
  const signed = new Set<string>();
  for await (const { id, state } of approvals.watch()) {
    if (state === 'approved') approved.note(id);
    if (state !== 'open' || signed.has(id)) continue;
    signed.add(id);
    await approvals.approve(id, signer);
  }
}

function connected(): FedgateClient {
  if (!client) throw new Error('not connected');
  return client;
}
