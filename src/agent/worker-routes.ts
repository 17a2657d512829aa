import { setTimeout as delay } from "node:timers/promises";
import { parseDurabilityBody } from "../contract/durability.ts";
import { parseIdentityBody } from "../contract/sprite-identity.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { readJson, sendNoContent } from "./api/responses.ts";
import type { Route } from "./api/route.ts";
import type { Disk } from "./disk.ts";
import { durabilityStoreMsMax } from "./limits.ts";
import { restRoutes, type RestRouteParts } from "./activity/rest-routes.ts";
import { claimSpare, type ClaimParts } from "./identity.ts";
import { parsePolicyBody, type Policy } from "./policy.ts";

/**
 * What a worker tells its agent: that the sprite's user has changed what an fsync waits for, or its policy, to
 * store what there is, before an export, that its sprite has slept for long enough, and of a spare one who it is.
 */
export function workerRoutes(
  parts: ClaimParts &
    RestRouteParts & {
      volume: Pick<Volume, "setDurability">;
      disk: Pick<Disk, "store">;
      policy: Pick<Policy, "change">;
    },
): Route[] {
  const { volume, disk, policy } = parts;
  return [
    ...restRoutes(parts),
    {
      method: "PUT",
      pattern: ["identity"],
      isQuiet: true,
      handle: async ({ request, response }) => {
        await claimSpare(parts, parseIdentityBody(await readJson(request)));
        sendNoContent(response);
      },
    },
    {
      method: "POST",
      pattern: ["store"],
      isQuiet: true,
      handle: async ({ response }) => {
        await disk.store();
        sendNoContent(response);
      },
    },
    {
      method: "PUT",
      pattern: ["policy"],
      isQuiet: true,
      handle: async ({ request, response }) => {
        await policy.change(parsePolicyBody(await readJson(request)));
        sendNoContent(response);
      },
    },
    {
      method: "PUT",
      pattern: ["durability"],
      isQuiet: true,
      handle: async ({ request, response }) => {
        const durability = parseDurabilityBody(await readJson(request));
        // It counts at once; that the bucket knows is waited for a little, as it is told at each start.
        const isStored = volume.setDurability(durability);
        isStored.catch(() => undefined);
        await Promise.race([isStored, delay(durabilityStoreMsMax, undefined, { ref: false })]);
        sendNoContent(response);
      },
    },
  ];
}
