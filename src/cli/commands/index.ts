import type { Command } from 'commander';
import type { CliEnv } from '../env.js';
import { registerApprover } from './approver/index.js';
import { registerContext } from './context/context.js';
import { registerDead } from './dead/index.js';
import { registerDemo } from './demo.js';
import { registerDoctor } from './doctor.js';
import { registerEvidence } from './evidence/index.js';
import { registerFetch } from './fetch/index.js';
import { registerGateway } from './gateway/run.js';
import { registerKeys } from './keys/index.js';
import { registerNode } from './node/add.js';
import { registerNodes } from './nodes/index.js';
import { registerOrg } from './org/index.js';
import { registerOutbox } from './outbox/index.js';
import { registerPolicy } from './policy/index.js';
import { registerProposals } from './proposals/index.js';
import { registerPropose } from './propose/index.js';
import { registerPub } from './pub/index.js';
import { registerRegistry } from './registry/index.js';
import { registerRequest } from './request/request.js';
import { registerRespond } from './request/respond.js';
import { registerSurvey } from './request/survey.js';
import { registerReview } from './review/index.js';
import { registerShare } from './share/index.js';
import { registerShares } from './shares/index.js';
import { registerStatus } from './status.js';
import { registerStore } from './store/index.js';
import { registerExpose } from './stream/expose.js';
import { registerStream } from './stream/stream.js';
import { registerTunnel } from './stream/tunnel.js';
import { registerSub } from './sub/index.js';
import { registerSubs } from './subs/index.js';
import { registerTransfers } from './transfers.js';
import { registerVerify } from './verify.js';
import { registerApprove } from './vote/approve.js';
import { registerReject } from './vote/reject.js';

export interface CommandGroup {
  /** Its heading in `fedgate --help`. */
  readonly title: string;
  readonly commands: readonly ((program: Command, env: CliEnv) => void)[];
}

/** In the order of `fedgate --help`. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  { title: 'Messages:', commands: [registerPub, registerSub, registerNodes] },
  { title: 'Requests:', commands: [registerRequest, registerRespond, registerSurvey] },
  { title: 'Byte streams:', commands: [registerTunnel, registerExpose, registerStream] },
  { title: 'Files:', commands: [registerShare, registerFetch, registerShares, registerTransfers] },
  {
    title: 'Approval of code:',
    commands: [
      ...[registerPropose, registerReview, registerApprove, registerReject, registerProposals],
      ...[registerVerify, registerPolicy, registerApprover, registerKeys],
    ],
  },
  {
    title: 'What is stored:',
    commands: [registerSubs, registerOutbox, registerDead, registerStore, registerEvidence],
  },
  { title: 'How it is going:', commands: [registerStatus, registerDoctor, registerDemo] },
  {
    title: 'Setting up:',
    commands: [registerRegistry, registerOrg, registerGateway, registerNode, registerContext],
  },
];
