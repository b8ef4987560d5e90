/** Tables of the store. Ids are 16 bytes, numbers 8, digests 32. */
export const TABLE = {
  /** id → ApprovalProposalRow */
  proposal: 'approval-proposal',
  /** number → Proposal as lists show it */
  summary: 'approval-summary',
  /** id → number: those that are open, so that a start reads no others */
  open: 'approval-open',
  /** id, number of the vote → ApprovalVoteRow */
  vote: 'approval-vote',
  /** id, digest of what it is for, organisation → Exchange.Receipt */
  receipt: 'approval-receipt',
  /** id, number → up to so many digests of the files of an open package */
  files: 'approval-files',
  /** proposer, project → ApprovalSequenceRow */
  sequence: 'approval-sequence',
  /** proposer, project, sequence → id: those that were approved */
  release: 'approval-release',
  /** digest of an approved artifact, number → id */
  artifact: 'approval-artifact',
  /** digest of a file of an approved package → id */
  file: 'approval-file',
  /** id, number → ApprovalEarlyRow */
  early: 'approval-early',
  /** organisation, number → ApprovalInboxRow */
  inbox: 'approval-inbox',
  /** index → ApprovalLogRow */
  log: 'approval-log',
  /** nothing → ApprovalLogHeadRow */
  head: 'approval-head',
} as const;
