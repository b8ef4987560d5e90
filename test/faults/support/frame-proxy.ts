import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  FederationServiceService,
  type Hello,
  LaneFrame,
} from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { KeyAndCertificate } from '../../../src/identity/issue.js';
import { orgFolder } from '../../../src/identity/org-folder.js';
import { gatewayDnsName } from '../../../src/identity/subject.js';
import { federationDefinition } from '../../../src/services/federation-service.js';
import { openChannel } from '../../../src/transport/channel.js';
import { Listener } from '../../../src/transport/server.js';
import { openLaneFrame } from '../../../src/wire/lane-frames.js';
import { authorityOf, pairIn } from '../../support/attack.js';
import { FEDERATION, type TestScope } from '../../support/registry.js';

type FrameKind = NonNullable<LaneFrame['frame']>['$case'];

/** A frame on its way through. */
export interface PassingFrame {
  readonly lane: Hello['lane'];
  /** The organisation that sent it. */
  readonly from: string;
  readonly kind: FrameKind | undefined;
  readonly bytes: Buffer;
}

/** Decides what is passed on in place of a frame: nothing, the frame, or others too. */
export type Tamper = (frame: PassingFrame) => readonly Buffer[];

export const untouched: Tamper = ({ bytes }) => [bytes];

export interface FrameProxyOptions {
  /** The folder and name of the organisation that dials, whose gateway key the proxy uses towards the one that is dialled. */
  readonly dialler: { readonly org: string; readonly folder: string };
  /** The one that is dialled, as which the proxy answers. */
  readonly dialled: { readonly org: string; readonly folder: string };
  /** Where the dialled gateway listens for peers. */
  readonly target: string;
}

const WINDOW_BYTES = 16 * 1024 * 1024;
const MAX_RECEIVE_BYTES = 4 * 1024 * 1024;
const same = (bytes: Buffer): Buffer => bytes;

interface Ends {
  readonly identity: KeyAndCertificate;
  readonly authorities: readonly string[];
}

/**
 * Somebody who has stolen the gateway keys of both organisations and stands between them: TLS ends here on either side, and each frame of
 * each lane can be held, dropped, repeated or changed.
 */
export class FrameProxy {
  readonly #listener: Listener;
  readonly #options: FrameProxyOptions;
  readonly #near: Ends;
  readonly #far: Ends;
  tamper: Tamper = untouched;

  private constructor(options: FrameProxyOptions, near: Ends, far: Ends) {
    this.#options = options;
    this.#near = near;
    this.#far = far;
    this.#listener = new Listener({
      name: 'frame proxy',
      listen: { host: '127.0.0.1', port: 0 },
      ...this.#near,
      windows: { stream: WINDOW_BYTES, connection: WINDOW_BYTES * 2 },
      maxConcurrentStreams: 16,
    });
    this.#listener.addService(federationDefinition, {
      openLane: (call: ServerDuplexStream<Buffer, Buffer>) => this.#relay(call),
    });
  }

  static async open(t: TestScope, options: FrameProxyOptions): Promise<FrameProxy> {
    const { dialler, dialled } = options;
    const near = {
      identity: await pairIn(orgFolder(dialled.folder).gateway('gw1')),
      authorities: [(await authorityOf(dialler.folder)).certificate],
    };
    const far = {
      identity: await pairIn(orgFolder(dialler.folder).gateway('gw1')),
      authorities: [(await authorityOf(dialled.folder)).certificate],
    };
    const proxy = new FrameProxy(options, near, far);
    await proxy.#listener.start();
    t.teardown(() => proxy.#listener.stop(0));
    return proxy;
  }

  get address(): string {
    return this.#listener.address;
  }

  /** One lane: a call that came in and the one made for it. What ends one ends the other, with the same status. */
  #relay(near: ServerDuplexStream<Buffer, Buffer>): void {
    const channel = openChannel({
      address: this.#options.target,
      serverName: gatewayDnsName(FEDERATION, this.#options.dialled.org, 'gw1'),
      ...this.#far,
      window: WINDOW_BYTES,
      maxReceiveBytes: MAX_RECEIVE_BYTES,
    });
    const far = channel.makeBidiStreamRequest<Buffer, Buffer>(FederationServiceService.openLane.path, same, same);
    let lane: Hello['lane'] = 0;
    const { dialler, dialled } = this.#options;
    const pass = (bytes: Buffer, from: string, to: { write(bytes: Buffer): boolean }): void => {
      const { kind, hello } = kindOf(bytes);
      if (hello) lane = hello.lane;
      for (const frame of this.tamper({ lane, from, kind, bytes })) to.write(frame);
    };
    near.on('data', (bytes: Buffer) => pass(bytes, dialler.org, far));
    near.on('end', () => far.end());
    near.on('error', () => far.cancel());
    near.on('cancelled', () => far.cancel());
    far.on('data', (bytes: Buffer) => pass(bytes, dialled.org, near));
    far.on('error', error => {
      near.emit('error', error);
      channel.close();
    });
    far.on('end', () => {
      near.end();
      channel.close();
    });
  }
}

function kindOf(bytes: Buffer): { readonly kind: FrameKind | undefined; readonly hello: Hello | undefined } {
  const opened = openLaneFrame(bytes);
  if ('batch' in opened) return { kind: 'batch', hello: undefined };
  if ('fileData' in opened) return { kind: 'fileData', hello: undefined };
  if ('topicPost' in opened) return { kind: 'topicPost', hello: undefined };
  if ('streamData' in opened) return { kind: 'streamData', hello: undefined };
  const { frame } = LaneFrame.decode(opened.other);
  return { kind: frame?.$case, hello: frame?.$case === 'hello' ? frame.value : undefined };
}
