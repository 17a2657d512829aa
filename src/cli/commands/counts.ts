import type { OrganizationCounters } from "../../contract/sprite.ts";

/** "5 running, 15 warm, 180 cold", of the whole organization. */
export function countsText(counts: Partial<OrganizationCounters>): string {
  const { running = 0, warm = 0, cold = 0 } = counts;
  return `${running} running, ${warm} warm, ${cold} cold`;
}
