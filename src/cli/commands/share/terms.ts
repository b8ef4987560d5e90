import type { Command } from 'commander';
import type { AudienceInit } from '../../../client/index.js';
import { fieldError, quoted } from '../../../errors.js';
import { parseGroupRef, parseNodeName, parseOrgName } from '../../../identity/names.js';
import { parseDuration } from '../../duration.js';
import { collect, parseCount } from '../../options.js';

export interface TermsOptions {
  readonly to?: readonly string[];
  readonly anyone?: boolean;
  readonly expires?: string;
  readonly maxDownloads?: string;
}

/** Who may fetch a share, how long, and how often. What is undefined was not said. */
export interface Terms {
  readonly audience: AudienceInit | undefined;
  /** From now. */
  readonly expiresMs: number | undefined;
  readonly maxDownloads: number | undefined;
}

export const withTermsOptions = (command: Command): Command =>
  command
    .option(
      '--to <whom>',
      'who may fetch it: ORG, ORG/node, @group, @org.group; several split by commas, may be repeated',
      collect,
    )
    .option('--anyone', 'any node of any active member that has the id may fetch it')
    .option('--expires <duration>', 'how long it may be fetched, from now on (default: for ever)')
    .option('--max-downloads <n>', 'how often it may be fetched; one that goes on counts once (default: any number)');

const MOST_DOWNLOADS = 0xffffffff;
/** The last moment that a date can name, epoch milliseconds. */
const LAST_MS = 8.64e15;

/** Throws FIELD_INVALID naming the option. */
export function parseTerms({ to, anyone, expires, maxDownloads }: TermsOptions): Terms {
  return {
    audience: to || anyone ? { ...parseAudience(to ?? []), anyone: anyone === true } : undefined,
    expiresMs: expires === undefined ? undefined : parseExpiry(expires),
    maxDownloads:
      maxDownloads === undefined ? undefined : parseCount(maxDownloads, '--max-downloads', 0, MOST_DOWNLOADS),
  };
}

function parseExpiry(text: string): number {
  const ms = parseDuration(text, '--expires');
  if (Date.now() + ms <= LAST_MS) return ms;
  throw fieldError('--expires', `${quoted(text)} ends later than there are dates; leave it out for ever`);
}

function parseAudience(lists: readonly string[]): AudienceInit {
  const orgs: string[] = [];
  const nodes: string[] = [];
  const groups: string[] = [];
  for (const whom of lists.flatMap(list => list.split(',')).map(each => each.trim())) {
    const [org = '', node, ...more] = whom.split('/');
    if (more.length > 0) throw fieldError('--to', `${quoted(whom)} is none of ORG, ORG/node, @group`);
    if (whom.startsWith('@')) {
      parseGroupRef(whom.slice(1), '--to');
      groups.push(whom.slice(1));
    } else if (node === undefined) orgs.push(parseOrgName(org, '--to'));
    else nodes.push(`${parseOrgName(org, '--to')}/${parseNodeName(node, '--to')}`);
  }
  return { orgs, nodes, groups };
}
