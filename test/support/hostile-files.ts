import { LaneFrame } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FILES, LANE } from '../../src/link/hello.js';
import { openLaneFrame } from '../../src/wire/lane-frames.js';
import { encodeFileData, type FileChunk } from '../../src/wire/piece-frames.js';
import { frameBytes, type HostileGateway, type HostileLink, hello, type RawStream } from './attack.js';

type Frame = NonNullable<LaneFrame['frame']>;
type FrameOf<Case extends Frame['$case']> = Extract<Frame, { $case: Case }>['value'];

/** A files lane to GLOBEX, by hand. */
export class HostileFiles {
  readonly link: HostileLink;
  readonly lane: RawStream;

  private constructor(link: HostileLink, lane: RawStream) {
    this.link = link;
    this.lane = lane;
  }

  /** `files`: ACME asks. `filesBack`: GLOBEX asks, and ACME holds. */
  static async open(gateway: HostileGateway, kind: 'files' | 'filesBack'): Promise<HostileFiles> {
    const link = await gateway.link(77n, { capabilities: [FILES] });
    const lane = gateway.lane().write(gateway.hello(LANE[kind], link.linkId));
    await hello(lane);
    return new HostileFiles(link, lane);
  }

  put(frame: Frame): this {
    this.lane.write(frameBytes(frame));
    return this;
  }

  open(session: number, more: Partial<FrameOf<'fileOpen'>> = {}): this {
    const value = { session, shareId: Buffer.alloc(16, 1), node: 'x', downloadId: Buffer.alloc(16, 2), look: false };
    return this.put({ $case: 'fileOpen', value: { ...value, ...more } });
  }

  want(session: number, piece: number, offset = 0): this {
    return this.put({ $case: 'fileWant', value: { session, piece, offset } });
  }

  credit(session: number, bytes: number): this {
    return this.put({ $case: 'fileCredit', value: { session, bytes: BigInt(bytes) } });
  }

  close(session: number): this {
    return this.put({ $case: 'fileClose', value: { session, complete: false } });
  }

  data(chunk: Partial<FileChunk>): this {
    this.lane.write(encodeFileData({ session: 1, piece: 0, offset: 0, data: Buffer.alloc(1024), ...chunk }));
    return this;
  }

  /** The first frame of a kind, past or future, that the check accepts. */
  async next<Case extends Frame['$case']>(
    $case: Case,
    check: (value: FrameOf<Case>) => boolean = () => true,
  ): Promise<FrameOf<Case>> {
    return this.lane.until(bytes => {
      const frame = framed(bytes);
      if (frame?.$case !== $case) return undefined;
      const value = frame.value as FrameOf<Case>;
      return check(value) ? value : undefined;
    });
  }

  /** Bytes of data that came. */
  get dataBytes(): number {
    return this.lane.received.reduce((sum, bytes) => {
      const frame = framed(bytes);
      return frame?.$case === 'fileData' ? sum + frame.value.data.length : sum;
    }, 0);
  }
}

function framed(bytes: Buffer): Frame | undefined {
  const opened = openLaneFrame(bytes);
  if ('fileData' in opened) return { $case: 'fileData', value: opened.fileData };
  return 'other' in opened ? LaneFrame.decode(opened.other).frame : undefined;
}
