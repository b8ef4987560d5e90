import { z } from 'zod';
import { CONFIG_SCHEMA, CONFIG_VARIABLES } from '../../src/gateway/config.js';

/** What each key of gateway.yaml is for. A key that is missing here, or that the schema no longer has, fails the generator. */
const MEANING: Readonly<Record<string, string>> = {
  gateway: "the gateway's name; `gateways/NAME/tls.key` and `tls.crt` in the folder are its key and certificate",
  folder: "the organisation's folder, made by `fedgate org join`; relative to the file",
  'listen.nodes': 'where programs of the own organisation connect: `host:port`; port 0 takes any free one',
  'listen.peers': 'where gateways of other organisations connect: `host:port`',
  'log.level': 'the least severe events that are written',
  'log.format': '`auto` is `pretty` on a terminal and `json` otherwise; standard output either way',
  'authentication.certificates': 'whether nodes may come by certificate',
  'authentication.tokens[].issuer': 'an OpenID Connect issuer, as in the claim `iss`: an https URL',
  'authentication.tokens[].audience': 'one of these must be in the claim `aud`',
  'authentication.tokens[].jwksUri': "where the issuer's keys are; otherwise its discovery document says it",
  'authentication.tokens[].ca':
    "a file with the CA certificates that the issuer's server must have its certificate from; otherwise those that Node trusts",
  'authentication.tokens[].algorithms': 'signatures that are taken',
  'authentication.tokens[].nodeClaim': 'the claim that names the node',
  'authentication.tokens[].claimPattern': "what that claim looks like: one `*` stands for the node's name",
  'authentication.tokens[].nodePrefix': 'what is put before the name',
  'authentication.tokens[].nodes': 'instead of a pattern: values of the claim and the nodes that they are',
  'authentication.tokens[].clockToleranceMs': 'how far the clocks of issuer and gateway may differ, ms',
  'authentication.tokens[].maxLifetimeMs': 'how long a token may still be good for at most, ms',
  'authentication.tokens[].keysLifetimeMs': 'for how long keys count before they are fetched again, ms',
  'authentication.tokens[].keysStaleMs': 'for how long they count while they cannot be fetched, ms',
  'authentication.tokens[].keysCooldownMs': 'the least time between two fetches because of unknown keys, ms',
  'authentication.module': 'a file with a module of your own that says who calls ([authentication](authentication.md))',
  'authentication.moduleTimeoutMs': 'the longest wait for it, ms',
  'policy.address': 'a server of your own that decides what the grants allow: `host:port`',
  'policy.serverName': "the DNS name in that server's certificate; otherwise the host of the address",
  'policy.ca': "a file with the CA certificates that the server's certificate must come from",
  'policy.certificate': 'a file with the certificate that the gateway shows there',
  'policy.key': 'its key',
  'policy.timeoutMs': 'the longest wait for an answer, ms; then it is POLICY_UNAVAILABLE',
  'policy.actions': 'what it is asked about',
  'policy.cacheEntries': 'answers that are remembered at once',
  'access.nodes[].node': "a node's name, or `*` for every node of the own organisation",
  'access.nodes[].publish':
    'where it may publish: channel patterns of the own organisation, `pubsub://ORG/pattern`, or `pubsub://*/pattern` for every other organisation; inboxes as `@node` or `@*` in the place of the pattern',
  'access.nodes[].subscribe': 'channel patterns; a subscription must lie within one of them',
  'access.nodes[].request': 'whom it may ask: addresses with patterns, as in `publish`',
  'access.nodes[].respond': 'channel patterns on which it may answer; what it answers on must lie within one of them',
  'access.nodes[].openStreams': 'to where it may open byte streams: addresses with patterns, as in `publish`',
  'access.nodes[].acceptStreams': 'channel patterns on which it may accept byte streams',
  'access.nodes[].share':
    'organisations it may share files with; `*` is every one, and needed for shares that anyone may fetch',
  'access.nodes[].fetch': 'organisations whose shares it may fetch; `*` is every one, the own one included',
  'access.nodes[].approvals':
    'what it may do about proposals: `view` them, `propose` (and withdraw own ones), `vote`; who may propose or vote may view',
  'access.nodes[].nodes':
    'organisations of whose nodes it may know which are there (`fedgate nodes`), as far as they show them; `*` is every one, the own one included',
  'access.nodes[].status': 'whether it may ask for status and diagnosis (`fedgate status`, `fedgate doctor`)',
  'access.nodes[].admin':
    'whether it may see and change what the gateway has stored (`fedgate outbox`, `dead`, `evidence`)',
  'access.peers[].org': 'an organisation, or `*` for every active member',
  'access.peers[].node': 'a node of that organisation, as its gateway names it, or `*`',
  'access.peers[].publish': 'channel patterns on which it may publish here; inboxes as `@node` or `@*`',
  'access.peers[].propose':
    'whether it may ask for approval: a proposal of one that may not is refused with NOT_GRANTED',
  'access.peers[].nodes': 'nodes of the own organisation that it may know of, by name, or `*` for all',
  'access.peers[].request': 'channel patterns on which it may ask here',
  'access.topics[].topic': 'a pattern of topics, as of channels; entries add up',
  'access.topics[].publish': 'nodes of the own organisation that may publish to them, or `*`',
  'access.topics[].subscribe': 'nodes of the own organisation that may read them, or `*`',
  'access.topics[].authors': 'organisations whose records are taken, or `*` for every member',
  'access.topics[].peers':
    'organisations with whose gateways they are shared, both ways, or `*`; with `links.dial: granted` those that are named are dialled',
  'access.topics[].relay':
    'whether records of other organisations are passed on to these, with or without a reader here; without it only own ones are',
  'access.peers[].streams': 'channel patterns to which it may open byte streams here',
  'links.dial':
    '`granted`: dial whom `access.peers` names and whom there was a link with before; `all`: every active member; `demand`: only when something is published there',
  'links.dialTimeoutMs': 'longest wait for the hello of one lane at one address, connection and TLS included, ms',
  'links.heartbeatMs': 'how often a peer is asked whether it is there, ms',
  'links.deadAfterMs': 'after how long without any frame on any lane a link is given up, ms',
  'limits.subscriptionQueueBytes': 'bytes that may wait for one subscriber; what does not fit is dropped and counted',
  'limits.subscriptionsPerNode': 'open subscriptions of one node',
  'limits.drainMs': 'how long a gateway that stops waits for what is under way, ms',
  'durable.outboxBytes': 'bytes that may wait for one organisation; beyond, publishing to it fails with OUTBOX_FULL',
  'files.sharedBytes': 'bytes of shares and uploads of the own nodes, together',
  'files.sharedBytesPerNode': 'the same for one node',
  'files.cacheBytes': 'bytes that are kept of files fetched from other organisations',
  'files.reserveBytes': 'bytes that are left free on the disk; with less, no file is taken (FILES_FULL)',
  'files.keepMs': 'how long content stays that no share stands for, or that nobody fetches any more, ms',
  'files.uploadKeepMs': 'how long an unfinished upload is kept, ms',
  'files.directIo':
    'whether files are written and read past the page cache where the file system can do that; false on network file systems, and on those that do it badly',
  'finding.static':
    'addresses of other gateways, tried before those of the registry, 8 at most for each organisation: `GLOBEX: ["10.0.0.5:7411", "gw2@10.0.0.6:7411"]`',
  'finding.dns.enabled':
    'whether the DNS is asked for `_fedgate._tcp` of an organisation that cannot be reached otherwise',
  'finding.dns.domains':
    'where the DNS says it of an organisation, if not at `org.federation`: `GLOBEX: globex.example`',
  'finding.dns.servers': '`ip:port` of the DNS servers to ask; none: those of the system',
  'finding.mdns.enabled': 'whether the own gateway is told on the local network, and others are looked for there',
  'finding.mdns.interface': 'IPv4 address of the interface for it; empty: all',
  'finding.mdns.port': 'UDP port for it',
  'finding.acquaintance.snapshots': "whether the registry's snapshot is handed on to peers, and taken from them",
  'finding.acquaintance.addresses': 'whether peers are told where this gateway reaches others, and asked the same',
  'finding.localPlaces': 'whether hints of DNS, mDNS and peers may lead to loopback and link-local addresses',
  'finding.lifetimeMs': 'how long what was found is used again, ms',
  'topics.bytes': 'the most bytes, in memory, of all topics together; the largest topic gives way',
  'topics.retention[].pattern':
    'topics the entry is for; the first that matches counts, and topics without one have the defaults of an entry',
  'topics.retention[].records': 'the most records of one topic; the author with the most gives way',
  'topics.retention[].bytes': 'the most bytes of one topic, likewise',
  'topics.retention[].keepMs': 'how long records are held for late joiners, ms',
  groups:
    'named groups of organisations, for addresses (`pubsub://@suppliers/channel`) and the audiences of shares; they win over groups of that name in the own record: `suppliers: [GLOBEX, INITECH]`',
  'durable.inboxBytesPerPeer':
    'bytes from one organisation that durable subscriptions have not acknowledged; beyond, it may send no more',
  'durable.inboxBytesPerChannel': 'the same for one channel',
  'durable.reserveBytes': 'bytes that are left free on the disk; with less, nothing new is stored (STORE_FULL)',
  'durable.sent.keepMs':
    'how long batches are kept that have a receipt, as evidence and for sending them once more, ms',
  'durable.sent.keepBytes': 'the most bytes of them for one organisation',
  'durable.retention[].pattern':
    'channels the entry is for; the first that matches counts, and channels without one are kept for 7 days and up to 1 GiB',
  'durable.retention[].keepMs':
    'how long records stay in the log for replay, ms; what a durable subscription has not acknowledged stays longer',
  'durable.retention[].keepBytes': 'the most bytes of one channel, likewise',
};

interface Rule {
  readonly type?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Rule>>;
  readonly required?: readonly string[];
  readonly items?: Rule;
}

interface Key {
  readonly name: string;
  readonly rule: Rule;
  readonly required: boolean;
}

function* keysOf(rule: Rule, path = ''): Generator<Key> {
  for (const [name, child] of Object.entries(rule.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`;
    const inner = child.type === 'array' && child.items?.properties ? child.items : child;
    if (inner.properties) yield* keysOf(inner, inner === child ? at : `${at}[]`);
    else yield { name: at, rule: child, required: rule.required?.includes(name) === true };
  }
}

/** The keys of gateway.yaml in the order of the schema. */
export const configKeys = (): Key[] => [...keysOf(z.toJSONSchema(CONFIG_SCHEMA, { io: 'input' }) as Rule)];

function describeRule({ type, minimum, maximum, enum: choices, items }: Rule): string {
  if (choices) return choices.map(choice => `\`${choice}\``).join(', ');
  if (type === 'integer') return `${minimum} to ${maximum}`;
  if (type === 'array' && items?.enum) return `list of ${describeRule(items)}`;
  if (type === 'array' && items) return 'list of text';
  if (type === 'boolean') return '`true`, `false`';
  return 'text';
}

/** The Markdown table of docs/configuration.md. */
export function keyTable(): string {
  const keys = configKeys();
  const names = new Set(keys.map(({ name }) => name));
  const stale = Object.keys(MEANING).filter(name => !names.has(name));
  if (stale.length > 0) throw new Error(`test/docs/config-keys.ts explains keys that are gone: ${stale.join(', ')}`);
  const variables = new Map(Object.entries(CONFIG_VARIABLES).map(([name, path]) => [path.join('.'), name]));
  const rows = keys.map(({ name, rule, required }) => {
    const meaning = MEANING[name];
    if (meaning === undefined) throw new Error(`test/docs/config-keys.ts does not explain ${name}`);
    const variable = variables.has(name) ? `; \`${variables.get(name)}\` overrides it` : '';
    const given = JSON.stringify(rule.default)?.replaceAll('"', '').replace(/^$/, 'empty');
    const fallback = required ? 'required' : given === undefined ? 'none' : `\`${given}\``;
    return `| \`${name}\` | ${describeRule(rule)} | ${fallback} | ${meaning}${variable} |`;
  });
  return ['| key | values | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}
