import type { OrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import type { Directory } from '../registry/directory.js';
import type { GatewayConfig } from './config.js';

export interface WantedPeers {
  /** The own organisation. */
  readonly org: OrgName;
  readonly policy: GatewayConfig['links']['dial'];
  readonly directory: Directory;
  readonly granted: Access['grantedPeers'];
  /** Those that a link was open to before. */
  readonly past: ReadonlySet<string>;
}

/** Whom to keep a link to: those that are granted something, those a link was open to before, or everybody. */
export function wantedPeers({ org: own, policy, directory, granted, past }: WantedPeers): OrgName[] {
  if (policy !== 'all' && policy !== 'granted') return [];
  const hidden = directory.member(own)?.profile.gateways.length === 0;
  const others = directory.members().filter(({ org, state }) => org !== own && state === 'active');
  // A gateway that nobody can dial has to dial whoever may publish to it.
  const isGranted = (org: OrgName): boolean => granted.orgs.has(org) || (granted.everyone && hidden);
  return others.map(({ org }) => org).filter(org => policy === 'all' || isGranted(org) || past.has(org));
}
