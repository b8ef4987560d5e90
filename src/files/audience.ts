import { fieldError, quoted } from '../errors.js';
import { type OrgName, parseGroupRef, parseNodeName, parseOrgName } from '../identity/names.js';
import type { Asker, Audience } from './types.js';

/** Groups of organisations, as the configuration and signed records have them at the moment. */
export interface Groups {
  /** Those that count. Undefined: there is no group of that name. */
  orgsOf(group: string): readonly string[] | undefined;
}

/** Entries of all kinds together: each is looked at with each download. */
export const MAX_AUDIENCE = 1_000;

/** An audience as it travels. */
export interface AudienceMessage {
  readonly orgs: readonly string[];
  readonly nodes: readonly string[];
  readonly groups: readonly string[];
  readonly anyone: boolean;
}

export const NOBODY: Audience = { orgs: [], nodes: [], groups: [], anyone: false };

/** Twins count once. Throws FIELD_INVALID with the path of the entry that is wrong. A group must be one at this moment. */
export function parseAudience(message: AudienceMessage | undefined, groups: Groups, field: string): Audience {
  if (!message) return NOBODY;
  const { orgs, nodes, groups: named, anyone } = message;
  if (orgs.length + nodes.length + named.length > MAX_AUDIENCE)
    throw fieldError(field, `has over ${MAX_AUDIENCE} entries`);
  return {
    orgs: distinct(orgs.map((org, i) => parseOrgName(org, `${field}.orgs[${i}]`))),
    nodes: distinct(nodes.map((node, i) => parseNode(node, `${field}.nodes[${i}]`))),
    groups: distinct(named.map((group, i) => parseGroup(group, groups, `${field}.groups[${i}]`))),
    anyone,
  };
}

function parseNode(text: string, field: string): string {
  const slash = text.indexOf('/');
  if (slash < 0) throw fieldError(field, `${quoted(text)} is not a node of an organisation (ORG/node)`);
  return `${parseOrgName(text.slice(0, slash), field)}/${parseNodeName(text.slice(slash + 1), field)}`;
}

function parseGroup(text: string, groups: Groups, field: string): string {
  parseGroupRef(text, field);
  if (groups.orgsOf(text)) return text;
  throw fieldError(field, `${quoted(text)} is not a group of the gateway's configuration or of a member's record`);
}

const distinct = <T>(items: readonly T[]): readonly T[] => [...new Set(items)];

/** Whether somebody may fetch what is shared with an audience. A group means whom it means now. */
export function matches(audience: Audience, { org, node }: Asker, groups: Groups): boolean {
  return (
    audience.anyone ||
    audience.orgs.includes(org) ||
    audience.nodes.includes(`${org}/${node}`) ||
    audience.groups.some(group => membersOf(group, groups).includes(org))
  );
}

/** The organisations that a sharer needs a grant for; `*`: anyone. */
export function organisationsOf(audience: Audience, groups: Groups): ReadonlySet<string> {
  return new Set([
    ...audience.orgs,
    ...audience.nodes.map(node => node.slice(0, node.indexOf('/'))),
    ...audience.groups.flatMap(group => membersOf(group, groups)),
    ...(audience.anyone ? ['*'] : []),
  ]);
}

const membersOf = (group: string, groups: Groups): readonly string[] => groups.orgsOf(group) ?? [];

/** An audience as it was stored: it was checked then. */
export const storedAudience = (message: AudienceMessage | undefined): Audience =>
  message ? { ...message, orgs: message.orgs as readonly OrgName[] } : NOBODY;
