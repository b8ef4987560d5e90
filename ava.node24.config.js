/**
 * What runs on a second version of Node: all but what kills processes, waits for outages and plays whole stories. That takes half of the time and
 * tells of the kernel, the disk and the clock more than of Node; `npm test` runs it on whichever version it is called with.
 */
const ON_ONE_VERSION = [
  'cli/{approvals,approvals-fetch,approvals-review,demo}',
  'client/files-gateway',
  'docs/{any-language,examples,files,readme,requests}',
  'faults/*',
  'files/content/kill',
  'gateway/{files,files-trouble,recovery,slow-subscriber}',
  'registry/kill',
  'store/kill',
];

export default {
  files: ['dist/test/**/*.test.js', ...ON_ONE_VERSION.map(name => `!dist/test/${name}.test.js`)],
  timeout: '120s',
  workerThreads: false,
  concurrency: 2,
};
