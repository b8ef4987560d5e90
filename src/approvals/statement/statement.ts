import { createHash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import {
  type ApproverOrg,
  type Artifact,
  type ArtifactKind,
  PREDICATE_TYPES,
  type ProposalFacts,
  type ReplyFacts,
  STATEMENT_TYPE,
  type Statement,
} from '../types.js';
import { Fields } from './fields.js';
import { checkStatement, invalid } from './rules.js';

/**
 * A statement is an in-toto Statement v1 in exactly one form: the fields in this order and no other, written as JSON.stringify writes them. Its
 * readers compare what they got with what they would have written, byte for byte. So nothing can stand in a statement that one reader sees and
 * another does not: no key twice, no field of somebody else, no number that another language reads as another.
 */

/** The longest statement. */
export const MAX_STATEMENT_BYTES = 64 * 1024;

/** What its approvers sign, or a reply to it. Throws STATEMENT_INVALID when a fact breaks its rules or it would be too long. */
export function encodeStatement(statement: Statement): Buffer {
  checkStatement(statement);
  const bytes = Buffer.from(JSON.stringify(toJson(statement)));
  if (bytes.length > MAX_STATEMENT_BYTES) throw tooLong();
  return bytes;
}

/** Throws STATEMENT_INVALID for everything that `encodeStatement` would not have written. */
export function parseStatement(bytes: Uint8Array): Statement {
  if (bytes.length > MAX_STATEMENT_BYTES) throw tooLong();
  const statement = fromJson(readJson(bytes));
  if (!encodeStatement(statement).equals(bytes)) {
    throw new FedgateError(
      'STATEMENT_INVALID',
      'the statement is not accepted: it is not in the one form that it has (order of fields, spaces, unknown fields, escapes)',
    );
  }
  return statement;
}

/** What a statement is known by. */
export const statementSha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const tooLong = (): FedgateError => invalid('it', `is longer than ${MAX_STATEMENT_BYTES} bytes`);

/** The language's own reader, which takes the last of two keys and bytes that are no text: what it made of them is not what we write. */
function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch {
    // What the reader says quotes what it read.
    throw invalid('it', 'is not JSON');
  }
}

const time = (ms: number): string => new Date(ms).toISOString();

function toJson(statement: Statement): object {
  const { artifact } = statement.kind === 'approval' ? statement.proposal : statement.reply;
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: artifact.name, digest: { sha256: artifact.sha256 } }],
    predicateType: PREDICATE_TYPES[statement.kind],
    predicate: statement.kind === 'approval' ? proposalToJson(statement.proposal) : replyToJson(statement),
  };
}

const proposalToJson = (proposal: ProposalFacts): object => ({
  proposal: proposal.id,
  federation: proposal.federation,
  project: proposal.project,
  version: proposal.version,
  sequence: proposal.sequence,
  artifact: { kind: proposal.artifact.kind, size: proposal.artifact.size },
  proposer: proposal.proposer,
  approvers: proposal.approvers.map(({ org, trustDomain, required, keyIds }) => ({
    org,
    trustDomain,
    required,
    keys: keyIds,
  })),
  threshold: proposal.threshold,
  createdAt: time(proposal.createdMs),
  notBefore: time(proposal.notBeforeMs),
  notAfter: time(proposal.notAfterMs),
  note: proposal.note,
  links: proposal.links,
});

function replyToJson(statement: Exclude<Statement, { kind: 'approval' }>): object {
  const { reply } = statement;
  return {
    proposal: reply.proposalId,
    federation: reply.federation,
    org: reply.org,
    statement: { sha256: reply.statementSha256 },
    ...(statement.kind === 'withdrawal' ? { withdraws: statement.withdraws } : {}),
    reason: reply.reason,
    time: time(reply.timeMs),
  };
}

function fromJson(json: unknown): Statement {
  const fields = new Fields(json, 'it');
  if (fields.text('_type') !== STATEMENT_TYPE) throw invalid('_type', `is not ${STATEMENT_TYPE}`);
  const type = fields.text('predicateType');
  const predicate = fields.object('predicate');
  switch (type) {
    case PREDICATE_TYPES.approval:
      return { kind: 'approval', proposal: readProposal(predicate, readSubject(fields)) };
    case PREDICATE_TYPES.rejection:
      return { kind: 'rejection', reply: readReply(predicate, readSubject(fields)) };
    case PREDICATE_TYPES.withdrawal: {
      // What it says is checked with the other rules.
      const withdraws = predicate.text('withdraws') as 'approval' | 'rejection';
      return { kind: 'withdrawal', reply: readReply(predicate, readSubject(fields)), withdraws };
    }
    default:
      throw invalid('predicateType', 'is none of fedgate');
  }
}

function readSubject(fields: Fields): Pick<Artifact, 'name' | 'sha256'> {
  const [subject, ...more] = fields.objects('subject');
  if (!subject || more.length > 0) throw invalid('subject', 'is not exactly one');
  // Another algorithm beside it, whatever it says, is found when the statement is written again.
  return { name: subject.text('name'), sha256: subject.object('digest').text('sha256') };
}

function readProposal(fields: Fields, subject: Pick<Artifact, 'name' | 'sha256'>): ProposalFacts {
  const artifact = fields.object('artifact');
  return {
    id: fields.text('proposal'),
    federation: fields.text('federation'),
    project: fields.text('project'),
    version: fields.text('version'),
    sequence: fields.number('sequence'),
    artifact: {
      name: subject.name,
      kind: artifact.text('kind') as ArtifactKind,
      size: artifact.number('size'),
      sha256: subject.sha256,
    },
    proposer: fields.text('proposer') as OrgName,
    approvers: fields.objects('approvers').map(readApprover),
    threshold: fields.number('threshold'),
    createdMs: fields.time('createdAt'),
    notBeforeMs: fields.time('notBefore'),
    notAfterMs: fields.time('notAfter'),
    note: fields.text('note'),
    links: fields.texts('links'),
  };
}

const readApprover = (fields: Fields): ApproverOrg => ({
  org: fields.text('org') as OrgName,
  trustDomain: fields.text('trustDomain'),
  required: fields.number('required'),
  keyIds: fields.texts('keys'),
});

const readReply = (fields: Fields, artifact: Pick<Artifact, 'name' | 'sha256'>): ReplyFacts => ({
  proposalId: fields.text('proposal'),
  federation: fields.text('federation'),
  org: fields.text('org') as OrgName,
  artifact,
  statementSha256: fields.object('statement').text('sha256'),
  reason: fields.text('reason'),
  timeMs: fields.time('time'),
});
