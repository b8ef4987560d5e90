import type { KeyObject, X509Certificate } from 'node:crypto';
import { FedgateError, quoted } from '../errors.js';
import { MAX_LEAF_LIFETIME_MS } from './lifetime.js';
import type { OrgName } from './names.js';
import { tlsKeyId } from './revocation.js';
import { formatSubject, type Subject, subjectOf } from './subject.js';

/** What counts about a member when somebody shows its certificate. */
export interface MemberTrust {
  readonly org: OrgName;
  /** False: suspended or removed; nobody speaks for it. */
  readonly active: boolean;
  /** The registered CA certificates: one, or two while a rotation lasts. */
  readonly authorities: readonly X509Certificate[];
  /** Whether it took back one of its certificates. Undefined: none. */
  readonly isRevoked?: ((leaf: Leaf) => boolean) | undefined;
}

/** What revocations speak of. */
export type Leaf = Pick<Identity, 'role' | 'name' | 'keyId' | 'notBeforeMs'>;

/** Who is a member. Answers change while the process runs. */
export interface TrustDirectory {
  trust(org: string): MemberTrust | undefined;
  all(): Iterable<MemberTrust>;
}

/** A caller or peer whose certificate was verified. */
export interface Identity extends Subject {
  /** SHA-256, as Node writes it: `AB:CD:…`. */
  readonly fingerprint: string;
  /** DER. */
  readonly certificate: Buffer;
  readonly publicKey: KeyObject;
  /** See `tlsKeyId`. */
  readonly keyId: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

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

  /** Throws CERTIFICATE_UNTRUSTED, CERTIFICATE_EXPIRED, CERTIFICATE_REVOKED or ORG_INACTIVE. Costs a few look-ups for a certificate seen before. */
  identify(fingerprint: string, leaf: () => X509Certificate): Identity {
    const known = this.#cache.get(fingerprint);
    if (known && this.#isRegistered(known)) return this.#unlessOver(known.identity);
    const verified = this.#verify(leaf());
    if (this.#cache.size >= CACHE_ENTRIES) this.#cache.clear();
    this.#cache.set(fingerprint, verified);
    return this.#unlessOver(verified.identity);
  }

  /**
   * Why a certificate that was identified before would not be again: for connections that outlive what they began with. Undefined: it
   * would.
   */
  complaint(identity: Identity): FedgateError | undefined {
    const over = this.#over(identity);
    if (over) return over;
    const known = this.#cache.get(identity.fingerprint);
    if (known === undefined || this.#isRegistered(known)) return undefined;
    return untrusted(`the CA that signed it is no more one of ${identity.org}`, identity.org);
  }

  /** Whether there is no such complaint. */
  stillGood(identity: Identity): boolean {
    return this.complaint(identity) === undefined;
  }

  /** Whether the CA that signed it still is one of its organisation: also when a record with the same CAs was read since. */
  #isRegistered(known: Verified): boolean {
    const { authorities = [] } = this.#directory.trust(known.identity.org) ?? {};
    if (authorities.includes(known.authority)) return true;
    const same = authorities.find(({ raw }) => raw.equals(known.authority.raw));
    if (same) known.authority = same;
    return same !== undefined;
  }

  #unlessOver(identity: Identity): Identity {
    const over = this.#over(identity);
    if (over) throw over;
    return identity;
  }

  #over(identity: Identity): FedgateError | undefined {
    const { org, notAfterMs } = identity;
    if (this.#now() > notAfterMs) {
      return new FedgateError(
        'CERTIFICATE_EXPIRED',
        `the certificate of ${formatSubject(identity)} ended ${new Date(notAfterMs).toISOString()}`,
      );
    }
    const trust = this.#directory.trust(org);
    if (!trust?.active)
      return new FedgateError('ORG_INACTIVE', `${org} is not an active member`, { metadata: { org } });
    if (trust.isRevoked?.(identity)) {
      return new FedgateError('CERTIFICATE_REVOKED', `${org} revoked the certificate of ${formatSubject(identity)}`, {
        metadata: { org },
      });
    }
    return undefined;
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
      keyId: tlsKeyId(leaf.publicKey),
      notBeforeMs: Date.parse(leaf.validFrom),
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
