import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { fieldError } from '../errors.js';
import {
  readCertificate,
  readKeyAndCertificate,
  writeFileAtomically,
  writeKeyAndCertificate,
} from '../identity/files.js';
import { issueLeaf } from '../identity/issue.js';
import { type OrgName, parseGatewayName } from '../identity/names.js';
import { orgFolder, readMembership } from '../identity/org-folder.js';
import { tlsKeyId } from '../identity/revocation.js';
import { subjectOfLeaf } from '../identity/verify.js';
import { revokeGatewayKey } from '../registry/update.js';

interface GatewayOptions {
  /** The organisation's folder, with its CA. */
  readonly folder: string;
  readonly name: string;
}

export interface RenewedGateway {
  readonly org: OrgName;
  readonly gateway: string;
  /** Where the new key and certificate are. */
  readonly folder: string;
  /** The path of the certificate that was there before. */
  readonly previous: string;
  /** When the new one ends, milliseconds since 1970. */
  readonly notAfterMs: number;
}

/**
 * Makes a new key and certificate for a gateway that has one. The earlier certificate is kept beside it: it counts until it ends or is
 * revoked. Throws FILE_UNUSABLE.
 */
export async function renewGateway({
  folder,
  name,
  days,
}: GatewayOptions & { readonly days?: number | undefined }): Promise<RenewedGateway> {
  const { federation, org } = await readMembership(folder);
  const gateway = parseGatewayName(name, 'name');
  const paths = orgFolder(folder);
  const target = paths.gateway(gateway);
  const earlier = await readCertificate(join(target, 'tls.crt'));
  const authority = await readKeyAndCertificate(join(paths.authority, 'tls.key'), join(paths.authority, 'tls.crt'));
  const pair = await issueLeaf(authority, federation, { org, role: 'gateway', name: gateway }, days);
  const previous = join(target, 'previous.crt');
  await writeFileAtomically(previous, earlier);
  await writeKeyAndCertificate(target, pair);
  const notAfterMs = Date.parse(new X509Certificate(pair.certificate).validTo);
  return { org, gateway, folder: target, previous, notAfterMs };
}

export interface RevokedGateway {
  readonly org: OrgName;
  readonly gateway: string;
  /** See `tlsKeyId`. */
  readonly keyId: string;
  /** Whether that is the key that the gateway has now: it needs a new one. */
  readonly present: boolean;
}

/**
 * Takes back a certificate of a gateway, in the record of the organisation: all gateways of the federation hear of it with the next snapshot.
 * Throws FIELD_INVALID for a certificate of somebody else, FILE_UNUSABLE, LIMIT_REACHED, and what the registry answers.
 */
export async function revokeGateway({
  folder,
  name,
  certificate,
  signal,
}: GatewayOptions & {
  /** The path of the certificate. @default the one that the gateway has now */
  readonly certificate?: string | undefined;
  readonly signal: AbortSignal;
}): Promise<RevokedGateway> {
  const { federation, org } = await readMembership(folder);
  const gateway = parseGatewayName(name, 'name');
  const own = join(orgFolder(folder).gateway(gateway), 'tls.crt');
  const path = certificate ?? own;
  const leaf = new X509Certificate(await readCertificate(path));
  const subject = subjectOfLeaf(leaf, federation);
  if (subject.org !== org || subject.role !== 'gateway' || subject.name !== gateway)
    throw fieldError('certificate', `${path} is that of ${subject.org}'s ${subject.role} ${subject.name}`);
  const keyId = tlsKeyId(leaf.publicKey);
  await revokeGatewayKey({ folder, keyId, signal });
  const now = await readCertificate(own).catch(() => undefined);
  return { org, gateway, keyId, present: now !== undefined && tlsKeyId(new X509Certificate(now).publicKey) === keyId };
}
