/** The fault tests that kill, cut and damage for minutes: `npm run test:faults`. `npm test` runs all others. */
export const LONG_FAULTS = [
  'more-kills',
  'more-files',
  'crash-points',
  'backup',
  'clock',
  'disk',
  'damage',
  'mixed',
  'network',
];

export default {
  files: LONG_FAULTS.map(name => `dist/test/faults/${name}.test.js`),
  timeout: '300s',
  workerThreads: false,
  concurrency: 1,
};
