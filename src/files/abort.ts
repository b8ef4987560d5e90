import { setMaxListeners } from 'node:events';

/** A signal that fires with the first of several, until it is told to stop listening: what it listens to may live long. */
export function firstOf(signals: readonly AbortSignal[]): { readonly signal: AbortSignal; stop(): void } {
  const first = new AbortController();
  setMaxListeners(0, first.signal);
  const listeners = signals.map(signal => {
    const fire = (): void => first.abort(signal.reason);
    if (signal.aborted) fire();
    else signal.addEventListener('abort', fire, { once: true });
    return () => signal.removeEventListener('abort', fire);
  });
  return {
    signal: first.signal,
    stop: () => {
      for (const remove of listeners) remove();
    },
  };
}

/** What a promise says, unless the signal fires before: then it rejects with its reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
    const settle = (): void => signal.removeEventListener('abort', aborted);
    promise.then(
      value => {
        settle();
        resolve(value);
      },
      error => {
        settle();
        reject(error);
      },
    );
  });
}

/** Rejects with the signal's reason when it fires before the time is over. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms);
  });
  return unlessAborted(over, signal).finally(() => clearTimeout(timer));
}
