import type { Command } from 'commander';
import { revokeNodeCertificates } from '../../../gateway/revoke-node.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { isoTime } from '../../times.js';

interface RevokeFlags {
  readonly dir: string;
  readonly certificate?: string;
  readonly json?: boolean;
}

export function registerRevoke(node: Command, env: CliEnv): void {
  node
    .command('revoke')
    .argument('<name>', 'the name of the node')
    .description('take back all certificates of a program that were made until now; what it has open is cut')
    .option('--dir <folder>', "the organisation's folder, where its gateway runs", '.')
    .option('--certificate <file>', 'only this certificate, and others with the same key')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples(
        'fedgate node revoke billing --dir acme',
        'fedgate node revoke billing --dir acme --certificate old/tls.crt',
      )}\n\nWritten to revoked.json in the folder; a gateway that runs there follows within two seconds. A new certificate counts:\nfedgate node add NAME --force`,
    )
    .action((name: string, flags: RevokeFlags) => revoke(env, name, flags));
}

async function revoke(env: CliEnv, name: string, { dir, certificate, json }: RevokeFlags): Promise<void> {
  const { org, node, beforeMs, keyId } = await revokeNodeCertificates({ folder: dir, name, certificate });
  const before = beforeMs === undefined ? undefined : isoTime(beforeMs);
  if (json) return printJson(env, { org, node, before, keyId });
  const which = before === undefined ? `with the key ${keyId}` : `that begin before ${before}`;
  await print(env, `revoked: certificates of node ${node} of ${org} ${which}`);
}
