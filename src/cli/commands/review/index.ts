import type { Command } from 'commander';
import { type CheckedStatement, checkedStatement } from '../../../client/approvals/ballot.js';
import type { FedgateClient, Proposal } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { letHeapGrow } from '../../../heap-growth.js';
import { writeFileAtomically } from '../../../identity/files.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { findProposalId, ID_HELP } from '../../proposal-id.js';
import { ReviewNotes } from '../../review-notes.js';
import { describeStandings, proposalJson, shortId } from '../proposals/text.js';
import { describeToSign } from '../vote/shown.js';
import { fetchReview } from './fetch.js';
import { ReviewFolder } from './folder.js';
import { type ChangeReport, describeChanges, reportChanges } from './report.js';

interface ReviewOptions extends GatewayOptions {
  readonly output?: string;
  readonly json?: boolean;
}

export function registerReview(program: Command, env: CliEnv): void {
  const command = program
    .command('review')
    .argument('<id>', ID_HELP)
    .description('fetch what is proposed, verify it, and show what would be signed and what has changed')
    .option('-o, --output <folder>', 'where to (default: review- and the first digits of the id, here)')
    .option('--json', 'report as JSON, with the whole diff');
  withGatewayOptions(command)
    .addHelpText('after', `${examples('fedgate review 5c1f03aa', 'fedgate review 5c1f03aa -o /tmp/widget')}\n\n${HELP}`)
    .action((id: string, options: ReviewOptions) => review(env, id, options));
}

const HELP = `The folder then holds statement.json (the bytes that are signed), artifact/ (the file, or the checksum list of a package), contents/
(the files of a package) and changes.diff. Everything in it was compared with the statement: size and SHA-256.
The changes are those since the last version of the project that was approved, as far as its shares are still there.
What was shown is remembered: if the gateway shows another statement under the same id later, nothing is signed.
After Ctrl-C the same command goes on where it ended.`;

async function review(env: CliEnv, digits: string, options: ReviewOptions): Promise<void> {
  letHeapGrow('program');
  await withClient(env, options, async client => {
    const id = await findProposalId(client, digits);
    const proposal = await client.approvals.get(id);
    const checked = checkedStatement(proposal);
    await (await ReviewNotes.open(env)).check(id, checked.sha256);
    const folder = new ReviewFolder(options.output ?? `review-${shortId(id)}`, checked);
    try {
      await reviewIn(env, client, proposal, checked, folder, options.json === true);
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'CANCELLED')
        say(env, 'fedgate: interrupted; the same command goes on where this one ended');
      throw error;
    }
  });
}

async function reviewIn(
  env: CliEnv,
  client: FedgateClient,
  proposal: Proposal,
  checked: CheckedStatement,
  folder: ReviewFolder,
  json: boolean,
): Promise<void> {
  await folder.open();
  await fetchReview(env, client, proposal, checked, folder, json);
  const report = await reportChanges(env, client, proposal, checked, folder);
  await writeFileAtomically(folder.changes, report.diff.map(line => `${line}\n`).join(''), 0o600);
  if (json) return printJson(env, reviewJson(proposal, folder, report));
  await print(env, describeReview(proposal, folder, report, Date.now()));
  const vote = `fedgate approve ${shortId(proposal.id)} --reviewed ${folder.path} …`;
  say(
    env,
    `\n${folder.path} holds what would be approved, verified; when you have read it: ${proposal.state === 'open' ? vote : `it is ${proposal.state}, there is nothing to vote on`}`,
  );
}

/** Lines of a diff that are shown; the folder has all. */
const MAX_SHOWN_LINES = 400;

function describeReview(proposal: Proposal, folder: ReviewFolder, report: ChangeReport, nowMs: number): string {
  const { diff } = report;
  const left = diff.length - MAX_SHOWN_LINES;
  const shown = diff.slice(0, MAX_SHOWN_LINES);
  return [
    describeToSign(proposal),
    describeChanges(report),
    ...(shown.length > 0 ? [shown.join('\n')] : []),
    ...(left > 0 ? [`(${plural(left, 'more line')}: ${folder.changes})`] : []),
    describeStandings(proposal, nowMs),
  ].join('\n\n');
}

function reviewJson(proposal: Proposal, folder: ReviewFolder, { since, changes, diff, problem }: ChangeReport): object {
  return {
    event: 'reviewed',
    folder: folder.path,
    artifact: folder.artifact,
    statementSha256: proposal.statementSha256,
    since: since && { proposal: since.id, version: since.version },
    changes,
    diff: diff.join('\n'),
    problem,
    proposal: proposalJson(proposal),
  };
}
