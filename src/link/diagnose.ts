import { randomBytes, type X509Certificate } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { describe, FedgateError } from '../errors.js';
import type { Finder } from '../finding/finder.js';
import type { ResolverReport } from '../finding/types.js';
import { type OrgName, parseHostPort } from '../identity/names.js';
import { gatewayDnsName } from '../identity/subject.js';
import type { RegistryClient } from '../registry/client.js';
import type { Directory } from '../registry/directory.js';
import { type DialSettings, type DialTarget, dialLane } from './dial.js';
import { LANE } from './hello.js';
import { targetsOf } from './targets.js';

export type DiagnosisStep = 'registry' | 'record' | 'finding' | 'tcp' | 'tls' | 'identity' | 'hello';

export interface Diagnosis {
  readonly step: DiagnosisStep;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
  /** What to do about it; empty when it passed. */
  readonly advice: string;
  readonly address: string;
  readonly durationMs: number;
}

export interface DiagnoseOptions extends DialSettings {
  readonly directory: Directory;
  readonly registry: RegistryClient;
  readonly finder: Finder;
}

/** A step that failed, with what to do about it. */
class StepFailure extends Error {
  readonly advice: string;
  constructor(detail: string, advice: string) {
    super(detail);
    this.advice = advice;
  }
}

/** Tests the way to an organisation, step by step. The last step that is not ok names what is broken. */
export async function* diagnose(
  org: OrgName,
  options: DiagnoseOptions,
  signal: AbortSignal,
): AsyncGenerator<Diagnosis> {
  const registry = await step('registry', '', () => checkRegistry(options, signal));
  yield registry.report;
  if (!registry.report.ok) return;
  const record = await step('record', '', () => checkRecord(org, options.directory));
  yield record.report;
  if (!record.report.ok) return;
  const finding = await step('finding', '', () => checkFinding(org, options));
  yield finding.report;
  for (const target of finding.found ?? []) {
    const steps = diagnoseAddress(target, options, signal);
    let last: Diagnosis | undefined;
    for await (const report of steps) {
      last = report;
      yield report;
    }
    if (last?.ok) return;
  }
}

async function* diagnoseAddress(
  target: DialTarget,
  options: DiagnoseOptions,
  signal: AbortSignal,
): AsyncGenerator<Diagnosis> {
  const tcp = await step('tcp', target.address, () => checkTcp(target, options.timeoutMs));
  yield tcp.report;
  if (!tcp.found) return;
  const tls = await step('tls', target.address, () => checkTls(tcp.found as Socket, target, options));
  yield tls.report;
  if (!tls.found) return;
  const identity = await step('identity', target.address, () =>
    checkIdentity(tls.found as X509Certificate, target, options),
  );
  yield identity.report;
  if (!identity.report.ok) return;
  yield (await step('hello', target.address, () => checkHelloAnswer(target, options, signal))).report;
}

interface Found<T> {
  readonly detail: string;
  readonly found?: T;
}

async function step<T>(
  name: DiagnosisStep,
  address: string,
  check: () => Promise<Found<T>> | Found<T>,
): Promise<{ report: Diagnosis; found: T | undefined }> {
  const start = performance.now();
  const report = (ok: boolean, detail: string, advice: string): Diagnosis => ({
    step: name,
    ok,
    detail,
    advice,
    address,
    durationMs: performance.now() - start,
  });
  try {
    const { detail, found } = await check();
    return { report: report(true, detail, ''), found };
  } catch (error) {
    const advice =
      error instanceof StepFailure
        ? error.advice
        : error instanceof FedgateError
          ? `reason ${error.reason}; see docs/errors.md`
          : '';
    return { report: report(false, describe(error), advice), found: undefined };
  }
}

async function checkRegistry({ directory, registry }: DiagnoseOptions, signal: AbortSignal): Promise<Found<never>> {
  const until = (): string => `good until ${new Date(directory.expireTimeMs).toISOString()}`;
  try {
    directory.offer(await registry.getSnapshot({ signal }));
    return { detail: `answers; snapshot ${directory.version}, ${until()}` };
  } catch (error) {
    if (directory.isFresh())
      return {
        detail: `does not help (${describe(error)}); going by the kept snapshot ${directory.version}, ${until()}`,
      };
    throw new StepFailure(
      `${describe(error)}, and no good snapshot is at hand`,
      'start the registry, or check its addresses in fedgate.json',
    );
  }
}

function checkRecord(org: OrgName, directory: Directory): Found<never> {
  let member: ReturnType<Directory['activeMember']>;
  try {
    member = directory.activeMember(org);
  } catch (error) {
    const advice =
      (error as FedgateError).reason === 'ORG_UNKNOWN'
        ? 'check the name; `fedgate registry list` shows the members'
        : "ask the federation's operator";
    throw new StepFailure(describe(error), advice);
  }
  const { sequence, gateways } = member.profile;
  const places = gateways.map(({ name, addresses }) => `${name} at ${addresses.join(', ')}`);
  return { detail: `active, record ${sequence}, ${places.join('; ') || 'without an address'}` };
}

/** Asks every resolver, those that are asked only in need too, and tells what each said. */
async function checkFinding(org: OrgName, { finder, directory }: DiagnoseOptions): Promise<Found<DialTarget[]>> {
  const reports = await finder.report(org);
  const { profile } = directory.activeMember(org);
  const found = targetsOf(
    { org, profile },
    reports.flatMap(({ addresses }) => addresses),
  );
  const detail = reports.map(describeReport).join('; ');
  if (found.length > 0) return { detail, found };
  throw new StepFailure(
    `nobody knows an address of ${org}: ${detail}`,
    `only ${org} can dial then: look at the link in \`fedgate status\`, ask ${org} to publish an address, or see docs/finding-peers.md`,
  );
}

function describeReport({ name, addresses, refused, failure }: ResolverReport): string {
  const found = addresses.map(({ gateway, address }) => (gateway === undefined ? address : `${gateway}@${address}`));
  const said = failure ?? (found.join(', ') || 'nothing');
  return `${name}: ${said}${refused > 0 ? ` (${refused} not to be dialled)` : ''}`;
}

const TCP_ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the machine is there but nothing listens: is the other gateway running, and is the port right?',
  ENOTFOUND: 'the host name has no address: check the record and the DNS',
  EAI_AGAIN: 'the DNS does not answer',
  EHOSTUNREACH: 'no route to that host: check network and firewall',
  ENETUNREACH: 'no route to that network: check network and firewall',
};

function checkTcp({ address, source }: DialTarget, timeoutMs: number): Promise<Found<Socket>> {
  const from = source === undefined ? '' : `, an address from ${source}`;
  const { host, port } = parseHostPort(address, 'address');
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port });
    const fail = (detail: string, advice: string): void => {
      socket.destroy();
      reject(new StepFailure(detail, advice));
    };
    socket.setTimeout(timeoutMs, () =>
      fail(`no answer within ${timeoutMs / 1000} s`, 'a firewall may drop the packets, or the address is wrong'),
    );
    socket.once('error', (error: NodeJS.ErrnoException) =>
      fail(error.message, TCP_ADVICE[error.code ?? ''] ?? 'check network and firewall'),
    );
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeAllListeners('error');
      resolve({ detail: `connected to ${socket.remoteAddress}:${socket.remotePort}${from}`, found: socket });
    });
  });
}

/** The server's first HTTP/2 frame is awaited: in TLS 1.3 only that shows that it took our certificate. */
function checkTls(
  socket: Socket,
  target: DialTarget,
  { self, identity, timeoutMs }: DialSettings,
): Promise<Found<X509Certificate>> {
  const servername = gatewayDnsName(self.federation, target.org, target.gateway);
  return new Promise((resolve, reject) => {
    const tls: TLSSocket = connectTls({
      socket,
      servername,
      ca: [...target.authorities],
      key: identity.key,
      cert: identity.certificate,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      // Judged below, so that the step can say what is wrong. Nothing is sent on this connection.
      rejectUnauthorized: false,
    });
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      settle();
      tls.destroy();
    };
    const timer = setTimeout(
      () =>
        finish(() =>
          reject(new StepFailure(`no TLS answer within ${timeoutMs / 1000} s`, 'is it a gateway that listens there?')),
        ),
      timeoutMs,
    );
    tls.once('error', error =>
      finish(() =>
        reject(new StepFailure(`the handshake failed: ${error.message}`, handshakeAdvice(error.message, target.org))),
      ),
    );
    tls.once('data', () =>
      finish(() => {
        const leaf = tls.getPeerX509Certificate();
        if (!tls.authorized || !leaf)
          reject(
            new StepFailure(
              `its certificate is not good for ${servername}: ${tls.authorizationError}`,
              `${target.org}'s CA did not sign what answers there, or it is another gateway's`,
            ),
          );
        else
          resolve({
            detail: `${tls.getProtocol()}, certificate until ${leaf.validTo}, and ours was taken`,
            found: leaf,
          });
      }),
    );
  });
}

const handshakeAdvice = (message: string, org: string): string =>
  /wrong version|packet length|unexpected eof|socket disconnected/i.test(message)
    ? 'what listens there does not speak TLS 1.3: is it a gateway?'
    : `${org} refused our certificate: has its gateway a snapshot of the registry that has us in it?`;

function checkIdentity(leaf: X509Certificate, target: DialTarget, { verifier }: DialSettings): Found<never> {
  const { org, role, name } = verifier.identify(leaf.fingerprint256, () => leaf);
  if (org !== target.org || role !== 'gateway' || name !== target.gateway) {
    throw new StepFailure(
      `the certificate is ${org}'s ${role} ${name}, not ${target.org}'s gateway ${target.gateway}`,
      'the record names another gateway than the one at that address',
    );
  }
  return { detail: `${leaf.subjectAltName}` };
}

async function checkHelloAnswer(
  target: DialTarget,
  settings: DialSettings,
  signal: AbortSignal,
): Promise<Found<never>> {
  const { lane, hello } = await dialLane(target, LANE.probe, randomBytes(16), settings, signal);
  lane.close(new FedgateError('CANCELLED', 'the probe is over'));
  const skewMs = Number(hello.timeMs) - Date.now();
  return {
    detail: `${hello.software}, link versions ${hello.versionMin} to ${hello.versionMax}, snapshot ${hello.snapshotVersion}, clock ${skewMs >= 0 ? '+' : ''}${skewMs} ms`,
  };
}
