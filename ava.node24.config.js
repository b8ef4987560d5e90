/**
 * What runs on a second version of Node: all but what plays whole stories with several gateways, kills processes, or waits for outages. That takes most of
 * the time and tells of the kernel, the disk and the clock more than of Node; `npm test` runs it on whichever version it is called with.
 */
const ON_ONE_VERSION = [
  'cli/!(commands|pub|store|verify)',
  'client/{approvals,files,files-gateway}',
  'docs/{any-language,examples,files,readme,requests}',
  'faults/*',
  'files/content/kill',
  'gateway/!(admission|approvals|approver-directory|full-disk|messaging)',
  'registry/kill',
  'requests/across',
  'store/kill',
];

export default {
  files: ['dist/test/**/*.test.js', ...ON_ONE_VERSION.map(name => `!dist/test/${name}.test.js`)],
  timeout: '120s',
  workerThreads: false,
  concurrency: 3,
};
