import {
  ArtifactKind,
  type Envelope as EnvelopeMessage,
  type ListApproversResponse_Org,
  type Proposal,
  ProposalState,
  type ProposeRequest,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { MAX_LINK_BYTES, MAX_LINKS, MAX_NOTE_BYTES, MAX_ORGS, MAX_REASON_BYTES } from '../approvals/statement/rules.js';
import { MAX_STATEMENT_BYTES } from '../approvals/statement/statement.js';
import type { Envelope, ArtifactKind as Kind, OrgApprovers, ProposalDraft } from '../approvals/types.js';
import { fieldError } from '../errors.js';
import { type OrgName, parseOrgName } from '../identity/names.js';
import { escapeControls } from '../text.js';
import { readId, readTime } from './file-messages.js';

/** Between the messages of approval_service.proto and what they mean. Whatever reads throws FIELD_INVALID with the path of the field. */

const MAX_NAME_BYTES = 255;
const MAX_PAGE_TOKEN_BYTES = 256;
/** More than any signature of the two kinds has, or the hint of its key. */
const MAX_SIGNATURE_BYTES = 1_024;
const PROJECT = /^[A-Za-z0-9._-]{1,64}$/;
const VERSION = /^[A-Za-z0-9._+-]{1,64}$/;
const LINK = /^https?:\/\/[A-Za-z0-9[][!-~]*$/;
const STATES: ReadonlySet<number> = new Set(Object.values(ProposalState).filter(state => Number(state) >= 0));
const LONE_SURROGATE = /\p{Cs}/u;

/** What a proposal is to say, but for what its shares say. */
export interface CheckedProposal extends Omit<ProposalDraft, 'artifact' | 'artifactShare' | 'contentsShare' | 'files'> {
  readonly kind: Kind;
  /** Empty: the name of the share. */
  readonly artifactName: string;
}

export function readProposeRequest(request: ProposeRequest): CheckedProposal {
  const { artifactName, project, version, threshold, note, links, proposalId } = request;
  if (artifactName !== '') readFileName(artifactName, 'artifact_name');
  if (!PROJECT.test(project)) throw fieldError('project', 'is not 1 to 64 of A-Z a-z 0-9 . _ -');
  if (!VERSION.test(version)) throw fieldError('version', 'is not 1 to 64 of A-Z a-z 0-9 . _ + -');
  const orgs = readOrgs(request.orgs);
  if (threshold < 1 || threshold > orgs.length) {
    throw fieldError('threshold', `is ${threshold}, which is not from 1 to the ${orgs.length} organisations named`);
  }
  readText(note, MAX_NOTE_BYTES, 'note');
  if (links.length > MAX_LINKS) throw fieldError('links', `has more than ${MAX_LINKS} links`);
  for (const [i, link] of links.entries()) readLink(link, `links[${i}]`);
  return {
    kind: readKind(request),
    artifactName,
    id: proposalId.length === 0 ? undefined : readId(proposalId, 'proposal_id'),
    ...{ project, version, orgs, threshold, note, links },
    notBeforeMs: readTime(request.notBeforeMs, 'not_before_ms'),
    notAfterMs: readTime(request.notAfterMs, 'not_after_ms'),
  };
}

/** A name that a file may have in any folder. */
export function readFileName(name: string, field: string): string {
  readText(name, MAX_NAME_BYTES, field);
  const plain = name !== '' && name !== '.' && name !== '..' && !/[/\\\t]/.test(name) && escapeControls(name) === name;
  if (!plain) throw fieldError(field, 'is not a plain file name');
  return name;
}

export function readReason(reason: string, field: string): string {
  readText(reason, MAX_REASON_BYTES, field);
  return reason;
}

/** Empty: of all. */
export function readOrgOrAll(org: string, field: string): OrgName | '' {
  return org === '' ? '' : parseOrgName(org, field);
}

/** Empty: of all. */
export function readProjectOrAll(project: string): string {
  if (project !== '' && !PROJECT.test(project)) throw fieldError('project', 'is not 1 to 64 of A-Z a-z 0-9 . _ -');
  return project;
}

export function readState(state: ProposalState): ProposalState {
  if (STATES.has(state)) return state;
  throw fieldError('state', `${state} is no state of a proposal`);
}

/** Empty: from the newest on. Whether it is one that was given out, the book says. */
export function readToken(token: Uint8Array): Buffer | undefined {
  if (token.length > MAX_PAGE_TOKEN_BYTES) throw fieldError('page_token', 'is not one that was given out');
  return token.length === 0 ? undefined : Buffer.from(token);
}

export function readEnvelope(message: EnvelopeMessage | undefined): Envelope {
  if (!message) throw fieldError('envelope', 'is missing');
  const { payloadType, payload, signatures } = message;
  if (payload.length > MAX_STATEMENT_BYTES) {
    throw fieldError('envelope.payload', `is longer than ${MAX_STATEMENT_BYTES} bytes`);
  }
  if (signatures.length !== 1) throw fieldError('envelope.signatures', 'is not exactly one signature');
  return { payloadType, payload: Buffer.from(payload), signatures: signatures.map(readSignature) };
}

export const toOrg = ({ org, required, approvers }: OrgApprovers): ListApproversResponse_Org => ({
  org,
  required,
  keys: approvers.map(({ name, key, addMs, revocation }) => ({
    name,
    keyId: Buffer.from(key.id, 'hex'),
    publicKey: key.spki,
    addTimeMs: BigInt(addMs),
    revokeTimeMs: BigInt(revocation?.timeMs ?? 0),
    compromised: revocation?.compromised ?? false,
  })),
});

const EMPTY: Uint8Array = new Uint8Array(0);

/** Without what lists leave out. Most have nothing of it: thousands of copies would be the larger part of the work of a list. */
export function toListed(proposal: Proposal): Proposal {
  const { statement, previousApprovedId, standings } = proposal;
  const isBare = standings.every(({ votes }) => votes.length === 0);
  if (isBare && statement.length === 0 && previousApprovedId.length === 0) return proposal;
  const bare = standings.map(standing => ({ ...standing, votes: [] }));
  return { ...proposal, statement: EMPTY, previousApprovedId: EMPTY, standings: bare };
}

function readKind({ kind, contentsShare }: ProposeRequest): Kind {
  if (kind === ArtifactKind.ARTIFACT_KIND_PACKAGE) {
    if (contentsShare === '') throw fieldError('contents_share', 'is missing: a package is fetched from there');
    return 'package';
  }
  if (kind !== ArtifactKind.ARTIFACT_KIND_FILE && kind !== ArtifactKind.ARTIFACT_KIND_UNSPECIFIED) {
    throw fieldError('kind', `${kind} is no kind of artifact`);
  }
  if (contentsShare !== '') throw fieldError('contents_share', 'is there, and the artifact is a single file');
  return 'file';
}

function readOrgs(names: readonly string[]): OrgName[] {
  if (names.length < 1 || names.length > MAX_ORGS) throw fieldError('orgs', `is not 1 to ${MAX_ORGS} organisations`);
  const orgs = names.map((name, i) => parseOrgName(name, `orgs[${i}]`));
  const twice = orgs.findIndex((org, i) => orgs.indexOf(org) < i);
  if (twice >= 0) throw fieldError(`orgs[${twice}]`, `names ${orgs[twice]} again`);
  return orgs;
}

function readLink(link: string, field: string): void {
  readText(link, MAX_LINK_BYTES, field);
  if (!LINK.test(link)) throw fieldError(field, 'is no http or https address in printable ASCII');
}

function readText(text: string, mostBytes: number, field: string): void {
  // U+FFFD is what bytes that are no UTF-8 were read as.
  if (LONE_SURROGATE.test(text) || text.includes('\u{fffd}')) throw fieldError(field, 'is not valid UTF-8');
  if (Buffer.byteLength(text) > mostBytes) throw fieldError(field, `is longer than ${mostBytes} bytes`);
}

function readSignature({ keyId, signature }: EnvelopeMessage['signatures'][number]) {
  if (keyId.length > MAX_SIGNATURE_BYTES) throw fieldError('envelope.signatures[0].key_id', 'is too long for a hint');
  if (signature.length < 1 || signature.length > MAX_SIGNATURE_BYTES) {
    throw fieldError('envelope.signatures[0].signature', `is not 1 to ${MAX_SIGNATURE_BYTES} bytes`);
  }
  return { keyId, signature: Buffer.from(signature) };
}
