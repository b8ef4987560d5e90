import { execFile } from 'node:child_process';
import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import { FederationServiceService, Hello, LaneFrame } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../../src/errors.js';
import { readKeyAndCertificate } from '../../src/identity/files.js';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { type BatchTerms, type OutgoingBatch, sealBatch } from '../../src/link/batch.js';
import { LANE, type LaneKind } from '../../src/link/hello.js';
import { openChannel } from '../../src/transport/channel.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { encodeBatchFrame, encodeLaneFrame, type OpenedLaneFrame, openLaneFrame } from '../../src/wire/lane-frames.js';
import { RecordEncoder } from '../../src/wire/record-codec.js';
import type { RecordBlock } from '../../src/wire/records.js';
import { FEDERATION, type TestScope } from './registry.js';

/** What an attacker has: certificates that our own code would never issue, and frames that it would never send. */

export const authorityOf = (folder: string): Promise<KeyAndCertificate> => pairIn(orgFolder(folder).authority);

export const pairIn = (folder: string): Promise<KeyAndCertificate> =>
  readKeyAndCertificate(join(folder, 'tls.key'), join(folder, 'tls.crt'));

/** Issues a certificate with any extensions, by openssl. No authority: self-signed. */
export async function forge(extensions: readonly string[], authority?: KeyAndCertificate): Promise<KeyAndCertificate> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-forge-'));
  const run = (...args: string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: folder });
  try {
    const config = ['[req]', 'prompt=no', 'distinguished_name=dn', '[dn]', 'CN=forged', '[ext]', ...extensions, ''];
    await writeFile(join(folder, 'ext.cnf'), config.join('\n'));
    await run('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'tls.key');
    await run('req', '-new', '-key', 'tls.key', '-config', 'ext.cnf', '-out', 'tls.csr');
    const signer = authority ? ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'] : ['-signkey', 'tls.key'];
    if (authority) {
      await writeFile(join(folder, 'ca.crt'), authority.certificate);
      await writeFile(join(folder, 'ca.key'), authority.key);
    }
    const extension = ['-extfile', 'ext.cnf', '-extensions', 'ext'];
    await run('x509', '-req', '-in', 'tls.csr', '-days', '30', '-out', 'tls.crt', ...signer, ...extension);
    const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
    return { key: await read('tls.key'), certificate: await read('tls.crt') };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export const LEAF_EXTENSIONS = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=serverAuth,clientAuth',
];

/** A connection that does not care whom it talks to. */
export function rawChannel(
  t: TestScope,
  address: string,
  authorities: readonly string[],
  identity?: KeyAndCertificate,
): Client {
  const channel = openChannel({
    address,
    serverName: 'any.fed.example',
    authorities,
    identity,
    window: 1024 * 1024,
    maxReceiveBytes: 4 * 1024 * 1024,
    checkServer: () => undefined,
  });
  t.teardown(() => channel.close());
  return channel;
}

const same = (bytes: Buffer): Buffer => bytes;

/** Sends one message to a method of any kind; resolves with how the call failed, or with the answer. */
export function ask(
  channel: Client,
  path: string,
  message: Uint8Array = Buffer.alloc(0),
): Promise<FedgateError | Buffer> {
  return new Promise(resolve => {
    const deadline = Date.now() + 30_000;
    channel.makeUnaryRequest<Buffer, Buffer>(path, same, same, Buffer.from(message), { deadline }, (error, answer) =>
      resolve(error ? fromGrpcError(error) : (answer ?? Buffer.alloc(0))),
    );
  });
}

/** A bidirectional call with bytes in both directions. */
export class RawStream {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  readonly received: Buffer[] = [];
  /** Resolves with how the call ended: an error, or undefined for OK. */
  readonly ended: Promise<FedgateError | undefined>;
  #waiting: (() => void)[] = [];

  constructor(channel: Client, path: string) {
    this.call = channel.makeBidiStreamRequest<Buffer, Buffer>(path, same, same);
    this.ended = new Promise(resolve => {
      this.call.on('error', error => resolve(fromGrpcError(error, 'PEER_UNREACHABLE')));
      this.call.on('end', () => setImmediate(() => resolve(undefined)));
    });
    this.call.on('data', (bytes: Buffer) => {
      this.received.push(bytes);
      for (const resume of this.#waiting.splice(0)) resume();
    });
  }

  write(bytes: Uint8Array): this {
    this.call.write(Buffer.from(bytes));
    return this;
  }

  /** The first message, past or future, that the check accepts. Throws when the call ends before. */
  async until<T>(check: (bytes: Buffer) => T | undefined): Promise<T> {
    for (let next = 0; ; ) {
      for (; next < this.received.length; next++) {
        const found = check(this.received[next] ?? Buffer.alloc(0));
        if (found !== undefined) return found;
      }
      const over = await Promise.race([
        this.ended.then(error => ({ error })),
        new Promise<undefined>(resolve => this.#waiting.push(() => resolve(undefined))),
      ]);
      if (over) throw over.error ?? new FedgateError('PEER_UNREACHABLE', 'the call ended');
    }
  }
}

type Frame = NonNullable<LaneFrame['frame']>;
export const frameBytes = (frame: Frame): Buffer => encodeLaneFrame(LaneFrame.encode({ frame }).finish());

/** Decodes a received frame of another kind than a batch. */
export function otherFrame(bytes: Buffer): Frame | undefined {
  const opened: OpenedLaneFrame = openLaneFrame(bytes);
  return 'other' in opened ? LaneFrame.decode(opened.other).frame : undefined;
}

export const recordBlock = (...payloads: (string | Buffer)[]): RecordBlock => {
  const encoder = new RecordEncoder(1024, 0);
  for (const payload of payloads) encoder.add({ payload }, 1);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: encoder.count };
};

/** A hand-written gateway: the real key and certificate of a member, and no manners. */
export class HostileGateway {
  readonly #t: TestScope;
  readonly #address: string;
  readonly #authorities: readonly string[];
  readonly identity: KeyAndCertificate;
  readonly org: string;
  readonly key: KeyObject;
  readonly instanceId = randomBytes(16);

  constructor(t: TestScope, org: string, identity: KeyAndCertificate, address: string, authorities: readonly string[]) {
    this.#t = t;
    this.org = org;
    this.identity = identity;
    this.key = createPrivateKey(identity.key);
    this.#address = address;
    this.#authorities = authorities;
  }

  channel(): Client {
    return rawChannel(this.#t, this.#address, this.#authorities, this.identity);
  }

  /** A lane on a connection of its own, with nothing sent yet. */
  lane(): RawStream {
    return new RawStream(this.channel(), FederationServiceService.openLane.path);
  }

  hello(lane: LaneKind, linkId: Uint8Array, change: Partial<Hello> = {}): Buffer {
    const limits = { maxBatchBytes: 2 * 1024 * 1024, maxBatchRecords: 65_536, maxInFlightBytes: 32 * 1024 * 1024 };
    const value = Hello.fromPartial({
      lane,
      linkId,
      federation: FEDERATION,
      org: this.org,
      gateway: 'gw1',
      versionMin: 1,
      versionMax: 1,
      limits,
      streamEpoch: 77n,
      nextSequence: 1n,
      timeMs: BigInt(Date.now()),
      software: 'evil/1',
      instanceId: this.instanceId,
    });
    return frameBytes({ $case: 'hello', value: { ...value, ...change } });
  }

  /** Opens control and mail as an honest gateway does. */
  async link(epoch = 77n, change: Partial<Hello> = {}): Promise<HostileLink> {
    const linkId = randomBytes(16);
    const control = this.lane().write(this.hello(LANE.control, linkId, change));
    await hello(control);
    const mail = this.lane().write(this.hello(LANE.mail, linkId, { streamEpoch: epoch }));
    await hello(mail);
    return new HostileLink(this, control, mail, epoch, linkId);
  }
}

export const hello = (lane: RawStream): Promise<Hello> =>
  lane.until(bytes => {
    const frame = otherFrame(bytes);
    return frame?.$case === 'hello' ? frame.value : undefined;
  });

export interface BatchLies extends Partial<BatchTerms>, Pick<OutgoingBatch, 'requests' | 'replies'> {
  readonly channel?: string;
  readonly senderNode?: string;
  readonly patienceMs?: number;
  readonly sequence?: number;
  readonly records?: RecordBlock;
  readonly key?: KeyObject;
}

export class HostileLink {
  readonly control: RawStream;
  readonly mail: RawStream;
  readonly #gateway: HostileGateway;
  readonly #epoch: bigint;
  readonly linkId: Buffer;
  sequence = 0;

  constructor(gateway: HostileGateway, control: RawStream, mail: RawStream, epoch: bigint, linkId: Buffer) {
    this.linkId = linkId;
    this.#gateway = gateway;
    this.control = control;
    this.mail = mail;
    this.#epoch = epoch;
  }

  /** The next batch, good but for the lies told. */
  seal(lies: BatchLies = {}) {
    const { channel = 'orders/new', senderNode = 'billing', patienceMs = 0, records = recordBlock('good') } = lies;
    const terms = {
      federation: FEDERATION,
      originOrg: this.#gateway.org,
      originGateway: 'gw1',
      recipientOrg: 'GLOBEX',
      streamEpoch: this.#epoch,
      ...lies,
    };
    const sequence = lies.sequence ?? ++this.sequence;
    const { requests, replies } = lies;
    const batch = { channel, senderNode, patienceMs, records, requests, replies };
    return sealBatch(batch, terms, sequence, lies.key ?? this.#gateway.key, Date.now());
  }

  batch(lies: BatchLies = {}): Buffer {
    return encodeBatchFrame(this.seal(lies));
  }

  /** The answer to a batch. */
  outcome(sequence: number) {
    return this.mail.until(bytes => {
      const frame = otherFrame(bytes);
      return frame?.$case === 'batchOutcome' && frame.value.sequence === BigInt(sequence) ? frame.value : undefined;
    });
  }
}
