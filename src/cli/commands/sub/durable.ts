import type { DurableNotice, DurableSubscribeOptions, FedgateClient } from '../../../client/index.js';
import { formatCount } from '../../counts.js';
import { type CliEnv, say } from '../../env.js';
import type { Format } from './formats.js';
import { Printer } from './printer.js';

/**
 * Prints the records of a durable subscription and acknowledges each once standard output has taken it, until the signal fires or `count`
 * are printed. What was acknowledged is settled when it returns. Returns how many were printed.
 */
export async function printDurable(
  env: CliEnv,
  client: FedgateClient,
  pattern: string,
  durable: DurableSubscribeOptions,
  printing: { readonly count: number; readonly signal: AbortSignal; readonly format: Format; readonly json: boolean },
): Promise<number> {
  const printer = new Printer(env, printing);
  const subscription = client.subscribe(pattern, {
    ...durable,
    // More would be delivered in vain, and count as deliveries.
    limit: printing.count,
    onNotice: (notice: DurableNotice) => printer.tell(notice),
  });
  subscription.opened.then(
    ({ offset, created }) =>
      say(
        env,
        `fedgate: subscription ${durable.durable} ${created ? 'made' : 'goes on'} at offset ${formatCount(offset)}`,
      ),
    () => undefined,
  );
  try {
    // The signal does not end the subscription: what is being printed at that moment is still to be acknowledged.
    for await (const batch of untilAborted(subscription.batches(), printing.signal)) {
      await printer.print(batch);
      if (printer.done) break;
    }
  } finally {
    await subscription.drain();
  }
  await printer.settled();
  if (env.signal.aborted) say(env, `fedgate: ${printer.describe()}`);
  return printer.printed;
}

/** What a source yields before the signal fires. The source itself goes on and is for the caller to end. */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let wake: () => void = () => undefined;
  const stop = (): void => wake();
  signal.addEventListener('abort', stop, { once: true });
  try {
    while (!signal.aborted) {
      // A promise for each step: one for all would hold what waits for it until the end.
      const aborted = new Promise<undefined>(resolve => {
        wake = () => resolve(undefined);
      });
      const step = await Promise.race([iterator.next(), aborted]);
      if (step === undefined || step.done) return;
      yield step.value;
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
