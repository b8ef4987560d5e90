import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import { startFederation, type TestOrg } from './federation.js';
import type { TestScope } from './registry.js';

/** The variables of docs/any-language.md, for one node. */
export interface NodeVariables {
  readonly [variable: string]: string;
  readonly DIR: string;
  readonly GATEWAY: string;
  readonly SERVER_NAME: string;
}

export interface TwoOrgs {
  readonly acme: NodeVariables;
  readonly globex: NodeVariables;
}

/** Nodes may do everything, and so may the other organisation. Naming it makes the gateway dial without being asked. */
const access = (
  other: string,
): string => `nodes: [{ node: "*", publish: ["**", "@*", "pubsub://*/**", "pubsub://*/@*"], subscribe: ["**"], nodes: ["*"], share: ["*"], fetch: ["*"], status: true }]
peers: [{ org: ${other}, publish: ["**", "@*"] }]`;

/** ACME and GLOBEX, linked, each with a node that may do everything. */
export async function startTwoOrgs(t: TestScope): Promise<TwoOrgs> {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: access('GLOBEX') },
    GLOBEX: { access: access('ACME') },
  });
  await Promise.all([ACME, GLOBEX].map(org => org.logged(event => event.msg === 'link' && event.state === 'up')));
  return { acme: await variables(ACME), globex: await variables(GLOBEX) };
}

async function variables(org: TestOrg): Promise<NodeVariables> {
  const contextFile = await org.context('any-language');
  const { gateway, serverName } = parse(await readFile(contextFile, 'utf8')) as { gateway: string; serverName: string };
  return { DIR: dirname(contextFile), GATEWAY: gateway, SERVER_NAME: serverName };
}
