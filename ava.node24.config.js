/**
 * What runs on a second version of Node: what depends on it most, its TLS, HTTP/2, streams and files, and a few stories between gateways. `npm test` runs
 * all there is on whichever version it is called with.
 */
const ON_BOTH_VERSIONS = [
  'approvals/signers/*',
  'authentication/*',
  'cli/commands',
  'client/{connections,consume,publish,responding-writes}',
  'gateway/{admission,messaging}',
  'identity/*',
  'link/{durable-lane,hostile-peer}',
  'registry/{access,join,watcher}',
  'requests/requests',
  'services/{frames,consume}',
  'store/!(kill)',
  'streams/{across,model}',
  'transport/*',
  'wire/*',
];

export default {
  files: ON_BOTH_VERSIONS.map(name => `dist/test/${name}.test.js`),
  timeout: '120s',
  workerThreads: false,
  concurrency: 3,
};
