/** Stands in for punch-hole.ts: only files in memory are ever punched. */
import type { PunchHole } from "../../../../chunk-cache/punch-hole.ts";
import { punchNow } from "./file-access.ts";

export type { PunchHole };

export function loadPunchHole(): PunchHole {
  return (descriptor, offsetBytes, lengthBytes) =>
    punchNow(descriptor, { offsetBytes, lengthBytes });
}
