import { describe, FedgateError } from '../../errors.js';
import { parseFederationDomain, parseOrgName } from '../../identity/names.js';
import { escapeControls } from '../../text.js';
import type { ApproverOrg, Artifact, ProposalFacts, ReplyFacts, Statement } from '../types.js';

/** The most organisations that one proposal names, and the most keys of each. */
export const MAX_ORGS = 64;
export const MAX_KEYS_PER_ORG = 16;
/** Of a note, of one link, and of the reason of a rejection or withdrawal. */
export const MAX_NOTE_BYTES = 4_096;
export const MAX_LINKS = 16;
export const MAX_LINK_BYTES = 1_024;
export const MAX_REASON_BYTES = 1_024;
/** The longest time in which votes count. */
export const MAX_WINDOW_MS = 366 * 86_400_000;
/** The largest checksum list of a package. */
export const MAX_LIST_BYTES = 16 * 1024 * 1024;

const MAX_NAME_BYTES = 255;
/** The last millisecond that an ISO 8601 date of four digits can name. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

const ID = /^[0-9a-f]{32}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const PROJECT = /^[A-Za-z0-9._-]{1,64}$/;
const VERSION = /^[A-Za-z0-9._+-]{1,64}$/;
/** Printable ASCII, as every address can be written. */
const LINK = /^https?:\/\/[A-Za-z0-9[][!-~]*$/;
const LONE_SURROGATE = /\p{Cs}/u;

/** Throws STATEMENT_INVALID, naming the field and its rule. */
export function checkStatement(statement: Statement): void {
  if (statement.kind === 'approval') checkProposal(statement.proposal);
  else checkReply(statement.reply);
  if (statement.kind !== 'withdrawal') return;
  if (!['approval', 'rejection'].includes(statement.withdraws)) {
    throw invalid('withdraws', 'is neither approval nor rejection');
  }
}

function checkProposal(proposal: ProposalFacts): void {
  const { approvers, threshold, links } = proposal;
  match(ID, proposal.id, 'proposal', 'is not 16 bytes in lower-case hexadecimal');
  name(() => parseFederationDomain(proposal.federation, 'federation'));
  match(PROJECT, proposal.project, 'project', 'is not 1 to 64 of A-Z a-z 0-9 . _ -');
  match(VERSION, proposal.version, 'version', 'is not 1 to 64 of A-Z a-z 0-9 . _ + -');
  whole(proposal.sequence, 1, Number.MAX_SAFE_INTEGER, 'sequence');
  checkArtifact(proposal.artifact);
  name(() => parseOrgName(proposal.proposer, 'proposer'));
  checkApprovers(approvers, proposal.federation);
  whole(threshold, 1, approvers.length, 'threshold');
  checkTimes(proposal);
  text(proposal.note, MAX_NOTE_BYTES, 'note');
  if (links.length > MAX_LINKS) throw invalid('links', `are more than ${MAX_LINKS}`);
  for (const link of links) {
    text(link, MAX_LINK_BYTES, 'links');
    match(LINK, link, 'links', 'holds what is no http or https address in printable ASCII');
  }
}

function checkArtifact({ name, kind, size, sha256 }: Artifact): void {
  checkSubject({ name, sha256 });
  if (kind !== 'file' && kind !== 'package') throw invalid('artifact.kind', 'is neither file nor package');
  whole(size, 0, kind === 'package' ? MAX_LIST_BYTES : Number.MAX_SAFE_INTEGER, 'artifact.size');
}

function checkSubject({ name, sha256 }: Pick<Artifact, 'name' | 'sha256'>): void {
  text(name, MAX_NAME_BYTES, 'subject.name');
  const plain = name !== '' && name !== '.' && name !== '..' && !/[/\\\t]/.test(name) && escapeControls(name) === name;
  if (!plain) throw invalid('subject.name', 'is not a plain file name');
  match(SHA256, sha256, 'subject.digest.sha256', 'is not SHA-256 in lower-case hexadecimal');
}

function checkApprovers(approvers: readonly ApproverOrg[], federation: string): void {
  if (approvers.length < 1 || approvers.length > MAX_ORGS) {
    throw invalid('approvers', `are not 1 to ${MAX_ORGS} organisations`);
  }
  const owners = new Map<string, string>();
  for (const [i, { org, trustDomain, required, keyIds }] of approvers.entries()) {
    name(() => parseOrgName(org, 'approvers.org'));
    // Sorted: the same list is the same bytes, whoever makes it. Also finds an organisation that is named twice.
    if (i > 0 && org <= (approvers[i - 1]?.org ?? '')) {
      throw invalid('approvers', `names ${org} twice, or not in the order of the names`);
    }
    if (trustDomain !== `${org.toLowerCase()}.${federation}`) {
      throw invalid('approvers.trustDomain', `is not the one of ${org}`);
    }
    checkKeyIds(org, keyIds, owners);
    whole(required, 1, keyIds.length, 'approvers.required');
  }
}

function checkKeyIds(org: string, keyIds: readonly string[], owners: Map<string, string>): void {
  if (keyIds.length < 1 || keyIds.length > MAX_KEYS_PER_ORG) {
    throw invalid('approvers.keys', `of ${org} are not 1 to ${MAX_KEYS_PER_ORG}`);
  }
  for (const [i, id] of keyIds.entries()) {
    match(SHA256, id, 'approvers.keys', `holds an id for ${org} that is not SHA-256 in lower-case hexadecimal`);
    const owner = owners.get(id);
    if (owner !== undefined && owner !== org) throw invalid('approvers.keys', `has one key under ${owner} and ${org}`);
    if (i > 0 && id <= (keyIds[i - 1] ?? '')) {
      throw invalid('approvers.keys', `of ${org} has a key twice, or is not sorted`);
    }
    owners.set(id, org);
  }
}

function checkTimes({ createdMs, notBeforeMs, notAfterMs }: ProposalFacts): void {
  whole(createdMs, 0, LAST_MS, 'createdAt');
  whole(notBeforeMs, 0, LAST_MS, 'notBefore');
  whole(notAfterMs, 0, LAST_MS, 'notAfter');
  if (notAfterMs <= notBeforeMs) throw invalid('notAfter', 'is not after notBefore');
  if (notAfterMs <= createdMs) throw invalid('notAfter', 'is not after createdAt');
  if (notAfterMs - notBeforeMs > MAX_WINDOW_MS) throw invalid('notAfter', 'is more than 366 days after notBefore');
}

function checkReply(reply: ReplyFacts): void {
  match(ID, reply.proposalId, 'proposal', 'is not 16 bytes in lower-case hexadecimal');
  name(() => parseFederationDomain(reply.federation, 'federation'));
  name(() => parseOrgName(reply.org, 'org'));
  checkSubject(reply.artifact);
  match(SHA256, reply.statementSha256, 'statement.sha256', 'is not SHA-256 in lower-case hexadecimal');
  text(reply.reason, MAX_REASON_BYTES, 'reason');
  whole(reply.timeMs, 0, LAST_MS, 'time');
}

function match(pattern: RegExp, value: string, field: string, rule: string): void {
  if (!pattern.test(value)) throw invalid(field, rule);
}

function whole(value: number, least: number, most: number, field: string): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw invalid(field, `is not a whole number from ${least} to ${most}`);
}

function text(value: string, mostBytes: number, field: string): void {
  if (LONE_SURROGATE.test(value)) throw invalid(field, 'is not text: half of a character stands alone');
  if (Buffer.byteLength(value) > mostBytes) throw invalid(field, `is longer than ${mostBytes} bytes`);
}

/** What the parsers of names throw is about a field of a request; here it is one of a statement. */
function name(parse: () => unknown): void {
  try {
    parse();
  } catch (cause) {
    throw new FedgateError('STATEMENT_INVALID', `the statement is not accepted: ${describe(cause)}`, { cause });
  }
}

export const invalid = (field: string, rule: string): FedgateError =>
  new FedgateError('STATEMENT_INVALID', `the statement is not accepted: ${field} ${rule}`);
