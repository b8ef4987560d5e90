/** Says what `npm test` does not run because a fresh machine may not have what it needs. */
process.stderr.write(
  [
    'left out here, because it needs more than Node, npm, git and openssl; .ci/run has it all:',
    '  npm run test:clients   Go and Python clients, grpcurl; approvals verified by Python; approval keys in a token (softhsm2, opensc)',
    '  npm run test:cosign    approvals verified by cosign, which .ci/run has only where it is installed',
    '  npm run bench          nats-server, for the columns beside ours',
    'left out for its length:',
    '  npm run test:faults    kills, cuts, full disks, damage and old backups between real gateways; minutes',
    '  npm run soak           the same for as long as you like',
    '',
  ].join('\n'),
);
