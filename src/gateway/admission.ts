import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Role } from '../identity/subject.js';
import type { CertificateVerifier, Identity } from '../identity/verify.js';
import type { Log } from '../telemetry/log.js';
import type { CallerCertificate, CallFailure, CallPolicy } from '../transport/calls.js';
import type { Refusals } from './refusals.js';

export interface AdmissionOptions {
  readonly verifier: CertificateVerifier;
  readonly log: Log;
  readonly refusals: Refusals;
  /** Whose certificates may come: nodes of the own organisation, or gateways of the others. */
  readonly role: Role;
  readonly ownOrg: OrgName;
}

/** Decides at once. */
export interface Admission extends CallPolicy<Identity> {
  authenticate(certificate: CallerCertificate | undefined): Identity;
  /** Why a certificate that was let in counts no more; undefined: it does. */
  complaint(identity: Identity): FedgateError | undefined;
}

/** Who may call a listener's services at all, by certificate. */
export function admission({ verifier, log, refusals, role, ownOrg }: AdmissionOptions): Admission {
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
    complaint: identity => verifier.complaint(identity),
    onFailure(failure: CallFailure) {
      const facts = { method: failure.path, remote: failure.remoteAddress };
      if (failure.error.reason === 'INTERNAL') {
        log.error({ ...facts, requestId: failure.requestId, err: failure.error }, 'call failed');
      } else if (failure.error.reason !== 'DRAINING') {
        refusals.write(failure.error, hostOf(failure.remoteAddress), facts);
      }
    },
  };
}

/** Ports change with every connection. */
export const hostOf = (remoteAddress: string): string =>
  remoteAddress.slice(0, Math.max(0, remoteAddress.lastIndexOf(':')));
