import type { Answer, SrvAnswer } from 'dns-packet';
import multicastDns, { type MulticastDNS } from 'multicast-dns';
import { FedgateError } from '../errors.js';
import { formatHostPort, type OrgName } from '../identity/names.js';
import type { AddressHint, Resolver } from './types.js';

/** The DNS-SD name of the service (RFC 6763). */
export const MDNS_SERVICE = '_fedgate._tcp.local';
/** How long answers are waited for after the question, milliseconds; the first that fits shortens it. */
export const MDNS_WAIT_MS = 1_000;
/** What may still come after the first that fits. */
const MDNS_MORE_MS = 100;
/** How often the same may be told (RFC 6762, section 6), milliseconds. */
export const MDNS_TELL_MS = 1_000;
/** Lifetime that is stated with what is told, seconds: that of records that name a host (RFC 6762, section 10). */
const TTL_S = 120;
/** Records of one packet that are looked at. */
export const MAX_MDNS_RECORDS = 64;

export interface MdnsOptions {
  readonly federation: string;
  /** The own gateway, to be told. Undefined: nothing is told. */
  readonly own?: { readonly org: OrgName; readonly gateway: string; readonly port: number } | undefined;
  /** Addresses under which the own gateway is told. */
  readonly addresses: () => readonly string[];
  /** The IPv4 address of the interface. Undefined: all. */
  readonly interface?: string | undefined;
  /** @default 5353 */
  readonly port?: number | undefined;
  /** Hears what is wrong with the socket. */
  readonly onProblem: (error: Error) => void;
}

/**
 * Finds and tells gateways on a local network by multicast DNS. Anybody on it may answer with anything: it is a hint like all others.
 *
 * An instance is called `gateway@ORG`, and its TXT record says `org`, `gateway` and `federation`.
 */
export class LanFinder implements Resolver {
  readonly name = 'mdns';
  readonly #options: MdnsOptions;
  readonly #socket: MulticastDNS;
  #toldMs = Number.NEGATIVE_INFINITY;
  #failure: Error | undefined;

  constructor(options: MdnsOptions) {
    this.#options = options;
    this.#socket = multicastDns({
      ...(options.interface === undefined ? {} : { interface: options.interface }),
      ...(options.port === undefined ? {} : { port: options.port }),
      // Bound to the interface's own address a socket hears no multicast.
      bind: '0.0.0.0',
      loopback: true,
      reuseAddr: true,
    });
    this.#socket.on('error', (error: Error) => {
      this.#failure = error;
      options.onProblem(error);
    });
    this.#socket.on('query', ({ questions = [] }) => {
      if (questions.slice(0, MAX_MDNS_RECORDS).some(({ name, type }) => type === 'PTR' && isSame(name, MDNS_SERVICE)))
        this.#tell();
    });
    this.#socket.on('ready', () => this.#tell());
  }

  /** Asks the network for gateways of an organisation. Throws PEER_UNREACHABLE when the socket does not work. */
  async find(org: OrgName, signal: AbortSignal): Promise<readonly AddressHint[]> {
    if (this.#failure) throw new FedgateError('PEER_UNREACHABLE', `multicast does not work: ${this.#failure.message}`);
    const hints: AddressHint[] = [];
    await new Promise<void>(resolve => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#socket.off('response', hear);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const hear = ({ answers, additionals }: { answers: Answer[]; additionals: Answer[] }): void => {
        const found = hintsIn([...answers, ...additionals].slice(0, MAX_MDNS_RECORDS), org, this.#options.federation);
        if (found.length === 0) return;
        if (hints.length < MAX_MDNS_RECORDS) hints.push(...found);
        clearTimeout(timer);
        timer = setTimeout(finish, MDNS_MORE_MS);
      };
      let timer = setTimeout(finish, MDNS_WAIT_MS);
      this.#socket.on('response', hear);
      signal.addEventListener('abort', finish, { once: true });
      this.#socket.query({ questions: [{ name: MDNS_SERVICE, type: 'PTR' }] });
    });
    return hints;
  }

  close(): Promise<void> {
    return new Promise(resolve => this.#socket.destroy(resolve));
  }

  #tell(): void {
    const { own, federation, addresses } = this.#options;
    const nowMs = performance.now();
    if (!own || nowMs - this.#toldMs < MDNS_TELL_MS) return;
    const ips = addresses();
    if (ips.length === 0) return;
    this.#toldMs = nowMs;
    this.#socket.respond({ answers: recordsOf({ ...own, federation }, ips) });
  }
}

/** The records that tell of a gateway. */
export function recordsOf(
  { org, gateway, port, federation }: { org: string; gateway: string; port: number; federation: string },
  ips: readonly string[],
): Answer[] {
  const instance = `${gateway}@${org}.${MDNS_SERVICE}`;
  const host = `fedgate-${gateway}-${org.toLowerCase()}.local`;
  return [
    { name: MDNS_SERVICE, type: 'PTR', ttl: TTL_S, data: instance },
    { name: instance, type: 'SRV', ttl: TTL_S, data: { target: host, port, priority: 0, weight: 0 } },
    { name: instance, type: 'TXT', ttl: TTL_S, data: [`org=${org}`, `gateway=${gateway}`, `federation=${federation}`] },
    ...ips.map((ip): Answer => ({ name: host, type: ip.includes(':') ? 'AAAA' : 'A', ttl: TTL_S, data: ip })),
  ];
}

/** What records of one packet say of gateways of an organisation. What does not fit together is left out. */
export function hintsIn(records: readonly Answer[], org: string, federation: string): AddressHint[] {
  return records.flatMap(record => {
    if (record.type !== 'SRV' || !isServiceInstance(record.name)) return [];
    const facts = factsOf(records, record.name);
    const gateway = facts.get('gateway') ?? '';
    if (facts.get('org') !== org || facts.get('federation') !== federation) return [];
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(gateway)) return [];
    return addressesOf(records, record).map(address => ({ gateway, address }));
  });
}

const isServiceInstance = (name: string): boolean => name.toLowerCase().endsWith(`.${MDNS_SERVICE}`);

function addressesOf(records: readonly Answer[], { data: { target, port } }: SrvAnswer): string[] {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return [];
  return records.flatMap(record => {
    if ((record.type !== 'A' && record.type !== 'AAAA') || !isSame(record.name, target)) return [];
    return [formatHostPort({ host: record.data, port })];
  });
}

function factsOf(records: readonly Answer[], instance: string): ReadonlyMap<string, string> {
  const facts = new Map<string, string>();
  for (const record of records) {
    if (record.type !== 'TXT' || !isSame(record.name, instance)) continue;
    const texts = Array.isArray(record.data) ? record.data : [record.data];
    for (const text of texts) {
      const [key = '', ...value] = text.toString().split('=');
      // The first counts (RFC 6763, section 6.4).
      if (!facts.has(key)) facts.set(key, value.join('='));
    }
  }
  return facts;
}

const isSame = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
