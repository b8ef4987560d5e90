import { dnsResolver } from '../finding/dns.js';
import { Finder } from '../finding/finder.js';
import { ownAddresses } from '../finding/interfaces.js';
import { LanFinder } from '../finding/mdns.js';
import { registryResolver, staticResolver } from '../finding/static.js';
import type { AddressHint, Resolver } from '../finding/types.js';
import type { OrgName } from '../identity/names.js';
import type { AcquaintanceHost } from '../link/acquaintance-terms.js';
import type { Directory } from '../registry/directory.js';
import type { Log } from '../telemetry/log.js';
import type { GatewayConfig } from './config.js';

export interface FindingParts {
  readonly config: Pick<GatewayConfig, 'finding' | 'gateway'>;
  readonly federation: string;
  readonly org: OrgName;
  readonly directory: Directory;
  readonly log: Log;
  /** Where peers say that an organisation is. */
  readonly askPeers: (org: OrgName) => Promise<readonly AddressHint[]>;
}

/** Where a gateway looks for others, as its configuration says: the chain of resolvers, and what it tells of itself on a local network. */
export class Finding {
  readonly finder: Finder;
  readonly #parts: FindingParts;
  #lan: LanFinder | undefined;

  constructor(parts: FindingParts) {
    const { config, federation, directory } = parts;
    const { finding } = config;
    this.#parts = parts;
    const resolvers: Resolver[] = [staticResolver(finding.static), registryResolver(directory)];
    if (finding.dns.enabled) resolvers.push(dnsResolver({ federation, ...finding.dns }));
    if (finding.mdns.enabled) resolvers.push(lazyLan(() => this.#lan));
    if (finding.acquaintance.addresses) resolvers.push({ name: 'acquaintance', find: org => parts.askPeers(org) });
    const { localPlaces, lifetimeMs } = finding;
    this.finder = new Finder({ resolvers, localPlaces, lifetimeMs });
  }

  /** Opens the socket for the local network, if there is to be one. `port`: where the own gateway listens for peers. */
  start(port: number): void {
    const { config, federation, org, log } = this.#parts;
    const { mdns, localPlaces } = config.finding;
    if (!mdns.enabled) return;
    this.#lan = new LanFinder({
      federation,
      own: { org, gateway: config.gateway, port },
      addresses: () => (mdns.interface === '' ? ownAddresses({ loopback: localPlaces }) : [mdns.interface]),
      interface: mdns.interface || undefined,
      port: mdns.port,
      onProblem: error => log.warn({ err: error }, 'multicast DNS does not work'),
    });
  }

  async close(): Promise<void> {
    await this.#lan?.close();
    this.#lan = undefined;
  }
}

const lazyLan = (lan: () => LanFinder | undefined): Resolver => ({
  name: 'mdns',
  find: (org, signal) => lan()?.find(org, signal) ?? Promise.resolve([]),
});

/** What the gateway passes on to its peers, and takes from them. Undefined: nothing. */
export function acquaintanceHost(
  { snapshots, addresses }: GatewayConfig['finding']['acquaintance'],
  rest: Omit<AcquaintanceHost, 'snapshots' | 'addresses'>,
): AcquaintanceHost | undefined {
  return snapshots || addresses ? { snapshots, addresses, ...rest } : undefined;
}
