import { type KeyObject, X509Certificate } from 'node:crypto';
import { FedgateError, quoted } from '../errors.js';
import { isOrgName, type OrgName } from '../identity/names.js';
import { CertificateVerifier, type MemberTrust, type TrustDirectory } from '../identity/verify.js';

/** The CA certificate of a member, got in a way that the verifier trusts. */
export interface TrustedAuthority {
  /** Whose it is. Undefined: that of which its subject speaks, as every CA that fedgate makes does. */
  readonly org?: OrgName | undefined;
  /** PEM, DER, or read already. */
  readonly certificate: string | Buffer | X509Certificate;
}

const CLOCK_SKEW_MS = 5 * 60_000;

/** Who may sign what in a file: the certificates in it, as far as the CAs at hand vouch for them. */
export class Authorities implements TrustDirectory {
  readonly #verifier: CertificateVerifier;
  /** The time at which certificates are looked at: that of the signature. */
  #timeMs = 0;
  readonly #members = new Map<string, MemberTrust & { readonly authorities: X509Certificate[] }>();

  /** Throws FIELD_INVALID for what is no CA certificate of a member of the federation. */
  constructor(federation: string, trusted: readonly TrustedAuthority[]) {
    this.#verifier = new CertificateVerifier(federation, this, () => this.#timeMs);
    for (const each of trusted) {
      const certificate = read(each.certificate);
      const org = each.org ?? orgOf(certificate, federation);
      const member = this.#members.get(org) ?? { org, active: true, authorities: [] };
      member.authorities.push(certificate);
      this.#members.set(org, member);
    }
  }

  trust(org: string): MemberTrust | undefined {
    return this.#members.get(org);
  }

  all(): Iterable<MemberTrust> {
    return this.#members.values();
  }

  /** The key of a gateway at a time. Throws CERTIFICATE_UNTRUSTED, CERTIFICATE_EXPIRED, IDENTITY_MISMATCH. */
  keyOf(certificate: X509Certificate, org: string, gateway: string, timeMs: number): KeyObject {
    this.#timeMs = timeMs;
    const identity = this.#verifier.identify(certificate.fingerprint256, () => certificate);
    if (Date.parse(certificate.validFrom) > timeMs + CLOCK_SKEW_MS)
      throw new FedgateError('CERTIFICATE_EXPIRED', `the certificate begins ${certificate.validFrom}`);
    if (identity.org !== org || identity.role !== 'gateway' || identity.name !== gateway) {
      throw new FedgateError(
        'IDENTITY_MISMATCH',
        `the certificate is that of ${identity.org}/${identity.role}/${identity.name}, not of ${org}/gateway/${gateway}`,
      );
    }
    return identity.publicKey;
  }
}

function read(certificate: TrustedAuthority['certificate']): X509Certificate {
  let parsed: X509Certificate;
  try {
    parsed = certificate instanceof X509Certificate ? certificate : new X509Certificate(certificate);
  } catch (cause) {
    throw new FedgateError('FIELD_INVALID', 'ca: not a certificate', { cause });
  }
  if (!parsed.ca) throw new FedgateError('FIELD_INVALID', 'ca: not the certificate of a CA');
  return parsed;
}

/** Our CAs have `O=acme.<federation>` in their subject. */
function orgOf(certificate: X509Certificate, federation: string): OrgName {
  const names = certificate.subject.split('\n').flatMap(part => (part.startsWith('O=') ? [part.slice(2)] : []));
  const [name = ''] = names;
  const org = name.slice(0, -federation.length - 1).toUpperCase();
  if (names.length === 1 && name === `${org.toLowerCase()}.${federation}` && isOrgName(org)) return org;
  throw new FedgateError(
    'FIELD_INVALID',
    `ca: ${quoted(certificate.subject)} does not say which member of ${federation} it is; name the organisation`,
  );
}
