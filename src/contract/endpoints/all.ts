import { accessEndpoints } from "./access.ts";
import { checkpointEndpoints } from "./checkpoints.ts";
import type { Endpoint } from "./endpoint.ts";
import { execEndpoints } from "./exec.ts";
import { fileEndpoints } from "./files.ts";
import { networkEndpoints } from "./network.ts";
import { serviceEndpoints } from "./services.ts";
import { policyEndpoints } from "./policies.ts";
import { taskEndpoints } from "./tasks.ts";
import { usageEndpoints } from "./usage.ts";
import { serverEndpoints, spriteEndpoints } from "./sprites.ts";

/** Every endpoint that the server has. docs/howto/add-an-endpoint.md says how to add one. */
export const endpointGroups: ReadonlyArray<{ tag: string; endpoints: readonly Endpoint[] }> = [
  { tag: "sprites", endpoints: spriteEndpoints },
  { tag: "exec", endpoints: execEndpoints },
  { tag: "files", endpoints: fileEndpoints },
  { tag: "network", endpoints: networkEndpoints },
  { tag: "policies", endpoints: policyEndpoints },
  { tag: "checkpoints", endpoints: checkpointEndpoints },
  { tag: "services", endpoints: serviceEndpoints },
  { tag: "tasks", endpoints: taskEndpoints },
  { tag: "usage", endpoints: usageEndpoints },
  { tag: "access", endpoints: accessEndpoints },
  { tag: "server", endpoints: serverEndpoints },
];
