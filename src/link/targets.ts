import type { FoundAddress } from '../finding/types.js';
import type { DirectoryMember } from '../registry/snapshot.js';
import type { DialTarget } from './dial.js';

/** The name that the first gateway of an organisation has, unless somebody chose another. */
const USUAL_GATEWAY = 'gw1';
/** Targets that one look for an organisation leads to. */
export const MAX_TARGETS = 32;

/**
 * What is dialled for addresses of a member. The certificate there has to name the gateway, so an address without one is tried for each
 * gateway in the record. The CA is always the record's, whoever gave the address.
 */
export function targetsOf(
  { org, profile }: Pick<DirectoryMember, 'org' | 'profile'>,
  addresses: readonly FoundAddress[],
): DialTarget[] {
  const authorities = profile.authorities.map(ca => ca.toString());
  const names = profile.gateways.length > 0 ? profile.gateways.map(({ name }) => name) : [USUAL_GATEWAY];
  const targets = addresses.flatMap(({ gateway, address, source }) =>
    (gateway === undefined ? names : [gateway]).map(name => ({ org, gateway: name, address, source, authorities })),
  );
  return distinct(targets).slice(0, Math.max(MAX_TARGETS, profile.gateways.length * 8));
}

function distinct(targets: readonly DialTarget[]): DialTarget[] {
  const first = new Map<string, DialTarget>();
  for (const target of targets) {
    const key = `${target.gateway}@${target.address}`;
    if (!first.has(key)) first.set(key, target);
  }
  return [...first.values()];
}
