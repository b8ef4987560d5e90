import { addAbortSignal } from 'node:stream';
import type { FedgateClient } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { formatCount } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT, exitCodeOf, worstOf } from '../../exit-codes.js';
import { readLines } from '../../lines.js';
import { inputSize, showProgress } from '../../progress.js';
import type { DeliveryWish } from './delivery.js';
import { LinePublisher, type LinesSummary } from './line-publisher.js';
import { orgOf } from './report.js';

/** What the same ends with for one record. */
const EXIT_LATE = exitCodeOf(new FedgateError('ACK_TIMEOUT', 'the level asked for was not reached in time'));

export interface LinesSettings {
  readonly address: string;
  readonly contentType: string | undefined;
  readonly skip: number;
  readonly wish: DeliveryWish;
  readonly patienceMs: number;
  readonly json: boolean;
}

/** Publishes every line of standard input, and tells how to carry on when that ends early. */
export async function publishLines(env: CliEnv, client: FedgateClient, settings: LinesSettings): Promise<void> {
  const { address, contentType, skip } = settings;
  const progress = showProgress(env, inputSize(env));
  const publisher = new LinePublisher(client, address, settings, ({ records, bytes }) =>
    // Line ends are part of the input's size.
    progress.update(records, bytes + records),
  );
  const ended = AbortSignal.any([env.signal, publisher.failed]);
  addAbortSignal(ended, env.stdin);
  try {
    await publisher.publishAll(untilAborted(ended, readLines(env.stdin, contentType, skip)));
  } catch (error) {
    progress.stop();
    const { records } = publisher.summary;
    say(env, `fedgate: ${records} lines were published; --skip ${skip + records} carries on behind them`);
    throw error;
  }
  progress.stop();
  await reportLines(env, publisher, settings);
}

/** Ctrl-C ends the input: what was read is still published and answered for. So does a refusal, even while no more input comes. */
async function* untilAborted<T>(signal: AbortSignal, source: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* source;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function reportLines(env: CliEnv, { summary, refusals }: LinePublisher, settings: LinesSettings): Promise<void> {
  const { records, bytes, duplicates, dropped, unheard, partial } = summary;
  env.exitCode = refusals.size > 0 ? worstOf([...refusals]) : exitCodeFor(summary, settings.wish);
  if (env.signal.aborted) {
    env.exitCode = EXIT.interrupted;
    say(env, `fedgate: interrupted; --skip ${settings.skip + records} carries on behind what was published`);
  }
  if (settings.json) return printJson(env, summary);
  const notes = [
    dropped > 0 ? `${dropped} dropped at a full queue` : '',
    unheard > 0 ? `nobody was there for ${unheard}` : '',
    partial > 0 ? `${formatCount(partial)} were not taken by every organisation` : '',
    durableNote(summary, settings),
    duplicates > 0 ? `${formatCount(duplicates)} had been stored before, and were not stored again` : '',
  ];
  await print(env, [`published ${records} lines, ${bytes} bytes`, ...notes.filter(note => note !== '')].join('; '));
}

function exitCodeFor({ records, unconfirmed, dropped, unheard }: LinesSummary, wish: DeliveryWish): number {
  if (dropped > 0) return EXIT.limit;
  // Who asked for a level is to learn that it was not reached.
  if (unconfirmed > 0 && !wish.ackIsDefault) return EXIT_LATE;
  return records > 0 && unheard === records ? EXIT.nothingThere : EXIT.ok;
}

function durableNote({ durable, unconfirmed, partial }: LinesSummary, { address, wish }: LinesSettings): string {
  if (durable === 0) return '';
  const org = partial > 0 ? 'every other organisation' : orgOf(address);
  if (unconfirmed > 0)
    return `${formatCount(unconfirmed)} of them are stored here: ${org} has not confirmed within ${formatDuration(wish.ackTimeoutMs)}, they are sent when ${org} can be reached`;
  if (wish.ack === 'consumed') return `a durable subscription in ${org} has acknowledged all`;
  return wish.ack === 'received' ? `${org} has all on stable storage` : 'all are stored here';
}
