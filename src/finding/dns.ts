import { Resolver as DnsResolver } from 'node:dns/promises';
import { FedgateError } from '../errors.js';
import { formatHostPort, type OrgName } from '../identity/names.js';
import { orderTargets, type SrvTarget } from './srv-order.js';
import type { AddressHint, Resolver } from './types.js';

export interface DnsOptions {
  /** The federation's domain. */
  readonly federation: string;
  /** Where the records of an organisation stand, when that is not `org.federation`. */
  readonly domains: Readonly<Record<string, string>>;
  /** `ip:port` of the servers to ask. Empty: those of the system. */
  readonly servers: readonly string[];
  /** @default Math.random */
  readonly random?: () => number;
}

/** Targets of one answer that are looked at. */
export const MAX_SRV_TARGETS = 8;
/** How long one question to one server may take, milliseconds; asked twice at most. */
export const DNS_TIMEOUT_MS = 500;

/** `_fedgate._tcp.globex.fed.example`. */
export const srvName = (org: OrgName, { federation, domains }: Pick<DnsOptions, 'federation' | 'domains'>): string =>
  `_fedgate._tcp.${Object.hasOwn(domains, org) ? domains[org] : `${org.toLowerCase()}.${federation}`}`;

/** Asks the DNS, which is believed in nothing: it points at places to dial. */
export function dnsResolver({ random = Math.random, ...options }: DnsOptions): Resolver {
  return {
    name: 'dns',
    find: async (org, signal) => {
      const resolver = new DnsResolver({ timeout: DNS_TIMEOUT_MS, tries: 2 });
      if (options.servers.length > 0) resolver.setServers(options.servers);
      const cancel = (): void => resolver.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        const targets = await resolver.resolveSrv(srvName(org, options));
        return await follow(org, orderTargets(targets, random), resolver, options.federation);
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    },
  };
}

/** The addresses of the targets, in the order to be tried. A target without one is passed over; none with one is the failure of the first. */
async function follow(
  org: OrgName,
  targets: readonly SrvTarget[],
  resolver: DnsResolver,
  federation: string,
): Promise<AddressHint[]> {
  // A single target `.` says that there is no such service (RFC 2782).
  if (targets.every(({ name }) => name === '' || name === '.'))
    throw new FedgateError('PEER_UNREACHABLE', `the DNS says that ${org} has no gateway`);
  const used = targets.slice(0, MAX_SRV_TARGETS);
  const found = await Promise.allSettled(used.map(({ name }) => addressesOf(name, resolver)));
  const hints = found.flatMap((result, i) => {
    const { name = '', port = 0 } = used[i] ?? {};
    if (result.status === 'rejected' || port === 0) return [];
    const gateway = gatewayNamedBy(name, org, federation);
    return result.value.map(host => ({ gateway, address: formatHostPort({ host, port }) }));
  });
  const failed = found.find(result => result.status === 'rejected');
  if (hints.length === 0 && failed) throw failed.reason;
  return hints;
}

async function addressesOf(name: string, resolver: DnsResolver): Promise<string[]> {
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const addresses = [v4, v6].flatMap(result => (result.status === 'fulfilled' ? result.value.slice(0, 4) : []));
  if (addresses.length === 0 && v4.status === 'rejected') throw v4.reason;
  return addresses;
}

/** A target called `gw1.globex.fed.example`, as in the gateway's certificate, says which gateway it is. */
function gatewayNamedBy(target: string, org: OrgName, federation: string): string | undefined {
  const suffix = `.${org.toLowerCase()}.${federation}`;
  const name = target.toLowerCase().endsWith(suffix) ? target.toLowerCase().slice(0, -suffix.length) : '';
  return /^[a-z][a-z0-9-]{0,31}$/.test(name) ? name : undefined;
}
