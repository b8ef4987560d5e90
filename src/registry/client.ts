import type { Member, SignedRecord, SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import {
  type CreateJoinChallengeRequest,
  type CreateJoinChallengeResponse,
  type JoinRequest,
  type JoinResponse,
  type ListMembersResponse,
  RegistryServiceService as methods,
} from '../../gen/ts/fedgate/registry/v1/registry_service.js';
import { FedgateError } from '../errors.js';
import { type CallSettings, RegistryCaller, type RegistryConnection } from './caller.js';

/** The registry, as members and those about to join see it. */
export class RegistryClient {
  readonly #caller: RegistryCaller;

  constructor(connection: RegistryConnection) {
    this.#caller = new RegistryCaller(connection);
  }

  createJoinChallenge(
    request: CreateJoinChallengeRequest,
    settings?: CallSettings,
  ): Promise<CreateJoinChallengeResponse> {
    return this.#caller.unary(methods.createJoinChallenge, request, settings);
  }

  join(request: JoinRequest, settings?: CallSettings): Promise<JoinResponse> {
    return this.#caller.unary(methods.join, request, settings);
  }

  /** Returns the version of the first snapshot that holds the record. */
  async putRecord(record: SignedRecord, settings?: CallSettings): Promise<bigint> {
    const { snapshotVersion } = await this.#caller.unary(methods.putRecord, { record }, settings);
    return snapshotVersion;
  }

  async getMember(org: string, settings?: CallSettings): Promise<Member> {
    const { member } = await this.#caller.unary(methods.getMember, { org }, settings);
    return present(member);
  }

  listMembers(pageSize: number, pageToken: string, settings?: CallSettings): Promise<ListMembersResponse> {
    return this.#caller.unary(methods.listMembers, { pageSize, pageToken }, settings);
  }

  async getSnapshot(settings?: CallSettings): Promise<SignedSnapshot> {
    const { snapshot } = await this.#caller.unary(methods.getSnapshot, {}, settings);
    return present(snapshot);
  }

  /** Each new snapshot from now on; the newest at once unless it is `knownVersion`. */
  async *watchSnapshot(knownVersion: bigint, settings?: CallSettings): AsyncGenerator<SignedSnapshot> {
    for await (const { snapshot } of this.#caller.stream(methods.watchSnapshot, { knownVersion }, settings)) {
      yield present(snapshot);
    }
  }

  close(): void {
    this.#caller.close();
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new FedgateError('FRAME_MALFORMED', 'the registry left a field out of its answer');
  return value;
}
