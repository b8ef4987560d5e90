import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeBundles } from '../../src/approvals/bundle.js';
import { pae } from '../../src/approvals/statement/pae.js';
import { encodeStatement } from '../../src/approvals/statement/statement.js';
import { type CountedApproval, PAYLOAD_TYPE, type ProposalFacts } from '../../src/approvals/types.js';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import { parseOrgName } from '../../src/identity/names.js';
import { atMost } from '../goals.js';
import { median } from '../meter.js';
import type { PartReport } from './index.js';
import type { ApprovalsOptions } from './options.js';

const run = promisify(execFile);

const ORGS = 16;
const THRESHOLD = 10;
const GOAL_MS = 5;
const ARTIFACT = Buffer.from('what is approved');

/** What one process needed, milliseconds. */
export interface VerifyTimes {
  /** Reading the policy, once the program is loaded. */
  readonly policy: number;
  /** From then on: the bundle read, the file hashed, the verdict. */
  readonly first: number;
  /** The same again, in the same process. */
  readonly again: number;
}

/** A bundle of 10 of 16 organisations, verified by processes that have just been started. */
export async function measureVerify({ runs }: ApprovalsOptions): Promise<PartReport> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-approvals-'));
  try {
    await writeWorld(folder);
    const untidy: VerifyTimes[] = [];
    const tidy: VerifyTimes[] = [];
    // By turns, so that what else happens on the machine meets both.
    for (let i = 0; i < runs; i++) {
      untidy.push(await verifyOnce(folder, []));
      tidy.push(await verifyOnce(folder, ['--expose-gc']));
    }
    const row = (name: string, of: (times: readonly VerifyTimes[], what: keyof VerifyTimes) => number): string[] => [
      name,
      of(tidy, 'policy').toFixed(2),
      of(untidy, 'first').toFixed(2),
      of(tidy, 'first').toFixed(2),
      of(tidy, 'again').toFixed(2),
    ];
    const middle = (times: readonly VerifyTimes[], what: keyof VerifyTimes) => median(times.map(each => each[what]));
    const least = (times: readonly VerifyTimes[], what: keyof VerifyTimes) =>
      Math.min(...times.map(each => each[what]));
    return {
      rows: [
        ['verify 10 of 16, ms', 'policy', 'first', 'first, garbage of loading gone', 'again'],
        row('median', middle),
        row('least', least),
      ],
      goals: [atMost('verify 10 of 16, ms after the start', middle(tidy, 'first'), GOAL_MS)],
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function verifyOnce(folder: string, flags: readonly string[]): Promise<VerifyTimes> {
  const worker = fileURLToPath(new URL('verify-worker.js', import.meta.url));
  const { stdout } = await run(process.execPath, [...flags, worker, folder]);
  return JSON.parse(stdout);
}

/** An artifact, its bundle and a policy. */
async function writeWorld(folder: string): Promise<void> {
  const members = Array.from({ length: ORGS }, (_, i) => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = readApprovalKey(pair.publicKey.export({ format: 'der', type: 'spki' }));
    return { org: parseOrgName(`ORG-${String(i).padStart(2, '0')}`, 'org'), key, privateKey: pair.privateKey };
  });
  const now = Date.now();
  const proposal: ProposalFacts = {
    id: '00'.repeat(16),
    federation: 'fed.example',
    project: 'bench',
    version: '1',
    sequence: 1,
    artifact: {
      name: 'artifact',
      kind: 'file',
      size: ARTIFACT.length,
      sha256: createHash('sha256').update(ARTIFACT).digest('hex'),
    },
    proposer: parseOrgName('ORG-00', 'org'),
    approvers: members.map(({ org, key }) => ({
      org,
      trustDomain: `${org.toLowerCase()}.fed.example`,
      required: 1,
      keyIds: [key.id],
    })),
    threshold: THRESHOLD,
    createdMs: now,
    notBeforeMs: now,
    notAfterMs: now + 86_400_000,
    note: '',
    links: [],
  };
  const statement = encodeStatement({ kind: 'approval', proposal });
  const message = pae(PAYLOAD_TYPE, statement);
  const signatures: CountedApproval['signatures'] = members
    .slice(0, THRESHOLD)
    .map(({ org, key, privateKey }) => ({ org, key, signature: sign('sha256', message, privateKey) }));
  const policy = [
    'policy: bench',
    'version: 1',
    `threshold: ${THRESHOLD}`,
    'orgs:',
    ...members.map(({ org, key }) => `  - org: ${org}\n    keys:\n      - key: ${key.spki.toString('base64')}`),
  ];
  await writeFile(join(folder, 'artifact'), ARTIFACT);
  await writeFile(join(folder, 'bundle.json'), makeBundles({ proposal, statement, signatures }).dsse);
  await writeFile(join(folder, 'policy.yaml'), `${policy.join('\n')}\n`);
}
