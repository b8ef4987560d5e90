import { FedgateError } from '../errors.js';
import type { Groups as ShareGroups } from '../files/audience.js';
import { formatGroupRef, type OrgName, parseGroupRef } from '../identity/names.js';
import type { SeveralMember } from '../messaging/broadcast.js';
import type { Directory } from '../registry/directory.js';
import { unknownGroup } from '../registry/group-changes.js';
import { type GroupMember, groupMembers } from '../registry/group-members.js';
import type { GatewayConfig } from './config.js';

export interface GroupsOptions {
  /** The own organisation. */
  readonly org: OrgName;
  readonly groups: GatewayConfig['groups'];
  readonly directory: Pick<Directory, 'members' | 'member' | 'activeMember'>;
}

/**
 * Which organisations a name stands for that stands for several: a group of the configuration, or one in the signed record of a member, in
 * which only those count that consent in their own.
 */
export class Groups implements ShareGroups {
  readonly #options: GroupsOptions;

  constructor(options: GroupsOptions) {
    this.#options = options;
  }

  /** Every other active member, by name. */
  others(): OrgName[] {
    const { org: own, directory } = this.#options;
    const others = directory.members().filter(({ org, state }) => state === 'active' && org !== own);
    return others.map(({ org }) => org).sort();
  }

  /**
   * By name, each once, with why those do not count that do not. The own organisation is no part of `*`, as it is none of grants for `*`; of a
   * group it may be one. Throws GROUP_UNKNOWN, and for a group of a record ORG_UNKNOWN, ORG_INACTIVE and SNAPSHOT_EXPIRED of its owner.
   */
  membersOf(group: string): SeveralMember[] {
    if (group === '*') return this.others().map(org => ({ org }));
    return this.#configured(group)?.map(org => ({ org })) ?? this.#recorded(group);
  }

  /** Those that count, for audiences of shares. Undefined: there is no such group, or its owner does not take part. */
  orgsOf(group: string): readonly OrgName[] | undefined {
    try {
      const counting = this.membersOf(group).filter(({ refused }) => !refused);
      return group === '*' ? undefined : counting.map(({ org }) => org);
    } catch {
      return undefined;
    }
  }

  #configured(group: string): OrgName[] | undefined {
    const { groups } = this.#options;
    const orgs = Object.hasOwn(groups, group) ? (groups[group] as OrgName[] | undefined) : undefined;
    return orgs && [...new Set(orgs)].sort();
  }

  /** A name without an organisation is one of the own record. */
  #recorded(group: string): SeveralMember[] {
    const { org: own, directory } = this.#options;
    const { owner, name } = parseGroupRef(group, 'group');
    if (owner === undefined && !directory.member(own)?.profile.grouping.groups.some(each => each.name === name))
      throw new FedgateError(
        'GROUP_UNKNOWN',
        `neither the configuration nor the record of ${own} has a group ${name}`,
        {
          metadata: { group },
        },
      );
    const member = directory.activeMember(owner ?? own);
    const members = groupMembers(member, name, org => directory.member(org));
    if (!members) throw unknownGroup(member.org, name);
    const ref = formatGroupRef(member.org, name);
    return members.map(each => ({ org: each.org, refused: refusalOf(each, ref) }));
  }
}

function refusalOf({ org, standing }: GroupMember, group: string): FedgateError | undefined {
  if (standing === 'counts') return undefined;
  if (standing === 'unknown')
    return new FedgateError('ORG_UNKNOWN', `${org} in the group ${group} is no member`, { metadata: { org, group } });
  if (standing === 'no consent')
    return new FedgateError('GROUP_CONSENT_MISSING', `${org} does not consent to be in the group ${group}`, {
      metadata: { org, group },
    });
  return new FedgateError('ORG_INACTIVE', `${org} in the group ${group} is ${standing}`, { metadata: { org, group } });
}
