import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Directory } from '../registry/directory.js';
import type { GatewayConfig } from './config.js';

export interface GroupsOptions {
  /** The own organisation. */
  readonly org: OrgName;
  readonly groups: GatewayConfig['groups'];
  readonly directory: Directory;
}

/** Which organisations a name stands for that stands for several. */
export class Groups {
  readonly #options: GroupsOptions;

  constructor(options: GroupsOptions) {
    this.#options = options;
  }

  /**
   * By name, each once. The own organisation is no part of `*`, as it is none of grants for `*`; of a group it may be one. Throws
   * GROUP_UNKNOWN.
   */
  orgsOf(group: string): OrgName[] {
    const { org: own, groups, directory } = this.#options;
    if (group === '*') {
      const others = directory.members().filter(({ org, state }) => state === 'active' && org !== own);
      return others.map(({ org }) => org).sort();
    }
    const orgs = Object.hasOwn(groups, group) ? groups[group] : undefined;
    if (!orgs) throw new FedgateError('GROUP_UNKNOWN', `no group ${group} is configured`, { metadata: { group } });
    return [...new Set(orgs as OrgName[])].sort();
  }
}
