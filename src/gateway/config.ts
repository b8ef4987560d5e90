import { dirname, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { FedgateError } from '../errors.js';
import { readText } from '../identity/files.js';
import { type HostPort, type OrgName, parseGatewayName, parseHostPort, parseOrgName } from '../identity/names.js';
import { orgFolder } from '../identity/org-folder.js';
import { type AccessRules, parsePublishGrant } from '../messaging/access.js';
import { parsePattern } from '../messaging/address.js';

/** A text that a function of ours must accept; what that function says becomes the message. */
const checked = (check: (text: string) => unknown) =>
  z.string().superRefine((text, context) => {
    try {
      check(text);
    } catch (error) {
      const { fields, message } = error as FedgateError;
      context.addIssue({ code: 'custom', message: fields[0]?.description ?? message });
    }
  });

const ANY_ORG = 'ANY' as OrgName;
const listenAddress = checked(text => parseHostPort(text, 'listen', { allowPortZero: true }));
const channelPattern = checked(text => parsePattern(text));
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
  access: z
    .strictObject({
      nodes: z
        .array(
          z.strictObject({
            node: z.string().regex(/^(\*|[a-z0-9][a-z0-9-]{0,62})$/, 'expected a node name or "*"'),
            publish: z.array(publishGrant).default([]),
            subscribe: z.array(channelPattern).default([]),
            request: z.array(publishGrant).default([]),
            respond: z.array(channelPattern).default([]),
            share: z.array(orgOrAny).default([]),
            fetch: z.array(orgOrAny).default([]),
            status: z.boolean().default(false),
            admin: z.boolean().default(false),
          }),
        )
        .default([]),
      peers: z
        .array(
          z.strictObject({
            org: orgOrAny,
            node: z
              .string()
              .regex(/^(\*|[a-z0-9][a-z0-9-]{0,62})$/, 'expected a node name or "*"')
              .default('*'),
            publish: z.array(channelPattern).default([]),
            request: z.array(channelPattern).default([]),
          }),
        )
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
  readonly access: AccessRules;
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
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [broken] = document.errors;
  if (broken) throw new FedgateError('CONFIG_INVALID', `${at(path, lines, broken.pos[0])} not YAML: ${broken.message}`);
  for (const [name, key] of Object.entries(CONFIG_VARIABLES)) {
    if (variables[name] !== undefined) document.setIn(key, variables[name]);
  }
  const result = CONFIG_SCHEMA.safeParse(document.toJS({ maxAliasCount: 10 }) ?? {});
  if (!result.success) {
    const problems = result.error.issues.map(issue => describeIssue(issue, path, document, lines, variables));
    throw new FedgateError('CONFIG_INVALID', problems.join('\n'));
  }
  const { listen, ...rest } = result.data;
  return {
    ...rest,
    folder: resolve(dirname(path), rest.folder),
    listen: {
      nodes: parseHostPort(listen.nodes, 'listen.nodes', { allowPortZero: true }),
      peers: parseHostPort(listen.peers, 'listen.peers', { allowPortZero: true }),
    },
  };
}

type Issue = z.core.$ZodIssue;

function describeIssue(
  issue: Issue,
  path: string,
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  variables: Readonly<Record<string, string | undefined>>,
): string {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const keys = unknown === undefined ? issue.path : [...issue.path, unknown];
  const name = keys
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`))
    .join('');
  const variable = Object.entries(CONFIG_VARIABLES).find(
    ([env, key]) => variables[env] !== undefined && key.join() === keys.join(),
  );
  const where = variable
    ? `environment variable ${variable[0]}:`
    : at(path, lines, offsetOf(document, keys, unknown !== undefined));
  return `${where} ${name || 'the file'}: ${unknown === undefined ? expectation(issue) : 'unknown key'}`;
}

/** zod's words, without its preamble. */
const expectation = (issue: Issue): string => issue.message.replace(/^Invalid (input|option): /, '');

interface YamlNode {
  readonly range?: readonly [number, number, number] | null;
  readonly items?: readonly {
    readonly key?: { readonly value?: unknown; readonly range?: readonly [number, number, number] | null };
  }[];
}

/** Where a key stands; for a missing one, where its parent does. */
function offsetOf(document: ReturnType<typeof parseDocument>, keys: readonly PropertyKey[], atKey: boolean): number {
  for (let depth = keys.length; depth >= 0; depth--) {
    const parent = document.getIn(keys.slice(0, Math.max(0, depth - 1)), true) as YamlNode | undefined;
    const pair = depth > 0 ? parent?.items?.find(item => item.key?.value === keys[depth - 1]) : undefined;
    const node = document.getIn(keys.slice(0, depth), true) as YamlNode | undefined;
    const range = atKey || depth < keys.length ? (pair?.key?.range ?? node?.range) : (node?.range ?? pair?.key?.range);
    if (range) return range[0];
  }
  return 0;
}

function at(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}`;
}

/** Where the files of a configured gateway are. */
export function gatewayFiles({ folder, gateway }: Pick<GatewayConfig, 'folder' | 'gateway'>) {
  const paths = orgFolder(folder);
  return {
    ...paths,
    key: resolve(paths.gateway(gateway), 'tls.key'),
    certificate: resolve(paths.gateway(gateway), 'tls.crt'),
  };
}
