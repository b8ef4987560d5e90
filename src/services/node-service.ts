import type {
  FindNodeRequest,
  FindNodeResponse,
  ListNodesRequest,
  ListNodesResponse,
  NodePresence as Message,
  NodeServiceService,
  Unanswered,
  WatchNodesRequest,
  WatchNodesResponse,
} from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import { FedgateError } from '../errors.js';
import { type OrgName, parseNodeName, parseOrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import type { Pattern } from '../messaging/address.js';
import { shownPatterns } from '../messaging/shown-patterns.js';
import { NodeChanges } from '../presence/changes.js';
import { toMessage } from '../presence/messages.js';
import type { NodePresence, NodeSource } from '../presence/types.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { toRpcStatus } from '../transport/status.js';

/** The nodes of another organisation as far as it shows them, kept up to date over the link. */
export interface RemoteNodes extends NodeSource {
  /** Resolves with why it is no longer kept up to date. */
  readonly ended: Promise<FedgateError>;
  close(): void;
}

export interface NodeHost {
  readonly org: OrgName;
  readonly access: Access;
  readonly nodes: NodeSource;
  /** All other active members. */
  others(): readonly OrgName[];
  /**
   * Asks another organisation for the nodes that it shows to one of the own, or for the one of that name; resolves when all are there. Rejects
   * with ORG_UNKNOWN, ORG_INACTIVE, PEER_UNREACHABLE, FEATURE_UNSUPPORTED, LIMIT_REACHED, or as the signal says.
   */
  ask(org: OrgName, asker: string, signal: AbortSignal, node?: string): Promise<RemoteNodes>;
  /** Fires when the gateway stops. */
  readonly draining: AbortSignal;
}

/** Streams of changes that one node may have open. */
export const MAX_WATCHES_PER_NODE = 100;
/** Bytes of patterns in one list. */
export const MAX_LISTED_PATTERN_BYTES = 2 * 1024 * 1024;
/** How long other organisations are waited for, milliseconds. */
export const ASK_TIMEOUT_MS = 5_000;
/** Organisations that are asked at once for a node of a name. */
const ASK_AT_ONCE = 32;

type Context = CallContext<{ readonly name: string }>;

/** Which nodes are there, in the own organisation and in others. */
export function nodeService(
  wrapper: CallWrapper<{ readonly name: string }>,
  host: NodeHost,
): Handlers<typeof NodeServiceService> {
  const watches = new Map<string, number>();
  return {
    listNodes: wrapper.unary(
      async ({ org }: ListNodesRequest, { caller, signal }: Context): Promise<ListNodesResponse> => {
        const asked = checkedOrg(host, caller.name, org);
        const view = viewOf(host, caller.name, asked);
        if (asked === host.org) return { nodes: all(view, host.nodes) };
        return withRemote(host, asked, caller.name, signal, nodes => ({ nodes: all(view, nodes) }));
      },
    ),
    findNode: wrapper.unary(({ node }: FindNodeRequest, { caller, signal }: Context): Promise<FindNodeResponse> => {
      return find(host, caller.name, parseNodeName(node, 'node'), signal);
    }),
    watchNodes: wrapper.serverStream(
      async ({ org }: WatchNodesRequest, out: FrameWriter<WatchNodesResponse>, { caller, signal }: Context) => {
        const asked = checkedOrg(host, caller.name, org);
        await counted(watches, caller.name, async () => {
          const view = viewOf(host, caller.name, asked);
          if (asked === host.org) return watch(view, host.nodes, out, [signal, host.draining]);
          const nodes = await host.ask(asked, caller.name, AbortSignal.any([signal, host.draining]));
          const over = new AbortController();
          void nodes.ended.then(error => over.abort(error));
          try {
            await watch(view, nodes, out, [signal, host.draining, over.signal]);
          } finally {
            nodes.close();
          }
        });
      },
    ),
  };
}

/** Throws FIELD_INVALID, NOT_GRANTED. */
function checkedOrg({ org: own, access }: NodeHost, node: string, text: string): OrgName {
  const org = text === '' ? own : parseOrgName(text, 'org');
  access.checkNodes(node, org);
  return org;
}

/** What a node sees of the nodes of an organisation: where they answer, as far as it may ask there. */
interface View {
  readonly org: OrgName;
  readonly askable: readonly Pattern[];
}

const viewOf = ({ access }: NodeHost, node: string, org: OrgName): View => ({
  org,
  askable: access.requestable(node, org),
});

const seen = ({ org, askable }: View, node: NodePresence): Message =>
  toMessage(org, node, shownPatterns(node.patterns, askable));

/** By name. When all their patterns are more than an answer should hold, the last ones have none. */
function all(view: View, nodes: NodeSource): Message[] {
  let left = MAX_LISTED_PATTERN_BYTES;
  return [...nodes.names()].sort().flatMap(name =>
    one(view, nodes, name).map(node => {
      left -= node.patterns.reduce((sum, { length }) => sum + length, 0);
      return left >= 0 || node.patterns.length === 0 ? node : { ...node, patterns: [], patternsCut: true };
    }),
  );
}

function one(view: View, nodes: NodeSource, name: string): Message[] {
  const node = nodes.get(name);
  return node ? [seen(view, node)] : [];
}

async function withRemote<T>(
  host: NodeHost,
  org: OrgName,
  asker: string,
  signal: AbortSignal,
  use: (nodes: NodeSource) => T,
  node?: string,
): Promise<T> {
  const nodes = await host.ask(org, asker, AbortSignal.any([signal, host.draining]), node);
  try {
    return use(nodes);
  } finally {
    nodes.close();
  }
}

/** Asks everybody that the caller may ask, some at once. */
async function find(host: NodeHost, asker: string, name: string, call: AbortSignal): Promise<FindNodeResponse> {
  const { access, org: own } = host;
  const orgs = [own, ...host.others()].filter(org => access.maySeeNodes(asker, org));
  if (orgs.length === 0) access.checkNodes(asker, own);
  const found: Message[] = [];
  const unanswered: Unanswered[] = [];
  const timeout = new FedgateError('DEADLINE_EXCEEDED', `no answer within ${ASK_TIMEOUT_MS / 1000} s`);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(timeout), ASK_TIMEOUT_MS);
  const signal = AbortSignal.any([call, late.signal]);
  const rest = orgs.values();
  const ask = async (): Promise<void> => {
    for (const org of rest) {
      if (org === own) {
        found.push(...one(viewOf(host, asker, org), host.nodes, name));
        continue;
      }
      try {
        found.push(
          ...(await withRemote(host, org, asker, signal, nodes => one(viewOf(host, asker, org), nodes, name), name)),
        );
      } catch (error) {
        unanswered.push({ org, error: toRpcStatus(late.signal.aborted ? timeout : (error as FedgateError)) });
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: ASK_AT_ONCE }, ask));
  } finally {
    clearTimeout(timer);
  }
  const byOrg = (a: { readonly org: string }, b: { readonly org: string }): number => (a.org < b.org ? -1 : 1);
  return { nodes: found.sort(byOrg), unanswered: unanswered.sort(byOrg) };
}

/** Tells of nodes until one of the signals fires: the first is the call itself, and ends it without an error. */
function watch(
  view: View,
  nodes: NodeSource,
  out: FrameWriter<WatchNodesResponse>,
  [call, ...others]: readonly [AbortSignal, ...AbortSignal[]],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const sight = {
      node: () => true,
      pattern: (pattern: string) => shownPatterns([pattern], view.askable).patterns.length > 0,
    };
    const changes = new NodeChanges(nodes, sight, {
      get writable() {
        return out.writable;
      },
      put: (told, complete) => out.put({ nodes: told.map(node => seen(view, node)), complete }),
    });
    out.onDrain(() => changes.resume());
    const listeners = others.map(signal => ({ signal, end: () => finish(() => reject(signal.reason)) }));
    const finish = (settle: () => void): void => {
      changes.close();
      call.removeEventListener('abort', over);
      for (const { signal, end } of listeners) signal.removeEventListener('abort', end);
      settle();
    };
    const over = (): void => finish(resolve);
    call.addEventListener('abort', over, { once: true });
    for (const { signal, end } of listeners) signal.addEventListener('abort', end, { once: true });
    const fired = listeners.find(({ signal }) => signal.aborted);
    if (call.aborted) over();
    else fired?.end();
  });
}

async function counted(open: Map<string, number>, node: string, work: () => Promise<void>): Promise<void> {
  const count = open.get(node) ?? 0;
  if (count >= MAX_WATCHES_PER_NODE) {
    throw new FedgateError('LIMIT_REACHED', `node ${node} watches nodes ${count} times already`, {
      metadata: { limit: 'watches per node' },
    });
  }
  open.set(node, count + 1);
  try {
    await work();
  } finally {
    const left = (open.get(node) ?? 1) - 1;
    if (left > 0) open.set(node, left);
    else open.delete(node);
  }
}
