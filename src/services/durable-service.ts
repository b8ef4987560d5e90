import type {
  DeadLetterSelection,
  DeleteSubscriptionRequest,
  DropDeadLettersRequest,
  DurableServiceService,
  DurableSubscription,
  ExportEvidenceRequest,
  ExportEvidenceResponse,
  GetDeadLetterRequest,
  GetOutboxRequest,
  GetStoreStatsResponse,
  GetSubscriptionRequest,
  ListDeadLettersRequest,
  Outbox,
  OutboxBatch,
  PurgeOutboxRequest,
  RedriveDeadLettersRequest,
  SeekSubscriptionRequest,
  SetOutboxPausedRequest,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import type { DeadLetters, RedriveTargets } from '../durable/dead-letters/dead-letters.js';
import { parsePlace, parseSubscriptionName } from '../durable/subscriptions/spec.js';
import type { Subscriptions } from '../durable/subscriptions/subscriptions.js';
import { FedgateError, fieldError } from '../errors.js';
import { type OrgName, parseOrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { nodeOfInbox, type Pattern, parsePattern } from '../messaging/address.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { joinedLetter, toId, toLetter, toSelection, toSubscription } from './durable-messages.js';

/** The outboxes as an operator sees and changes them, in the words of the service. */
export interface OutboxAdmin {
  /** By name. */
  list(): readonly Outbox[];
  /** Undefined: nothing was ever published to that organisation. */
  get(
    org: OrgName,
    maxBatches: number,
  ): Promise<{ readonly outbox: Outbox; readonly batches: OutboxBatch[] } | undefined>;
  setPaused(org: OrgName, paused: boolean): Promise<Outbox>;
  purge(org: OrgName): Promise<{ readonly batches: number; readonly records: number }>;
}

export interface DurableHost {
  readonly access: Access;
  readonly subscriptions: Subscriptions;
  readonly deadLetters: DeadLetters;
  readonly outboxes: OutboxAdmin;
  /** Puts records into an outbox once more. */
  readonly send: RedriveTargets['send'];
  readonly storeStats: () => Promise<GetStoreStatsResponse>;
  /** An evidence file, in pieces of at most 1 MiB. The request is checked. */
  readonly evidence: (request: ExportEvidenceRequest, signal: AbortSignal) => AsyncIterable<Buffer>;
}

const DEFAULT_BATCHES = 20;
const DEFAULT_LETTERS = 100;
const MAX_PAGE = 1_000;
/** Ids that one request may name. */
const MAX_IDS = 10_000;

type Context = CallContext<{ readonly name: string }>;

/** What a gateway has stored, for its operator; subscriptions also for those who may subscribe to their pattern. */
export function durableService(
  wrapper: CallWrapper<{ readonly name: string }>,
  host: DurableHost,
): Handlers<typeof DurableServiceService> {
  return { ...subscriptionMethods(wrapper, host), ...outboxMethods(wrapper, host), ...otherMethods(wrapper, host) };
}

function subscriptionMethods(wrapper: CallWrapper<{ readonly name: string }>, host: DurableHost) {
  const { access, subscriptions, deadLetters } = host;
  const tell = async (name: string): Promise<DurableSubscription> =>
    toSubscription(await subscriptions.status(name), deadLetters.countOf(name));
  /** The name, if it is one and the caller may see the subscription. */
  const visible = (text: string, { caller }: Context): string => {
    const name = parseSubscriptionName(text, 'name');
    checkSee(access, caller.name, subscriptions.definition(name).pattern);
    return name;
  };
  return {
    listSubscriptions: wrapper.unary(async (_request, { caller }: Context) => {
      const found: DurableSubscription[] = [];
      for (const { name, pattern } of subscriptions.definitions) {
        if (!maySee(access, caller.name, pattern)) continue;
        // One that was deleted meanwhile is not there.
        const one = await tell(name).catch(error => ifUnknown(error));
        if (one) found.push(one);
      }
      return { subscriptions: found };
    }),
    getSubscription: wrapper.unary(async ({ name }: GetSubscriptionRequest, context: Context) => ({
      subscription: await tell(visible(name, context)),
    })),
    deleteSubscription: wrapper.unary(async ({ name }: DeleteSubscriptionRequest, context: Context) => {
      await subscriptions.delete(visible(name, context));
      return {};
    }),
    seekSubscription: wrapper.unary(async ({ name, position }: SeekSubscriptionRequest, context: Context) => {
      const known = visible(name, context);
      access.checkSubscribe(context.caller.name, subscriptions.definition(known).pattern);
      const place = parsePlace(position, 'position');
      if (!place) throw fieldError('position', 'is missing');
      await subscriptions.seek(known, place);
      return { subscription: await tell(known) };
    }),
  };
}

function outboxMethods(wrapper: CallWrapper<{ readonly name: string }>, { access, outboxes }: DurableHost) {
  return {
    listOutboxes: wrapper.unary((_request, { caller }: Context) => {
      access.checkAdmin(caller.name);
      return { outboxes: [...outboxes.list()] };
    }),
    getOutbox: wrapper.unary(async ({ org, maxBatches }: GetOutboxRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      if (maxBatches > MAX_PAGE) throw fieldError('max_batches', `is over ${MAX_PAGE}`);
      const name = parseOrgName(org, 'org');
      const found = await outboxes.get(name, maxBatches || DEFAULT_BATCHES);
      if (!found) throw noOutbox(name);
      return found;
    }),
    setOutboxPaused: wrapper.unary(async ({ org, paused }: SetOutboxPausedRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      return { outbox: await outboxes.setPaused(parseOrgName(org, 'org'), paused) };
    }),
    purgeOutbox: wrapper.unary(async ({ org }: PurgeOutboxRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      const { batches, records } = await outboxes.purge(parseOrgName(org, 'org'));
      return { batches: BigInt(batches), records: BigInt(records) };
    }),
  };
}

function otherMethods(wrapper: CallWrapper<{ readonly name: string }>, host: DurableHost) {
  const { access, deadLetters, subscriptions, send } = host;
  return {
    listDeadLetters: wrapper.unary(async (request: ListDeadLettersRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      const { pageSize, afterId } = request;
      if (pageSize > MAX_PAGE) throw fieldError('page_size', `is over ${MAX_PAGE}`);
      const selection = toSelection({ ...request, ids: [] }, 'direction');
      const found = await deadLetters.list(selection, toId(afterId), pageSize || DEFAULT_LETTERS);
      return { deadLetters: found.map(toLetter), total: BigInt(deadLetters.total) };
    }),
    getDeadLetter: wrapper.unary(async ({ id }: GetDeadLetterRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      const { letter, records } = await deadLetters.get(toId(id));
      return joinedLetter(letter, records);
    }),
    redriveDeadLetters: wrapper.unary(async ({ selection }: RedriveDeadLettersRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      const deliver: RedriveTargets['deliver'] = letter => subscriptions.redrive(letter);
      const { redriven, skipped } = await deadLetters.redrive(checked(selection), { deliver, send });
      return { redriven: BigInt(redriven), skipped: BigInt(skipped) };
    }),
    dropDeadLetters: wrapper.unary(async ({ selection }: DropDeadLettersRequest, { caller }: Context) => {
      access.checkAdmin(caller.name);
      return { dropped: BigInt(await deadLetters.drop(checked(selection))) };
    }),
    getStoreStats: wrapper.unary((_request, { caller }: Context) => {
      access.checkAdmin(caller.name);
      return host.storeStats();
    }),
    exportEvidence: wrapper.serverStream(
      async (request: ExportEvidenceRequest, out: FrameWriter<ExportEvidenceResponse>, { caller, signal }: Context) => {
        access.checkAdmin(caller.name);
        if (request.org !== '') parseOrgName(request.org, 'org');
        if (request.pattern !== '') parsePattern(request.pattern, 'pattern', { inboxes: true });
        for await (const chunk of host.evidence(request, signal)) await out.send({ chunk });
      },
    ),
  };
}

/** A request that forgot to say which is not one for all of them. */
function checked(selection: DeadLetterSelection | undefined) {
  if (!selection) throw fieldError('selection', 'is missing');
  if (selection.ids.length > MAX_IDS) throw fieldError('selection.ids', `has more than ${MAX_IDS} ids`);
  return toSelection(selection, 'selection.direction');
}

/** Nobody but its node subscribes to an inbox; what a node that is gone left behind is the operator's to find and delete. Throws NOT_GRANTED. */
function checkSee(access: Access, node: string, pattern: Pattern): void {
  const owner = nodeOfInbox(pattern.text);
  if (owner === undefined || owner === node) access.checkSubscribe(node, pattern);
  else access.checkAdmin(node);
}

function maySee(access: Access, node: string, pattern: Pattern): boolean {
  try {
    checkSee(access, node, pattern);
    return true;
  } catch {
    return false;
  }
}

function ifUnknown(error: unknown): undefined {
  if (error instanceof FedgateError && error.reason === 'SUBSCRIPTION_UNKNOWN') return undefined;
  throw error;
}

const noOutbox = (org: OrgName): FedgateError =>
  new FedgateError('ORG_UNKNOWN', `nothing was ever published to ${org}`, { metadata: { org } });
