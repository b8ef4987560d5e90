/** Files of a folder on their way at once: small ones wait for disks and answers, not for the line. */
const FILES_AT_ONCE = 8;
/** Their bytes: larger ones fill the line by themselves, and each costs memory. */
const BYTES_AT_ONCE = 32 * 1024 * 1024;

/**
 * Does something with each of several files, in order, small ones side by side. Resolves with the results, in order. After a failure none is
 * begun; it rejects with the first, once those under way have ended. `apart`: whether two may not be under way at once.
 */
export async function forFiles<File extends { readonly size: number }, Result>(
  files: readonly File[],
  work: (file: File, index: number) => Promise<Result>,
  apart: (file: File, other: File) => boolean = () => false,
): Promise<Result[]> {
  const results: Result[] = [];
  const running = new Map<Promise<void>, File>();
  const failures: unknown[] = [];
  let bytes = 0;
  const begin = (file: File, index: number): void => {
    bytes += file.size;
    const done: Promise<void> = work(file, index)
      .then(
        result => {
          results[index] = result;
        },
        error => void failures.push(error),
      )
      .finally(() => {
        bytes -= file.size;
        running.delete(done);
      });
    running.set(done, file);
  };
  const mustWait = (file: File): boolean =>
    running.size >= FILES_AT_ONCE ||
    (running.size > 0 && bytes + file.size > BYTES_AT_ONCE) ||
    [...running.values()].some(other => apart(file, other));
  for (const [index, file] of files.entries()) {
    while (mustWait(file)) await Promise.race(running.keys());
    if (failures.length > 0) break;
    begin(file, index);
  }
  await Promise.all(running.keys());
  if (failures.length > 0) throw failures[0];
  return results;
}
