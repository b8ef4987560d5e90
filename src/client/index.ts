/**
 * The SDK: what programs of an organisation use to reach their own gateway.
 *
 *     import { connect } from 'fedgate/client';
 *
 *     await using client = await connect({ context: 'billing' });
 *     await client.publish('pubsub://GLOBEX/orders/created', 'hello');
 *     for await (const message of client.subscribe('invoices/**')) console.log(message.text);
 */

export { FedgateError, type Reason } from '../errors.js';
export type { RecordInit } from '../wire/record-codec.js';
export type { Approvals } from './approvals/approvals.js';
export { keyFileSigner, readApprovalKey } from './approvals/key-file.js';
export type {
  ApprovalBundle,
  ApprovalKey,
  ApprovalLogEntry,
  CastVote,
  ListProposalsOptions,
  OrgApprovalKeys,
  Proposal,
  ProposalFacts,
  ProposalSelection,
  ProposalState,
  ProposedArtifact,
  ProposeOptions,
  RegisteredKey,
  Signer,
  Standing,
  VoteOptions,
  VoteResult,
  WatchProposalsOptions,
} from './approvals/types.js';
export { type ClientEvents, type ConnectOptions, connect, type FedgateClient } from './client.js';
export type { DurableOpened } from './consume-stream.js';
export type { DurableBatch, DurableMessage } from './delivery.js';
export type { DurableAdmin } from './durable-admin.js';
export type { DurableSubscribeOptions, From } from './durable-options.js';
export type { DurableEvent, DurableSubscription } from './durable-subscription.js';
export type { FileStream } from './files/file-stream.js';
export type {
  AudienceInit,
  FetchedFile,
  FetchOptions,
  FetchStreamOptions,
  ShareChanges,
  SharedFile,
  ShareOptions,
  ShareSource,
  Transfer,
  TransferOptions,
  TransferProgress,
} from './files/types.js';
export type { Message } from './message.js';
export type { FoundNodes, NodeChange, NodeDirectory, NodePresence } from './nodes.js';
export type { DeadLetteredNotice, DurableNotice, ExpiredNotice, GapNotice } from './notices.js';
export type { ProducerOptions } from './producer.js';
export type { PublishAllOptions, PublishSummary } from './publish-all.js';
export type { InboxState, OrgReport, PublishReport } from './report.js';
export type { IncomingRequest, RequestHandler, Responding, RespondOptions } from './requests/responding.js';
export type { LaterOptions, StoredId, StoredRequest, StoredRequests } from './requests/stored.js';
export type { Survey, SurveyAnswer, SurveyedOrg, SurveySummary } from './requests/survey.js';
export {
  type Content,
  type HandedOver,
  type Reply,
  RequestError,
  type RequestOptions,
  type SurveyOptions,
  type TellOptions,
} from './requests/types.js';
export type { NackOptions } from './settlements.js';
export type { AcceptingStreams, StreamHandler } from './streams/accepting.js';
export type { ByteStream } from './streams/byte-stream.js';
export type { AcceptStreamsOptions, OpenStreamOptions } from './streams/types.js';
export type { MessageBatch, SubscribeOptions, Subscription } from './subscription.js';
export type { AckLevel, PublishOptions } from './terms.js';
export { type TokenSource, tokenFile } from './token.js';
export type { TopicSubscription } from './topics/subscription.js';
export type { PausedPeer, Topic, TopicInfo, TopicList, TopicMuted, TopicStreamInfo } from './topics/topic.js';
export type {
  TopicLoss,
  TopicMessage,
  TopicPlace,
  TopicPublishOptions,
  TopicReceipt,
  TopicSubscribeOptions,
} from './topics/types.js';
