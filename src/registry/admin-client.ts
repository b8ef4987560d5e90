import {
  type CreateInvitationResponse,
  type ListFederationResponse,
  RegistryAdminServiceService as methods,
} from '../../gen/ts/fedgate/registry/v1/registry_admin_service.js';
import { RegistryCaller, type RegistryConnection } from './caller.js';
import { type MemberState, memberStateToWire } from './snapshot.js';

/** The registry, as its operator sees it. */
export class RegistryAdminClient {
  readonly #caller: RegistryCaller;

  /** The connection's identity is the operator's certificate. */
  constructor(connection: RegistryConnection) {
    this.#caller = new RegistryCaller(connection);
  }

  /** 0 seconds: as long as the registry thinks right. */
  createInvitation(org: string, lifetimeSeconds: number, signal?: AbortSignal): Promise<CreateInvitationResponse> {
    return this.#caller.unary(methods.createInvitation, { org, lifetimeSeconds }, { signal });
  }

  list(signal?: AbortSignal): Promise<ListFederationResponse> {
    return this.#caller.unary(methods.listFederation, {}, { signal });
  }

  /** Returns the version of the first snapshot that says so. */
  async setState(org: string, state: MemberState, signal?: AbortSignal): Promise<bigint> {
    const request = { org, state: memberStateToWire(state) };
    const { snapshotVersion } = await this.#caller.unary(methods.setMemberState, request, { signal });
    return snapshotVersion;
  }

  close(): void {
    this.#caller.close();
  }
}
