import type { KeyObject, X509Certificate } from 'node:crypto';
import { FedgateError, quoted } from '../errors.js';
import type { OrgName } from './names.js';
import { formatSubject, type Subject, subjectOf } from './subject.js';

/** What counts about a member when somebody shows its certificate. */
export interface MemberTrust {
  readonly org: OrgName;
  /** False: suspended or removed; nobody speaks for it. */
  readonly active: boolean;
  /** The registered CA certificates: one, or two while a rotation lasts. */
  readonly authorities: readonly X509Certificate[];
}

/** Who is a member. Answers change while the process runs. */
export interface TrustDirectory {
  trust(org: string): MemberTrust | undefined;
  all(): Iterable<MemberTrust>;
}

/** A caller or peer whose certificate was verified. */
export interface Identity extends Subject {
  readonly fingerprint: string;
  /** DER. */
  readonly certificate: Buffer;
  readonly publicKey: KeyObject;
  readonly notAfterMs: number;
}

/** The longest life of a leaf that is believed, so that a leaked key does not count for decades. */
export const MAX_LEAF_LIFETIME_MS = 400 * 24 * 3_600_000;
/** How far two honest clocks may differ. */
const CLOCK_SKEW_MS = 5 * 60_000;
const CACHE_ENTRIES = 10_000;

interface Verified {
  readonly identity: Identity;
  authority: X509Certificate;
}

/**
 * Decides who a certificate speaks for.
 *
 * TLS accepts the CAs of all members, so a chain that TLS accepted proves only that *some* member signed it. Here the leaf must be
 * signed directly by a registered CA of the very organisation its one URI SAN names. One member's CA never speaks for another.
 */
export class CertificateVerifier {
  readonly #cache = new Map<string, Verified>();
  readonly #federation: string;
  readonly #directory: TrustDirectory;
  readonly #now: () => number;

  constructor(federation: string, directory: TrustDirectory, now: () => number = Date.now) {
    this.#federation = federation;
    this.#directory = directory;
    this.#now = now;
  }

  /** Throws CERTIFICATE_UNTRUSTED, CERTIFICATE_EXPIRED or ORG_INACTIVE. Costs two map look-ups for a certificate seen before. */
  identify(fingerprint: string, leaf: () => X509Certificate): Identity {
    const known = this.#cache.get(fingerprint);
    if (known && this.#isRegistered(known)) return this.#stillGood(known.identity);
    const verified = this.#verify(leaf());
    if (this.#cache.size >= CACHE_ENTRIES) this.#cache.clear();
    this.#cache.set(fingerprint, verified);
    return this.#stillGood(verified.identity);
  }

  /** Whether a certificate that was identified before would be again: for connections that outlive what they began with. */
  stillGood(identity: Identity): boolean {
    const known = this.#cache.get(identity.fingerprint);
    const trust = this.#directory.trust(identity.org);
    if (!trust?.active || this.#now() > identity.notAfterMs) return false;
    return known === undefined || this.#isRegistered(known);
  }

  /** Whether the CA that signed it still is one of its organisation: also when a record with the same CAs was read since. */
  #isRegistered(known: Verified): boolean {
    const { authorities = [] } = this.#directory.trust(known.identity.org) ?? {};
    if (authorities.includes(known.authority)) return true;
    const same = authorities.find(({ raw }) => raw.equals(known.authority.raw));
    if (same) known.authority = same;
    return same !== undefined;
  }

  #stillGood(identity: Identity): Identity {
    if (this.#now() > identity.notAfterMs) {
      throw new FedgateError(
        'CERTIFICATE_EXPIRED',
        `the certificate of ${formatSubject(identity)} ended ${new Date(identity.notAfterMs).toISOString()}`,
      );
    }
    if (!this.#directory.trust(identity.org)?.active) {
      throw new FedgateError('ORG_INACTIVE', `${identity.org} is not an active member`, {
        metadata: { org: identity.org },
      });
    }
    return identity;
  }

  #verify(leaf: X509Certificate): Verified {
    const subject = subjectOfLeaf(leaf, this.#federation);
    const trust = this.#directory.trust(subject.org);
    if (!trust) throw untrusted(`it names ${subject.org}, which is no member`);
    const authority = trust.authorities.find(ca => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
    if (!authority) throw untrusted(`it names ${subject.org} but ${this.#actualIssuer(leaf)}`, subject.org);
    checkLeafShape(leaf, this.#now());
    const identity = {
      ...subject,
      fingerprint: leaf.fingerprint256,
      certificate: leaf.raw,
      publicKey: leaf.publicKey,
      notAfterMs: Date.parse(leaf.validTo),
    };
    return { identity, authority };
  }

  #actualIssuer(leaf: X509Certificate): string {
    for (const { org, authorities } of this.#directory.all()) {
      if (authorities.some(ca => leaf.checkIssued(ca) && leaf.verify(ca.publicKey))) return `${org}'s CA signed it`;
    }
    return 'no CA registered for it signed it';
  }
}

/** The subject of the one URI SAN. Throws CERTIFICATE_UNTRUSTED for none, several, or one of another form or federation. */
export function subjectOfLeaf(leaf: X509Certificate, federation: string): Subject {
  const uris = uriNames(leaf);
  if (uris.length !== 1) throw untrusted(`it has ${uris.length} URI names instead of one`);
  const [uri = ''] = uris;
  const subject = subjectOf(uri, federation);
  if (!subject) throw untrusted(`${quoted(uri)} names nobody in ${federation}`);
  return subject;
}

/** Node quotes a name that holds a comma, so a text with a quote in it holds no name of ours and splitting the rest is safe. */
function uriNames(leaf: X509Certificate): string[] {
  const text = leaf.subjectAltName ?? '';
  if (text.includes('"')) return [];
  return text
    .split(', ')
    .filter(name => name.startsWith('URI:'))
    .map(name => name.slice(4));
}

function checkLeafShape(leaf: X509Certificate, now: number): void {
  if (leaf.ca) throw untrusted('it is a CA certificate');
  const usage = leaf.keyUsage ?? [];
  if (!usage.includes(CLIENT_AUTH) || !usage.includes(SERVER_AUTH)) throw untrusted('it is not for both ends of TLS');
  const from = Date.parse(leaf.validFrom);
  const to = Date.parse(leaf.validTo);
  if (now + CLOCK_SKEW_MS < from)
    throw new FedgateError('CERTIFICATE_EXPIRED', `the certificate begins ${leaf.validFrom}`);
  if (to - from > MAX_LEAF_LIFETIME_MS) throw untrusted('its life is longer than 400 days');
}

// RFC 5280, section 4.2.1.12
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

const untrusted = (why: string, org?: string): FedgateError =>
  new FedgateError(
    'CERTIFICATE_UNTRUSTED',
    `the certificate is not believed: ${why}`,
    org === undefined ? {} : { metadata: { org } },
  );
