import { join } from 'node:path';
import { z } from 'zod';
import { describe, FedgateError } from '../errors.js';
import { readCertificate, readText, writeFileAtomically } from './files.js';
import { type OrgName, parseOrgName } from './names.js';

/**
 * Where an organisation keeps what it is. `fedgate org join` makes this folder:
 *
 *     fedgate.json            federation, organisation, registry addresses, snapshot key
 *     registry.crt            the registry's certificate, as its fingerprint promised
 *     ca/tls.key, tls.crt     the organisation's certificate authority; may live elsewhere once the gateway runs
 *     gateways/NAME/tls.*     a gateway's key and certificate
 *     gateways/NAME/previous.crt  the certificate that its present one replaced
 *     nodes/NAME/tls.*        a node's key and certificate, and context.yaml
 *     approvers/NAME/         an approver's key, approval.key and approval.pub, if it was made here
 *     revoked.json            certificates of nodes that count no more, if there are any
 *     gateway.yaml            the configuration of the first gateway
 *     state/                  what the gateway remembers
 *     state/store/            what it has stored: outboxes, log, subscriptions
 */
export const orgFolder = (folder: string) => ({
  membership: join(folder, 'fedgate.json'),
  registryCertificate: join(folder, 'registry.crt'),
  authority: join(folder, 'ca'),
  gateway: (name: string) => join(folder, 'gateways', name),
  node: (name: string) => join(folder, 'nodes', name),
  approver: (name: string) => join(folder, 'approvers', name),
  revokedNodes: join(folder, 'revoked.json'),
  gatewayConfig: join(folder, 'gateway.yaml'),
  state: join(folder, 'state'),
  store: join(folder, 'state', 'store'),
});

/** What an organisation knows of the federation it joined. */
export interface Membership {
  readonly federation: string;
  readonly org: OrgName;
  readonly registry: {
    /** `host:port`, tried in order. */
    readonly addresses: readonly string[];
    /** PEM; pinned. */
    readonly certificate: string;
    /** The registry's snapshot verification key: SubjectPublicKeyInfo, DER. */
    readonly snapshotKey: Uint8Array;
  };
}

const schema = z.strictObject({
  federation: z.string(),
  organisation: z.string(),
  registry: z.strictObject({ addresses: z.array(z.string()).min(1), snapshotKey: z.base64() }),
});

export async function writeMembership(folder: string, { federation, org, registry }: Membership): Promise<void> {
  const paths = orgFolder(folder);
  await writeFileAtomically(paths.registryCertificate, registry.certificate);
  const content = {
    federation,
    organisation: org,
    registry: { addresses: registry.addresses, snapshotKey: Buffer.from(registry.snapshotKey).toString('base64') },
  };
  await writeFileAtomically(paths.membership, `${JSON.stringify(content, null, 2)}\n`);
}

/** Throws FILE_UNUSABLE. */
export async function readMembership(folder: string): Promise<Membership> {
  const paths = orgFolder(folder);
  // One after the other: in a folder that has neither, the error is about the file that says what the folder is.
  const text = await readText(paths.membership, 'membership (is this a folder made by `fedgate org join`?)');
  const certificate = await readCertificate(paths.registryCertificate);
  try {
    const { federation, organisation, registry } = schema.parse(JSON.parse(text));
    const snapshotKey = Buffer.from(registry.snapshotKey, 'base64');
    return {
      federation,
      org: parseOrgName(organisation, 'organisation'),
      registry: { addresses: registry.addresses, certificate, snapshotKey },
    };
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${paths.membership}: not a membership file: ${describe(cause)}`, {
      cause,
    });
  }
}
