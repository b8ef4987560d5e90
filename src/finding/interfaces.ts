import { networkInterfaces } from 'node:os';

/** The own IP addresses that others on a local network may reach, or with `loopback` also those that only this machine does. */
export function ownAddresses({ loopback }: { readonly loopback: boolean }): string[] {
  const all = Object.values(networkInterfaces()).flatMap(entries => entries ?? []);
  return all
    .filter(({ internal, scopeid }) => (loopback || !internal) && !scopeid)
    .map(({ address }) => address)
    .slice(0, 8);
}
