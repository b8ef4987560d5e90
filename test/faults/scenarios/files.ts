import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../../src/demo/free-port.js';
import { addNode } from '../../../src/gateway/add-node.js';
import { GatewayProcess } from '../../support/gateway-process.js';
import { startTestRegistry, temporaryFolder } from '../../support/registry.js';
import { check, type Violation } from '../support/checker.js';
import { monotonicMs } from '../support/events.js';
import { peakResidentBytes } from '../support/measure.js';
import { PIECE_BYTES, piecesOnDisk, sha256OfFile, writeRandomFile } from '../support/moved-file.js';
import { FaultyWire } from '../support/proxy.js';
import { Recording } from '../support/recording.js';
import { RepeatedCommand } from '../support/repeated-command.js';
import type { Outcome, Scenario, Settings } from '../support/scenario.js';

const ACCESS = 'nodes: [{ node: "*", publish: [], subscribe: [], share: ["*"], fetch: ["*"] }]';

/** Pieces that may be on their way, not yet verified and stored, when somebody is killed: what crosses of them is lost. */
const UNFINISHED_PIECES = 5;
/** What TLS, HTTP/2 and frames add to the bytes of a file, and handshakes and heartbeats to every life. */
const OVERHEAD = 1.02;
const OVERHEAD_BYTES = 1024 * 1024;

/** A transfer and whoever has a part in it. */
interface Move {
  readonly what: 'share' | 'fetch';
  readonly command: RepeatedCommand;
  readonly gateways: readonly GatewayProcess[];
  /** Where its bytes are counted. */
  readonly wire: FaultyWire;
  readonly way: 'forth' | 'back';
  /** Where its pieces end. */
  readonly stores: GatewayProcess;
  readonly size: number;
}

/** What had crossed and what was on the disk when somebody was killed. */
interface Mark {
  readonly who: string;
  readonly crossed: number;
  /** Before and behind the moment in which the bytes were counted. */
  readonly pieces: readonly [number, number];
  /** Whether whoever keeps the pieces had never died: it then counts, or still will, all that it has named. */
  readonly counted: boolean;
}

/** A file is shared and fetched by commands that are given again until they end well, while they and the gateways are killed all the time. */
class MovedFile {
  readonly violations: Violation[] = [];
  readonly #settings: Settings;
  readonly #recording = new Recording();
  readonly #names = new Map<GatewayProcess, string>();
  readonly #died = new Set<GatewayProcess>();
  kills = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async run(size: number): Promise<Outcome> {
    const { scope, random, rounds, log } = this.#settings;
    const folder = await temporaryFolder(scope);
    const variables = { FEDGATE_STATE_DIR: join(folder, 'state') };
    const registry = await startTestRegistry(scope);
    const peers = `127.0.0.1:${await freePort()}`;
    const link = await FaultyWire.open(scope, peers, random);
    const holder = await GatewayProcess.join(scope, registry, 'ACME', ACCESS, { peers, addresses: [link.address] });
    // Only the asker dials: all that crosses goes through the one wire.
    const asker = await GatewayProcess.join(scope, registry, 'GLOBEX', ACCESS, { addresses: [] });
    this.#names.set(holder, 'holder').set(asker, 'asker');
    const upload = await FaultyWire.open(scope, holder.nodes, random);
    const billing = await addNode({ folder: holder.folder, name: 'billing', gateway: 'gw1', address: upload.address });
    const erp = await addNode({ folder: asker.folder, name: 'erp', gateway: 'gw1', address: asker.nodes });

    const [source, target] = [join(folder, 'source.bin'), join(folder, 'target.bin')];
    const sha256 = await writeRandomFile(source, size);
    const terms = ['--to', 'GLOBEX', '--max-downloads', '1', '--expires', '1d'];
    const share = new RepeatedCommand(scope, ['share', source, ...terms, '--context', billing], variables);
    const sharing = { what: 'share', wire: upload, way: 'forth', gateways: [holder], stores: holder, size } as const;
    const sharedMs = monotonicMs();
    const sharedBytes = await this.#move({ ...sharing, command: share }, Math.ceil(rounds / 3));
    const id = (await share.ended).trim();

    const fetch = new RepeatedCommand(scope, ['fetch', id, '-o', target, '--context', erp], variables);
    const fetching = {
      what: 'fetch',
      wire: link,
      way: 'back',
      gateways: [asker, holder],
      stores: asker,
      size,
    } as const;
    const fetchedMs = monotonicMs();
    const fetchedBytes = await this.#move({ ...fetching, command: fetch }, rounds);
    const endMs = monotonicMs();
    await this.#measure();
    const came = await sha256OfFile(target);
    if (came !== sha256) this.violations.push({ invariant: 'I7', what: `${came} came, and ${sha256} was shared` });
    const { events } = this.#recording;
    const { maxResidentBytes } = this.#settings;
    const violations = [...this.violations, ...check(events, { subscriptions: [], maxResidentBytes })];
    const ratio = (bytes: number): string => (bytes / size).toFixed(3);
    const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
    const peaks = [holder, asker].map(gateway => Math.round(this.#peak(gateway) / 1024 / 1024));
    log(`${Math.round(size / 1024 / 1024)} MiB; peak of the holder ${peaks[0]} MiB, of the asker ${peaks[1]} MiB`);
    return {
      violations,
      kills: this.kills,
      events,
      facts: {
        shareLives: share.lives,
        sharedRatio: ratio(sharedBytes),
        shareSeconds: seconds(fetchedMs - sharedMs),
        fetchLives: fetch.lives,
        crossedRatio: ratio(fetchedBytes),
        fetchSeconds: seconds(endMs - fetchedMs),
        peakMiB: Math.max(...peaks),
      },
    };
  }

  /** Carries a transfer out with so many kills on the way; returns the bytes that crossed for it. */
  async #move(move: Move, kills: number): Promise<number> {
    const { random } = this.#settings;
    const { command, wire, way } = move;
    const marks = [await this.#mark(move, 'nobody')];
    const returns: Promise<void>[] = [];
    command.start();
    for (let left = kills; left > 0; left--) {
      await this.#moment(move, marks.at(-1) as Mark, left);
      if (command.over) break;
      const victim = this.#victim(move, kills - left);
      marks.push(await this.#kill(move, victim));
      if (victim === 'client') command.start();
      else returns.push(this.#start(victim));
      if (random.chance(0.6)) await returns.at(-1);
    }
    await Promise.all(returns);
    await command.ended;
    marks.push(await this.#mark(move, 'nobody'));
    this.#judge(move, marks);
    return wire.passed(way) - (marks[0] as Mark).crossed;
  }

  /** Resolves at a random moment before the end of a transfer: most after some bytes, some soon, while those who died still start. */
  async #moment({ wire, way, size, command }: Move, { crossed, pieces }: Mark, left: number): Promise<void> {
    const { random } = this.#settings;
    const missing = size - pieces[0] * PIECE_BYTES;
    const bytes = random.between(1, Math.max(1, Math.floor(Math.min((2 * missing) / (left + 1), 0.8 * missing))));
    const soon = random.chance(0.2);
    const moment = soon ? sleep(random.between(0, 300)) : wire.passes(way, crossed + bytes);
    await Promise.race([moment, command.ended]);
  }

  /** Each in turn, so that a few kills hit all of them, in an order that the seed chooses. */
  #victim({ gateways }: Move, turn: number): 'client' | GatewayProcess {
    const victims = ['client', ...gateways] as const;
    const { seed } = this.#settings.random;
    return victims[(turn + seed) % victims.length] ?? 'client';
  }

  async #kill(move: Move, victim: 'client' | GatewayProcess): Promise<Mark> {
    const who = victim === 'client' ? 'client' : (this.#names.get(victim) ?? '');
    await this.#measure();
    this.kills++;
    this.#recording.note('fault', `${who} killed during ${move.what}`);
    await (victim === 'client' ? move.command.kill() : victim.kill());
    if (victim === move.stores) this.#died.add(move.stores);
    return this.#mark(move, who);
  }

  /** What may fail because it is killed again while it starts. */
  async #start(gateway: GatewayProcess): Promise<void> {
    await gateway.start().catch((error: unknown) => {
      if (gateway.running) throw error;
    });
  }

  async #mark({ wire, way, stores }: Move, who: string): Promise<Mark> {
    const before = await piecesOnDisk(stores.folder);
    const crossed = wire.passed(way);
    return { who, crossed, pieces: [before, await piecesOnDisk(stores.folder)], counted: !this.#died.has(stores) };
  }

  /** Between two kills there crosses what comes to be on the disk, and what was not whole at the second. */
  #judge({ what, size }: Move, marks: readonly Mark[]): void {
    const { log } = this.#settings;
    for (const [i, to] of marks.entries()) {
      const from = marks[i - 1];
      if (!from) continue;
      const last = i === marks.length - 1;
      // A piece is named before it is stored for good: what was not when its gateway died may come again.
      const pieces =
        to.pieces[1] - from.pieces[0] + (last ? 0 : UNFINISHED_PIECES) + (from.counted ? 0 : UNFINISHED_PIECES);
      this.#within(
        `${what}, from the death of ${from.who} to that of ${to.who}`,
        to.crossed - from.crossed,
        pieces * PIECE_BYTES,
      );
      log(
        `${what}: ${from.who} to ${to.who}: ${to.crossed - from.crossed} bytes, ${from.pieces[0]} to ${to.pieces[1]} pieces`,
      );
    }
    const deaths = marks.length - 2;
    const crossed = (marks.at(-1)?.crossed ?? 0) - (marks[0]?.crossed ?? 0);
    this.#within(what, crossed, size + deaths * UNFINISHED_PIECES * PIECE_BYTES);
  }

  #within(what: string, crossed: number, most: number): void {
    const limit = most * OVERHEAD + OVERHEAD_BYTES;
    if (crossed > limit)
      this.violations.push({
        invariant: 'I8',
        what: `${what}: ${crossed} bytes crossed, at most ${Math.round(limit)} may`,
      });
  }

  async #measure(): Promise<void> {
    for (const [gateway, process] of this.#names) {
      const peakBytes = gateway.pid === undefined ? undefined : await peakResidentBytes(gateway.pid);
      if (peakBytes !== undefined)
        this.#recording.append({
          kind: 'resources',
          atMs: monotonicMs(),
          process,
          peakResidentBytes: peakBytes,
          diskBytes: 0,
        });
    }
  }

  #peak(gateway: GatewayProcess): number {
    const process = this.#names.get(gateway);
    const peaks = this.#recording.events.map(event =>
      event.kind === 'resources' && event.process === process ? event.peakResidentBytes : 0,
    );
    return Math.max(0, ...peaks);
  }
}

/** kill -9 of whoever shares and their gateway, then of whoever fetches and either gateway, in the middle of one file. */
export const filesUnderKills =
  (bytes: number): Scenario =>
  settings =>
    new MovedFile(settings).run(bytes);
