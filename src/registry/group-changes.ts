import { FedgateError, fieldError } from '../errors.js';
import { formatGroupRef, type OrgName } from '../identity/names.js';
import type { OrgProfile } from './record.js';
import { MAX_CONSENTS, MAX_GROUP_ORGS, MAX_GROUPS, type OrgGroup } from './record-groups.js';

/** What an organisation does with groups: from the record as it is to what the next one says. Undefined: nothing to do. */

type Previous = Pick<OrgProfile, 'org' | 'grouping'>;

/** Names a group, or other organisations in it. Throws FIELD_INVALID, LIMIT_REACHED. */
export function setGroup(
  { grouping }: Previous,
  name: string,
  orgs: readonly OrgName[],
): { groups: readonly OrgGroup[] } | undefined {
  const wanted = [...new Set(orgs)].sort();
  if (wanted.length < 1 || wanted.length > MAX_GROUP_ORGS)
    throw fieldError('orgs', `a group has 1 to ${MAX_GROUP_ORGS} organisations`);
  const before = grouping.groups.find(group => group.name === name);
  if (before?.orgs.join() === wanted.join()) return undefined;
  const others = grouping.groups.filter(group => group.name !== name);
  if (others.length >= MAX_GROUPS) throw new FedgateError('LIMIT_REACHED', `there are ${MAX_GROUPS} groups already`);
  return { groups: [...others, { name, orgs: wanted }] };
}

/** Throws GROUP_UNKNOWN. */
export function removeGroup({ org, grouping }: Previous, name: string): { groups: readonly OrgGroup[] } {
  const groups = grouping.groups.filter(group => group.name !== name);
  if (groups.length === grouping.groups.length) throw unknownGroup(org, name);
  return { groups };
}

/** Consents to a group of another. Throws FIELD_INVALID for an own one, LIMIT_REACHED. */
export function consentTo(
  { org, grouping }: Previous,
  owner: OrgName,
  name: string,
): { consents: readonly string[] } | undefined {
  if (owner === org) throw fieldError('group', `is of ${org} itself, which needs no consent`);
  const ref = formatGroupRef(owner, name);
  if (grouping.consents.includes(ref)) return undefined;
  if (grouping.consents.length >= MAX_CONSENTS)
    throw new FedgateError('LIMIT_REACHED', `${org} consents to ${MAX_CONSENTS} groups already`);
  return { consents: [...grouping.consents, ref] };
}

/** Takes a consent back. */
export function withdrawFrom(
  { grouping }: Previous,
  owner: OrgName,
  name: string,
): { consents: readonly string[] } | undefined {
  const ref = formatGroupRef(owner, name);
  const consents = grouping.consents.filter(each => each !== ref);
  return consents.length === grouping.consents.length ? undefined : { consents };
}

export const unknownGroup = (owner: string, name: string): FedgateError =>
  new FedgateError('GROUP_UNKNOWN', `the record of ${owner} has no group ${name}`, {
    metadata: { group: formatGroupRef(owner, name) },
  });
