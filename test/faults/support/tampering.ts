import type { PassingFrame, Tamper } from './frame-proxy.js';

/** Which frames an attack is after. */
export type Prey = (frame: PassingFrame) => boolean;

/** An attack that is carried out once, on frames that would otherwise pass. */
export interface Attack {
  readonly tamper: Tamper;
  /** Resolves when it has been carried out. */
  readonly done: Promise<void>;
}

export type AttackKind = 'duplicate' | 'reorder' | 'replay' | 'drop';

function once(build: (finish: () => void) => Tamper): Attack {
  let finish!: () => void;
  const done = new Promise<void>(resolve => {
    finish = resolve;
  });
  return { tamper: build(finish), done };
}

/** The `nth` frame of its kind is sent twice. */
export const duplicate = (prey: Prey, nth: number): Attack =>
  once(finish => {
    let seen = 0;
    return frame => {
      if (!prey(frame) || ++seen !== nth) return [frame.bytes];
      finish();
      return [frame.bytes, frame.bytes];
    };
  });

/** The `nth` frame of its kind is sent after the one behind it. */
export const reorder = (prey: Prey, nth: number): Attack =>
  once(finish => {
    let seen = 0;
    let held: Buffer | undefined;
    return frame => {
      if (!prey(frame)) return [frame.bytes];
      if (++seen === nth) {
        held = frame.bytes;
        return [];
      }
      if (!held) return [frame.bytes];
      const late = held;
      held = undefined;
      finish();
      return [frame.bytes, late];
    };
  });

/** The first frame of its kind is kept, and sent again after `nth` others. */
export const replay = (prey: Prey, nth: number): Attack =>
  once(finish => {
    let seen = 0;
    let kept: Buffer | undefined;
    return frame => {
      if (!prey(frame)) return [frame.bytes];
      kept ??= frame.bytes;
      if (++seen !== nth + 1) return [frame.bytes];
      finish();
      return [frame.bytes, kept];
    };
  });

/** The `nth` frame of its kind is dropped. */
export const drop = (prey: Prey, nth: number): Attack =>
  once(finish => {
    let seen = 0;
    return frame => {
      if (!prey(frame) || ++seen !== nth) return [frame.bytes];
      finish();
      return [];
    };
  });

export const ATTACKS: Readonly<Record<AttackKind, (prey: Prey, nth: number) => Attack>> = {
  duplicate,
  reorder,
  replay,
  drop,
};
