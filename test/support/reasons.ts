import type { ExecutionContext } from 'ava';
import { FedgateError, type Reason } from '../../src/errors.js';

/** Expects a FedgateError with this reason, and gives it back. */
export async function refused(
  t: Pick<ExecutionContext, 'throwsAsync' | 'is'>,
  reason: Reason,
  step: () => unknown,
): Promise<FedgateError> {
  const error = (await t.throwsAsync(async () => step(), { instanceOf: FedgateError })) as FedgateError;
  t.is(error.reason, reason, error.message);
  return error;
}
