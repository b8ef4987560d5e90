import { createReadStream } from 'node:fs';
import type { Command } from 'commander';
import { describe, FedgateError } from '../../../errors.js';
import { type EvidenceReport, verifyEvidence } from '../../../evidence/verify.js';
import { readAuthorities } from '../../authorities.js';
import { formatCount, plural } from '../../counts.js';
import { type CliEnv, print, printJson, say, table } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect } from '../../options.js';
import { isoTime } from '../../times.js';
import { Listing } from './listing.js';

interface VerifyOptions {
  readonly ca: readonly string[];
  readonly list?: boolean;
  readonly json?: boolean;
}

export function registerVerify(evidence: Command, env: CliEnv): void {
  evidence
    .command('verify')
    .argument('<file>', 'a file that `fedgate evidence export` made, here or elsewhere')
    .description(
      'check offline whether a file proves what it says, with nothing but the CA certificates of the members',
    )
    .requiredOption(
      '--ca <file>',
      'CA certificates of members (PEM, one or several), or ORG=FILE for one that does not name its member; may be repeated',
      collect,
    )
    .option('--list', 'also list each batch that is proven, and what its receiver said')
    .option('--json', 'report as JSON; with --list one object per line')
    .addHelpText(
      'after',
      `${examples('fedgate evidence verify march.evidence --ca acme-ca.pem --ca globex-ca.pem', 'fedgate evidence verify march.evidence --ca members.pem --list')}\n\nExits with ${EXIT.checkFailed} when the file does not hold. docs/evidence.md tells what a file proves, and what it does not.`,
    )
    .action((file: string, options: VerifyOptions) => verify(env, file, options));
}

async function verify(env: CliEnv, file: string, { ca, list, json = false }: VerifyOptions): Promise<void> {
  const trusted = (await Promise.all(ca.map(readAuthorities))).flat();
  const listing = new Listing(env, json);
  try {
    const report = await verifyEvidence(listing.between(readPieces(env, file)), trusted, list ? listing : {});
    await listing.flush();
    await (json ? printJson(env, reportJson(report)) : print(env, describeReport(file, report)));
  } catch (error) {
    if (!(error instanceof FedgateError) || error.reason !== 'EVIDENCE_INVALID') throw error;
    env.exitCode = EXIT.checkFailed;
    await listing.flush();
    if (json) return printJson(env, { holds: false, problem: error.message });
    say(env, `fedgate: ${file} does not hold: ${error.message} [${error.reason}]`);
  }
}

async function* readPieces(env: CliEnv, file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file, { signal: env.signal });
  } catch (cause) {
    if (env.signal.aborted) throw new FedgateError('CANCELLED', 'interrupted before the file was checked', { cause });
    throw new FedgateError('FILE_UNUSABLE', `${file}: cannot be read: ${describe(cause)}`, { cause });
  }
}

function describeReport(file: string, { federation, org, madeMs, authorities, ...counts }: EvidenceReport): string {
  const { sent, stored, refused, received, records, withRecords, unreadable } = counts;
  const silent = sent - stored - refused;
  const left = sent + received - withRecords;
  return [
    `${file} holds: made by ${org} of ${federation}, ${isoTime(madeMs)}`,
    table([
      [
        'sent',
        `${plural(sent, 'batch', 'batches')}: ${formatCount(stored)} stored and ${formatCount(refused)} refused by the word of the receiver, ${formatCount(silent)} without a receipt`,
      ],
      ['received', `${plural(received, 'batch', 'batches')}, signed by the sender`],
      [
        'records',
        `${formatCount(records)}${left > 0 ? `; those of ${plural(left, 'batch', 'batches')} are left out, and stand there by their digest` : ''}`,
      ],
      ...(unreadable > 0
        ? [
            [
              'not readable',
              `${plural(unreadable, 'batch or receipt', 'batches and receipts')}: ${org} says that its store was damaged there; nothing is proven of them, and --list names them`,
            ],
          ]
        : []),
      ...[...authorities].flatMap(([member, prints]) => prints.map(print => [`CA of ${member}`, print])),
    ]),
    'compare the fingerprints with those that the members publish: the proof is as good as they are',
  ].join('\n');
}

const reportJson = ({ madeMs, authorities, ...rest }: EvidenceReport): object => ({
  holds: true,
  ...rest,
  made: isoTime(madeMs),
  authorities: Object.fromEntries(authorities),
});
