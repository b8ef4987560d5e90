import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Role } from '../identity/subject.js';
import type { CertificateVerifier, Identity } from '../identity/verify.js';
import type { Log } from '../telemetry/log.js';
import type { CallFailure, CallPolicy } from '../transport/calls.js';

/** Reasons that an honest caller never causes. */
const SECURITY_REASONS: ReadonlySet<string> = new Set([
  'CERTIFICATE_MISSING',
  'CERTIFICATE_UNTRUSTED',
  'CERTIFICATE_ROLE',
  'IDENTITY_MISMATCH',
  'SIGNATURE_INVALID',
  'REPLAYED',
  'WRONG_RECIPIENT',
  'ORG_INACTIVE',
  'SNAPSHOT_STALE',
  'SNAPSHOT_FORKED',
  'SNAPSHOT_INVALID',
  'CHANNEL_RESERVED',
  'NOT_GRANTED',
]);

/** Writes a refusal to the log: as a security event when an honest caller would not have caused it. */
export function logRefusal(log: Log, error: FedgateError, facts: Record<string, unknown>): void {
  if (SECURITY_REASONS.has(error.reason)) log.warn({ security: true, ...facts, err: error }, 'refused');
  else log.info({ ...facts, err: error }, 'refused');
}

export interface AdmissionOptions {
  readonly verifier: CertificateVerifier;
  readonly log: Log;
  readonly onRefused: () => void;
  /** Whose certificates may come: nodes of the own organisation, or gateways of the others. */
  readonly role: Role;
  readonly ownOrg: OrgName;
}

/** Who may call a listener's services at all. */
export function admission({ verifier, log, onRefused, role, ownOrg }: AdmissionOptions): CallPolicy<Identity> {
  return {
    authenticate(certificate) {
      if (!certificate) throw new FedgateError('CERTIFICATE_MISSING', 'no certificate was shown');
      const identity = verifier.identify(certificate.fingerprint, () => certificate.read());
      if (identity.role !== role) {
        throw new FedgateError(
          'CERTIFICATE_ROLE',
          `a ${identity.role} certificate came where only a ${role}'s is taken`,
        );
      }
      if (role === 'node' && identity.org !== ownOrg)
        throw new FedgateError('CERTIFICATE_UNTRUSTED', `nodes of ${identity.org} use their own gateway`);
      if (role === 'gateway' && identity.org === ownOrg)
        throw new FedgateError('CERTIFICATE_ROLE', 'gateways of one organisation do not link to each other');
      return identity;
    },
    onFailure(failure: CallFailure) {
      onRefused();
      const facts = { method: failure.path, remote: failure.remoteAddress };
      if (failure.error.reason === 'INTERNAL')
        log.error({ ...facts, requestId: failure.requestId, err: failure.error }, 'call failed');
      else if (failure.error.reason !== 'DRAINING') logRefusal(log, failure.error, facts);
    },
  };
}
