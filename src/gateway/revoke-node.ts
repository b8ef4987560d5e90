import { X509Certificate } from 'node:crypto';
import { fieldError } from '../errors.js';
import { readCertificate } from '../identity/files.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import { orgFolder, readMembership } from '../identity/org-folder.js';
import { tlsKeyId } from '../identity/revocation.js';
import { changeRevokedNodes, revokeNode, revokeNodeKey } from '../identity/revoked-nodes.js';
import { subjectOfLeaf } from '../identity/verify.js';

export interface RevokeNodeOptions {
  /** The organisation's folder: that of the gateway. */
  readonly folder: string;
  readonly name: string;
  /** The path of the one certificate. Undefined: all that were made so far. */
  readonly certificate?: string | undefined;
}

export interface RevokedNode {
  readonly org: OrgName;
  readonly node: string;
  /** All certificates that begin before that, milliseconds since 1970. */
  readonly beforeMs?: number | undefined;
  /** Those with this key. */
  readonly keyId?: string | undefined;
}

/**
 * Takes back certificates of a node. Gateways that run in the folder hear of it within two seconds. Throws FIELD_INVALID for a certificate of
 * somebody else, FILE_UNUSABLE, LIMIT_REACHED.
 */
export async function revokeNodeCertificates({ folder, name, certificate }: RevokeNodeOptions): Promise<RevokedNode> {
  const { federation, org } = await readMembership(folder);
  const node = parseNodeName(name, 'node');
  const { revokedNodes: path } = orgFolder(folder);
  const nowMs = Date.now();
  if (certificate === undefined) {
    const { nodes } = await changeRevokedNodes(path, list => revokeNode(list, node, nowMs));
    return { org, node, beforeMs: nodes.get(node) };
  }
  const leaf = new X509Certificate(await readCertificate(certificate));
  const subject = subjectOfLeaf(leaf, federation);
  if (subject.org !== org || subject.role !== 'node' || subject.name !== node)
    throw fieldError('certificate', `${certificate} is that of ${subject.org}'s ${subject.role} ${subject.name}`);
  const keyId = tlsKeyId(leaf.publicKey);
  await changeRevokedNodes(path, list => revokeNodeKey(list, node, keyId, nowMs));
  return { org, node, keyId };
}
