import { createAuthority, issueLeaf, type KeyAndCertificate } from '../src/identity/issue.js';
import type { OrgName } from '../src/identity/names.js';
import { gatewayDnsName } from '../src/identity/subject.js';

export const FEDERATION = 'bench.example';

/** The keys and certificates of one organisation of the benchmark. */
export interface OrgIdentities {
  readonly org: OrgName;
  readonly authority: KeyAndCertificate;
  readonly gateway: KeyAndCertificate;
  readonly node: KeyAndCertificate;
  /** The name the gateway's certificate carries. */
  readonly serverName: string;
}

export async function makeOrg(name: string): Promise<OrgIdentities> {
  const org = name as OrgName;
  const authority = await createAuthority(FEDERATION, org);
  return {
    org,
    authority,
    gateway: await issueLeaf(authority, FEDERATION, { org, role: 'gateway', name: 'gw1' }),
    node: await issueLeaf(authority, FEDERATION, { org, role: 'node', name: 'bench' }),
    serverName: gatewayDnsName(FEDERATION, org, 'gw1'),
  };
}
