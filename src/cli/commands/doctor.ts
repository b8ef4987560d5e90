import type { Command } from 'commander';
import { type DiagnoseResponse, GatewayServiceService } from '../../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { parseOrgName } from '../../identity/names.js';
import { callServerStream } from '../../transport/client-calls.js';
import { type CliEnv, print, printJson } from '../env.js';
import { EXIT } from '../exit-codes.js';
import { examples } from '../help.js';
import { connectTo, type GatewayOptions, withGatewayOptions } from '../options.js';

export function registerDoctor(program: Command, env: CliEnv): void {
  const command = program
    .command('doctor')
    .argument('<org>', 'the organisation to reach')
    .description(
      'test the way from your gateway to another organisation step by step, and name the step that fails and why',
    )
    .option('--json', 'one JSON object per step');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate doctor GLOBEX')}\n\nThe steps: registry, record, finding (who knows an address), TCP, TLS, identity, hello. Exits with ${EXIT.checkFailed} when one fails at every address.`,
    )
    .action((org: string, options: GatewayOptions & { json?: boolean }) => examine(env, org, options));
}

const STEPS: Readonly<Record<number, string>> = {
  1: 'registry',
  2: 'record',
  3: 'TCP',
  4: 'TLS',
  5: 'identity',
  6: 'hello',
  7: 'finding',
};

async function examine(env: CliEnv, org: string, options: GatewayOptions & { json?: boolean }): Promise<void> {
  parseOrgName(org, 'org');
  const client = await connectTo(env, options);
  let last: DiagnoseResponse | undefined;
  try {
    for await (const step of callServerStream(client.channel, GatewayServiceService.diagnose, { org }, env.signal)) {
      last = step;
      await (options.json
        ? printJson(env, { ...step, step: STEPS[step.step], durationUs: Number(step.durationUs) })
        : print(env, describeStep(step)));
    }
  } finally {
    client.close();
  }
  if (last?.ok && last.step === 6) {
    if (!options.json) await print(env, `the way to ${org} is open`);
  } else {
    env.exitCode = EXIT.checkFailed;
    if (!options.json) await print(env, `the way to ${org} is broken at: ${STEPS[last?.step ?? 0] ?? 'the start'}`);
  }
}

function describeStep({ step, ok, detail, advice, address, durationUs }: DiagnoseResponse): string {
  const mark = ok ? 'ok  ' : 'FAIL';
  const where = address ? ` ${address}` : '';
  const line = `${mark}  ${(STEPS[step] ?? '?').padEnd(8)}${where}  ${detail}  (${(Number(durationUs) / 1000).toFixed(1)} ms)`;
  return advice ? `${line}\n      ${advice}` : line;
}
