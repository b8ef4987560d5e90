import { fieldError, quoted } from '../errors.js';

/** The name of an organisation, for example `ACME`. Checked. */
export type OrgName = string & { readonly __brand: 'OrgName' };

const ORG = /^[A-Z][A-Z0-9-]{1,31}$/;
const GATEWAY = /^[a-z][a-z0-9-]{0,31}$/;
const NODE = /^[a-z0-9][a-z0-9-]{0,62}$/;
const DOMAIN = /^(?=.{1,120}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Names that would be mistaken for a part of the federation itself. */
const RESERVED_ORGS = new Set(['REGISTRY']);

export const isOrgName = (text: string): text is OrgName => ORG.test(text);

/** Throws FIELD_INVALID naming `field`. */
export function parseOrgName(text: string, field: string): OrgName {
  if (!isOrgName(text)) {
    throw fieldError(
      field,
      `${quoted(text)} is not an organisation name (2 to 32 of A-Z 0-9 -, beginning with a letter)`,
    );
  }
  if (RESERVED_ORGS.has(text)) throw fieldError(field, `${text} is reserved`);
  return text;
}

export function parseGatewayName(text: string, field: string): string {
  if (GATEWAY.test(text)) return text;
  throw fieldError(field, `${quoted(text)} is not a gateway name (1 to 32 of a-z 0-9 -, beginning with a letter)`);
}

export function parseNodeName(text: string, field: string): string {
  if (NODE.test(text)) return text;
  throw fieldError(
    field,
    `${quoted(text)} is not a node name (1 to 63 of a-z 0-9 -, beginning with a letter or a digit)`,
  );
}

/** Like the name of a node. */
export function parseApproverName(text: string, field: string): string {
  if (NODE.test(text)) return text;
  throw fieldError(
    field,
    `${quoted(text)} is not an approver's name (1 to 63 of a-z 0-9 -, beginning with a letter or a digit)`,
  );
}

/** The name of a group of organisations, in a gateway's configuration or an organisation's record. Throws FIELD_INVALID naming `field`. */
export function parseGroupName(text: string, field: string): string {
  if (NODE.test(text)) return text;
  throw fieldError(
    field,
    `${quoted(text)} is not a group name (1 to 63 of a-z 0-9 -, beginning with a letter or a digit)`,
  );
}

/** How a group is named in addresses: `suppliers`, or of the record of an organisation `acme.suppliers`. */
export interface GroupRef {
  /** Undefined: a group of the configuration, or of the own organisation. */
  readonly owner: OrgName | undefined;
  readonly name: string;
}

/** Throws FIELD_INVALID naming `field`. */
export function parseGroupRef(text: string, field: string): GroupRef {
  const dot = text.indexOf('.');
  if (dot < 0) return { owner: undefined, name: parseGroupName(text, field) };
  const owner = text.slice(0, dot).toUpperCase();
  if (text.slice(0, dot) !== owner.toLowerCase() || !ORG.test(owner))
    throw fieldError(field, `${quoted(text)} is not a group (an organisation in lower case, a dot, and the name)`);
  return { owner: parseOrgName(owner, field), name: parseGroupName(text.slice(dot + 1), field) };
}

/** `acme.suppliers`. */
export const formatGroupRef = (owner: string, name: string): string => `${owner.toLowerCase()}.${name}`;

export function parseFederationDomain(text: string, field: string): string {
  if (DOMAIN.test(text)) return text;
  throw fieldError(field, `${quoted(text)} is not a federation domain (a lower-case host name such as fed.example)`);
}

/** A place to dial: `host:port`, `[v6]:port`. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;
const V6 = /^[0-9A-Fa-f:.]{2,45}$/;

/** Throws FIELD_INVALID naming `field`. Port 0 is for listeners only. */
export function parseHostPort(text: string, field: string, { allowPortZero = false } = {}): HostPort {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const hostOk = match?.[1] === undefined ? HOST.test(host) : V6.test(host);
  if (!match || !hostOk || port > 65535 || (port === 0 && !allowPortZero)) {
    throw fieldError(
      field,
      `${quoted(text)} is not an address (host:port, such as gw.acme.example:7411 or [::1]:7411)`,
    );
  }
  return { host, port };
}

export const formatHostPort = ({ host, port }: HostPort): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
