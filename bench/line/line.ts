import { freePort } from '../../src/demo/free-port.js';
import { parseHostPort } from '../../src/identity/names.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { LineMethods, LineParams } from './line-worker.js';

/** A line in front of an address. */
export interface Line extends AsyncDisposable {
  /** Where to connect to use it. */
  readonly address: string;
}

export type LineQuality = Pick<LineParams, 'roundTripMs' | 'bytesPerSecond'>;

/** `to`: `127.0.0.1:port`. Nobody need listen there yet. */
export async function openLine(to: string, quality: LineQuality): Promise<Line> {
  const listen = await freePort();
  const worker = new Worker<LineMethods & CommonMethods>('line', new URL('./line-worker.js', import.meta.url));
  await worker.call('open', { ...quality, listen, to: parseHostPort(to, 'to').port });
  return { address: `127.0.0.1:${listen}`, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}
