import type { GroupConsent, OrgGroup as WireGroup } from '../../gen/ts/fedgate/registry/v1/record.js';
import { describe } from '../errors.js';
import { formatGroupRef, type OrgName, parseGroupName, parseOrgName } from '../identity/names.js';

/**
 * The groups in a record, and those of others that it consents to be in.
 *
 * Registries of earlier versions let anything through here. So what breaks a rule is passed over when a record is read, lest one
 * member's nonsense make everybody refuse a snapshot, and told as `problem`, for which a registry refuses a new record.
 */

/** A group that an organisation names. */
export interface OrgGroup {
  readonly name: string;
  /** In the order of their names. */
  readonly orgs: readonly OrgName[];
}

export interface RecordGroups {
  /** In the order of their names. */
  readonly groups: readonly OrgGroup[];
  /** `acme.suppliers`, in order. */
  readonly consents: readonly string[];
  /** The first rule that is broken, a plain sentence. */
  readonly problem: string | undefined;
}

export const MAX_GROUPS = 64;
export const MAX_GROUP_ORGS = 1_000;
export const MAX_CONSENTS = 1_024;

export function readGroups(
  org: OrgName,
  { groups, consents }: { readonly groups: readonly WireGroup[]; readonly consents: readonly GroupConsent[] },
): RecordGroups {
  const problems: string[] = [];
  const good = <T, R>(items: readonly T[], read: (item: T) => R): R[] =>
    items.flatMap(item => {
      try {
        return [read(item)];
      } catch (error) {
        problems.push(describe(error));
        return [];
      }
    });
  if (groups.length > MAX_GROUPS) problems.push(`it has more than ${MAX_GROUPS} groups`);
  if (consents.length > MAX_CONSENTS) problems.push(`it consents to more than ${MAX_CONSENTS} groups`);
  const named = good(groups.slice(0, MAX_GROUPS), readGroup);
  const agreed = good(consents.slice(0, MAX_CONSENTS), consent => readConsent(org, consent));
  const byName = new Map(named.map(group => [group.name, group]));
  if (byName.size < named.length) problems.push('it has two groups of one name');
  const distinct = new Set(agreed);
  if (distinct.size < agreed.length) problems.push('it consents to a group twice');
  return {
    groups: [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    consents: [...distinct].sort(),
    problem: problems[0],
  };
}

function readGroup({ name, orgs }: WireGroup): OrgGroup {
  parseGroupName(name, 'group');
  if (orgs.length < 1 || orgs.length > MAX_GROUP_ORGS)
    throw new Error(`the group ${name} has ${orgs.length} organisations instead of 1 to ${MAX_GROUP_ORGS}`);
  const checked = orgs.map(org => parseOrgName(org, `group ${name}`));
  if (new Set(checked).size < checked.length) throw new Error(`the group ${name} names an organisation twice`);
  return { name, orgs: checked.sort() };
}

function readConsent(own: OrgName, { org, group }: GroupConsent): string {
  const owner = parseOrgName(org, 'consent');
  if (owner === own) throw new Error('it consents to a group of its own, which needs none');
  return formatGroupRef(owner, parseGroupName(group, 'consent'));
}

export const groupsToWire = (groups: readonly OrgGroup[]): WireGroup[] =>
  groups.map(({ name, orgs }) => ({ name, orgs }));

/** `acme.suppliers` as it stands in a record. */
export function consentToWire(ref: string): GroupConsent {
  const dot = ref.indexOf('.');
  return { org: ref.slice(0, dot).toUpperCase(), group: ref.slice(dot + 1) };
}
