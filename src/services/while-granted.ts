import type { Access } from '../messaging/access.js';

/** A signal that fires with what `check` throws after the rules have changed. Whoever asked for it stops it. */
export function whileGranted(
  access: Pick<Access, 'watch'>,
  check: () => void,
): { readonly gone: AbortSignal; stop(): void } {
  const gone = new AbortController();
  return { gone: gone.signal, stop: access.watch(check, error => gone.abort(error)) };
}
