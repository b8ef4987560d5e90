/** Says what `npm test` does not run because a fresh machine may not have what it needs. */
process.stderr.write(
  [
    'left out here, because it needs more than Node, npm, git and openssl; .ci/run has it all:',
    '  npm run test:clients   Go and Python clients, grpcurl',
    '  npm run bench          nats-server, for the columns beside ours',
    'left out for its length:',
    '  npm run soak           all faults, for as long as you like; npm test runs each of them once',
    '',
  ].join('\n'),
);
