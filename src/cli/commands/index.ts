import type { Command } from 'commander';
import type { CliEnv } from '../env.js';

/** Adds a command to the program. */
export type Register = (program: Command, env: CliEnv) => void;

export interface CommandGroup {
  /** Its heading in `fedgate --help`. */
  readonly title: string;
  /** By name. Each is loaded when it is wanted: what one needs takes a fraction of the time that all of them take. */
  readonly commands: Readonly<Record<string, () => Promise<Register>>>;
}

/** In the order of `fedgate --help`. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    title: 'Messages:',
    commands: {
      pub: async () => (await import('./pub/index.js')).registerPub,
      sub: async () => (await import('./sub/index.js')).registerSub,
      topics: async () => (await import('./topics/index.js')).registerTopics,
      nodes: async () => (await import('./nodes/index.js')).registerNodes,
    },
  },
  {
    title: 'Requests:',
    commands: {
      request: async () => (await import('./request/request.js')).registerRequest,
      requests: async () => (await import('./requests/index.js')).registerRequests,
      respond: async () => (await import('./request/respond.js')).registerRespond,
      survey: async () => (await import('./request/survey.js')).registerSurvey,
    },
  },
  {
    title: 'Byte streams:',
    commands: {
      tunnel: async () => (await import('./stream/tunnel.js')).registerTunnel,
      expose: async () => (await import('./stream/expose.js')).registerExpose,
      stream: async () => (await import('./stream/stream.js')).registerStream,
    },
  },
  {
    title: 'Files:',
    commands: {
      share: async () => (await import('./share/index.js')).registerShare,
      fetch: async () => (await import('./fetch/index.js')).registerFetch,
      shares: async () => (await import('./shares/index.js')).registerShares,
      transfers: async () => (await import('./transfers.js')).registerTransfers,
    },
  },
  {
    title: 'Approval of code:',
    commands: {
      propose: async () => (await import('./propose/index.js')).registerPropose,
      review: async () => (await import('./review/index.js')).registerReview,
      approve: async () => (await import('./vote/approve.js')).registerApprove,
      reject: async () => (await import('./vote/reject.js')).registerReject,
      proposals: async () => (await import('./proposals/index.js')).registerProposals,
      verify: async () => (await import('./verify.js')).registerVerify,
      policy: async () => (await import('./policy/index.js')).registerPolicy,
      approver: async () => (await import('./approver/index.js')).registerApprover,
      keys: async () => (await import('./keys/index.js')).registerKeys,
    },
  },
  {
    title: 'What is stored:',
    commands: {
      subs: async () => (await import('./subs/index.js')).registerSubs,
      outbox: async () => (await import('./outbox/index.js')).registerOutbox,
      dead: async () => (await import('./dead/index.js')).registerDead,
      store: async () => (await import('./store/index.js')).registerStore,
      evidence: async () => (await import('./evidence/index.js')).registerEvidence,
    },
  },
  {
    title: 'How it is going:',
    commands: {
      status: async () => (await import('./status.js')).registerStatus,
      doctor: async () => (await import('./doctor.js')).registerDoctor,
      demo: async () => (await import('./demo.js')).registerDemo,
    },
  },
  {
    title: 'Setting up:',
    commands: {
      registry: async () => (await import('./registry/index.js')).registerRegistry,
      org: async () => (await import('./org/index.js')).registerOrg,
      gateway: async () => (await import('./gateway/index.js')).registerGateway,
      node: async () => (await import('./node/index.js')).registerNode,
      context: async () => (await import('./context/context.js')).registerContext,
    },
  },
];
