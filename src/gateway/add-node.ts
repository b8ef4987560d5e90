import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { writeContextFile } from '../client/context.js';
import { FedgateError } from '../errors.js';
import { readKeyAndCertificate, writeFileAtomically, writeKeyAndCertificate } from '../identity/files.js';
import { issueLeaf } from '../identity/issue.js';
import { parseNodeName } from '../identity/names.js';
import { orgFolder, readMembership } from '../identity/org-folder.js';
import { readRevokedNodes } from '../identity/revoked-nodes.js';
import { gatewayDnsName } from '../identity/subject.js';

export interface AddNodeOptions {
  /** The organisation's folder. */
  readonly folder: string;
  readonly name: string;
  /** The gateway it is to use, and where: `host:port` of its node listener. */
  readonly gateway: string;
  readonly address: string;
  readonly days?: number | undefined;
}

/** Longest wait for the second in which a certificate would count as revoked to be over, milliseconds. */
const MAX_WAIT_MS = 2_000;

/**
 * Issues a node's certificate and writes a context file beside it; returns the context file's path. Replaces an earlier one. Throws
 * FILE_UNUSABLE.
 */
export async function addNode({ folder, name, gateway, address, days }: AddNodeOptions): Promise<string> {
  const paths = orgFolder(folder);
  const { federation, org } = await readMembership(folder);
  const node = parseNodeName(name, 'node');
  const authority = await readKeyAndCertificate(join(paths.authority, 'tls.key'), join(paths.authority, 'tls.crt'));
  await revocationPast(paths.revokedNodes, node);
  const target = paths.node(node);
  await writeKeyAndCertificate(target, await issueLeaf(authority, federation, { org, role: 'node', name: node }, days));
  await writeFileAtomically(join(target, 'ca.crt'), authority.certificate);
  const contextFile = join(target, 'context.yaml');
  const serverName = gatewayDnsName(federation, org, gateway);
  await writeContextFile(contextFile, {
    gateway: address,
    serverName,
    certificate: 'tls.crt',
    key: 'tls.key',
    ca: 'ca.crt',
  });
  return contextFile;
}

/** A new certificate must count: it has to begin after what was revoked of the node. */
async function revocationPast(path: string, node: string): Promise<void> {
  const beforeMs = (await readRevokedNodes(path)).nodes.get(node) ?? 0;
  const waitMs = beforeMs - Date.now();
  if (waitMs > MAX_WAIT_MS) {
    const until = new Date(beforeMs).toISOString();
    throw new FedgateError('FILE_UNUSABLE', `${path}: what begins before ${until} is revoked; is the clock right?`);
  }
  if (waitMs > 0) await pause(waitMs);
}
