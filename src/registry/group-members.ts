import { formatGroupRef, type OrgName } from '../identity/names.js';
import type { DirectoryMember } from './snapshot.js';

/** Where somebody stands in a group: `counts`, or why it does not. */
export type GroupStanding = 'counts' | 'no consent' | 'suspended' | 'removed' | 'unknown';

export interface GroupMember {
  readonly org: OrgName;
  readonly standing: GroupStanding;
}

/**
 * Whom a group in the record of a member names, by name, and where each stands: only active members whose own record consents count, and
 * the member itself. Undefined: it has no such group.
 */
export function groupMembers(
  { org: owner, profile }: Pick<DirectoryMember, 'org' | 'profile'>,
  name: string,
  memberOf: (org: string) => DirectoryMember | undefined,
): GroupMember[] | undefined {
  const group = profile.grouping.groups.find(each => each.name === name);
  const ref = formatGroupRef(owner, name);
  return group?.orgs.map(org => ({ org, standing: standingOf(owner, ref, org, memberOf(org)) }));
}

function standingOf(owner: OrgName, ref: string, org: OrgName, member: DirectoryMember | undefined): GroupStanding {
  if (!member) return 'unknown';
  if (member.state !== 'active') return member.state;
  return org === owner || member.profile.grouping.consents.includes(ref) ? 'counts' : 'no consent';
}
