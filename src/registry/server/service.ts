import { createPublicKey, type KeyObject } from 'node:crypto';
import type { SignedRecord } from '../../../gen/ts/fedgate/registry/v1/record.js';
import type {
  CreateJoinChallengeRequest,
  CreateJoinChallengeResponse,
  GetMemberRequest,
  GetMemberResponse,
  GetSnapshotRequest,
  GetSnapshotResponse,
  JoinRequest,
  JoinResponse,
  ListMembersRequest,
  ListMembersResponse,
  PutRecordRequest,
  PutRecordResponse,
  RegistryServiceServer,
  WatchSnapshotRequest,
  WatchSnapshotResponse,
} from '../../../gen/ts/fedgate/registry/v1/registry_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { isOrgName } from '../../identity/names.js';
import { CertificateVerifier, type Identity } from '../../identity/verify.js';
import { type CallerCertificate, type CallFailure, CallWrapper } from '../../transport/calls.js';
import { memberToWire } from '../snapshot.js';
import type { Federation } from './federation.js';
import type { Watches } from './watch.js';

const PAGE = { usual: 100, largest: 1000 } as const;

export interface ServiceOptions {
  readonly federation: Federation;
  readonly watches: Watches;
  readonly snapshotKey: KeyObject;
  readonly onFailure: (failure: CallFailure) => void;
  readonly now: () => number;
}

/** The calls of members and of those about to join. */
export function registryService(options: ServiceOptions): RegistryServiceServer {
  const { federation, watches, onFailure } = options;
  const anyone = new CallWrapper<undefined>({ authenticate: () => undefined, onFailure });
  const verifier = new CertificateVerifier(federation.domain, federation, options.now);
  const members = new CallWrapper<Identity>({ authenticate: memberGateways(verifier), onFailure });
  const snapshotKey = createPublicKey(options.snapshotKey).export({ type: 'spki', format: 'der' });

  return {
    createJoinChallenge: anyone.unary<CreateJoinChallengeRequest, CreateJoinChallengeResponse>(
      ({ invitationSecret, org }) => ({
        challenge: federation.challenge(org, invitationSecret),
        federation: federation.domain,
      }),
    ),

    join: anyone.unary<JoinRequest, JoinResponse>(async ({ invitationSecret, challenge, proof, record }) => {
      const claim = { secret: invitationSecret, challenge, proof, record: required(record) };
      const { signed } = await federation.join(claim);
      return { snapshotKey, snapshot: signed };
    }),

    putRecord: members.unary<PutRecordRequest, PutRecordResponse>(async ({ record }, { caller }) => {
      const { version } = await federation.putRecord(caller.org, required(record));
      return { snapshotVersion: version };
    }),

    getMember: members.unary<GetMemberRequest, GetMemberResponse>(({ org }) => ({
      member: memberToWire(federation.member(org)),
    })),

    listMembers: members.unary<ListMembersRequest, ListMembersResponse>(request => listMembers(federation, request)),

    getSnapshot: members.unary<GetSnapshotRequest, GetSnapshotResponse>(() => ({
      snapshot: federation.snapshot.signed,
    })),

    watchSnapshot: members.serverStream<WatchSnapshotRequest, WatchSnapshotResponse>(
      ({ knownVersion }, out, { caller, signal }) =>
        watches.run(caller, knownVersion, snapshot => out.send({ snapshot }), signal, verifier),
    ),
  };
}

/** Lets in the gateways of active members. */
function memberGateways(verifier: CertificateVerifier): (certificate: CallerCertificate | undefined) => Identity {
  return certificate => {
    if (!certificate) {
      throw new FedgateError('CERTIFICATE_MISSING', "this call needs a certificate of a member's gateway");
    }
    const identity = verifier.identify(certificate.fingerprint, () => certificate.read());
    if (identity.role !== 'gateway') {
      throw new FedgateError('CERTIFICATE_ROLE', `the registry answers to gateways, not to a ${identity.role}`);
    }
    return identity;
  };
}

function listMembers(federation: Federation, { pageSize, pageToken }: ListMembersRequest): ListMembersResponse {
  if (pageToken !== '' && !isOrgName(pageToken)) throw fieldError('page_token', 'not one that this registry gave');
  if (pageSize < 0) throw fieldError('page_size', 'must not be negative');
  const size = Math.min(pageSize === 0 ? PAGE.usual : pageSize, PAGE.largest);
  // The token is the last name of the page before: nothing has to be remembered, and members that come meanwhile do no harm.
  const rest = federation.members().filter(({ org }) => org > pageToken);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  return { members: page.map(memberToWire), nextPageToken: rest.length > size && last ? last.org : '' };
}

function required(record: SignedRecord | undefined): SignedRecord {
  if (!record) throw fieldError('record', 'is missing');
  return record;
}
