import { TopicHeader } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { parseGatewayName, parseNodeName, parseOrgName } from '../identity/names.js';
import { sha256 } from '../sha256.js';
import { malformed } from '../wire/reader.js';
import type { RecordBlock } from '../wire/records.js';
import { encodeTopicPost, type SealedPost } from '../wire/topic-frames.js';
import { parseTopic } from './address.js';
import { MAX_TTL_MS } from './limits.js';
import { type AuthorId, type Post, type StreamId, streamKey } from './types.js';

/** What an author decides about a post beside its records. */
export interface PostTerms {
  readonly federation: string;
  readonly stream: StreamId;
  readonly node: string;
  readonly first: number;
  readonly timeMs: number;
  readonly expireMs: number;
  readonly previousSha256: Buffer;
  /** DER. */
  readonly certificate: Buffer;
  readonly certificateSha256: Buffer;
}

/** Signs records. */
export function sealPost(terms: PostTerms, records: RecordBlock, sign: (header: Buffer) => Buffer): Post {
  const { federation, stream, node, first, timeMs, expireMs, previousSha256, certificate, certificateSha256 } = terms;
  const header = Buffer.from(
    TopicHeader.encode({
      federation,
      topic: stream.topic,
      authorOrg: stream.org,
      authorGateway: stream.gateway,
      authorNode: node,
      epoch: stream.epoch,
      sequence: BigInt(first),
      recordCount: records.count,
      contentSha256: sha256(records.bytes),
      timeMs: BigInt(timeMs),
      expireTimeMs: BigInt(expireMs),
      previousSha256,
      certificateSha256,
    }).finish(),
  );
  const sealed = { header, signature: sign(header), records };
  return postOf(sealed, terms, certificate);
}

/** What a header says, its form checked; nothing of it is believed yet. */
export interface HeaderFacts {
  readonly stream: StreamId;
  readonly node: string;
  readonly first: number;
  readonly count: number;
  readonly timeMs: number;
  readonly expireMs: number;
  readonly previousSha256: Buffer;
  readonly certificateSha256: Buffer;
  readonly contentSha256: Buffer;
}

/** Reads the header of a post. Throws FRAME_MALFORMED, FIELD_INVALID, CHANNEL_RESERVED, FEDERATION_MISMATCH. */
export function readHeader(bytes: Buffer, federation: string): HeaderFacts {
  let header: TopicHeader;
  try {
    header = TopicHeader.decode(bytes);
  } catch {
    throw malformed('the header of a post');
  }
  if (header.federation !== federation)
    throw new FedgateError('FEDERATION_MISMATCH', 'a post is of another federation');
  const stream = checkedStream(header.topic, header.authorOrg, header.authorGateway, header.epoch);
  const [timeMs, expireMs] = [Number(header.timeMs), Number(header.expireTimeMs)];
  if (timeMs <= 0 || expireMs < timeMs || expireMs - timeMs > MAX_TTL_MS) throw malformed('the times of a post');
  const first = checkedSequence(header.sequence);
  const digests = [header.contentSha256, header.certificateSha256];
  const previous = header.previousSha256.length;
  if (digests.some(({ length }) => length !== 32) || previous !== (first === 1 ? 0 : 32))
    throw malformed('the digests of a post');
  if (header.recordCount < 1 || first + header.recordCount > Number.MAX_SAFE_INTEGER)
    throw malformed('the number of records of a post');
  return {
    stream,
    node: parseNodeName(header.authorNode, 'author_node'),
    first,
    count: header.recordCount,
    timeMs,
    expireMs,
    previousSha256: Buffer.from(header.previousSha256),
    certificateSha256: Buffer.from(header.certificateSha256),
    contentSha256: Buffer.from(header.contentSha256),
  };
}

/** Reads a post whose records must be those of its header. The signature is yet to be judged. Throws as `readHeader`, and SIGNATURE_INVALID. */
export function readPost(
  sealed: SealedPost,
  federation: string,
  certificateOf: (sha256: Buffer) => Buffer | undefined,
): Post {
  const facts = readHeader(sealed.header, federation);
  const certificate = certificateOf(facts.certificateSha256);
  if (!certificate)
    throw new FedgateError('CERTIFICATE_MISSING', `a post of ${facts.stream.org} came without its certificate`);
  const { records } = sealed;
  if (records.count !== facts.count || !sha256(records.bytes).equals(facts.contentSha256)) {
    throw new FedgateError(
      'SIGNATURE_INVALID',
      `the records of a post of ${facts.stream.org} are not those that were signed`,
    );
  }
  return postOf(sealed, facts, certificate);
}

type PostFacts = Pick<
  HeaderFacts,
  'stream' | 'node' | 'first' | 'timeMs' | 'expireMs' | 'previousSha256' | 'certificateSha256'
>;

/** Everything that is kept of it is one piece of memory, not views on what came. */
function postOf(sealed: SealedPost, facts: PostFacts, certificate: Buffer): Post {
  const { header, signature, records } = sealed;
  const frame = encodeTopicPost({ header, signature, records });
  const recordsAt = frame.length - records.bytes.length;
  const headerAt = frame.indexOf(header);
  const signatureAt = recordsAt - signature.length;
  const { stream, node, first, timeMs, expireMs, previousSha256, certificateSha256 } = facts;
  return {
    stream,
    key: streamKey(stream),
    node,
    first,
    last: first + records.count - 1,
    timeMs,
    expireMs,
    header: frame.subarray(headerAt, headerAt + header.length),
    signature: frame.subarray(signatureAt, recordsAt),
    records: { bytes: frame.subarray(recordsAt), count: records.count },
    headerSha256: sha256(header),
    previousSha256,
    certificateSha256,
    certificate,
    frame,
  };
}

/** Throws FIELD_INVALID, CHANNEL_RESERVED. */
export function checkedStream(topic: string, org: string, gateway: string, epoch: bigint): StreamId {
  if (epoch <= 0n) throw new FedgateError('FIELD_INVALID', 'epoch: is 0');
  if (parseTopic(topic) !== topic) throw malformed('the topic of a post');
  const author = checkedAuthor(org, gateway);
  return { topic, org: author.org, gateway: author.gateway, epoch };
}

const checkedAuthor = (org: string, gateway: string): AuthorId => ({
  org: parseOrgName(org, 'author_org'),
  gateway: parseGatewayName(gateway, 'author_gateway'),
});

/** Sequences are numbers here; nobody gets to 2^53 records. */
function checkedSequence(sequence: bigint): number {
  if (sequence < 1n || sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('the sequence of a post');
  return Number(sequence);
}
