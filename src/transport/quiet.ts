import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** grpc-js prints to standard error what our errors already say. `GRPC_VERBOSITY` in the environment brings that back. */
export function quietGrpc(variables: Readonly<Record<string, string | undefined>>): void {
  if (variables.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);
}
