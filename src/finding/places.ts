import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { formatHostPort, parseHostPort } from '../identity/names.js';
import type { AddressHint } from './types.js';

/**
 * Where a hint may send us. Others wrote it: it must not make a gateway knock at itself, at its machine's own services, or at what only
 * its own wire reaches. Private networks are fine: many organisations are in one.
 */

const OWN = new BlockList();
OWN.addSubnet('0.0.0.0', 8, 'ipv4');
OWN.addSubnet('127.0.0.0', 8, 'ipv4');
OWN.addSubnet('169.254.0.0', 16, 'ipv4');
OWN.addSubnet('224.0.0.0', 4, 'ipv4');
OWN.addSubnet('240.0.0.0', 4, 'ipv4');
OWN.addAddress('::', 'ipv6');
OWN.addAddress('::1', 'ipv6');
OWN.addSubnet('fe80::', 10, 'ipv6');
OWN.addSubnet('ff00::', 8, 'ipv6');

/** Addresses of one host name that are used. */
export const MAX_ADDRESSES_OF_HOST = 4;

/** Whether an IP address is loopback, unspecified, link-local, multicast or reserved. What is no IP address counts as such. */
export function isLocalPlace(ip: string): boolean {
  const mapped = /^::ffff:(?:0:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (mapped !== undefined) return isLocalPlace(mapped);
  const family = isIP(ip);
  if (family === 0) return true;
  // Other ways to write an IPv4 address as an IPv6 one: nobody is reached by these.
  if (family === 6 && /^::(ffff:)?[0-9a-f]{1,4}:[0-9a-f]{1,4}$/i.test(ip)) return true;
  return OWN.check(ip, family === 4 ? 'ipv4' : 'ipv6');
}

export type LookUp = (host: string) => Promise<readonly string[]>;

const systemLookUp: LookUp = async host => (await lookup(host, { all: true })).map(({ address }) => address);

/**
 * The places that a hint of somebody else's stands for, as IP addresses, so that what was judged is what is dialled. Throws FIELD_INVALID for what
 * is no address, and what the look-up says.
 */
export async function placesOf(
  hint: AddressHint,
  { local, lookUp = systemLookUp }: { readonly local: boolean; readonly lookUp?: LookUp | undefined },
): Promise<AddressHint[]> {
  const { host, port } = parseHostPort(hint.address, 'address');
  const ips = isIP(host) === 0 ? (await lookUp(host)).slice(0, MAX_ADDRESSES_OF_HOST) : [host];
  const allowed = ips.filter(ip => isIP(ip) !== 0 && (local || !isLocalPlace(ip)));
  return allowed.map(ip => ({ gateway: hint.gateway, address: formatHostPort({ host: ip, port }) }));
}
