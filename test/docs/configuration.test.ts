import { readFile } from 'node:fs/promises';
import test from 'ava';
import { DEFAULT_KEEP_BYTES, DEFAULT_KEEP_MS } from '../../src/durable/log/channels.js';
import { FedgateError } from '../../src/errors.js';
import { parseConfig } from '../../src/gateway/config.js';
import { configKeys } from './config-keys.js';
import { pageUrl } from './generate.js';

const FILE = 'gateway.yaml';
const LISTEN = 'listen: { nodes: 127.0.0.1:7410, peers: 0.0.0.0:7411 }\n';

async function example(): Promise<string> {
  const page = await readFile(pageUrl('docs/configuration.md'), 'utf8');
  const block = /## A full example\n\n```yaml\n([\s\S]*?)```/.exec(page)?.[1];
  if (block === undefined) throw new Error('docs/configuration.md has no full example');
  return block;
}

test('configuration.md: the full example parses, and names every key there is', async t => {
  const text = await example();
  const config = parseConfig(text, `/etc/fedgate/${FILE}`);
  t.is(config.folder, '/etc/fedgate');
  t.deepEqual(config.listen.peers, { host: '0.0.0.0', port: 7411 });
  const given = new Set(text.match(/[a-zA-Z]+(?=:)/g));
  for (const { name } of configKeys()) t.true(given.has(name.split('.').at(-1) ?? ''), name);
});

test('configuration.md: what the full example says of links, limits and stores are the defaults', async t => {
  const { links, limits, durable } = parseConfig(await example(), FILE);
  const defaults = parseConfig(LISTEN, FILE);
  t.deepEqual({ links, limits }, { links: defaults.links, limits: defaults.limits });
  t.deepEqual({ ...durable, retention: [] }, defaults.durable);
});

test('configuration.md: the last rule for retention of the full example is the default', async t => {
  const { durable } = parseConfig(await example(), FILE);
  const { keepMs, keepBytes } = durable.retention.at(-1) ?? {};
  t.deepEqual({ keepMs, keepBytes }, { keepMs: DEFAULT_KEEP_MS, keepBytes: DEFAULT_KEEP_BYTES });
});

test('configuration.md: the message it shows is the one that such a file gives', async t => {
  const page = await readFile(pageUrl('docs/configuration.md'), 'utf8');
  const shown = /```text\n(.*)\n```/.exec(page)?.[1] ?? 'nothing shown';
  t.is(problem('gateway: gw1\nlisten:\n  nodes: 127.0.0.1:7410\n  peers: "7411"\n', {}, 'acme/gateway.yaml'), shown);
});

function problem(text: string, variables: Record<string, string> = {}, file = FILE): string {
  try {
    parseConfig(text, file, variables);
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'CONFIG_INVALID') return error.message;
    throw error;
  }
  return 'no problem';
}

const WRONG: readonly (readonly [what: string, text: string, message: string, variables?: Record<string, string>])[] = [
  ['an unknown key', `${LISTEN}lissten: 1\n`, 'gateway.yaml:2:1 lissten: unknown key'],
  ['an unknown key within another', `${LISTEN}links:\n  dail: all\n`, 'gateway.yaml:3:3 links.dail: unknown key'],
  [
    'a wrong type',
    `${LISTEN}links:\n  heartbeatMs: soon\n`,
    'gateway.yaml:3:16 links.heartbeatMs: expected number, received string',
  ],
  [
    'a number out of its range',
    `${LISTEN}limits: { drainMs: -1 }\n`,
    'gateway.yaml:2:20 limits.drainMs: Too small: expected number to be >=0',
  ],
  [
    'a value that is no choice',
    `${LISTEN}log: { level: loud }\n`,
    'gateway.yaml:2:15 log.level: expected one of "trace"|"debug"|"info"|"warn"|"error"|"silent"',
  ],
  [
    'a bad pattern',
    `${LISTEN}access:\n  nodes:\n    - node: a\n      subscribe: ["**/x"]\n`,
    'gateway.yaml:5:19 access.nodes[0].subscribe[0]: `**` may only be the last segment',
  ],
  [
    'a bad grant',
    `${LISTEN}access:\n  nodes:\n    - node: a\n      publish: ["pubsub://globex/x"]\n`,
    'gateway.yaml:5:17 access.nodes[0].publish[0]: "globex" is not an organisation name (2 to 32 of A-Z 0-9 -, beginning with a letter)',
  ],
  [
    'a bad name of a node',
    `${LISTEN}access: { nodes: [{ node: A b }] }\n`,
    'gateway.yaml:2:27 access.nodes[0].node: expected a node name or "*"',
  ],
  [
    'a bad port',
    'listen:\n  nodes: 127.0.0.1:70000\n  peers: 0.0.0.0:7411\n',
    'gateway.yaml:2:10 listen.nodes: "127.0.0.1:70000" is not an address (host:port, such as gw.acme.example:7411 or [::1]:7411)',
  ],
  ['a missing listen', 'gateway: gw1\n', 'gateway.yaml:1:1 listen: expected object, received undefined'],
  ['an empty file', '', 'gateway.yaml:1:1 listen: expected object, received undefined'],
  [
    'half a listen',
    'listen:\n  nodes: 127.0.0.1:7410\n',
    'gateway.yaml:1:1 listen.peers: expected string, received undefined',
  ],
  ['a duplicate key', `${LISTEN}gateway: gw1\ngateway: gw2\n`, 'gateway.yaml:3:1 not YAML: Map keys must be unique'],
  [
    'bad YAML',
    'listen: { nodes: a\n',
    'gateway.yaml:2:1 not YAML: Flow map in block collection must be sufficiently indented and end with a }',
  ],
  [
    'a bad environment variable',
    LISTEN,
    'environment variable FEDGATE_LISTEN_NODES: listen.nodes: "7410" is not an address (host:port, such as gw.acme.example:7411 or [::1]:7411)',
    { FEDGATE_LISTEN_NODES: '7410' },
  ],
];

for (const [what, text, message, variables] of WRONG) {
  test(`configuration: ${what} is named with its place, its key and what was expected`, t => {
    t.is(problem(text, variables), message);
  });
}

test('configuration: all problems are told at once, a line each', t => {
  t.is(
    problem(`${LISTEN}links: { dial: never }\nlog: { format: xml }\n`),
    'gateway.yaml:3:16 log.format: expected one of "auto"|"json"|"pretty"\ngateway.yaml:2:16 links.dial: expected one of "granted"|"all"|"demand"',
  );
});

test('configuration: an environment variable takes the place of what the file says', t => {
  const config = parseConfig(LISTEN, FILE, { FEDGATE_LISTEN_PEERS: '127.0.0.1:1', FEDGATE_LOG_LEVEL: 'debug' });
  t.deepEqual([config.listen.peers.port, config.log.level], [1, 'debug']);
});
