import { describeUnreadable, type Unreadable } from '../../../evidence/unreadable.js';
import type { ProvenBatch, ProvenReceipt, VerifyOptions } from '../../../evidence/verify.js';
import { escapeControls } from '../../../text.js';
import { plural } from '../../counts.js';
import { type CliEnv, write } from '../../env.js';
import { isoTime } from '../../times.js';

/** Lists what a file proves while it is being checked. */
export class Listing implements VerifyOptions {
  readonly #env: CliEnv;
  readonly #json: boolean;
  #lines: string[] = [];

  constructor(env: CliEnv, json: boolean) {
    this.#env = env;
    this.#json = json;
  }

  readonly onBatch = ({ line, direction, header, records }: ProvenBatch): void => {
    const { originOrg, originGateway, recipientOrg, channel, senderNode, recordCount } = header;
    const facts = { line, batch: direction, from: originOrg, gateway: originGateway, to: recipientOrg, channel };
    const stream = { streamEpoch: String(header.streamEpoch), sequence: Number(header.sequence) };
    const rest = { node: senderNode, records: recordCount, held: records, time: isoTime(header.timeMs) };
    this.#add({ ...facts, ...stream, ...rest }, [
      rest.time,
      `${direction}: batch ${stream.sequence} of stream ${stream.streamEpoch}`,
      `${originOrg}/${senderNode} to ${recipientOrg}`,
      `${channel}, ${plural(recordCount, 'record')}`,
    ]);
  };

  readonly onReceipt = ({ line, batch, receipt, refusal }: ProvenReceipt): void => {
    const { recipientOrg, recipientGateway, timeMs } = receipt;
    const facts = { line, receipt: refusal === undefined ? 'stored' : 'refused', of: batch.line, by: recipientOrg };
    const time = isoTime(timeMs);
    this.#add({ ...facts, gateway: recipientGateway, time, ...(refusal === undefined ? {} : { refusal }) }, [
      time,
      `${facts.receipt} by ${recipientOrg}: batch ${batch.header.sequence} of stream ${batch.header.streamEpoch}`,
      ...(refusal === undefined ? [] : [refusal]),
    ]);
  };

  readonly onUnreadable = (found: Unreadable & { readonly line: number }): void => {
    const { line, what, direction, org, epoch, number } = found;
    const place = epoch === '' ? { offset: number } : { org, streamEpoch: epoch, sequence: number };
    this.#add({ line, unreadable: what, direction, ...place }, [`not readable: ${describeUnreadable(found)}`]);
  };

  /** Passes pieces of a file on, and writes out what they proved before the next: so that no more than a piece's worth waits. */
  async *between(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      yield piece;
      await this.flush();
    }
  }

  async flush(): Promise<void> {
    const lines = this.#lines;
    this.#lines = [];
    if (lines.length > 0) await write(this.#env.stdout, `${lines.join('\n')}\n`);
  }

  #add(facts: object, words: readonly string[]): void {
    this.#lines.push(this.#json ? JSON.stringify(facts) : words.map(escapeControls).join('  '));
  }
}
