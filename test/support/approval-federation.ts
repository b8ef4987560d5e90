import { updateApprovers } from '../../src/registry/update.js';
import { ApprovalNode } from './approval-node.js';
import { type TestKey, testKey } from './approvals.js';
import { allMet, startTestOrg, type TestOrg, type TestOrgOptions } from './federation.js';
import { audience, FileClient } from './file-client.js';
import { startTestRegistry, type TestRegistry, type TestScope } from './registry.js';

/** Nodes may do everything about files and proposals, and everybody may ask for approval. */
export const APPROVAL_ACCESS = `nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], share: ["*"], fetch: ["*"], approvals: [view, propose, vote], status: true, admin: true }]
peers: [{ org: "*", propose: true }]`;

/** Whoever is cut off notices soon. */
export const QUICK_LINKS = 'links: { dial: all, heartbeatMs: 500, deadAfterMs: 10000 }';

/** An organisation with one approver, and a node that may do everything. */
export interface ApprovalOrg {
  readonly org: TestOrg;
  readonly key: TestKey;
  readonly node: ApprovalNode;
  readonly files: FileClient;
  /** Shares bytes with everybody; returns the id. */
  share(content: string | Buffer, options?: { readonly requiresApproval?: boolean }): Promise<string>;
}

/** Registers approval keys of a member. */
export async function addApprovers(
  folder: string,
  keys: Readonly<Record<string, TestKey>>,
  approvalsRequired = 1,
): Promise<void> {
  const added = Object.entries(keys).map(([name, { key }]) => ({
    name,
    key,
    addMs: Date.now(),
    revocation: undefined,
  }));
  await updateApprovers({
    folder,
    change: ({ approvers }) => ({ approvers: [...approvers, ...added], approvalsRequired }),
  });
}

/** Organisations that all know each other's approvers and have links. */
export async function startApprovalFederation<Name extends string>(
  t: TestScope,
  names: { readonly [name in Name]: TestOrgOptions },
): Promise<{ readonly registry: TestRegistry; readonly orgs: { readonly [name in Name]: ApprovalOrg } }> {
  const registry = await startTestRegistry(t);
  const orgs: Record<string, ApprovalOrg> = {};
  for (const [name, options] of Object.entries<TestOrgOptions>(names)) {
    const org = await startTestOrg(t, registry, name, { access: APPROVAL_ACCESS, extra: QUICK_LINKS, ...options });
    orgs[name] = await approvalOrg(t, org);
  }
  await allMet(registry, ...Object.values(orgs).map(({ org }) => org));
  return { registry, orgs: orgs as { readonly [name in Name]: ApprovalOrg } };
}

/** Registers an approver of an organisation whose gateway runs, and connects a node to it. */
export async function approvalOrg(t: TestScope, org: TestOrg): Promise<ApprovalOrg> {
  const key = testKey(org.name);
  await addApprovers(org.folder, { alice: key });
  const context = await org.context('release');
  const files = await FileClient.of(t, context);
  return {
    org,
    key,
    files,
    node: await ApprovalNode.of(t, context),
    async share(content, { requiresApproval = false } = {}) {
      const terms = { name: 'scanner.tar', audience: audience({ anyone: true }), requiresApproval };
      return (await files.share(Buffer.from(content), terms)).id;
    },
  };
}
