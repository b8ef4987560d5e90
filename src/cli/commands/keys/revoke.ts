import { type Command, Option } from 'commander';
import { fieldError } from '../../../errors.js';
import { findApproverKeys, revokeKeys } from '../../../registry/approver-changes.js';
import { fetchOwnRecord, updateApprovers } from '../../../registry/update.js';
import { confirm, YES_OPTION } from '../../confirm.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { parseCount } from '../../options.js';
import { isoTime, parseTime } from '../../times.js';
import { revocationText, stateOf } from './text.js';

interface RevokeOptions {
  readonly dir: string;
  readonly reason: 'departed' | 'compromised';
  readonly at?: string;
  readonly required?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerRevoke(keys: Command, env: CliEnv): void {
  keys
    .command('revoke')
    .argument('<key>', 'the id of a key (8 digits are enough), or the name of an approver: all keys of theirs')
    .description('revoke approval keys of your organisation, for ever')
    .addOption(
      new Option(
        '--reason <reason>',
        'departed: votes that came before stay; compromised: somebody else may have the key',
      )
        .choices(['departed', 'compromised'])
        .makeOptionMandatory(),
    )
    .option('--at <time>', 'since when, such as 2026-03-01T12:00:00Z, or how long ago, such as 2h; otherwise now')
    .option('--required <m>', 'from now on so many different approvers of yours must approve')
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option(...YES_OPTION)
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples(
        'fedgate keys revoke alice --reason departed --dir acme',
        'fedgate keys revoke 3f9a01c2 --reason compromised --at 2h --dir acme --yes',
      )}\n\nAsks on a terminal; elsewhere --yes is needed. What is approved stays approved at gateways; no vote of a compromised key counts that came\nafter that time. A revocation can be made stricter later (earlier, or compromised), and never taken back.`,
    )
    .action((key: string, options: RevokeOptions) => revoke(env, key, options));
}

async function revoke(env: CliEnv, text: string, options: RevokeOptions): Promise<void> {
  const nowMs = Date.now();
  const timeMs = options.at === undefined ? nowMs : parseTime(options.at, '--at', nowMs);
  if (timeMs > nowMs) throw fieldError('--at', `${isoTime(timeMs)} is in the future`);
  const required = options.required === undefined ? undefined : parseCount(options.required, '--required', 1);
  const revocation = { timeMs, compromised: options.reason === 'compromised' };
  const settings = { folder: options.dir, signal: env.signal };

  const before = await fetchOwnRecord(settings);
  const named = findApproverKeys(before, text);
  const ids = new Set(named.map(({ key }) => key.id));
  // Told before anybody is asked.
  if (revokeKeys(before, ids, revocation, required)) {
    const keys = named.map(({ name, key }) => `${key.id.slice(0, 16)}… of ${name}`).join(', ');
    await confirm(env, options.yes === true, `revoke ${keys} as ${revocationText(revocation)}, for ever?`);
  }
  const { org, approvers, approvalsRequired } = await updateApprovers({
    ...settings,
    change: previous => revokeKeys(previous, ids, revocation, required),
  });
  const now = approvers.filter(({ key }) => ids.has(key.id));
  if (options.json) {
    const revoked = now.map(({ name, key, revocation: is }) => ({
      approver: name,
      keyId: key.id,
      reason: is?.compromised ? 'compromised' : 'departed',
      since: isoTime(is?.timeMs ?? timeMs),
    }));
    return printJson(env, { org, required: approvalsRequired, revoked });
  }
  for (const approver of now) await print(env, `${approver.key.id} of ${approver.name}: ${stateOf(approver)}`);
}
