import { randomBytes, X509Certificate } from 'node:crypto';
import type {
  CreateInvitationRequest,
  CreateInvitationResponse,
  ListFederationRequest,
  ListFederationResponse,
  RegistryAdminServiceServer,
  SetMemberStateRequest,
  SetMemberStateResponse,
} from '../../../gen/ts/fedgate/registry/v1/registry_admin_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { CertificateVerifier, type Identity, type TrustDirectory } from '../../identity/verify.js';
import { type CallerCertificate, type CallFailure, CallWrapper } from '../../transport/calls.js';
import { encodeInvitation, SECRET_BYTES } from '../invitation.js';
import { memberStateFromWire, memberToWire } from '../snapshot.js';
import { DEFAULT_INVITATION_LIFETIME_MS, type Federation } from './federation.js';
import { REGISTRY_ORG } from './folder.js';

export interface AdminServiceOptions {
  readonly federation: Federation;
  /** PEM of the CA of operators' certificates. */
  readonly adminAuthority: string;
  /** What invitations say about the registry. */
  readonly advertise: () => readonly string[];
  /** SHA-256 of the registry's certificate. */
  readonly fingerprint: Uint8Array;
  readonly onFailure: (failure: CallFailure) => void;
  /** Hears of every change an operator made. */
  readonly onChange: (change: { readonly what: string; readonly org: string }) => void;
  readonly now: () => number;
}

/** The calls of the registry's operator. */
export function registryAdminService(options: AdminServiceOptions): RegistryAdminServiceServer {
  const { federation, onFailure, onChange } = options;
  const operators = new CallWrapper<Identity>({ authenticate: operatorsOnly(options), onFailure });

  return {
    createInvitation: operators.unary<CreateInvitationRequest, CreateInvitationResponse>(async request => {
      // Before anything is stored: an invitation that says no place to go is of no use.
      const addresses = options.advertise();
      const secret = randomBytes(SECRET_BYTES);
      const lifetimeMs = request.lifetimeSeconds * 1000 || DEFAULT_INVITATION_LIFETIME_MS;
      const { org, expireTimeMs } = await federation.invite(request.org, secret, lifetimeMs);
      onChange({ what: 'invited', org });
      const { domain } = federation;
      const code = encodeInvitation({
        federation: domain,
        org,
        addresses,
        fingerprint: options.fingerprint,
        secret,
        expireTimeMs,
      });
      return { code, expireTimeMs: BigInt(expireTimeMs) };
    }),

    listFederation: operators.unary<ListFederationRequest, ListFederationResponse>(() => ({
      federation: federation.domain,
      snapshotVersion: federation.snapshot.version,
      snapshotExpireTimeMs: BigInt(federation.snapshot.expireTimeMs),
      members: federation.members().map(memberToWire),
      invitations: federation
        .openInvitations()
        .map(({ org, expireTimeMs }) => ({ org, expireTimeMs: BigInt(expireTimeMs) })),
    })),

    setMemberState: operators.unary<SetMemberStateRequest, SetMemberStateResponse>(async request => {
      const state = memberStateFromWire(request.state);
      if (!state) throw fieldError('state', 'must be active, suspended or removed');
      const { member, snapshot } = await federation.setState(request.org, state);
      onChange({ what: state, org: member.org });
      return { member: memberToWire(member), snapshotVersion: snapshot.version };
    }),
  };
}

/** Lets in certificates of the registry's own admin CA. TLS has refused all others already; this is the second look. */
function operatorsOnly({
  federation,
  adminAuthority,
  now,
}: AdminServiceOptions): (certificate: CallerCertificate | undefined) => Identity {
  const trust = { org: REGISTRY_ORG, active: true, authorities: [new X509Certificate(adminAuthority)] };
  const directory: TrustDirectory = { trust: org => (org === REGISTRY_ORG ? trust : undefined), all: () => [trust] };
  const verifier = new CertificateVerifier(federation.domain, directory, now);
  return certificate => {
    if (!certificate) throw new FedgateError('CERTIFICATE_MISSING', "this needs the operator's certificate");
    return verifier.identify(certificate.fingerprint, () => certificate.read());
  };
}
