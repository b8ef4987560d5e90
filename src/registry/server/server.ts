import { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { RegistryAdminServiceService } from '../../../gen/ts/fedgate/registry/v1/registry_admin_service.js';
import { RegistryServiceService } from '../../../gen/ts/fedgate/registry/v1/registry_service.js';
import { writeFileAtomically } from '../../identity/files.js';
import { parseHostPort } from '../../identity/names.js';
import type { CallFailure } from '../../transport/calls.js';
import { Listener, type ListenerOptions } from '../../transport/server.js';
import { registryAdminService } from './admin-service.js';
import { Federation } from './federation.js';
import { advertisedAddresses, type RegistryMaterial, readRegistryFolder, registryFolder } from './folder.js';
import { registryService } from './service.js';
import { openRegistryStore } from './store.js';
import { Watches } from './watch.js';

/** What the registry says while it runs; pino's loggers have this form. */
export interface RegistryLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RegistryServerOptions {
  /** Made by `initRegistry`. */
  readonly folder: string;
  /** In place of what registry.yaml says. */
  readonly listen?: string;
  /** In place of what registry.yaml says. */
  readonly adminListen?: string;
  readonly log: RegistryLog;
  /** In place of what registry.yaml says, milliseconds. */
  readonly snapshotLifetimeMs?: number;
  /** @default Date.now */
  readonly now?: () => number;
}

export interface RunningRegistry {
  /** `host:port` for members. */
  readonly address: string;
  /** `host:port` for operators. */
  readonly adminAddress: string;
  /** Ends watches, lets other calls end, closes the database. Safe to call again. */
  stop(): Promise<void>;
}

const HOUR_MS = 3_600_000;
/** Calls that are open when the registry stops have this long. */
const GRACE_MS = 2_000;
/** How often it looks whether a new snapshot is due: a sleeping machine must not oversleep the end of one. */
const RENEWAL_CHECK_MS = 60_000;

/** Starts a registry. Throws FILE_UNUSABLE, KEY_EXPOSED, CONFIG_INVALID or ADDRESS_UNUSABLE; nothing stays open then. */
export async function startRegistry(options: RegistryServerOptions): Promise<RunningRegistry> {
  const { folder, log, now = Date.now } = options;
  const material = await readRegistryFolder(folder);
  const { config, snapshotKey } = material;
  const lifetimeMs = options.snapshotLifetimeMs ?? config.snapshotLifetimeHours * HOUR_MS;
  const store = await openRegistryStore(registryFolder(folder).state);
  // Taken down in reverse order.
  const undo: (() => unknown)[] = [() => store.close()];
  try {
    const issuer = { federation: config.federation, key: snapshotKey, lifetimeMs };
    const federation = await Federation.open({ store, issuer, now });
    undo.push(() => federation.settled());
    const watches = new Watches(federation);
    const onFailure = (failure: CallFailure): void => logFailure(log, failure);

    const listener = publicListener(material, options.listen ?? config.listen, federation);
    const service = registryService({ federation, watches, snapshotKey, onFailure, now });
    listener.addService(RegistryServiceService, service);
    await listener.start();
    undo.push(
      () => listener.stop(GRACE_MS),
      () => watches.close(),
    );
    undo.push(federation.onSnapshot(() => listener.swap(material.tls, authoritiesPem(federation))));

    const admin = adminListener(material, options.adminListen ?? config.adminListen);
    const adminService = registryAdminService({
      federation,
      adminAuthority: material.adminAuthority,
      advertise: () => advertisedAddresses(config, listener.address),
      fingerprint: fingerprintOf(material),
      onFailure,
      onChange: change => log.info(change, 'federation changed'),
      now,
    });
    admin.addService(RegistryAdminServiceService, adminService);
    await admin.start();
    undo.push(() => admin.stop(GRACE_MS));
    undo.push(keepRenewing(federation, lifetimeMs, now, log));

    const { address } = listener;
    const adminAddress = admin.address;
    const runFile = registryFolder(folder).run;
    await writeFileAtomically(runFile, `${JSON.stringify({ address, adminAddress, pid: process.pid })}\n`);
    undo.push(() => rm(runFile, { force: true }));
    log.info(
      { address, adminAddress, federation: config.federation, version: String(federation.snapshot.version) },
      'registry ready',
    );
    let stopped: Promise<void> | undefined;
    return { address, adminAddress, stop: () => (stopped ??= takeDown(undo)) };
  } catch (error) {
    await takeDown(undo);
    throw error;
  }
}

async function takeDown(undo: (() => unknown)[]): Promise<void> {
  for (let step = undo.pop(); step; step = undo.pop()) await step();
}

const WINDOWS = { stream: 64 * 1024, connection: 256 * 1024 } as const;

function publicListener({ tls }: RegistryMaterial, listen: string, federation: Federation): Listener {
  const options: ListenerOptions = {
    name: 'registry listener',
    listen: parseHostPort(listen, 'listen', { allowPortZero: true }),
    identity: tls,
    authorities: authoritiesPem(federation),
    // Who is about to join has no certificate that anybody knows yet.
    allowAnonymous: true,
    windows: WINDOWS,
    maxConcurrentStreams: 32,
  };
  return new Listener(options);
}

function adminListener({ tls, adminAuthority }: RegistryMaterial, listen: string): Listener {
  return new Listener({
    name: 'registry admin listener',
    listen: parseHostPort(listen, 'adminListen', { allowPortZero: true }),
    identity: tls,
    authorities: [adminAuthority],
    windows: WINDOWS,
    maxConcurrentStreams: 16,
  });
}

/** Suspended members get through TLS, so that they are told why they are refused. */
const authoritiesPem = (federation: Federation): string[] =>
  federation
    .members()
    .filter(({ state }) => state !== 'removed')
    .flatMap(({ profile }) => profile.authorities.map(ca => ca.toString()));

const fingerprintOf = ({ tls }: RegistryMaterial): Buffer =>
  Buffer.from(new X509Certificate(tls.certificate).fingerprint256.replaceAll(':', ''), 'hex');

/** Issues a younger snapshot in time. Returns what stops it. */
function keepRenewing(federation: Federation, lifetimeMs: number, now: () => number, log: RegistryLog): () => void {
  const check = (): void => {
    if (now() < federation.renewalTimeMs) return;
    federation.renew().then(
      ({ version }) => log.info({ version: String(version) }, 'snapshot renewed'),
      (error: unknown) => log.error({ err: error }, 'snapshot not renewed'),
    );
  };
  const timer = setInterval(check, Math.min(RENEWAL_CHECK_MS, lifetimeMs / 8));
  return () => clearInterval(timer);
}

function logFailure(log: RegistryLog, { path, remoteAddress, error, requestId }: CallFailure): void {
  const { reason } = error;
  if (requestId !== undefined)
    log.error({ path, remoteAddress, requestId, err: error.cause ?? error }, 'call failed unexpectedly');
  else log.warn({ path, remoteAddress, reason, detail: error.message }, 'call refused');
}
