import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type CompareOptions, compareLogs, type ProposalDifference } from '../../../approvals/log-compare.js';
import { type ExportedLog, parseLog } from '../../../approvals/log-export.js';
import { describe, FedgateError, fieldError } from '../../../errors.js';
import { Authorities } from '../../../evidence/authorities.js';
import { subjectOfLeaf } from '../../../identity/verify.js';
import { escapeControls } from '../../../text.js';
import { readAuthorities } from '../../authorities.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect } from '../../options.js';
import { shortId } from './text.js';

interface CompareCommandOptions {
  readonly ca?: readonly string[];
  readonly json?: boolean;
}

export function registerCompare(proposals: Command, env: CliEnv): void {
  proposals
    .command('compare')
    .argument('<file>', 'a log that `fedgate proposals log --export` wrote')
    .argument('<other>', 'that of another organisation')
    .description('check offline whether two logs of approvals hold, and whether they contradict each other')
    .option(
      '--ca <file>',
      'CA certificates of members (PEM), or ORG=FILE; may be repeated. Without them the certificates in receipts are believed',
      collect,
    )
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate proposals compare acme.log globex.log --ca acme-ca.pem --ca globex-ca.pem')}

What one log has and the other has not yet is told; it is no contradiction. Exits with ${EXIT.checkFailed} when somebody showed different
things to different organisations, or a log was changed afterwards.`,
    )
    .action((file: string, other: string, options: CompareCommandOptions) => compare(env, [file, other], options));
}

async function compare(env: CliEnv, files: readonly [string, string], options: CompareCommandOptions): Promise<void> {
  const { ca = [], json = false } = options;
  const trusted = (await Promise.all(ca.map(readAuthorities))).flat();
  try {
    const [left, right] = [await read(files[0]), await read(files[1])];
    const { federation } = left.source;
    if (right.source.federation !== federation) throw fieldError('other', 'is the log of another federation');
    const authorities = trusted.length > 0 ? new Authorities(federation, trusted) : undefined;
    const found = compareLogs(left, right, authorities ? { publicKeyOf: trustedKey(authorities, federation) } : {});
    const contradictions = found.filter(each => each.contradictions.length > 0);
    if (contradictions.length > 0) env.exitCode = EXIT.checkFailed;
    if (json) return await printJson(env, { holds: contradictions.length === 0, proposals: found });
    await print(env, describeFound(left, right, found));
  } catch (error) {
    if (!(error instanceof FedgateError) || error.reason !== 'LOG_FORKED') throw error;
    env.exitCode = EXIT.checkFailed;
    if (json) return printJson(env, { holds: false, problem: error.message });
    say(env, `fedgate: ${error.message} [${error.reason}]`);
  }
}

async function read(path: string): Promise<ExportedLog> {
  const text = await readFile(path, 'utf8').catch(cause => {
    throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be read: ${describe(cause)}`, { cause });
  });
  return parseLog(text);
}

/** The key of a gateway whose certificate one of the CAs at hand vouches for, at some time of its life: a log outlives certificates. */
const trustedKey =
  (authorities: Authorities, federation: string): NonNullable<CompareOptions['publicKeyOf']> =>
  (org, der) => {
    const certificate = new X509Certificate(der);
    const { name } = subjectOfLeaf(certificate, federation);
    return authorities.keyOf(certificate, org, name, Date.parse(certificate.validTo) - 1);
  };

function describeFound(
  { source: a, entries: of }: ExportedLog,
  { source: b, entries }: ExportedLog,
  found: readonly ProposalDifference[],
): string {
  const contradicting = found.filter(({ contradictions }) => contradictions.length > 0).length;
  const lines = found.flatMap(({ proposal, contradictions, differences }) => [
    ...contradictions.map(text => `${shortId(proposal) || '-'}  CONTRADICTION: ${text}`),
    ...differences.map(text => `${shortId(proposal) || '-'}  ${text}`),
  ]);
  return [
    `the logs of ${a.org} (${plural(of.length, 'entry', 'entries')}) and ${b.org} (${plural(entries.length, 'entry', 'entries')}) hold, each by itself`,
    ...lines.map(escapeControls),
    contradicting > 0
      ? `${plural(contradicting, 'proposal')} with contradictions: somebody has shown different things to different organisations`
      : 'they do not contradict each other',
  ].join('\n');
}
