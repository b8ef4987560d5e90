import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { describe, FedgateError } from '../../errors.js';
import { writeFileAtomically } from '../../identity/files.js';
import type { ProposalFacts } from '../types.js';
import type { Policy } from './policy.js';

/**
 * What a verifier remembers between two runs, in a file: without it nobody offline can tell an old policy, an old release or a wrong clock from
 * the right one. It only ever rises.
 */
const digest = z.string().regex(/^[0-9a-f]{64}$/);

const rememberedSchema = z.strictObject({
  /** The highest version of the policy that was used, and what it said. */
  version: z.int().min(1),
  fingerprint: digest,
  /** The newest moment that is known to have been, milliseconds. 0: none. */
  seenMs: z.int().min(0),
  /** The newest approved proposal of each project. */
  projects: z.record(z.string(), z.strictObject({ sequence: z.int().min(1), statement: digest })),
});

const memorySchema = z.strictObject({ format: z.literal(1), policies: z.record(z.string(), rememberedSchema) });

/** Under one policy. */
export type Remembered = z.output<typeof rememberedSchema>;

export class Memory {
  readonly path: string;
  readonly #policies: ReadonlyMap<string, Remembered>;

  private constructor(path: string, policies: ReadonlyMap<string, Remembered>) {
    this.path = path;
    this.#policies = policies;
  }

  /** A file that is not there remembers nothing. Throws FILE_UNUSABLE for one that cannot be read: what it knew may matter. */
  static async open(path: string): Promise<Memory> {
    return new Memory(path, new Map(Object.entries(await readPolicies(path))));
  }

  of(policyName: string): Remembered | undefined {
    return this.#policies.get(policyName);
  }

  /** Writes it down. Throws FILE_UNUSABLE. */
  async add(policy: Policy, approved: Approved | undefined): Promise<void> {
    // Read again: another run may have written since.
    const policies = new Map(Object.entries(await readPolicies(this.path)));
    policies.set(policy.name, merge(policies.get(policy.name), policy, approved));
    try {
      await writeFileAtomically(
        this.path,
        `${JSON.stringify({ format: 1, policies: Object.fromEntries(policies) })}\n`,
        0o600,
      );
    } catch (cause) {
      throw new FedgateError(
        'FILE_UNUSABLE',
        `${this.path}: what was verified cannot be remembered: ${describe(cause)}; --state names another file, --no-state goes without`,
        { cause },
      );
    }
  }
}

/** An approval that held. */
export interface Approved {
  readonly proposal: ProposalFacts;
  readonly statementSha256: string;
  /** A moment that is known to have been. */
  readonly seenMs: number;
}

export const projectKey = ({ federation, proposer, project }: ProposalFacts): string =>
  `${federation} ${proposer}/${project}`;

function merge(earlier: Remembered | undefined, policy: Policy, approved: Approved | undefined): Remembered {
  const newer = !earlier || policy.version >= earlier.version;
  const projects = { ...earlier?.projects };
  if (approved) {
    const key = projectKey(approved.proposal);
    const { sequence } = approved.proposal;
    if (sequence > (projects[key]?.sequence ?? 0)) projects[key] = { sequence, statement: approved.statementSha256 };
  }
  return {
    version: newer ? policy.version : earlier.version,
    fingerprint: newer ? policy.fingerprint : earlier.fingerprint,
    seenMs: Math.max(earlier?.seenMs ?? 0, approved?.seenMs ?? 0),
    projects,
  };
}

async function readPolicies(path: string): Promise<Readonly<Record<string, Remembered>>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw unusable(path, cause);
  }
  try {
    return memorySchema.parse(JSON.parse(text)).policies;
  } catch (cause) {
    throw unusable(path, cause);
  }
}

const unusable = (path: string, cause: unknown): FedgateError =>
  new FedgateError(
    'FILE_UNUSABLE',
    `${path}: what was verified before cannot be read; removing it begins anew, --no-state goes without`,
    { cause },
  );
