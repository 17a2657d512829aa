import type { CommandSpec } from "./command-spec.ts";
import { checkpointCommands } from "./command-specs/checkpoints.ts";
import { clientCommands } from "./command-specs/client.ts";
import { fileCommands } from "./command-specs/files.ts";
import { networkCommands } from "./command-specs/network.ts";
import { policyCommands } from "./command-specs/policies.ts";
import { serviceCommands } from "./command-specs/services.ts";
import { sessionCommands } from "./command-specs/sessions.ts";
import { spriteCommands } from "./command-specs/sprites.ts";

export const commandTable: readonly CommandSpec[] = [
  ...spriteCommands,
  ...sessionCommands,
  ...fileCommands,
  ...serviceCommands,
  ...networkCommands,
  ...policyCommands,
  ...checkpointCommands,
  ...clientCommands,
];
