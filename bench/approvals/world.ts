import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../src/client/index.js';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import { updateApprovers } from '../../src/registry/update.js';
import { type BenchOrg, createFederation } from '../federation.js';
import { type Gateway, startGateway } from '../gateway.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { ProgramMethods } from './program-worker.js';

export type Program = Worker<ProgramMethods & CommonMethods>;

/** A member with one approver, its gateway, and a program at it: a process each. */
export interface Member {
  readonly gateway: Gateway;
  readonly program: Program;
  /** The approval key. */
  readonly keyFile: string;
}

export const ORGS = ['ACME', 'GLOBEX', 'INITECH'] as const;

/** Three members with links between their gateways, which know each other's approvers. */
export async function withMembers<T>(run: (members: readonly Member[]) => Promise<T>): Promise<T> {
  await using federation = await createFederation();
  const orgs = [federation.acme, federation.globex, await federation.join('INITECH')];
  const keyFiles = await Promise.all(orgs.map(addApprover));
  await using members = new Members();
  for (const [i, org] of orgs.entries()) await members.start(org, keyFiles[i] ?? '');
  for (const org of orgs) await untilAllAreKnown(org);
  return await run(members.started);
}

class Members implements AsyncDisposable {
  readonly started: Member[] = [];

  async start({ org, config, node }: BenchOrg, keyFile: string): Promise<void> {
    const gateway = await startGateway(`gateway of ${org}`, config);
    const program: Program = new Worker(`program of ${org}`, new URL('./program-worker.js', import.meta.url));
    this.started.push({ gateway, program, keyFile });
    await program.call('connect', node);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { program, gateway } of this.started.reverse()) {
      await program[Symbol.asyncDispose]();
      await gateway[Symbol.asyncDispose]();
    }
  }
}

/** Registers a key, and answers with its file. */
async function addApprover({ folder }: BenchOrg): Promise<string> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readApprovalKey(publicKey.export({ format: 'der', type: 'spki' }));
  const approver = { name: 'somebody', key, addMs: Date.now(), revocation: undefined };
  await updateApprovers({ folder, change: () => ({ approvers: [approver], approvalsRequired: 1 }) });
  const file = join(folder, 'approval.key');
  await writeFile(file, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return file;
}

/** Gateways that have just started ask the registry once more soon. */
async function untilAllAreKnown({ org, node }: BenchOrg): Promise<void> {
  await using client = await connect(node);
  for (let attempt = 0; attempt < 200; attempt++) {
    const known = await client.approvals.approvers();
    if (known.length === ORGS.length) return;
    await sleep(50);
  }
  throw new Error(`${org} does not know all approvers`);
}
