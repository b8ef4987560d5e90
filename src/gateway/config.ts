import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { checkClaimPattern } from '../authentication/node-names.js';
import { TOKEN_ALGORITHMS } from '../authentication/token-verifier.js';
import { fieldError } from '../errors.js';
import { readText } from '../identity/files.js';
import {
  type HostPort,
  type OrgName,
  parseGatewayName,
  parseHostPort,
  parseNodeName,
  parseOrgName,
} from '../identity/names.js';
import { orgFolder } from '../identity/org-folder.js';
import { type AccessRules, APPROVAL_RIGHTS, parsePublishGrant } from '../messaging/access.js';
import { isInbox, parsePattern } from '../messaging/address.js';
import { POLICY_ACTIONS } from '../policy/types.js';
import type { TopicRule } from '../topics/grants.js';
import { MAX_TAKES } from '../topics/limits.js';
import { checked, parseYaml } from '../yaml-file.js';
import { FINDING_SCHEMA } from './finding-schema.js';

const ANY_ORG = 'ANY' as OrgName;
const listenAddress = checked(text => parseHostPort(text, 'listen', { allowPortZero: true }));
const listenAddressOf = (field: string) => checked(text => parseHostPort(text, field));
const channelPattern = checked(text => parsePattern(text, 'pattern', { inboxes: true }));
const topicPattern = checked(text => parsePattern(text, 'topic'));
const subscribeGrant = checked(text => {
  if (isInbox(text))
    throw fieldError('subscribe', 'an inbox needs no grant: it is read by its own node, and by nobody else');
  parsePattern(text);
});
const nodeOrAny = z.string().regex(/^(\*|[a-z0-9][a-z0-9-]{0,62})$/, 'expected a node name or "*"');
const publishGrant = checked(text => {
  const { org } = parsePublishGrant(text, ANY_ORG, 'publish');
  if (org !== '*' && org !== ANY_ORG) parseOrgName(org, 'publish');
});
const orgOrAny = checked(text => text === '*' || parseOrgName(text, 'org'));
const orgName = checked(text => parseOrgName(text, 'org'));
const groupName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected a group name: a-z, 0-9 and -');
const size = (least: number) =>
  z
    .int()
    .min(least)
    .max(2 ** 50);
const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;
const milliseconds = (least: number, most: number) => z.int().min(least).max(most);

const httpsUrl = checked(text => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.hash !== '' || url.username !== '')
    throw fieldError('url', 'expected an https URL without user and fragment');
});
const nodePrefix = z.string().regex(/^([a-z0-9][a-z0-9-]{0,31})?$/, 'expected the beginning of a node name');
const claimPattern = checked(checkClaimPattern);
const nodeName = checked(text => parseNodeName(text, 'node'));

/** Every key with its rule and default; the table in docs/configuration.md is made from it. */
export const CONFIG_SCHEMA = z.strictObject({
  gateway: checked(text => parseGatewayName(text, 'gateway')).default('gw1'),
  folder: z.string().default('.'),
  listen: z.strictObject({ nodes: listenAddress, peers: listenAddress }),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
      format: z.enum(['auto', 'json', 'pretty']).default('auto'),
    })
    .prefault({}),
  authentication: z
    .strictObject({
      certificates: z.boolean().default(true),
      tokens: z
        .array(
          z.strictObject({
            issuer: httpsUrl,
            audience: z.array(z.string().min(1)).min(1),
            jwksUri: httpsUrl.optional(),
            ca: z.string().optional(),
            algorithms: z.array(z.enum(TOKEN_ALGORITHMS)).min(1).default(['RS256', 'PS256', 'ES256', 'EdDSA']),
            nodeClaim: z.string().min(1).max(256).default('sub'),
            claimPattern: claimPattern.default('*'),
            nodePrefix: nodePrefix.default(''),
            nodes: z.record(z.string(), nodeName).default({}),
            clockToleranceMs: milliseconds(0, 300_000).default(5_000),
            maxLifetimeMs: milliseconds(1_000, 365 * DAY_MS).default(DAY_MS),
            keysLifetimeMs: milliseconds(1_000, DAY_MS).default(600_000),
            keysStaleMs: milliseconds(1_000, 30 * DAY_MS).default(DAY_MS),
            keysCooldownMs: milliseconds(100, 3_600_000).default(30_000),
          }),
        )
        .default([]),
      module: z.string().optional(),
      moduleTimeoutMs: milliseconds(10, 60_000).default(2_000),
    })
    .refine(
      ({ certificates, tokens, module }) => certificates || tokens.length > 0 || module !== undefined,
      'nobody could come in: without certificates there must be `tokens` or a `module`',
    )
    .refine(
      ({ tokens }) => new Set(tokens.map(({ issuer }) => issuer)).size === tokens.length,
      'an issuer stands in `tokens` twice',
    )
    .prefault({}),
  policy: z
    .strictObject({
      address: listenAddressOf('policy.address'),
      serverName: z.string().min(1).optional(),
      ca: z.string(),
      certificate: z.string().optional(),
      key: z.string().optional(),
      timeoutMs: milliseconds(10, 60_000).default(1_000),
      actions: z
        .array(z.enum(POLICY_ACTIONS))
        .min(1)
        .default([...POLICY_ACTIONS]),
      cacheEntries: z.int().min(0).max(1_000_000).default(10_000),
    })
    .refine(
      ({ certificate, key }) => (certificate === undefined) === (key === undefined),
      '`certificate` and `key` need each other',
    )
    .optional(),
  access: z
    .strictObject({
      nodes: z
        .array(
          z.strictObject({
            node: nodeOrAny,
            publish: z.array(publishGrant).default([]),
            subscribe: z.array(subscribeGrant).default([]),
            request: z.array(publishGrant).default([]),
            respond: z.array(channelPattern).default([]),
            openStreams: z.array(publishGrant).default([]),
            acceptStreams: z.array(channelPattern).default([]),
            share: z.array(orgOrAny).default([]),
            fetch: z.array(orgOrAny).default([]),
            approvals: z.array(z.enum(APPROVAL_RIGHTS)).default([]),
            nodes: z.array(orgOrAny).default([]),
            status: z.boolean().default(false),
            admin: z.boolean().default(false),
          }),
        )
        .default([]),
      peers: z
        .array(
          z.strictObject({
            org: orgOrAny,
            node: nodeOrAny.default('*'),
            publish: z.array(channelPattern).default([]),
            propose: z.boolean().default(false),
            nodes: z.array(nodeOrAny).default([]),
            request: z.array(channelPattern).default([]),
            streams: z.array(channelPattern).default([]),
          }),
        )
        .default([]),
      topics: z
        .array(
          z.strictObject({
            topic: topicPattern,
            publish: z.array(nodeOrAny).default([]),
            subscribe: z.array(nodeOrAny).default([]),
            authors: z.array(orgOrAny).default([]),
            peers: z.array(orgOrAny).default([]),
            relay: z.boolean().default(false),
          }),
        )
        .max(MAX_TAKES)
        .default([]),
    })
    .prefault({}),
  links: z
    .strictObject({
      dial: z.enum(['granted', 'all', 'demand']).default('granted'),
      dialTimeoutMs: milliseconds(100, 60_000).default(5_000),
      heartbeatMs: milliseconds(50, 60_000).default(5_000),
      deadAfterMs: milliseconds(100, 300_000).default(15_000),
    })
    .prefault({}),
  limits: z
    .strictObject({
      subscriptionQueueBytes: z
        .int()
        .min(64 * 1024)
        .max(1024 * 1024 * 1024)
        .default(8 * 1024 * 1024),
      subscriptionsPerNode: z.int().min(1).max(100_000).default(1_000),
      drainMs: milliseconds(0, 600_000).default(5_000),
    })
    .prefault({}),
  files: z
    .strictObject({
      sharedBytes: size(MIB).default(100 * 1024 * MIB),
      sharedBytesPerNode: size(MIB).default(100 * 1024 * MIB),
      cacheBytes: size(0).default(100 * 1024 * MIB),
      reserveBytes: size(MIB).default(256 * MIB),
      keepMs: milliseconds(0, 3_650 * DAY_MS).default(DAY_MS),
      uploadKeepMs: milliseconds(1_000, 3_650 * DAY_MS).default(DAY_MS),
      directIo: z.boolean().default(true),
    })
    .prefault({}),
  finding: FINDING_SCHEMA,
  topics: z
    .strictObject({
      bytes: size(MIB).default(256 * MIB),
      retention: z
        .array(
          z.strictObject({
            pattern: topicPattern,
            records: z.int().min(1).max(10_000_000).default(10_000),
            bytes: size(64 * 1024).default(16 * MIB),
            keepMs: milliseconds(1_000, 30 * DAY_MS).default(DAY_MS),
          }),
        )
        .default([]),
    })
    .prefault({}),
  groups: z.record(groupName, z.array(orgName).min(1)).default({}),
  durable: z
    .strictObject({
      outboxBytes: size(MIB).default(4096 * MIB),
      inboxBytesPerPeer: size(MIB).default(4096 * MIB),
      inboxBytesPerChannel: size(MIB).default(4096 * MIB),
      reserveBytes: size(MIB).default(64 * MIB),
      sent: z
        .strictObject({
          keepMs: milliseconds(0, 3_650 * DAY_MS).default(7 * DAY_MS),
          keepBytes: size(0).default(1024 * MIB),
        })
        .prefault({}),
      retention: z
        .array(
          z.strictObject({
            pattern: channelPattern,
            keepMs: milliseconds(0, 3_650 * DAY_MS).default(7 * DAY_MS),
            keepBytes: size(0).default(1024 * MIB),
          }),
        )
        .default([]),
    })
    .prefault({}),
});

type Parsed = z.output<typeof CONFIG_SCHEMA>;

/** A gateway's configuration, complete: every default filled in, every path absolute. */
export interface GatewayConfig extends Omit<Parsed, 'listen' | 'access'> {
  readonly listen: { readonly nodes: HostPort; readonly peers: HostPort };
  readonly access: AccessRules & { readonly topics: readonly TopicRule[] };
}

/** Environment variables that override the file, and the key each stands for. */
export const CONFIG_VARIABLES: Readonly<Record<string, readonly string[]>> = {
  FEDGATE_LISTEN_NODES: ['listen', 'nodes'],
  FEDGATE_LISTEN_PEERS: ['listen', 'peers'],
  FEDGATE_LOG_LEVEL: ['log', 'level'],
  FEDGATE_LOG_FORMAT: ['log', 'format'],
};

/** Reads a configuration file. Throws FILE_UNUSABLE or CONFIG_INVALID with `file:line:column key: what was expected`. */
export async function readConfig(
  path: string,
  variables: Readonly<Record<string, string | undefined>> = {},
): Promise<GatewayConfig> {
  return parseConfig(await readText(path, 'configuration'), path, variables);
}

export function parseConfig(
  text: string,
  path: string,
  variables: Readonly<Record<string, string | undefined>> = {},
): GatewayConfig {
  const overrides = Object.entries(CONFIG_VARIABLES).flatMap(([name, keys]) => {
    const value = variables[name];
    return value === undefined ? [] : [{ from: `environment variable ${name}`, keys, value }];
  });
  const { listen, ...rest } = parseYaml(text, path, CONFIG_SCHEMA, 'CONFIG_INVALID', overrides);
  return {
    ...rest,
    folder: resolve(dirname(path), rest.folder),
    authentication: absoluteAuthentication(rest.authentication, dirname(path)),
    ...(rest.policy === undefined ? {} : { policy: absolutePolicy(rest.policy, dirname(path)) }),
    listen: {
      nodes: parseHostPort(listen.nodes, 'listen.nodes', { allowPortZero: true }),
      peers: parseHostPort(listen.peers, 'listen.peers', { allowPortZero: true }),
    },
  };
}

const resolved = (folder: string, path: string | undefined): string | undefined =>
  path === undefined ? undefined : resolve(folder, path);

const absoluteAuthentication = (
  authentication: Parsed['authentication'],
  folder: string,
): Parsed['authentication'] => ({
  ...authentication,
  module: resolved(folder, authentication.module),
  tokens: authentication.tokens.map(token => ({ ...token, ca: resolved(folder, token.ca) })),
});

const absolutePolicy = (policy: NonNullable<Parsed['policy']>, folder: string): NonNullable<Parsed['policy']> => ({
  ...policy,
  ca: resolve(folder, policy.ca),
  certificate: resolved(folder, policy.certificate),
  key: resolved(folder, policy.key),
});

/** Where the files of a configured gateway are. */
export function gatewayFiles({ folder, gateway }: Pick<GatewayConfig, 'folder' | 'gateway'>) {
  const paths = orgFolder(folder);
  return {
    ...paths,
    key: resolve(paths.gateway(gateway), 'tls.key'),
    certificate: resolve(paths.gateway(gateway), 'tls.crt'),
  };
}
