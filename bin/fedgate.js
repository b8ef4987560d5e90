#!/usr/bin/env node
// Starts the compiled binary. In a checkout it is compiled first when it is missing or older than its sources; an installed package
// holds it ready.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const compiled = new URL('dist/src/main.js', root);
const stamp = new URL('dist/.tsbuildinfo', root);
const compiler = new URL('node_modules/.bin/tsc', root);

function newest(folder) {
  let time = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) time = Math.max(time, statSync(`${entry.parentPath ?? entry.path}/${entry.name}`).mtimeMs);
  }
  return time;
}

const isCheckout = existsSync(new URL('src/', root)) && existsSync(compiler);
if (
  isCheckout &&
  (!existsSync(compiled) || !existsSync(stamp) || newest(new URL('src/', root)) > statSync(stamp).mtimeMs)
) {
  const result = spawnSync(fileURLToPath(compiler), ['-p', fileURLToPath(new URL('tsconfig.json', root))], {
    stdio: ['ignore', 2, 2],
  });
  if (result.status !== 0) process.exit(1);
}
await import(compiled.href);
