import type { SharedFile } from '../../../client/index.js';
import { escapeControls } from '../../../text.js';
import { formatCount } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { formatBytes } from '../../progress.js';
import { ago, isoTime } from '../../times.js';

/** How shares are shown. Names come from others: what would draw on the terminal, or turn its direction, is escaped. */

export function sharesTable(shares: readonly SharedFile[], nowMs: number): string {
  const rows = shares.map(share => [
    share.id,
    shortName(share.name),
    formatBytes(share.size),
    share.ownerNode,
    audienceText(share.audience),
    downloadsText(share),
    expiryText(share.expireTimeMs, nowMs),
  ]);
  return table([['SHARE', 'NAME', 'SIZE', 'OWNER', 'MAY FETCH', 'FETCHED', 'EXPIRES'], ...rows]);
}

/** Characters of a name in a table: one of 255 would move all that is behind it out of sight, in all rows. */
const NAME_WIDTH = 40;

function shortName(name: string): string {
  const shown = escapeControls(name) || '-';
  const characters = [...shown];
  return characters.length <= NAME_WIDTH ? shown : `${characters.slice(0, NAME_WIDTH - 1).join('')}…`;
}

export function describeShare(share: SharedFile, nowMs: number): string {
  const { id, ownerNode, name, mediaType, size, sha256, audience, createTimeMs, expireTimeMs } = share;
  return table([
    ['share', id],
    ['name', escapeControls(name) || '-'],
    ['type', escapeControls(mediaType)],
    ['size', `${formatBytes(size)} (${formatCount(size)} bytes)`],
    ['SHA-256', sha256],
    ['owner', ownerNode],
    ['shared', ago(BigInt(createTimeMs), nowMs)],
    ['expires', expiryText(expireTimeMs, nowMs)],
    ...(audience ? [['may fetch', audienceText(audience)]] : []),
    [audience ? 'fetched' : 'downloads', downloadsText(share)],
    ...(share.requiresApproval ? [['approval', 'must exist before it may be fetched']] : []),
  ]);
}

function audienceText(audience: SharedFile['audience']): string {
  if (!audience) return '-';
  const { orgs = [], nodes = [], groups = [], anyone } = audience;
  const whom = [...(anyone ? ['anyone'] : []), ...orgs, ...nodes, ...groups.map(group => `@${group}`)];
  return whom.length === 0 ? 'only its owner' : whom.join(',');
}

/** Others than the own organisation are not told how often. */
function downloadsText({ audience, downloads, maxDownloads }: SharedFile): string {
  const most = maxDownloads === undefined ? '' : `at most ${formatCount(maxDownloads)}`;
  if (!audience) return most || 'any number';
  return most === '' ? formatCount(downloads) : `${formatCount(downloads)}, ${most}`;
}

function expiryText(expireTimeMs: number | undefined, nowMs: number): string {
  if (expireTimeMs === undefined) return 'never';
  return expireTimeMs > nowMs ? `in ${formatDuration(expireTimeMs - nowMs)}` : 'is over';
}

export function shareJson({ createTimeMs, expireTimeMs, downloads, ...share }: SharedFile): object {
  const expireTime = expireTimeMs === undefined ? undefined : isoTime(expireTimeMs);
  // Others than the own organisation are not told, which is not none.
  const counted = share.audience ? { downloads } : {};
  return { ...share, ...counted, createTime: isoTime(createTimeMs), expireTime };
}
