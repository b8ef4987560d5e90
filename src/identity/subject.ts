import type { OrgName } from './names.js';

/**
 * Who a certificate is for. The one URI SAN says it (SPIFFE X509-SVID, https://spiffe.io/docs/latest/spiffe-specs/):
 * `spiffe://<org in lower case>.<federation domain>/<role>/<name>`.
 */
export interface Subject {
  readonly org: OrgName;
  readonly role: Role;
  readonly name: string;
}

export type Role = 'gateway' | 'node' | 'approver';

export const spiffeId = (federation: string, { org, role, name }: Subject): string =>
  `spiffe://${org.toLowerCase()}.${federation}/${role}/${name}`;

/** The DNS SAN a gateway is verified against, wherever it is dialled. */
export const gatewayDnsName = (federation: string, org: string, name: string): string =>
  `${name}.${org.toLowerCase()}.${federation}`;

/** Whom a SPIFFE id names within `federation`; undefined when it is of another form. Compared byte for byte: no normalising. */
export function subjectOf(id: string, federation: string): Subject | undefined {
  const match = /^spiffe:\/\/([a-z][a-z0-9-]{1,31})\.([^/]+)\/(gateway|node|approver)\/([a-z0-9][a-z0-9-]{0,62})$/.exec(
    id,
  );
  if (!match || match[2] !== federation) return undefined;
  const [, org = '', , role, name = ''] = match;
  return { org: org.toUpperCase() as OrgName, role: role as Role, name };
}

export const formatSubject = ({ org, role, name }: Subject): string => `${org}/${role}/${name}`;
