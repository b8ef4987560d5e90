import { runApprovals } from './approvals/index.js';
import { APPROVALS_USAGE, parseApprovalsOptions } from './approvals/options.js';
import { runDurable } from './durable/index.js';
import { DURABLE_USAGE, parseDurableOptions } from './durable/options.js';
import { runFanout } from './fanout/index.js';
import { FANOUT_USAGE, parseFanoutOptions } from './fanout/options.js';
import { runFiles } from './files/index.js';
import { runLatency } from './files/latency.js';
import { FILES_USAGE, LATENCY_USAGE, parseFilesOptions, parseLatencyOptions } from './files/options.js';
import { runLive } from './live/index.js';
import { LIVE_USAGE, parseLiveOptions } from './live/options.js';
import { runRequests } from './requests/index.js';
import { parseRequestsOptions, REQUESTS_USAGE } from './requests/options.js';
import { runStreams } from './streams/index.js';
import { parseStreamsOptions, STREAMS_USAGE } from './streams/options.js';
import { runTopics } from './topics/index.js';
import { parseTopicsOptions, TOPICS_USAGE } from './topics/options.js';

/** `npm run bench -- SUBJECT`: ratios measured in one run on one machine. Slow is not an error; not being able to measure is. */
const [subject, ...args] = process.argv.slice(2);

try {
  if (subject === 'live') await runLive(parseLiveOptions(args));
  else if (subject === 'durable') await runDurable(parseDurableOptions(args));
  else if (subject === 'files') await runFiles(parseFilesOptions(args));
  else if (subject === 'files-latency') await runLatency(parseLatencyOptions(args));
  else if (subject === 'approvals') await runApprovals(parseApprovalsOptions(args));
  else if (subject === 'requests') await runRequests(parseRequestsOptions(args));
  else if (subject === 'fanout') await runFanout(parseFanoutOptions(args));
  else if (subject === 'topics') await runTopics(parseTopicsOptions(args));
  else if (subject === 'streams') await runStreams(parseStreamsOptions(args));
  else
    throw new Error(
      `usage: ${[LIVE_USAGE, DURABLE_USAGE, FILES_USAGE, LATENCY_USAGE, APPROVALS_USAGE, REQUESTS_USAGE, FANOUT_USAGE, TOPICS_USAGE, STREAMS_USAGE].join('\n       ')}`,
    );
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
