import type { Command } from 'commander';
import {
  type FileStatus,
  GatewayServiceService,
  type GetStatusResponse,
  type LinkStatus,
} from '../../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { callUnary } from '../../transport/client-calls.js';
import { formatDuration } from '../duration.js';
import { type CliEnv, print, printJson, table } from '../env.js';
import { examples } from '../help.js';
import { connectTo, type GatewayOptions, withGatewayOptions } from '../options.js';
import { formatBytes } from '../progress.js';
import { describeDurable, durableJson, getDurableStatus } from './status-durable.js';

export function registerStatus(program: Command, env: CliEnv): void {
  const command = program
    .command('status')
    .description('show this gateway: its links, subscriptions and rates, its store, and what waits')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples('fedgate status', 'fedgate status --json | jq \'.links[] | select(.state != "up")\''),
    )
    .action(async (options: GatewayOptions & { json?: boolean }) => {
      const client = await connectTo(env, options);
      try {
        const status = await callUnary(client.channel, GatewayServiceService.getStatus, {}, { timeoutMs: 5_000 });
        const durable = await getDurableStatus(client);
        if (options.json) return await printJson(env, { ...forJson(status), durable: durableJson(durable) });
        const nowMs = Date.now();
        await print(env, `${describeStatus(status, nowMs)}\n\n${describeDurable(durable, nowMs)}`);
      } finally {
        client.close();
      }
    });
}

const STATES: Readonly<Record<number, string>> = {
  1: 'idle',
  2: 'connecting',
  3: 'up',
  4: 'backoff',
  5: 'draining',
  6: 'blocked',
};
const stateOf = ({ state }: LinkStatus): string => STATES[state] ?? 'unknown';

const forJson = (status: GetStatusResponse) => ({
  ...status,
  links: status.links.map(link => ({ ...link, state: stateOf(link) })),
});

function describeStatus(status: GetStatusResponse, now: number): string {
  const { registry, rates } = status;
  const ago = (ms: bigint): string => formatDuration(now - Number(ms));
  const head = [
    `${status.org}/${status.gateway} in ${status.federation}: ${status.software}, up ${ago(status.startTimeMs)}, ${formatBytes(Number(status.residentBytes))} of memory`,
    `registry: ${registry?.connected ? 'connected' : 'not connected'}, snapshot ${registry?.snapshotVersion ?? 0} good for ${formatDuration(Number(registry?.snapshotExpireTimeMs ?? 0n) - now)}${registry?.lastError ? ` (${registry.lastError})` : ''}`,
    `published ${rates?.publishedTotal ?? 0} (${rate(rates?.publishedPerSecond)}), delivered ${rates?.deliveredTotal ?? 0} (${rate(rates?.deliveredPerSecond)}), dropped ${rates?.droppedTotal ?? 0}, refused ${rates?.refusedTotal ?? 0}`,
    `requests: ${status.requests?.responders ?? 0} responders, ${status.requests?.pending ?? 0} pending, ${status.requests?.queued ?? 0} of them wait for one with room`,
    `stored requests: ${status.requests?.storedAsked ?? 0} of own nodes not answered yet, ${status.requests?.storedHere ?? 0} wait for an own node to answer`,
    `streams: ${status.streams?.open ?? 0} open, ${status.streams?.detached ?? 0} of them wait for an end or a link, ${status.streams?.offered ?? 0} offered, ${status.streams?.acceptors ?? 0} acceptors`,
    ...describeFiles(status.files),
  ];
  return [...head, '', linksTable(status.links, now), '', subscriptionsTable(status, now)].join('\n');
}

/** Nothing of a gateway that is older than that. */
function describeFiles(files: FileStatus | undefined): string[] {
  if (!files) return [];
  const of = (bytes: bigint, max: bigint): string => `${formatBytes(Number(bytes))} of ${formatBytes(Number(max))}`;
  return [
    `files: ${files.shares} shares, ${of(files.sharedBytes, files.sharedBytesMax)}, ${files.uploads} unfinished uploads; cache ${of(files.cachedBytes, files.cachedBytesMax)}; under way: ${files.uploading} shared, ${files.fetching} fetched, ${files.sending} sent to others`,
  ];
}

const rate = (perSecond = 0): string => `${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s`;

/** Where the address of a link comes from is told unless it is the registry. */
const describeAddress = ({ address, dialled, foundBy }: LinkStatus): string => {
  if (!address) return '-';
  const from = foundBy && foundBy !== 'registry' ? ` (${foundBy})` : '';
  return `${dialled ? 'to' : 'from'} ${address}${from}`;
};

function linksTable(links: readonly LinkStatus[], now: number): string {
  if (links.length === 0) return 'no links: nobody was published to yet, and no other organisation is granted anything';
  const rows = links.map(link => [
    link.org,
    stateOf(link),
    formatDuration(now - Number(link.sinceMs)),
    describeAddress(link),
    link.roundTripUs > 0n ? `${(Number(link.roundTripUs) / 1000).toFixed(1)} ms` : '-',
    `${link.recordsSent}/${link.recordsReceived}`,
    link.nextRetryMs > 0n ? `in ${formatDuration(Number(link.nextRetryMs) - now)}` : '-',
    link.lastError || '-',
  ]);
  return table([['LINK', 'STATE', 'SINCE', 'ADDRESS', 'RTT', 'SENT/RECEIVED', 'NEXT TRY', 'LAST ERROR'], ...rows]);
}

function subscriptionsTable({ subscriptions }: GetStatusResponse, now: number): string {
  if (subscriptions.length === 0) return 'no live subscriptions';
  const rows = subscriptions.map(({ node, pattern, sinceMs, recordsDelivered, recordsDropped, queuedBytes }) => [
    node,
    pattern,
    formatDuration(now - Number(sinceMs)),
    String(recordsDelivered),
    String(recordsDropped),
    formatBytes(Number(queuedBytes)),
  ]);
  return table([['NODE', 'PATTERN', 'SINCE', 'DELIVERED', 'DROPPED', 'QUEUED'], ...rows]);
}
