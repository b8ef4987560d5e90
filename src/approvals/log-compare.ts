import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { Envelope, ProposalState } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Exchange_Receipt, type LogEntry, ReceiptBody } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../errors.js';
import { verifyDetached } from '../identity/signing.js';
import type { ExportedLog } from './log-export.js';
import { parseStatement } from './statement/statement.js';

/** What two logs say of one proposal. */
export interface ProposalDifference {
  /** Its id, hexadecimal. */
  readonly proposal: string;
  /** Sentences: what one log has and the other has not, or has otherwise. Honest logs that were exported at different times differ so. */
  readonly differences: readonly string[];
  /** Sentences: what cannot be true in both. Somebody has shown different things to different people. */
  readonly contradictions: readonly string[];
}

export interface CompareOptions {
  /** The key of a certificate in a receipt. Undefined: it is not one of that organisation. By default whatever the certificate says is believed. */
  readonly publicKeyOf?: (org: string, der: Buffer) => KeyObject | undefined;
}

/**
 * Compares two logs whose chains hold. Proposals of which both say the same are left out; sorted by id.
 *
 * Contradictions: another statement under the same id; one key with votes that exclude each other; a receipt that a gateway signed for an entry
 * that its log does not have.
 */
export function compareLogs(left: ExportedLog, right: ExportedLog, options: CompareOptions = {}): ProposalDifference[] {
  const [a, b] = [digest(left), digest(right)];
  const ids = [...new Set([...a.proposals.keys(), ...b.proposals.keys()])].sort();
  return ids
    .map(id => ({
      proposal: id,
      differences: differencesOf(a, b, id),
      contradictions: [
        ...statementContradictions(a, b, id),
        ...voteContradictions(a, b, id),
        ...receiptContradictions(a, b, id, options),
        ...receiptContradictions(b, a, id, options),
      ],
    }))
    .filter(({ differences, contradictions }) => differences.length + contradictions.length > 0);
}

/** Throws LOG_FORKED, naming what contradicts, when anything does. */
export function demandNoContradiction(found: readonly ProposalDifference[]): void {
  const all = found.flatMap(({ proposal, contradictions }) =>
    contradictions.map(text => `proposal ${proposal}: ${text}`),
  );
  if (all.length === 0) return;
  throw new FedgateError('LOG_FORKED', `the logs contradict each other: ${all.join('; ')}`, {
    metadata: { contradictions: String(all.length) },
  });
}

// ---- what a log says --------------------------------------------------------------------------------------------------------------

interface Vote {
  readonly org: string;
  readonly keyId: string;
  readonly kind: 'approval' | 'rejection' | 'withdrawal';
  readonly withdraws: string;
  readonly payloadSha256: string;
}

interface Said {
  statement: string | undefined;
  readonly votes: Vote[];
  readonly receipts: Buffer[];
  end: string | undefined;
  recalled: boolean;
}

interface Digest {
  readonly log: ExportedLog;
  readonly org: string;
  readonly proposals: ReadonlyMap<string, Said>;
}

function digest(log: ExportedLog): Digest {
  const proposals = new Map<string, Said>();
  for (const { read } of log.entries) {
    const id = Buffer.from(read.proposalId).toString('hex');
    const said = proposals.get(id) ?? {
      statement: undefined,
      votes: [],
      receipts: [],
      end: undefined,
      recalled: false,
    };
    note(said, read);
    // What was only refused was never part of it.
    if (read.what && read.what.$case !== 'refused') proposals.set(id, said);
  }
  return { log, org: log.source.org, proposals };
}

function note(said: Said, { org, what }: LogEntry): void {
  switch (what?.$case) {
    case 'offered':
      said.statement ??= hash(what.value);
      return;
    case 'voted':
      said.votes.push(...readVote(org, what.value));
      return;
    case 'recalled':
      said.recalled = true;
      return;
    case 'state':
      said.end ??= STATE_NAMES.get(what.value.state);
      return;
    case 'receipt':
      said.receipts.push(Buffer.from(what.value));
      return;
    default:
      return;
  }
}

const STATE_NAMES: ReadonlyMap<ProposalState, string> = new Map([
  [ProposalState.PROPOSAL_STATE_APPROVED, 'approved'],
  [ProposalState.PROPOSAL_STATE_REJECTED, 'rejected'],
  [ProposalState.PROPOSAL_STATE_EXPIRED, 'expired'],
  [ProposalState.PROPOSAL_STATE_WITHDRAWN, 'withdrawn'],
]);

/** Gateways write votes with the id of the key that verified them. What is no vote is left to whoever looks at the log itself. */
function readVote(org: string, bytes: Uint8Array): Vote[] {
  try {
    const { payload, signatures } = Envelope.decode(bytes);
    const statement = parseStatement(payload);
    return signatures.map(({ keyId }) => ({
      org,
      keyId,
      kind: statement.kind,
      withdraws: statement.kind === 'withdrawal' ? statement.withdraws : '',
      payloadSha256: hash(payload),
    }));
  } catch {
    return [];
  }
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

// ---- what only one says -----------------------------------------------------------------------------------------------------------

function differencesOf(a: Digest, b: Digest, id: string): string[] {
  const [left, right] = [a.proposals.get(id), b.proposals.get(id)];
  if (!left || !right) return [`only ${left ? a.org : b.org} has it`];
  const differences = [...votesOnly(a, left, right), ...votesOnly(b, right, left)];
  if (left.recalled !== right.recalled) {
    differences.push(`only ${left.recalled ? a.org : b.org} knows that its proposer withdrew it`);
  }
  if (left.end !== right.end) {
    differences.push(`at ${a.org} it is ${left.end ?? 'open'}, at ${b.org} ${right.end ?? 'open'}`);
  }
  return differences;
}

function votesOnly({ org }: Digest, has: Said, other: Said): string[] {
  const known = new Set(other.votes.map(nameOf));
  return has.votes.filter(vote => !known.has(nameOf(vote))).map(vote => `only ${org} has ${describe(vote)}`);
}

const nameOf = ({ keyId, kind, withdraws, payloadSha256 }: Vote): string =>
  [keyId, kind, withdraws, payloadSha256].join();

const describe = ({ org, keyId, kind, withdraws }: Vote): string =>
  `the ${kind}${withdraws ? ` of an ${withdraws}` : ''} by ${org} with key ${keyId}`;

// ---- what cannot be ---------------------------------------------------------------------------------------------------------------

function statementContradictions(a: Digest, b: Digest, id: string): string[] {
  const [left, right] = [a.proposals.get(id)?.statement, b.proposals.get(id)?.statement];
  if (!left || !right || left === right) return [];
  return [`${a.org} holds the statement ${left} under this id, ${b.org} the statement ${right}`];
}

/** A key says each thing once: two texts of it, or a yes here and a no there without a withdrawal anywhere, were meant for different readers. */
function voteContradictions(a: Digest, b: Digest, id: string): string[] {
  const [left, right] = [a.proposals.get(id)?.votes ?? [], b.proposals.get(id)?.votes ?? []];
  const keys = [...new Set(left.map(({ keyId }) => keyId))];
  return keys.flatMap(keyId => {
    const [here, there] = [left.filter(by(keyId)), right.filter(by(keyId))];
    const found: string[] = [];
    for (const vote of here) {
      const same = there.find(({ kind, withdraws }) => kind === vote.kind && withdraws === vote.withdraws);
      if (same && same.payloadSha256 !== vote.payloadSha256) {
        found.push(`${a.org} and ${b.org} have two different texts of ${describe(vote)}`);
      }
    }
    const kinds = new Set([...here, ...there].map(({ kind }) => kind));
    if (kinds.has('approval') && kinds.has('rejection') && !kinds.has('withdrawal')) {
      const org = here[0]?.org ?? '';
      found.push(`${org} has approved and rejected with key ${keyId}, one at ${a.org} and the other at ${b.org}`);
    }
    return found;
  });
}

const by =
  (keyId: string) =>
  (vote: Vote): boolean =>
    vote.keyId === keyId;

/** Receipts that the one gateway holds and the other one signed, against the log of that other one. */
function receiptContradictions(holder: Digest, signer: Digest, id: string, options: CompareOptions): string[] {
  const { source, entries } = signer.log;
  return (holder.proposals.get(id)?.receipts ?? []).flatMap(bytes => {
    const body = verifiedBody(bytes, options);
    if (!body || body.org !== source.org || body.gateway !== source.gateway || body.federation !== source.federation) {
      return [];
    }
    const entry = entries[Number(body.logIndex) - 1];
    // A log that is shorter was exported before: whoever cut it off cannot go on without another hash in that place.
    if (!entry) return [];
    const fits =
      entry.hash.equals(body.logHash) && subjectOf(entry.read) === Buffer.from(body.subjectSha256).toString('hex');
    if (fits) return [];
    const what = `a receipt for entry ${body.logIndex} of its log, which has another entry in that place`;
    return [`${signer.org} gave ${holder.org} ${what}`];
  });
}

/** What a receipt for an entry is about. */
const subjectOf = ({ what }: LogEntry): string | undefined =>
  what?.$case === 'offered' || what?.$case === 'voted' ? hash(what.value) : undefined;

function verifiedBody(bytes: Buffer, { publicKeyOf = keyOfCertificate }: CompareOptions): ReceiptBody | undefined {
  try {
    const { body, signature, certificate } = Exchange_Receipt.decode(bytes);
    const read = ReceiptBody.decode(body);
    const key = publicKeyOf(read.org, Buffer.from(certificate));
    return key && verifyDetached('approval-receipt', key, body, signature) ? read : undefined;
  } catch {
    return undefined;
  }
}

const keyOfCertificate = (_org: string, der: Buffer): KeyObject => new X509Certificate(der).publicKey;
