import { FedgateError, fieldError } from '../errors.js';
import { type OrgName, parseGatewayName, parseHostPort } from '../identity/names.js';
import type { Directory } from '../registry/directory.js';
import type { DirectoryMember } from '../registry/snapshot.js';
import type { AddressHint, FoundAddress, Resolver } from './types.js';

/** Reads `host:port` or `gateway@host:port`. Throws FIELD_INVALID naming `field`. */
export function parseHint(text: string, field: string): AddressHint {
  const at = text.indexOf('@');
  const address = text.slice(at + 1);
  parseHostPort(address, field);
  return at < 0 ? { address } : { gateway: parseGatewayName(text.slice(0, at), field), address };
}

/** What the operator wrote in the configuration: checked there. */
export function staticResolver(peers: Readonly<Record<string, readonly string[]>>): Resolver {
  const hints = new Map(
    Object.entries(peers).map(([org, texts]) => [org, texts.map(text => parseHint(text, 'finding.static'))]),
  );
  const atHand = (org: OrgName): readonly AddressHint[] => hints.get(org) ?? [];
  return { name: 'static', atHand, find: async org => atHand(org) };
}

/** The addresses in the record of a member. */
export const registeredAddresses = ({ profile }: Pick<DirectoryMember, 'profile'>): FoundAddress[] =>
  profile.gateways.flatMap(({ name, addresses }) =>
    addresses.map(address => ({ gateway: name, address, source: 'registry' as const })),
  );

/** What the organisation says of itself in its record. */
export function registryResolver(directory: Pick<Directory, 'activeMember'>): Resolver {
  const atHand = (org: OrgName): readonly AddressHint[] => registeredAddresses(directory.activeMember(org));
  const find = async (org: OrgName): Promise<readonly AddressHint[]> => {
    const hints = atHand(org);
    if (hints.length > 0) return hints;
    throw new FedgateError('PEER_UNREACHABLE', `the record of ${org} has no address`);
  };
  return { name: 'registry', atHand, find };
}

/** Checks `finding.static`. */
export function checkStatic(text: string): void {
  if (text.length > 300) throw fieldError('static', 'is longer than 300 characters');
  parseHint(text, 'static');
}
