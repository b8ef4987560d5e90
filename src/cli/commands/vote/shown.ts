import type { Proposal } from '../../../client/index.js';
import { table } from '../../env.js';
import { statementRows } from '../proposals/text.js';

/**
 * What an approver puts their name to. All of it was compared with the statement, whose digest stands below. `signed`: what is signed about it,
 * when it is not the statement itself.
 */
export const describeToSign = (proposal: Proposal, signed?: string): string =>
  table([
    ...statementRows(proposal),
    ...(signed === undefined
      ? [['to be signed', `statement with SHA-256 ${proposal.statementSha256}`]]
      : [
          ['statement', `SHA-256 ${proposal.statementSha256}`],
          ['to be signed', signed],
        ]),
  ]);
