import type { FedgateClient, MessageBatch } from '../../../client/index.js';
import { type CliEnv, say, write } from '../../env.js';
import { type Format, joined } from './formats.js';

/** Prints what arrives while it is connected, until the signal fires or `count` are printed. Returns how many were. */
export async function printLive(
  env: CliEnv,
  client: FedgateClient,
  pattern: string,
  { count, signal, format }: { readonly count: number; readonly signal: AbortSignal; readonly format: Format },
): Promise<number> {
  const subscription = client.subscribe(pattern, {
    signal,
    onLoss: loss => say(env, `fedgate: ${describeLoss(loss)}`),
  });
  subscription.opened.then(
    () => say(env, `fedgate: subscribed to ${pattern}`),
    () => undefined,
  );
  return printAll(env, subscription.batches(), count, format);
}

/** Prints batch by batch, and waits each time until standard output has taken it. */
async function printAll(
  env: CliEnv,
  batches: AsyncIterable<MessageBatch>,
  count: number,
  format: Format,
): Promise<number> {
  let printed = 0;
  for await (const batch of batches) {
    const out: (string | Uint8Array)[] = [];
    for (const message of batch) {
      format(message, out);
      if (++printed >= count) break;
    }
    await write(env.stdout, joined(out));
    if (printed >= count) break;
  }
  return printed;
}

const describeLoss = ({
  records,
  why,
}: {
  readonly records: number | undefined;
  readonly why: 'slow' | 'disconnected';
}): string =>
  why === 'slow'
    ? `lost ${records} records: this subscriber was too slow`
    : 'records published while the gateway was gone are lost to this subscription';
