import { FedgateError } from '../errors.js';
import { sha256 } from '../sha256.js';
import { formatTopic } from './address.js';
import { type HeaderFacts, readHeader } from './post.js';
import { type Evidence, type Post, type SignedHeader, type StreamId, streamKey, type TopicsHost } from './types.js';

const signedHeader = ({ header, signature }: Post): SignedHeader => ({ header, signature });

/** Undefined: the author's certificate changed in between, and this form of proof has room for one. */
export const evidenceOf = (first: Post, second: Post): Evidence | undefined =>
  first.certificateSha256.equals(second.certificateSha256)
    ? { certificate: second.certificate, first: signedHeader(first), second: signedHeader(second) }
    : undefined;

/** What an author is muted for that signed two things that cannot both be. */
export const equivocated = ({ org, gateway, topic }: StreamId): FedgateError =>
  new FedgateError(
    'REPLAYED',
    `${org}/${gateway} signed two different records with one number on ${formatTopic(topic)}: nothing more of it is taken`,
    { metadata: { org } },
  );

/** Whether two headers of one stream cannot both be: they share a number, or the later names another one before it. */
function conflict(a: HeaderFacts, aBytes: Buffer, b: HeaderFacts, bBytes: Buffer): boolean {
  if (streamKey(a.stream) !== streamKey(b.stream) || aBytes.equals(bBytes)) return false;
  if (a.first < b.first + b.count && b.first < a.first + a.count) return true;
  return b.first === a.first + a.count && !b.previousSha256.equals(sha256(aBytes));
}

/**
 * The stream whose author two headers convict. `false`: they prove nothing, and whoever hands them on lies. `unproven`: that author may not
 * speak at this moment, so what it signed is not judged.
 */
export function judgeEvidence(
  { certificate, first, second }: Evidence,
  federation: string,
  host: Pick<TopicsHost, 'verify'>,
): StreamId | 'false' | 'unproven' {
  let [a, b]: HeaderFacts[] = [];
  try {
    [a, b] = [readHeader(first.header, federation), readHeader(second.header, federation)];
  } catch (error) {
    if (error instanceof FedgateError) return 'false';
    throw error;
  }
  if (!conflict(a, first.header, b, second.header) && !conflict(b, second.header, a, first.header)) return 'false';
  for (const signed of [first, second]) {
    const objection = host.verify(signed, a.stream, certificate);
    if (objection) return objection.forged ? 'false' : 'unproven';
  }
  return a.stream;
}

/** The stream that evidence is about, whether or not it proves anything. Undefined: it is not readable. */
export function accusedBy({ first }: Evidence, federation: string): StreamId | undefined {
  try {
    return readHeader(first.header, federation).stream;
  } catch (error) {
    if (error instanceof FedgateError) return undefined;
    throw error;
  }
}
