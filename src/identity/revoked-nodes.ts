import { open, readFile, rm, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { describe, FedgateError } from '../errors.js';
import { writeFileAtomically } from './files.js';
import { REVOCATION_NEEDED_MS } from './revocation.js';
import type { Leaf } from './verify.js';

/**
 * Which certificates of the own nodes count no more, in a file of the organisation's folder:
 *
 *     nodes   every certificate of a node that begins before a time
 *     keys    the certificates with one key
 */
export interface RevokedNodes {
  /** By the node's name: milliseconds since 1970, a whole second. */
  readonly nodes: ReadonlyMap<string, number>;
  /** By the key's id, see `tlsKeyId`. */
  readonly keys: ReadonlyMap<string, RevokedNodeKey>;
}

export interface RevokedNodeKey {
  readonly node: string;
  /** When it was revoked, milliseconds since 1970. */
  readonly timeMs: number;
}

/** Nodes in the file, and keys. */
export const MAX_REVOKED_NODES = 10_000;

export const NONE_REVOKED: RevokedNodes = { nodes: new Map(), keys: new Map() };

export const isNodeRevoked = ({ nodes, keys }: RevokedNodes, { role, name, keyId, notBeforeMs }: Leaf): boolean =>
  role === 'node' && (keys.has(keyId) || notBeforeMs < (nodes.get(name) ?? 0));

/**
 * Revokes every certificate of a node that was made until now. Certificates tell the second in which they begin: one that is made in the
 * rest of this second counts as made before.
 */
export function revokeNode(list: RevokedNodes, node: string, nowMs: number): RevokedNodes {
  const beforeMs = Math.max((Math.floor(nowMs / 1_000) + 1) * 1_000, list.nodes.get(node) ?? 0);
  return { ...list, nodes: new Map([...list.nodes, [node, beforeMs]]) };
}

/** Revokes the certificates of a node with one key. */
export function revokeNodeKey(list: RevokedNodes, node: string, keyId: string, nowMs: number): RevokedNodes {
  if (list.keys.has(keyId)) return list;
  return { ...list, keys: new Map([...list.keys, [keyId, { node, timeMs: nowMs }]]) };
}

const time = z.iso.datetime().transform(text => Date.parse(text));
const schema = z.strictObject({
  nodes: z.array(z.strictObject({ node: z.string(), before: time })).max(MAX_REVOKED_NODES),
  keys: z
    .array(z.strictObject({ node: z.string(), sha256: z.string().regex(/^[0-9a-f]{64}$/), since: time }))
    .max(MAX_REVOKED_NODES),
});

/** No file: none are revoked. Throws FILE_UNUSABLE. */
export async function readRevokedNodes(path: string): Promise<RevokedNodes> {
  try {
    const { nodes, keys } = schema.parse(JSON.parse(await readFile(path, 'utf8')));
    return {
      nodes: new Map(nodes.map(({ node, before }) => [node, before])),
      keys: new Map(keys.map(({ node, sha256, since }) => [sha256, { node, timeMs: since }])),
    };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return NONE_REVOKED;
    throw new FedgateError('FILE_UNUSABLE', `${path}: not a list of revoked certificates: ${describe(cause)}`, {
      cause,
    });
  }
}

/**
 * Changes the file; what concerns only certificates that have ended is left out. Several may do so at once. Throws FILE_UNUSABLE, and
 * LIMIT_REACHED, with which nothing was changed.
 */
export async function changeRevokedNodes(
  path: string,
  change: (list: RevokedNodes) => RevokedNodes,
  nowMs: number = Date.now(),
): Promise<RevokedNodes> {
  const unlock = await lock(`${path}.lock`);
  try {
    const next = withoutEnded(change(await readRevokedNodes(path)), nowMs);
    if (Math.max(next.nodes.size, next.keys.size) > MAX_REVOKED_NODES)
      throw new FedgateError('LIMIT_REACHED', `${path}: there are ${MAX_REVOKED_NODES} revocations already`);
    await writeFileAtomically(path, textOf(next), 0o600);
    return next;
  } finally {
    await unlock();
  }
}

function withoutEnded({ nodes, keys }: RevokedNodes, nowMs: number): RevokedNodes {
  const since = nowMs - REVOCATION_NEEDED_MS;
  return {
    nodes: new Map([...nodes].filter(([, beforeMs]) => beforeMs > since)),
    keys: new Map([...keys].filter(([, { timeMs }]) => timeMs > since)),
  };
}

function textOf({ nodes, keys }: RevokedNodes): string {
  const iso = (timeMs: number): string => new Date(timeMs).toISOString();
  const content = {
    nodes: [...nodes].map(([node, beforeMs]) => ({ node, before: iso(beforeMs) })),
    keys: [...keys].map(([sha256, { node, timeMs }]) => ({ node, sha256, since: iso(timeMs) })),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}

/** A change takes milliseconds: a lock of that age, milliseconds, was left behind. */
const STALE_LOCK_MS = 10_000;
const LOCK_PAUSE_MS = 20;

async function lock(path: string): Promise<() => Promise<void>> {
  for (;;) {
    try {
      await (await open(path, 'wx', 0o600)).close();
      return () => rm(path, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be made: ${describe(cause)}`, { cause });
    }
    const { mtimeMs } = (await stat(path).catch(() => undefined)) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > STALE_LOCK_MS) await rm(path, { force: true });
    else await pause(LOCK_PAUSE_MS);
  }
}
