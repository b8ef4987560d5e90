import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import {
  ApprovalServiceService,
  type ListApproversResponse_Key,
} from '../../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { type Policy, parseKey, parsePolicy } from '../../../approvals/verify/policy.js';
import { describe, FedgateError, fieldError } from '../../../errors.js';
import { readText, writeFileAtomically } from '../../../identity/files.js';
import { type OrgName, parseOrgName } from '../../../identity/names.js';
import { callUnary } from '../../../transport/client-calls.js';
import { type CliEnv, print, say, table } from '../../env.js';
import { examples } from '../../help.js';
import { collect, type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { isoTime } from '../../times.js';
import { type DraftOrg, formatPolicy } from './text.js';

interface InitOptions extends GatewayOptions {
  readonly orgs?: string;
  readonly threshold: string;
  readonly require?: readonly string[];
  readonly key?: readonly string[];
  readonly name: string;
  readonly output: string;
  readonly force?: boolean;
}

export function registerInit(policy: Command, env: CliEnv): void {
  const command = policy
    .command('init')
    .description('write a policy with the approval keys that your gateway knows, or with keys from files')
    .option('--orgs <orgs>', 'whose approvals count, such as ACME,GLOBEX; otherwise of all that have approval keys')
    .requiredOption('--threshold <count>', 'how many of them must approve')
    .option('--require <org>', 'one that must be among them; may be repeated', collect)
    .option('--key <org=file>', 'a public key (PEM) from a file, and no gateway is asked; may be repeated', collect)
    .option('--name <name>', 'what the policy is called', 'releases')
    .requiredOption('-o, --output <file>', 'where to')
    .option('--force', 'replace the file that is there');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate policy init --orgs ACME,GLOBEX,INITECH --threshold 2 --require ACME -o policy.yaml',
        'fedgate policy init --threshold 1 --key ACME=alice.pub --key GLOBEX=bob.pub -o policy.yaml',
      )}\n\nCompare the key ids that it prints with those that the organisations publish: the policy is as good as that.`,
    )
    .action((options: InitOptions) => init(env, options));
}

async function init(env: CliEnv, options: InitOptions): Promise<void> {
  const { output, force } = options;
  const threshold = parseCount(options.threshold, '--threshold', 1);
  const wanted = options.orgs?.split(',').map(org => parseOrgName(org.trim(), '--orgs'));
  const require = (options.require ?? []).map(org => parseOrgName(org, '--require'));
  if (existsSync(output) && !force) {
    throw new FedgateError('FILE_UNUSABLE', `${output} is there already; --force replaces it`);
  }
  const known = options.key ? await keysFromFiles(options.key) : await keysFromGateway(env, options, wanted ?? []);
  const orgs = chosen(known, wanted);
  const created = isoTime(Date.now());
  const text = formatPolicy({ name: options.name, created, threshold, require, orgs });
  const policy = parsePolicy(text, output);
  await writeFileAtomically(output, text);
  await print(env, keyTable(policy));
  say(
    env,
    `${output}: written. Whoever gave these keys could have given others: compare their ids with those that the organisations publish, by another way.`,
  );
}

function chosen(known: readonly DraftOrg[], wanted: readonly OrgName[] | undefined): readonly DraftOrg[] {
  const orgs = wanted === undefined ? known : known.filter(({ org }) => wanted.includes(org as OrgName));
  const missing = wanted?.find(org => !known.some(each => each.org === org));
  if (missing !== undefined) throw fieldError('--orgs', `no approval key of ${missing} is known`);
  if (orgs.length === 0) throw fieldError('--orgs', 'no organisation has an approval key');
  return orgs;
}

async function keysFromFiles(pairs: readonly string[]): Promise<readonly DraftOrg[]> {
  const orgs = new Map<string, DraftOrg>();
  for (const pair of pairs) {
    const [, name = '', path = ''] = /^([^=]+)=(.+)$/.exec(pair) ?? [];
    if (path === '') throw fieldError('--key', 'expected ORG=FILE');
    const org = parseOrgName(name, '--key');
    const key = await readKey(path);
    const keys = [...(orgs.get(org)?.keys ?? []), { spki: key.spki, name: undefined, revoked: undefined }];
    orgs.set(org, { org, required: 1, keys });
  }
  return [...orgs.values()].sort((a, b) => (a.org < b.org ? -1 : 1));
}

async function readKey(path: string): Promise<ReturnType<typeof parseKey>> {
  const text = await readText(path, 'public key');
  try {
    return parseKey(text);
  } catch (cause) {
    throw new FedgateError('APPROVER_KEY_INVALID', `${path}: ${describe(cause)}`, { cause });
  }
}

async function keysFromGateway(
  env: CliEnv,
  options: InitOptions,
  orgs: readonly OrgName[],
): Promise<readonly DraftOrg[]> {
  const request = { orgs: [...orgs] };
  const answer = await withClient(env, options, client =>
    callUnary(client.channel, ApprovalServiceService.listApprovers, request, { timeoutMs: 10_000 }),
  );
  return answer.orgs
    .filter(({ keys }) => keys.length > 0)
    .map(({ org, required, keys }) => ({ org, required: Math.max(1, required), keys: keys.map(toDraftKey) }));
}

/** Revoked ones too: what they approved before is judged by when and why. */
const toDraftKey = ({
  name,
  publicKey,
  revokeTimeMs,
  compromised,
}: ListApproversResponse_Key): DraftOrg['keys'][number] => ({
  name: name === '' ? undefined : name,
  spki: publicKey,
  revoked:
    revokeTimeMs === 0n ? undefined : { reason: compromised ? 'compromised' : 'departed', at: isoTime(revokeTimeMs) },
});

const keyTable = ({ orgs }: Policy): string =>
  table([
    ['ORGANISATION', 'APPROVER', 'KEY', 'KEY ID'],
    ...orgs.flatMap(({ org, keys }) =>
      keys.map(({ name = '-', key, revoked }) => [
        org,
        name,
        `${key.algorithm}${revoked ? `, ${revoked.compromised ? 'compromised' : 'departed'}` : ''}`,
        key.id,
      ]),
    ),
  ]);
