/** Stands in for punch-hole.ts: the disk hears of what becomes zeros. */
import { loadPunchHole as loadReal, type PunchHole } from "../../../../chunk-cache/punch-hole.ts";
import { runningProcess } from "../scheduler.ts";

export type { PunchHole };

let real: PunchHole | null = null;

export function loadPunchHole(): PunchHole {
  const punch = (real ??= loadReal());
  return (descriptor, offsetBytes, lengthBytes) => {
    const process = runningProcess();
    if (process === null) return punch(descriptor, offsetBytes, lengthBytes);
    process.act(`punch ${offsetBytes}+${lengthBytes}`, () => {
      process.disk.willWrite(descriptor, offsetBytes, lengthBytes);
      punch(descriptor, offsetBytes, lengthBytes);
    });
  };
}
