import type { CommandSpec } from "./command-spec.ts";
import { checkpointCommands } from "./command-specs/checkpoints.ts";
import { clientCommands } from "./command-specs/client.ts";
import { fileCommands } from "./command-specs/files.ts";
import { networkCommands } from "./command-specs/network.ts";
import { policyCommands } from "./command-specs/policies.ts";
import { serviceCommands } from "./command-specs/services.ts";
import { sessionCommands } from "./command-specs/sessions.ts";
import { spriteCommands } from "./command-specs/sprites.ts";
import { usageCommands } from "./command-specs/usage.ts";

/** In the order and under the headings of `sprite --help`. */
export const commandGroups: readonly (readonly [
  heading: string,
  commands: readonly CommandSpec[],
])[] = [
  ["Sprites:", [...spriteCommands, ...usageCommands]],
  ["Commands in a sprite:", sessionCommands],
  ["Files:", fileCommands],
  ["Checkpoints:", checkpointCommands],
  ["Services and network:", [...serviceCommands, ...networkCommands, ...policyCommands]],
  ["This client:", clientCommands],
];

export const commandTable: readonly CommandSpec[] = commandGroups.flatMap(([, specs]) => specs);
